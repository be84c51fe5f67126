-- Revert holdline:mapperd from pg
BEGIN;
SET LOCAL search_path = public;

DROP FUNCTION mapperd_enrol(text);
DROP TABLE mapperd;

COMMIT;
