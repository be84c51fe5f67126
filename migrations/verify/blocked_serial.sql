-- Verify holdline:blocked_serial on pg
BEGIN;
SET LOCAL search_path = public;

SELECT issuer, serial FROM blocked_certificate WHERE false;
INSERT INTO trust_store (name) VALUES ('verify-blocked');
INSERT INTO blocked_certificate (trust_store, issuer, serial)
VALUES ('verify-blocked', 'issuer="CN=Device root"', '00:4b:c2:f1');
SELECT 1 / count(*) FROM blocked_certificate
WHERE trust_store = 'verify-blocked' AND issuer = 'CN=Device root' AND serial = '4BC2F1'
  AND sha256 = encode(sha256(convert_to(E'cn=device root\n4BC2F1', 'UTF8')), 'hex');

ROLLBACK;
