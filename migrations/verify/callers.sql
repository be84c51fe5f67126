-- Verify holdline:callers on pg
BEGIN;
SET LOCAL search_path = public;

SELECT 1 / (count(*) = 2)::integer FROM user_group WHERE name IN ('foreign', 'anonymous');
SELECT 1 / (count(*) = 3)::integer FROM pg_constraint
WHERE conname IN ('user_group_member_users_are_never_foreign_or_anonymous',
                  'tenant_groups_must_not_be_foreign_or_anonymous',
                  'rights_rule_target_kind_must_be_ours_user_domain_number_service');
SELECT 1 / (service_canonical('urn:service:SOS.fire') = 'sos.fire')::integer;

ROLLBACK;
