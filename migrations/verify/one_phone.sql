-- Verify holdline:one_phone on pg
BEGIN;
SET LOCAL search_path = public;

SELECT 1 / (count(*) = 2)::integer FROM pg_trigger
WHERE tgname = 'log_insert'
  AND tgfoid IN ('cn_mapping_inserted()'::regprocedure, 'sip_user_inserted()'::regprocedure);
SELECT 1 / (database_oid = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND system_id = (SELECT system_identifier FROM pg_control_system()))::integer
FROM change_log_origin();

ROLLBACK;
