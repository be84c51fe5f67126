-- Verify holdline:insert_in_order on pg
BEGIN;
SET LOCAL search_path = public;

SELECT 1 / (count(*) = 2)::integer FROM pg_proc
WHERE (oid = 'cn_mapping_inserted'::regproc AND prosrc LIKE '%new_rows n ORDER BY 1, 2) k%')
   OR (oid = 'sip_user_inserted'::regproc AND prosrc LIKE '%ORDER BY n.identity;%');

ROLLBACK;
