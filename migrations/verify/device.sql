-- Verify holdline:device on pg
BEGIN;
SET LOCAL search_path = public;

INSERT INTO trust_store (name, cn_form) VALUES ('verify-holdline', 'mac');
SELECT 1 / (device_cn('00:04:f2:24:a6:ac', 'verify-holdline') = '0004F224A6AC')::integer;
INSERT INTO domain (name) VALUES ('verify.holdline.example');
INSERT INTO cn_mapping (trust_store, cn, identity)
VALUES ('verify-holdline', '0004F224A6AC', 'alice@verify.holdline.example');
SELECT 1 / (retire_device('0004.f224.a6ac', 'verify-holdline') = 1)::integer;
SET CONSTRAINTS ALL IMMEDIATE;

ROLLBACK;
