-- Verify holdline:blocked_certificate on pg
BEGIN;
SET LOCAL search_path = public;

SELECT trust_store, sha256, note, created_at FROM blocked_certificate WHERE false;
INSERT INTO trust_store (name) VALUES ('verify-blocked');
INSERT INTO blocked_certificate (trust_store, sha256)
VALUES ('verify-blocked', 'sha256 Fingerprint=' || rtrim(repeat('AB:', 32), ':'));
SELECT 1 / count(*) FROM blocked_certificate
WHERE trust_store = 'verify-blocked' AND sha256 = repeat('ab', 32);
SELECT 1 / (has_table_privilege('holdline_mapperd', 'blocked_certificate', 'select')
            AND NOT has_table_privilege('holdline_mapperd', 'blocked_certificate',
                                         'insert, update, delete')
            AND NOT has_table_privilege('holdline_tenant', 'blocked_certificate', 'select')
            )::integer;

ROLLBACK;
