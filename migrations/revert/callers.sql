-- Revert holdline:callers from pg
BEGIN;
SET LOCAL search_path = public;

DO $$
DECLARE
    held record;
BEGIN
    CREATE TEMPORARY TABLE held_trigger ON COMMIT DROP AS
        SELECT tgrelid::regclass AS place, tgname, tgenabled FROM pg_trigger
        WHERE tgrelid IN ('user_group'::regclass, 'rights_rule'::regclass) AND NOT tgisinternal;
    FOR held IN SELECT * FROM pg_temp.held_trigger LOOP
        EXECUTE format('ALTER TABLE %s DISABLE TRIGGER %I', held.place, held.tgname);
    END LOOP;
    DELETE FROM rights_rule
    WHERE target_kind = 'service' OR who_kind = 'group' AND who IN ('foreign', 'anonymous');
    DELETE FROM user_group WHERE name IN ('foreign', 'anonymous');
    PERFORM setval(pg_get_serial_sequence('rights_rule', 'id'), greatest(max(id), 1))
    FROM rights_rule;
    FOR held IN SELECT * FROM pg_temp.held_trigger WHERE tgenabled <> 'D' LOOP
        EXECUTE format('ALTER TABLE %s ENABLE %s TRIGGER %I', held.place,
            CASE held.tgenabled WHEN 'A' THEN 'ALWAYS' WHEN 'R' THEN 'REPLICA' ELSE '' END, held.tgname);
    END LOOP;
END
$$;

ALTER TABLE user_group_member
    DROP CONSTRAINT user_group_member_users_are_never_foreign_or_anonymous;
ALTER TABLE tenant DROP CONSTRAINT tenant_groups_must_not_be_foreign_or_anonymous;

ALTER TABLE rights_rule
    DROP CONSTRAINT rights_rule_target_kind_must_be_ours_user_domain_number_service,
    DROP CONSTRAINT rights_rule_target_must_be_of_its_kind;
ALTER TABLE rights_rule
    ADD CONSTRAINT rights_rule_target_kind_must_be_any_ours_user_domain_or_number CHECK (
        target_kind IN ('any', 'ours', 'user', 'domain', 'number')),
    ADD CONSTRAINT rights_rule_target_must_be_of_its_kind CHECK (
        CASE target_kind
            WHEN 'user' THEN target ~ '^([A-Za-z0-9_.!~*''()&=+$,;?/-]|%[0-9A-F]{2})+@[a-z0-9.-]+$'
            WHEN 'domain' THEN target ~ '^[a-z0-9.-]+$'
            WHEN 'number' THEN target ~ '^\+?[0-9]{1,32}$'
            ELSE true
        END AND octet_length(target) <= 254);

CREATE OR REPLACE FUNCTION rights_rule_make_canonical() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    method text;
BEGIN
    IF NEW.who IS NOT NULL THEN
        NEW.who := CASE NEW.who_kind
            WHEN 'user' THEN identity_canonical(NEW.who)
            WHEN 'domain' THEN domain_canonical(NEW.who)
            ELSE NEW.who
        END;
    END IF;
    IF NEW.target IS NOT NULL THEN
        NEW.target := CASE NEW.target_kind
            WHEN 'user' THEN identity_canonical(NEW.target)
            WHEN 'domain' THEN domain_canonical(NEW.target)
            WHEN 'number' THEN number_canonical(NEW.target)
            ELSE NEW.target
        END;
        IF NEW.target_kind = 'user' AND strpos(NEW.target, '@') = 0 THEN
            RAISE EXCEPTION USING ERRCODE = 'check_violation',
                TABLE = 'rights_rule', COLUMN = 'target',
                MESSAGE = format('target %s is a domain, not a user', shown(NEW.target)),
                HINT = 'Write user@domain, or target_kind ''domain''.';
        END IF;
    END IF;
    IF cardinality(NEW.methods) = 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation',
            TABLE = 'rights_rule', COLUMN = 'methods',
            MESSAGE = 'methods is empty, so the rule would match nothing',
            HINT = 'Write NULL for every method, or name some: {INVITE,MESSAGE}.';
    END IF;
    FOREACH method IN ARRAY coalesce(NEW.methods, '{}') LOOP
        IF method IS NULL OR btrim(method) !~* '^[A-Z][A-Z0-9_-]{0,31}$' COLLATE "C" THEN
            RAISE EXCEPTION USING ERRCODE = 'check_violation',
                TABLE = 'rights_rule', COLUMN = 'methods',
                MESSAGE = format('%s is not a SIP method', coalesce(shown(method), 'NULL')),
                HINT = 'Write names such as {INVITE,MESSAGE}; NULL in place of the whole list for '
                       'every method.';
        END IF;
    END LOOP;
    NEW.methods := (SELECT array_agg(DISTINCT u ORDER BY u)
                    FROM (SELECT upper(btrim(m) COLLATE "C") FROM unnest(NEW.methods) AS m) l (u));
    -- Whole seconds on the wire: a rule must not seem to hold longer than it does.
    NEW.valid_from := date_trunc('second', NEW.valid_from);
    NEW.valid_until := date_trunc('second', NEW.valid_until);
    RETURN NEW;
END
$$;


DROP FUNCTION service_canonical(text);

COMMENT ON TABLE rights_rule IS
    'What users may do. Of all rules that a user has (everyone''s, its domain''s, its groups'', '
    'its own), ordered by position, then id, the first that matches decides; when none does, the '
    'request is denied.';
COMMENT ON COLUMN rights_rule.who_kind IS 'Whose rule it is: everyone, domain, group or user.';
COMMENT ON COLUMN rights_rule.who IS 'The domain, group or user (user@domain); NULL for everyone.';
COMMENT ON COLUMN rights_rule.target_kind IS
    'What the request will reach: any; ours (a user of our domains); user; domain; number (a '
    'telephone number that begins with target).';
COMMENT ON COLUMN rights_rule.target IS
    'user@domain, domain, or the beginning of a number; NULL for any and ours.';
COMMENT ON COLUMN rights_rule.calls_per_minute IS
    'Bound on calls that this rule allows to one user in a minute; NULL: none.';

COMMIT;
