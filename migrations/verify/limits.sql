-- Verify holdline:limits on pg
BEGIN;
SET LOCAL search_path = public;

SELECT 1 / (count(*) = 4)::integer FROM pg_trigger
WHERE tgname IN ('limit_insert', 'limit_update')
  AND tgrelid IN ('user_group_member'::regclass, 'rights_rule'::regclass);
SELECT 1 / (obj_description('device_info_pkey'::regclass, 'pg_class') IS NOT NULL)::integer;

ROLLBACK;
