-- Revert holdline:binding from pg
BEGIN;
SET LOCAL search_path = public;

DROP TRIGGER end_bindings ON cn_mapping;
DROP TRIGGER end_bindings_of_update ON cn_mapping;
DROP TRIGGER end_bindings_of_truncate ON cn_mapping;
DROP TRIGGER end_bindings ON sip_user;
DROP TRIGGER end_bindings_of_update ON sip_user;
DROP FUNCTION bind_put(text, text, text, text, text, text, text, text, integer, text, bigint,
    integer, text, bigint, text, text, bigint, integer, boolean);
DROP FUNCTION bind_remove(text, text, bigint, integer);
DROP FUNCTION binding_follow_user();
DROP FUNCTION binding_follow_truncate();
DROP FUNCTION binding_follow_mapping();
DROP FUNCTION bindings_end_of_users(text[]);
DROP FUNCTION binding_version_after(bigint);
DROP TABLE binding;
DROP FUNCTION binding_version_must_rise();

COMMIT;
