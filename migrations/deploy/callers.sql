-- Deploy holdline:callers to pg
-- Rules for callers who are not ours, and for services (RFC 5031). mapperd takes who is not ours for a
-- member of the group `foreign`, or `anonymous`, so that all that is true of groups is true of them.
BEGIN;
SET LOCAL search_path = public;

DO $$
BEGIN
    IF EXISTS (SELECT FROM user_group WHERE name IN ('foreign', 'anonymous')) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation',
            TABLE = 'user_group', COLUMN = 'name',
            MESSAGE = 'there is a group named foreign or anonymous already',
            HINT = 'These names now mean callers who are not ours: insert a group of another name, '
                   'move members and rules, delete the old one, and migrate again.';
    END IF;
END
$$;

-- What is shipped is nobody's change: not for the audit, and a mapperd that knows these rules fills
-- its store anew.
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
    INSERT INTO user_group (name, description) VALUES
        ('foreign', 'Everyone with an identity in a domain that is not ours, proved by certificate, '
                    'route or trusted peer. Has no rows in user_group_member.'),
        ('anonymous', 'Everyone who has proved no identity. Has no rows in user_group_member.');
    INSERT INTO rights_rule (position, who_kind, who, target_kind, effect)
    VALUES (1000, 'group', 'foreign', 'ours', 'allow');
    FOR held IN SELECT * FROM pg_temp.held_trigger WHERE tgenabled <> 'D' LOOP
        EXECUTE format('ALTER TABLE %s ENABLE %s TRIGGER %I', held.place,
            CASE held.tgenabled WHEN 'A' THEN 'ALWAYS' WHEN 'R' THEN 'REPLICA' ELSE '' END, held.tgname);
    END LOOP;
END
$$;

ALTER TABLE user_group_member
    ADD CONSTRAINT user_group_member_users_are_never_foreign_or_anonymous CHECK (
        group_name NOT IN ('foreign', 'anonymous'));
ALTER TABLE tenant
    ADD CONSTRAINT tenant_groups_must_not_be_foreign_or_anonymous CHECK (
        NOT groups && ARRAY['foreign', 'anonymous']::text[]);

CREATE FUNCTION service_canonical(service text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    name text := regexp_replace(lower(btrim(service) COLLATE "C"), '^urn:service:', '');
BEGIN
    IF name !~ '^[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63}){0,7}$' COLLATE "C" THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation',
            MESSAGE = format('%s is not a service', shown(service)),
            HINT = 'Write it as in RFC 5031: sos, sos.fire or urn:service:sos.police.';
    END IF;
    RETURN name;
END
$$;
COMMENT ON FUNCTION service_canonical(text) IS
    'A service of RFC 5031 in lower case, without urn:service:.';
REVOKE ALL ON FUNCTION service_canonical(text) FROM PUBLIC;

ALTER TABLE rights_rule
    DROP CONSTRAINT rights_rule_target_kind_must_be_any_ours_user_domain_or_number,
    DROP CONSTRAINT rights_rule_target_must_be_of_its_kind;
ALTER TABLE rights_rule
    ADD CONSTRAINT rights_rule_target_kind_must_be_ours_user_domain_number_service CHECK (
        target_kind IN ('any', 'ours', 'user', 'domain', 'number', 'service')),
    ADD CONSTRAINT rights_rule_target_must_be_of_its_kind CHECK (
        CASE target_kind
            WHEN 'user' THEN target ~ '^([A-Za-z0-9_.!~*''()&=+$,;?/-]|%[0-9A-F]{2})+@[a-z0-9.-]+$'
            WHEN 'domain' THEN target ~ '^[a-z0-9.-]+$'
            WHEN 'number' THEN target ~ '^\+?[0-9]{1,32}$'
            WHEN 'service' THEN target ~ '^[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63}){0,7}$'
            ELSE true
        END AND octet_length(target) <= 254);

CREATE OR REPLACE FUNCTION rights_rule_make_canonical() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    method text;
BEGIN
    -- Those who are not ours are two groups without members; written so, they need no second word.
    IF NEW.who_kind IN ('foreign', 'anonymous') AND NEW.who IS NULL THEN
        NEW.who := NEW.who_kind;
        NEW.who_kind := 'group';
    END IF;
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
            WHEN 'service' THEN service_canonical(NEW.target)
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


COMMENT ON TABLE rights_rule IS
    'What callers may do. Of all rules that one has (everyone''s, its domain''s, its groups'', its '
    'own), ordered by position, then numbers before other targets and the longest number first, '
    'then id, the first that matches decides; when none does, the request is denied.';
COMMENT ON COLUMN rights_rule.who_kind IS
    'Whose rule it is: everyone (all users of our domains), domain, group or user; foreign and '
    'anonymous, for who is not ours, become the groups of these names.';
COMMENT ON COLUMN rights_rule.who IS
    'The domain, group or user (user@domain); NULL for everyone. The group foreign: who has an '
    'identity in a domain that is not ours; anonymous: who has proved none.';
COMMENT ON COLUMN rights_rule.target_kind IS
    'What the request will reach: any; ours (a user of our domains); user; domain; number (a '
    'telephone number that begins with target); service (RFC 5031: target and what is below it).';
COMMENT ON COLUMN rights_rule.target IS
    'user@domain, domain, the beginning of a number, or a service (sos, sos.fire); NULL for any and '
    'ours.';
COMMENT ON COLUMN rights_rule.calls_per_minute IS
    'Bound on calls that this rule lets through in a minute: to a user on all its phones together, '
    'to a device for all names that have no row in sip_user. NULL: none.';

COMMIT;
