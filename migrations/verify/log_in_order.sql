-- Verify holdline:log_in_order on pg
BEGIN;
SET LOCAL search_path = public;

SELECT 1 / (count(*) = 2)::integer FROM pg_proc
WHERE oid IN ('change_log_cn_mapping'::regproc, 'change_log_sip_user'::regproc)
  AND prosrc LIKE '%ORDER BY%';

ROLLBACK;
