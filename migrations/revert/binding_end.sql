-- Revert holdline:binding_end from pg
BEGIN;
SET LOCAL search_path = public;

DROP FUNCTION binding_purge(text, text, text, integer);
DROP TRIGGER delete_leaves_tombstone ON binding;
DROP FUNCTION binding_delete_leaves_tombstone();
DROP FUNCTION binding_is_over(timestamptz, bigint);

COMMIT;
