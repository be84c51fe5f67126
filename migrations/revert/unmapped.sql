-- Revert holdline:unmapped from pg
BEGIN;
SET LOCAL search_path = public;

DROP TRIGGER forget_unmapped ON cn_mapping;
DROP TRIGGER forget_unmapped_of_update ON cn_mapping;
DROP FUNCTION cn_mapping_forget_unmapped();
DROP FUNCTION tidy_unmapped();
DROP FUNCTION report_unmapped(text[], text[], bigint[], bigint[], bigint[], text[], text[],
    text[]);
DROP FUNCTION unmapped_trim();
DROP FUNCTION unmapped_max();
DROP TABLE unmapped_device;

COMMIT;
