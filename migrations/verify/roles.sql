-- Verify holdline:roles on pg
BEGIN;

SELECT 1 / count(*) FROM pg_roles
WHERE rolname = 'holdline_mapperd' AND rolcanlogin AND NOT rolsuper;
SELECT 1 / count(*) FROM pg_roles WHERE rolname = 'holdline_admin' AND NOT rolsuper;
SELECT 1 / (has_schema_privilege('holdline_mapperd', 'public', 'usage'))::integer;
SELECT 1 / (has_schema_privilege('holdline_admin', 'public', 'usage'))::integer;

ROLLBACK;
