-- Revert holdline:device from pg
BEGIN;
SET LOCAL search_path = public;

DROP FUNCTION retire_device(text, text);
DROP FUNCTION device_cn(text, text);

COMMIT;
