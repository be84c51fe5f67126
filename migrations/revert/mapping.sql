-- Revert holdline:mapping from pg
BEGIN;
SET LOCAL search_path = public;

DROP TRIGGER keep_form ON trust_store;
DROP TABLE cn_mapping;
DROP TABLE sip_user;
DROP FUNCTION trust_store_keep_form();
DROP FUNCTION cn_mapping_make_users();
DROP FUNCTION cn_mapping_make_canonical();
DROP FUNCTION sip_user_take_mappings();
DROP FUNCTION sip_user_keep_disabled();
DROP FUNCTION sip_user_make_canonical();

COMMIT;
