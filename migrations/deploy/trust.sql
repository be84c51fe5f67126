-- Deploy holdline:trust to pg
BEGIN;
SET LOCAL search_path = public;

CREATE TABLE trust_store (
    name text COLLATE "C" PRIMARY KEY,
    cn_form text NOT NULL DEFAULT 'exact',
    cn_prefixes text[] NOT NULL DEFAULT '{}',
    state text NOT NULL DEFAULT 'enabled',
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT trust_store_name_must_be_1_to_32_of_a_z_0_9_underscore_hyphen CHECK (
        name ~ '^[a-z0-9_-]{1,32}$'),
    CONSTRAINT trust_store_cn_form_must_be_mac_or_exact CHECK (cn_form IN ('mac', 'exact')),
    CONSTRAINT trust_store_cn_prefixes_need_cn_form_mac CHECK (
        cn_form = 'mac' OR cn_prefixes = '{}'),
    CONSTRAINT trust_store_cn_prefixes_must_be_at_most_16_without_null CHECK (
        cardinality(cn_prefixes) <= 16 AND array_position(cn_prefixes, NULL) IS NULL
        AND octet_length(array_to_string(cn_prefixes, '')) <= 512),
    CONSTRAINT trust_store_state_must_be_enabled_or_disabled CHECK (
        state IN ('enabled', 'disabled'))
);

COMMENT ON TABLE trust_store IS
    'Named sets of certificate authorities. A CN means something only inside its store. The '
    'proxy''s configuration says which certificates are in it; this row says how its CNs are read '
    'and whether it is trusted at all.';
COMMENT ON COLUMN trust_store.name IS
    'Name as the proxy''s configuration has it: a-z, 0-9, _ and -, at most 32.';
COMMENT ON COLUMN trust_store.cn_form IS
    'mac: CNs are MAC addresses, kept as twelve upper-case hexadecimal digits. exact: CNs are '
    'compared octet by octet.';
COMMENT ON COLUMN trust_store.cn_prefixes IS
    'Texts that are cut from the front of a CN before it is read as a MAC address, such as {SEP}; '
    'ASCII case is ignored.';
COMMENT ON COLUMN trust_store.state IS
    'enabled or disabled. No device of a disabled store may do anything, whatever its mappings or '
    'certificate names say.';
COMMENT ON COLUMN trust_store.created_at IS 'When the row was inserted.';

INSERT INTO trust_store (name, cn_form) VALUES ('device', 'mac'), ('corp', 'exact');

CREATE TABLE domain (
    name text COLLATE "C" PRIMARY KEY,
    state text NOT NULL DEFAULT 'enabled',
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT domain_name_must_be_a_host_name_in_lower_case CHECK (name ~ '^[a-z0-9.-]{1,253}$'),
    CONSTRAINT domain_state_must_be_enabled_or_disabled CHECK (state IN ('enabled', 'disabled'))
);

COMMENT ON TABLE domain IS
    'The SIP domains that are ours. This table alone decides it; nothing else adds a row. Users '
    'exist only in these.';
COMMENT ON COLUMN domain.name IS
    'Host name in lower case without trailing dot; other spellings become that on the way in.';
COMMENT ON COLUMN domain.state IS
    'enabled or disabled. No user of a disabled domain may do anything or be reached.';
COMMENT ON COLUMN domain.created_at IS 'When the row was inserted.';

CREATE FUNCTION domain_make_canonical() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    NEW.name := domain_canonical(NEW.name);
    RETURN NEW;
END
$$;

COMMENT ON FUNCTION domain_make_canonical() IS 'Makes a domain''s name canonical on the way in.';

CREATE TRIGGER canonical BEFORE INSERT OR UPDATE OF name ON domain
    FOR EACH ROW EXECUTE FUNCTION domain_make_canonical();

-- A certificate's own names need no mapping, so what is disabled stays only as long as its row
-- does.
CREATE FUNCTION trust_store_keep_disabled() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF OLD.state = 'disabled' THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', TABLE = 'trust_store', COLUMN = 'state',
            MESSAGE = format('trust store %s is disabled and cannot be deleted or renamed: its '
                             'certificates could be '
                             'accepted by their names again', shown(OLD.name)),
            HINT = 'Leave the row as it is. To give the store up, take it out of every proxy''s '
                   'configuration, '
                   'set state to enabled, then delete the row.';
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END
$$;

COMMENT ON FUNCTION trust_store_keep_disabled() IS
    'Refuses to delete or rename a disabled trust store.';

CREATE TRIGGER keep_disabled BEFORE DELETE ON trust_store
    FOR EACH ROW EXECUTE FUNCTION trust_store_keep_disabled();
CREATE TRIGGER keep_disabled_name BEFORE UPDATE OF name ON trust_store
    FOR EACH ROW WHEN (OLD.name IS DISTINCT FROM NEW.name)
    EXECUTE FUNCTION trust_store_keep_disabled();

REVOKE ALL ON FUNCTION domain_make_canonical(), trust_store_keep_disabled() FROM PUBLIC;
GRANT SELECT ON trust_store, domain TO holdline_mapperd;
GRANT SELECT, INSERT, UPDATE, DELETE ON trust_store, domain TO holdline_admin;

COMMIT;
