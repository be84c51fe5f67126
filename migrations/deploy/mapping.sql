-- Deploy holdline:mapping to pg
BEGIN;
SET LOCAL search_path = public;

CREATE TABLE sip_user (
    identity text COLLATE "C" PRIMARY KEY,
    domain text COLLATE "C" NOT NULL GENERATED ALWAYS AS (split_part(identity, '@', 2)) STORED
        REFERENCES domain (name),
    state text NOT NULL DEFAULT 'enabled',
    display_name text,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT sip_user_identity_must_be_user_at_domain CHECK (
        identity ~ '^([A-Za-z0-9_.!~*''()&=+$,;?/-]|%[0-9A-F]{2})+@[a-z0-9.-]+$'
        AND octet_length(identity) <= 254),
    CONSTRAINT sip_user_state_must_be_enabled_or_disabled CHECK (state IN ('enabled', 'disabled')),
    CONSTRAINT sip_user_display_name_must_be_1_to_128_without_controls CHECK (
        display_name ~ '^[^\u0001-\u001f\u007f-\u009f]{1,128}$' COLLATE "C")
);

-- A domain is deleted only when no user is left in it: this is the search for one.
CREATE INDEX sip_user_domain ON sip_user (domain);

COMMENT ON TABLE sip_user IS
    'Users of our domains. The first mapping to one makes its row; deleting the row deletes its '
    'mappings and bindings.';
COMMENT ON COLUMN sip_user.identity IS
    'user@domain in canonical form; other spellings become that on the way in.';
COMMENT ON COLUMN sip_user.domain IS 'The domain of the identity; it must be one of table domain.';
COMMENT ON COLUMN sip_user.state IS
    'enabled or disabled. A disabled user may do nothing and is not reached; its bindings are '
    'gone.';
COMMENT ON COLUMN sip_user.display_name IS
    'Name for people, at most 128 characters; may be missing.';
COMMENT ON COLUMN sip_user.created_at IS 'When the row was inserted.';
COMMENT ON INDEX sip_user_domain IS
    'Is there a user left in a domain that is being deleted (foreign key).';

CREATE TABLE cn_mapping (
    trust_store text COLLATE "C" NOT NULL DEFAULT 'device' REFERENCES trust_store (name),
    cn text COLLATE "C" NOT NULL,
    identity text COLLATE "C" NOT NULL,
    -- Deferred, because one statement after the rows makes the users of all of them; row by row
    -- would cost a load of a million rows a million statements.
    user_identity text COLLATE "C"
        REFERENCES sip_user (identity) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (trust_store, cn, identity),
    CONSTRAINT cn_mapping_cn_must_be_1_to_64_without_controls CHECK (
        cn ~ '^[^\u0001-\u001f\u007f-\u009f]{1,64}$' COLLATE "C" AND octet_length(cn) <= 192),
    CONSTRAINT cn_mapping_identity_must_be_user_at_domain_or_domain CHECK (
        identity ~ '^(([A-Za-z0-9_.!~*''()&=+$,;?/-]|%[0-9A-F]{2})+@)?[a-z0-9.-]+$'
        AND octet_length(identity) <= 254),
    CONSTRAINT cn_mapping_user_identity_must_be_the_identity CHECK (user_identity = identity)
);

-- The primary key, in byte order, serves PEER's read by (trust_store, cn) and the fill by key
-- ranges.
CREATE INDEX cn_mapping_user_identity ON cn_mapping (user_identity) WHERE user_identity IS NOT NULL;
CREATE INDEX cn_mapping_identity_without_user ON cn_mapping (identity) WHERE user_identity IS NULL;

COMMENT ON TABLE cn_mapping IS
    'Which certificate may act as whom: (trust store, CN) to any number of users and whole '
    'domains. INSERT INTO cn_mapping (cn, identity) VALUES (''0004F224A6AC'', '
    '''alice@example.org'') is all that a phone needs.';
COMMENT ON COLUMN cn_mapping.trust_store IS 'The trust store whose certificates are meant.';
COMMENT ON COLUMN cn_mapping.cn IS
    'Common name in the store''s canonical form; other spellings become that on the way in. A '
    'DELETE must name the canonical form: device_cn(''00:04:f2:24:a6:ac'') gives it, and '
    'retire_device() takes any spelling.';
COMMENT ON COLUMN cn_mapping.identity IS
    'user@domain, or a whole domain; in any domain, ours or not. Made canonical on the way in.';
COMMENT ON COLUMN cn_mapping.user_identity IS
    'The identity again where it is a user of a domain of ours: then the user''s row exists. Set '
    'by the database.';
COMMENT ON COLUMN cn_mapping.created_at IS 'When the row was inserted.';
COMMENT ON INDEX cn_mapping_user_identity IS
    'The mappings of a user: deleting one (foreign key), and who holds it.';
COMMENT ON INDEX cn_mapping_identity_without_user IS
    'The mappings of a domain or a foreign user: who holds it, and linking those of a user whose '
    'domain became ours.';

CREATE FUNCTION sip_user_make_canonical() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    NEW.identity := identity_canonical(NEW.identity);
    IF strpos(NEW.identity, '@') = 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', TABLE = 'sip_user', COLUMN = 'identity',
            MESSAGE = format('%s is a domain, not a user', shown(NEW.identity)),
            HINT = format('Write user@%s; a domain of ours goes into table domain.', NEW.identity);
    END IF;
    IF NOT EXISTS (SELECT FROM domain WHERE name = split_part(NEW.identity, '@', 2)) THEN
        RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation',
            TABLE = 'sip_user', COLUMN = 'identity',
            MESSAGE = format('%s is not one of our domains',
                             shown(split_part(NEW.identity, '@', 2))),
            HINT = format('If it is to be ours: INSERT INTO domain (name) VALUES (%L)',
                          split_part(NEW.identity, '@', 2));
    END IF;
    RETURN NEW;
END
$$;

COMMENT ON FUNCTION sip_user_make_canonical() IS
    'Makes a user''s identity canonical on the way in; its domain must be ours.';

CREATE TRIGGER canonical BEFORE INSERT OR UPDATE OF identity ON sip_user
    FOR EACH ROW EXECUTE FUNCTION sip_user_make_canonical();

-- A user without a row that is held through its whole domain or a certificate name has its domain's
-- rights. So deleting the row of a disabled user would give back what disabling took.
CREATE FUNCTION sip_user_keep_disabled() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF OLD.state = 'disabled' THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', TABLE = 'sip_user', COLUMN = 'state',
            MESSAGE = format('user %s is disabled and cannot be deleted or renamed: who holds its '
                             'whole domain could '
                             'act as it again', shown(OLD.identity)),
            HINT = 'Delete its rows of cn_mapping and leave the user disabled; or set state to '
                   'enabled first.';
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END
$$;

COMMENT ON FUNCTION sip_user_keep_disabled() IS 'Refuses to delete or rename a disabled user.';

CREATE TRIGGER keep_disabled BEFORE DELETE ON sip_user
    FOR EACH ROW EXECUTE FUNCTION sip_user_keep_disabled();
CREATE TRIGGER keep_disabled_name BEFORE UPDATE OF identity ON sip_user
    FOR EACH ROW WHEN (OLD.identity IS DISTINCT FROM NEW.identity)
    EXECUTE FUNCTION sip_user_keep_disabled();

-- A mapping may be older than the day its domain became ours: the user's row takes it over.
CREATE FUNCTION sip_user_take_mappings() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM new_rows n
               JOIN cn_mapping m ON m.identity = n.identity AND m.user_identity IS NULL) THEN
        UPDATE cn_mapping m SET user_identity = n.identity
        FROM new_rows n WHERE m.identity = n.identity AND m.user_identity IS NULL;
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION sip_user_take_mappings() IS
    'Links mappings that are older than their user''s row.';

CREATE TRIGGER take_mappings AFTER INSERT ON sip_user REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION sip_user_take_mappings();

CREATE FUNCTION cn_mapping_make_canonical() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    form text;
    prefixes text[];
    host text;
    ours boolean;
BEGIN
    IF NEW.trust_store IS NULL OR NEW.cn IS NULL OR NEW.identity IS NULL THEN
        RETURN NEW; -- NOT NULL says it
    END IF;
    SELECT s.cn_form, s.cn_prefixes INTO form,
    prefixes FROM trust_store s WHERE s.name = NEW.trust_store;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation',
            TABLE = 'cn_mapping', COLUMN = 'trust_store',
            MESSAGE = format('there is no trust store %s', shown(NEW.trust_store)),
            HINT = format('Write one of: %s.',
                          (SELECT string_agg(name, ', ' ORDER BY name) FROM trust_store));
    END IF;
    NEW.cn := cn_canonical(form, prefixes, NEW.cn);
    NEW.identity := identity_canonical(NEW.identity);
    host := substr(NEW.identity, strpos(NEW.identity, '@') + 1);
    ours := EXISTS (SELECT FROM domain WHERE name = host);
    -- A word without dot is far more often a user whose domain was forgotten than a domain.
    IF host = NEW.identity AND strpos(host, '.') = 0 AND NOT ours THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation',
            TABLE = 'cn_mapping', COLUMN = 'identity',
            MESSAGE = format('identity %s has no domain', shown(NEW.identity)),
            HINT = format('Write user@domain: %s@example.org. A whole domain of one word must be '
                          'in table domain first.',
                          NEW.identity);
    END IF;
    NEW.user_identity := CASE WHEN host <> NEW.identity AND ours THEN NEW.identity END;
    RETURN NEW;
END
$$;

COMMENT ON FUNCTION cn_mapping_make_canonical() IS
    'Makes CN and identity of a mapping canonical on the way in and sees whether the identity is a '
    'user of ours.';

CREATE TRIGGER canonical BEFORE INSERT OR UPDATE ON cn_mapping
    FOR EACH ROW EXECUTE FUNCTION cn_mapping_make_canonical();

CREATE FUNCTION cn_mapping_make_users() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    -- In order, so that two loads that overlap wait for each other and never deadlock.
    INSERT INTO sip_user (identity)
    SELECT DISTINCT n.user_identity FROM new_rows n WHERE n.user_identity IS NOT NULL ORDER BY 1
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION cn_mapping_make_users() IS
    'Makes the rows of users that a statement''s mappings name and that are absent.';

CREATE TRIGGER make_users AFTER INSERT ON cn_mapping REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION cn_mapping_make_users();
CREATE TRIGGER make_users_of_update AFTER UPDATE ON cn_mapping REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION cn_mapping_make_users();

-- CNs that stand in a store were read by its form: another form would make each of them a name that
-- no certificate has.
CREATE FUNCTION trust_store_keep_form() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM cn_mapping m WHERE m.trust_store = OLD.name) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation',
            TABLE = 'trust_store', COLUMN = 'cn_form',
            MESSAGE = format('trust store %s has mappings, so its cn_form cannot change',
                             shown(OLD.name)),
            HINT = 'Delete its mappings first, or make another trust store.';
    END IF;
    RETURN NEW;
END
$$;

COMMENT ON FUNCTION trust_store_keep_form() IS
    'Refuses to change how CNs are read while there are some.';

CREATE TRIGGER keep_form BEFORE UPDATE OF cn_form ON trust_store
    FOR EACH ROW WHEN (OLD.cn_form IS DISTINCT FROM NEW.cn_form)
    EXECUTE FUNCTION trust_store_keep_form();

REVOKE ALL ON FUNCTION sip_user_make_canonical(), sip_user_keep_disabled(),
    sip_user_take_mappings(), cn_mapping_make_canonical(), cn_mapping_make_users(),
    trust_store_keep_form() FROM PUBLIC;
GRANT SELECT ON sip_user, cn_mapping TO holdline_mapperd;
GRANT SELECT, INSERT, UPDATE, DELETE ON sip_user, cn_mapping TO holdline_admin;

COMMIT;
