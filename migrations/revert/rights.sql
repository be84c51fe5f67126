-- Revert holdline:rights from pg
BEGIN;
SET LOCAL search_path = public;

DROP TABLE rights_rule;
DROP TABLE user_group_member;
DROP TABLE user_group;
DROP FUNCTION rights_rule_make_canonical();
DROP FUNCTION user_group_member_make_canonical();

COMMIT;
