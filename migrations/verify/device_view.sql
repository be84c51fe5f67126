-- Verify holdline:device_view on pg
BEGIN;
SET LOCAL search_path = public;

INSERT INTO trust_store (name, cn_form) VALUES ('verify-holdline', 'mac');
INSERT INTO domain (name) VALUES ('verify.holdline.example');
INSERT INTO device (trust_store, cn, identities, label)
VALUES ('verify-holdline', '00:04:f2:24:a6:ac', '{alice@Verify.Holdline.example}', 'a');
SELECT 1 / (replace_device('0004.f224.a6ac', '0004.f224.a6ad', 'verify-holdline') = 1)::integer;
SELECT 1 / count(*) FROM device
WHERE trust_store = 'verify-holdline' AND cn = '0004F224A6AD' AND label = 'a'
  AND identities = '{alice@verify.holdline.example}';
SELECT 1 / (NOT has_table_privilege('holdline_mapperd', 'device',
                                    'select, insert, update, delete'))::integer;
SET CONSTRAINTS ALL IMMEDIATE;

ROLLBACK;
