-- Verify holdline:binding_batch on pg
BEGIN;
SET LOCAL search_path = public;

SELECT 1 / (count(*) = 2)::integer FROM pg_proc
WHERE (oid = 'change_log_binding'::regproc AND prosrc NOT LIKE '%change_log_origin%')
   OR (oid = 'binding_purge'::regproc AND prosrc LIKE '%p.expires_at < horizon%');

ROLLBACK;
