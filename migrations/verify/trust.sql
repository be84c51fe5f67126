-- Verify holdline:trust on pg
BEGIN;
SET LOCAL search_path = public;

SELECT name, cn_form, cn_prefixes, state, created_at FROM trust_store WHERE false;
SELECT name, state, created_at FROM domain WHERE false;
INSERT INTO domain (name) VALUES ('Verify.Holdline.Example.');
SELECT 1 / count(*) FROM domain WHERE name = 'verify.holdline.example';
SELECT 1 / (has_table_privilege('holdline_mapperd', 'trust_store', 'select')
            AND NOT has_table_privilege('holdline_mapperd', 'trust_store', 'insert'))::integer;
SELECT 1 / has_table_privilege('holdline_admin', 'domain', 'insert')::integer;

ROLLBACK;
