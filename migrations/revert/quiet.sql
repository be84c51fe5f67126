-- Revert holdline:quiet from pg
BEGIN;
SET LOCAL search_path = public;

DROP TRIGGER keep_quiet ON credential;
DROP FUNCTION credential_keep_quiet();

COMMIT;
