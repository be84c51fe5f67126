-- Verify holdline:many_rows on pg
BEGIN;
SET LOCAL search_path = public;

SELECT 1 / (count(*) = 2)::integer FROM pg_proc
WHERE (oid = 'cn_mapping_inserted'::regproc AND prosrc LIKE '%EXCEPTION WHEN unique_violation%')
   OR (oid = 'sip_user_inserted'::regproc AND prosrc LIKE '%THEN ''{"state": "enabled"}''%');

ROLLBACK;
