-- Revert holdline:change_log from pg
BEGIN;
SET LOCAL search_path = public;

DROP TRIGGER log_truncate ON binding;
DROP TRIGGER log_delete ON binding;
DROP TRIGGER log_update ON binding;
DROP TRIGGER log_insert ON binding;
DROP FUNCTION change_log_binding();

DROP TRIGGER log_truncate ON rights_rule;
DROP TRIGGER log_delete ON rights_rule;
DROP TRIGGER log_update ON rights_rule;
DROP TRIGGER log_insert ON rights_rule;
DROP FUNCTION change_log_rights_rule();

DROP TRIGGER log_truncate ON user_group_member;
DROP TRIGGER log_delete ON user_group_member;
DROP TRIGGER log_update ON user_group_member;
DROP TRIGGER log_insert ON user_group_member;
DROP FUNCTION change_log_user_group_member();

DROP TRIGGER log_truncate ON user_group;
DROP TRIGGER log_delete ON user_group;
DROP TRIGGER log_update ON user_group;
DROP TRIGGER log_insert ON user_group;
DROP FUNCTION change_log_user_group();

DROP TRIGGER log_truncate ON cn_mapping;
DROP TRIGGER log_delete ON cn_mapping;
DROP TRIGGER log_update ON cn_mapping;
DROP TRIGGER log_insert ON cn_mapping;
DROP FUNCTION change_log_cn_mapping();

DROP TRIGGER log_truncate ON sip_user;
DROP TRIGGER log_delete ON sip_user;
DROP TRIGGER log_update ON sip_user;
DROP TRIGGER log_insert ON sip_user;
DROP FUNCTION change_log_sip_user();

DROP TRIGGER log_truncate ON domain;
DROP TRIGGER log_delete ON domain;
DROP TRIGGER log_update ON domain;
DROP TRIGGER log_insert ON domain;
DROP FUNCTION change_log_domain();

DROP TRIGGER log_truncate ON trust_store;
DROP TRIGGER log_delete ON trust_store;
DROP TRIGGER log_update ON trust_store;
DROP TRIGGER log_insert ON trust_store;
DROP FUNCTION change_log_trust_store();

DROP FUNCTION change_log_all();
DROP FUNCTION change_log_hint();
DROP FUNCTION change_log_origin();
DROP TABLE change_log_floor;
DROP TABLE change_log;

COMMIT;
