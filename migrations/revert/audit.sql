-- Revert holdline:audit from pg
BEGIN;
SET LOCAL search_path = public;

DO $$
DECLARE
    followed regclass;
BEGIN
    FOR followed IN SELECT t.tgrelid FROM pg_trigger t WHERE t.tgname = 'audit_truncate' LOOP
        PERFORM audit_unfollow(followed);
    END LOOP;
END
$$;
DROP FUNCTION audit_prune(timestamptz);
DROP FUNCTION audit_truncated();
DROP FUNCTION audit_unfollow(regclass);
DROP FUNCTION audit_follow(regclass, text, text, text, text, text, text[], text[]);
DROP TABLE audit;

COMMIT;
