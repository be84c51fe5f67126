-- Verify holdline:absent_users on pg
BEGIN;
SET LOCAL search_path = public;

SELECT 1 / count(*) FROM pg_proc
WHERE oid = 'cn_mapping_inserted'::regproc AND 'jit=off' = ANY (proconfig)
  AND prosrc LIKE '%u.identity = n.user_identity) IS NULL%';

ROLLBACK;
