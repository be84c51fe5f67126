-- Revert holdline:limits from pg
BEGIN;
SET LOCAL search_path = public;

DROP TRIGGER limit_update ON rights_rule;
DROP TRIGGER limit_insert ON rights_rule;
DROP FUNCTION rights_rule_limit();
DROP TRIGGER limit_update ON user_group_member;
DROP TRIGGER limit_insert ON user_group_member;
DROP FUNCTION user_group_member_limit();

COMMENT ON INDEX trust_store_pkey IS NULL;
COMMENT ON INDEX domain_pkey IS NULL;
COMMENT ON INDEX sip_user_pkey IS NULL;
COMMENT ON INDEX cn_mapping_pkey IS NULL;
COMMENT ON INDEX device_info_pkey IS NULL;
COMMENT ON INDEX user_group_pkey IS NULL;
COMMENT ON INDEX user_group_member_pkey IS NULL;
COMMENT ON INDEX rights_rule_pkey IS NULL;
COMMENT ON INDEX binding_pkey IS NULL;
COMMENT ON INDEX mapperd_pkey IS NULL;

COMMIT;
