-- Deploy holdline:rights to pg
BEGIN;
SET LOCAL search_path = public;

CREATE TABLE user_group (
    name text COLLATE "C" PRIMARY KEY,
    description text,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT user_group_name_must_be_1_to_64_of_letters_digits_dot_hyphen CHECK (
        name ~ '^[A-Za-z0-9_.-]{1,64}$'),
    CONSTRAINT user_group_description_must_be_at_most_512_characters CHECK (
        length(description) <= 512)
);

COMMENT ON TABLE user_group IS 'Groups of users, for rights rules.';
COMMENT ON COLUMN user_group.name IS 'Letters, digits, _, . and -, at most 64; case counts.';
COMMENT ON COLUMN user_group.description IS 'For people; may be missing.';
COMMENT ON COLUMN user_group.created_at IS 'When the row was inserted.';

CREATE TABLE user_group_member (
    group_name text COLLATE "C" NOT NULL REFERENCES user_group (name) ON DELETE CASCADE,
    identity text COLLATE "C" NOT NULL REFERENCES sip_user (identity) ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (identity, group_name)
);

-- The primary key serves RIGHTS: the groups of a user.
CREATE INDEX user_group_member_group_name ON user_group_member (group_name);

COMMENT ON TABLE user_group_member IS
    'Which users are in which groups. The user must have a row in sip_user.';
COMMENT ON COLUMN user_group_member.group_name IS 'The group.';
COMMENT ON COLUMN user_group_member.identity IS
    'The user, user@domain; made canonical on the way in.';
COMMENT ON COLUMN user_group_member.created_at IS 'When the row was inserted.';
COMMENT ON INDEX user_group_member_group_name IS
    'The members of a group: listing and deleting it (foreign key).';

CREATE FUNCTION user_group_member_make_canonical() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    NEW.identity := identity_canonical(NEW.identity);
    RETURN NEW;
END
$$;

COMMENT ON FUNCTION user_group_member_make_canonical() IS
    'Makes a member''s identity canonical on the way in.';

CREATE TRIGGER canonical BEFORE INSERT OR UPDATE OF identity ON user_group_member
    FOR EACH ROW EXECUTE FUNCTION user_group_member_make_canonical();

CREATE TABLE rights_rule (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    position integer NOT NULL DEFAULT 100,
    who_kind text NOT NULL DEFAULT 'everyone',
    who text COLLATE "C",
    trust_store text COLLATE "C" REFERENCES trust_store (name),
    methods text[],
    target_kind text NOT NULL DEFAULT 'any',
    target text COLLATE "C",
    effect text NOT NULL,
    valid_from timestamptz,
    valid_until timestamptz,
    calls_per_minute integer,
    created_at timestamptz NOT NULL DEFAULT now(),
    who_domain text COLLATE "C"
        GENERATED ALWAYS AS (CASE WHEN who_kind = 'domain' THEN who END) STORED
        REFERENCES domain (name),
    who_group text COLLATE "C"
        GENERATED ALWAYS AS (CASE WHEN who_kind = 'group' THEN who END) STORED
        REFERENCES user_group (name),
    who_user text COLLATE "C"
        GENERATED ALWAYS AS (CASE WHEN who_kind = 'user' THEN who END) STORED
        REFERENCES sip_user (identity) ON DELETE CASCADE,
    CONSTRAINT rights_rule_who_kind_must_be_everyone_domain_group_or_user CHECK (
        who_kind IN ('everyone', 'domain', 'group', 'user')),
    CONSTRAINT rights_rule_who_must_be_null_for_everyone_and_only_then CHECK (
        (who_kind = 'everyone') = (who IS NULL)),
    CONSTRAINT rights_rule_methods_must_be_1_to_32_names CHECK (
        array_to_string(methods, ',', '?')
        ~ '^[A-Z][A-Z0-9_-]{0,31}(,[A-Z][A-Z0-9_-]{0,31}){0,31}$' COLLATE "C"),
    CONSTRAINT rights_rule_target_kind_must_be_any_ours_user_domain_or_number CHECK (
        target_kind IN ('any', 'ours', 'user', 'domain', 'number')),
    CONSTRAINT rights_rule_target_must_be_null_for_any_and_ours_and_only_then CHECK (
        (target_kind IN ('any', 'ours')) = (target IS NULL)),
    CONSTRAINT rights_rule_target_must_be_of_its_kind CHECK (
        CASE target_kind
            WHEN 'user' THEN target ~ '^([A-Za-z0-9_.!~*''()&=+$,;?/-]|%[0-9A-F]{2})+@[a-z0-9.-]+$'
            WHEN 'domain' THEN target ~ '^[a-z0-9.-]+$'
            WHEN 'number' THEN target ~ '^\+?[0-9]{1,32}$'
            ELSE true
        END AND octet_length(target) <= 254),
    CONSTRAINT rights_rule_effect_must_be_allow_or_deny CHECK (effect IN ('allow', 'deny')),
    -- mapperd sends whole seconds; what lies outside of them could not be sent.
    CONSTRAINT rights_rule_valid_from_must_be_after_1970 CHECK (
        valid_from > '1970-01-01 00:00:00+00' AND valid_from < '9999-01-01 00:00:00+00'),
    CONSTRAINT rights_rule_valid_until_must_be_later_than_valid_from CHECK (
        valid_until > coalesce(valid_from,
        '1970-01-01 00:00:00+00') AND valid_until < '9999-01-01 00:00:00+00'),
    CONSTRAINT rights_rule_calls_per_minute_must_be_1_to_1000000_of_an_allow CHECK (
        calls_per_minute IS NULL
        OR calls_per_minute >= 1 AND calls_per_minute <= 1000000 AND effect = 'allow')
);

-- RIGHTS: the rules of one scope in order of decision. mapperd keeps each scope as one block.
CREATE INDEX rights_rule_scope ON rights_rule (who_kind, who, position, id);
CREATE INDEX rights_rule_who_domain ON rights_rule (who_domain) WHERE who_domain IS NOT NULL;
CREATE INDEX rights_rule_who_group ON rights_rule (who_group) WHERE who_group IS NOT NULL;
CREATE INDEX rights_rule_who_user ON rights_rule (who_user) WHERE who_user IS NOT NULL;
CREATE INDEX rights_rule_trust_store ON rights_rule (trust_store) WHERE trust_store IS NOT NULL;

COMMENT ON TABLE rights_rule IS
    'What users may do. Of all rules that a user has (everyone''s, its domain''s, its groups'', '
    'its own), ordered by position, then id, the first that matches decides; when none does, the '
    'request is denied.';
COMMENT ON COLUMN rights_rule.id IS 'Named in logs and by mapctl check.';
COMMENT ON COLUMN rights_rule.position IS
    'Lower is earlier. The shipped rule stands at 1000, a new one at 100.';
COMMENT ON COLUMN rights_rule.who_kind IS 'Whose rule it is: everyone, domain, group or user.';
COMMENT ON COLUMN rights_rule.who IS 'The domain, group or user (user@domain); NULL for everyone.';
COMMENT ON COLUMN rights_rule.trust_store IS
    'Matches only devices whose certificate is of this trust store; NULL: any device.';
COMMENT ON COLUMN rights_rule.methods IS
    'SIP methods, such as {INVITE,MESSAGE}; NULL: every method.';
COMMENT ON COLUMN rights_rule.target_kind IS
    'What the request will reach: any; ours (a user of our domains); user; domain; number (a '
    'telephone number that begins with target).';
COMMENT ON COLUMN rights_rule.target IS
    'user@domain, domain, or the beginning of a number; NULL for any and ours.';
COMMENT ON COLUMN rights_rule.effect IS 'allow or deny.';
COMMENT ON COLUMN rights_rule.valid_from IS
    'The rule does not match before this moment; NULL: no beginning.';
COMMENT ON COLUMN rights_rule.valid_until IS
    'The rule does not match from this moment on; NULL: no end.';
COMMENT ON COLUMN rights_rule.calls_per_minute IS
    'Bound on calls that this rule allows to one user in a minute; NULL: none.';
COMMENT ON COLUMN rights_rule.created_at IS 'When the row was inserted.';
COMMENT ON COLUMN rights_rule.who_domain IS
    'who, where it is a domain: it must be one of table domain.';
COMMENT ON COLUMN rights_rule.who_group IS
    'who, where it is a group: the group cannot be deleted while it has rules.';
COMMENT ON COLUMN rights_rule.who_user IS 'who, where it is a user: the rule goes with the user.';
COMMENT ON INDEX rights_rule_scope IS
    'The rules of one scope in order of decision: RIGHTS and the fill.';
COMMENT ON INDEX rights_rule_who_domain IS
    'The rules of a domain that is being deleted (foreign key).';
COMMENT ON INDEX rights_rule_who_group IS
    'The rules of a group that is being deleted (foreign key).';
COMMENT ON INDEX rights_rule_who_user IS 'The rules of a user that is being deleted (foreign key).';
COMMENT ON INDEX rights_rule_trust_store IS
    'The rules of a trust store that is being deleted (foreign key).';

CREATE FUNCTION rights_rule_make_canonical() RETURNS trigger
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

COMMENT ON FUNCTION rights_rule_make_canonical() IS
    'Makes the values of a rule canonical on the way in.';

CREATE TRIGGER canonical BEFORE INSERT OR UPDATE ON rights_rule
    FOR EACH ROW EXECUTE FUNCTION rights_rule_make_canonical();

INSERT INTO rights_rule (position, who_kind, target_kind, effect)
VALUES (1000, 'everyone', 'ours', 'allow');

REVOKE ALL ON FUNCTION user_group_member_make_canonical(), rights_rule_make_canonical() FROM PUBLIC;
GRANT SELECT ON user_group, user_group_member, rights_rule TO holdline_mapperd;
GRANT SELECT, INSERT, UPDATE, DELETE ON user_group, user_group_member,
    rights_rule TO holdline_admin;

COMMIT;
