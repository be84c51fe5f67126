-- Verify holdline:change_log_prune on pg
BEGIN;
SET LOCAL search_path = public;

SELECT remembered_at, position_xmin, system_id, database_oid FROM change_log_position WHERE false;
SELECT xid, system_id, database_oid, cleared FROM change_log_floor WHERE false;
SELECT 1 / (change_log_prune('1 year', 1) IS NOT NULL)::integer;
SELECT 1 / (has_function_privilege('holdline_mapperd', 'change_log_prune(interval, integer)',
                                   'execute')
            AND NOT has_function_privilege('holdline_admin', 'change_log_prune(interval, integer)',
                                           'execute')
            AND NOT has_table_privilege('holdline_mapperd', 'change_log', 'delete'))::integer;

ROLLBACK;
