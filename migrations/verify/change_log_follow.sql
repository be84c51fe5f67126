-- Verify holdline:change_log_follow on pg
BEGIN;
SET LOCAL search_path = public;

SELECT 1 / (count(*) FILTER (WHERE tgname = 'log_replicated' AND tgenabled = 'R') = 10
            AND count(*) FILTER (WHERE tgname = 'log_truncate' AND tgenabled = 'A') = 10)::integer
FROM pg_trigger
WHERE tgrelid IN ('trust_store'::regclass, 'domain'::regclass, 'sip_user'::regclass,
    'cn_mapping'::regclass, 'user_group'::regclass, 'user_group_member'::regclass,
    'rights_rule'::regclass, 'binding'::regclass, 'device_info'::regclass,
    'credential'::regclass);
SELECT 1 / has_function_privilege('change_log_follow(regclass)', 'execute')::integer;

ROLLBACK;
