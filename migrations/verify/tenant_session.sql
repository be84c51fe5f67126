-- Verify holdline:tenant_session on pg
BEGIN;
SET LOCAL search_path = public;

SELECT 1 / (l.lanname = 'plpgsql')::integer
FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
WHERE p.oid = 'tenant_of_session'::regproc;

ROLLBACK;
