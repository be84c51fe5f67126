-- Deploy holdline:binding to pg
BEGIN;
SET LOCAL search_path = public;

CREATE TABLE binding (
    aor text COLLATE "C" NOT NULL,
    device_key text COLLATE "C" NOT NULL,
    instance_key text COLLATE "C" NOT NULL,
    store text COLLATE "C" NOT NULL,
    cn text COLLATE "C" NOT NULL,
    ground text NOT NULL,
    entry text COLLATE "C" NOT NULL,
    instance text NOT NULL DEFAULT '',
    reg_id integer NOT NULL DEFAULT 0,
    contact text NOT NULL,
    expires_at timestamptz NOT NULL,
    q integer NOT NULL DEFAULT 1000,
    call_id text NOT NULL,
    cseq bigint NOT NULL,
    flow text NOT NULL,
    path text NOT NULL DEFAULT '',
    version_ms bigint NOT NULL,
    version_by integer NOT NULL,
    removed boolean NOT NULL DEFAULT false,
    PRIMARY KEY (aor, device_key, instance_key),
    -- An index entry ends near 2,700 octets and an argument on mapperd's wire at 4,096.
    CONSTRAINT binding_aor_must_be_1_to_254_octets CHECK (octet_length(aor) BETWEEN 1 AND 254),
    CONSTRAINT binding_device_key_must_be_1_to_300_octets CHECK (
        octet_length(device_key) BETWEEN 1 AND 300),
    CONSTRAINT binding_instance_key_must_be_i_or_c_and_at_most_1100_octets CHECK (
        instance_key ~ '^[ic]:' AND octet_length(instance_key) <= 1100),
    CONSTRAINT binding_store_must_be_at_most_32_octets CHECK (octet_length(store) <= 32),
    CONSTRAINT binding_cn_must_be_at_most_192_octets CHECK (octet_length(cn) <= 192),
    CONSTRAINT binding_ground_must_be_mapping_name_or_digest CHECK (
        ground IN ('mapping', 'name', 'digest')),
    CONSTRAINT binding_entry_must_be_at_most_254_octets CHECK (octet_length(entry) <= 254),
    CONSTRAINT binding_instance_must_be_at_most_512_octets CHECK (octet_length(instance) <= 512),
    CONSTRAINT binding_reg_id_must_not_be_negative CHECK (reg_id >= 0),
    CONSTRAINT binding_contact_must_be_1_to_2048_octets CHECK (
        octet_length(contact) BETWEEN 1 AND 2048),
    CONSTRAINT binding_q_must_be_0_to_1000 CHECK (q BETWEEN 0 AND 1000),
    CONSTRAINT binding_call_id_must_be_1_to_512_octets CHECK (
        octet_length(call_id) BETWEEN 1 AND 512),
    CONSTRAINT binding_cseq_must_be_0_to_4294967295 CHECK (cseq BETWEEN 0 AND 4294967295),
    CONSTRAINT binding_flow_must_be_at_most_128_octets CHECK (octet_length(flow) <= 128),
    CONSTRAINT binding_path_must_be_at_most_2048_octets CHECK (octet_length(path) <= 2048),
    CONSTRAINT binding_version_must_not_be_negative CHECK (version_ms >= 0 AND version_by >= 0)
);

-- The primary key, in byte order, serves LOCATE's read by AoR and the fill by key ranges.
CREATE INDEX binding_device ON binding (store, cn) WHERE NOT removed;

COMMENT ON TABLE binding IS
    'Registrations: which device is reached for an address of record. Written by mapperd alone, on '
    'the primary. A removed binding stays as a tombstone for the longest expiry; a missing row '
    'removes nothing.';
COMMENT ON COLUMN binding.aor IS 'Address of record, user@domain in canonical form.';
COMMENT ON COLUMN binding.device_key IS 'The device, as the proxy names it; outlives connections.';
COMMENT ON COLUMN binding.instance_key IS
    'i:INSTANCE:REG_ID where the phone sent +sip.instance, else c:CONTACT URI.';
COMMENT ON COLUMN binding.store IS 'Trust store of the device''s certificate; empty for digest.';
COMMENT ON COLUMN binding.cn IS 'Canonical CN of the device''s certificate; empty for digest.';
COMMENT ON COLUMN binding.ground IS
    'Why the device held the address of record: mapping (while a mapping says so), name (of its '
    'certificate), digest.';
COMMENT ON COLUMN binding.entry IS
    'The identity that grounds it: the user itself or its whole domain.';
COMMENT ON COLUMN binding.instance IS '+sip.instance of the Contact (RFC 5626), or empty.';
COMMENT ON COLUMN binding.reg_id IS 'reg-id of the Contact (RFC 5626), or 0.';
COMMENT ON COLUMN binding.contact IS 'Contact URI with its parameters, as registered.';
COMMENT ON COLUMN binding.expires_at IS
    'When the stored binding ends; it runs ahead of what the phone was granted.';
COMMENT ON COLUMN binding.q IS 'Preference in thousandths, 0 to 1000.';
COMMENT ON COLUMN binding.call_id IS
    'Call-ID of the REGISTER; the registrar compares it (RFC 3261 10.3).';
COMMENT ON COLUMN binding.cseq IS
    'CSeq of the REGISTER; the registrar compares it (RFC 3261 10.3).';
COMMENT ON COLUMN binding.flow IS 'The connection: proxy/epoch/worker/slot/generation.';
COMMENT ON COLUMN binding.path IS 'Path of the REGISTER (RFC 3327), or empty.';
COMMENT ON COLUMN binding.version_ms IS
    'Version, first part: milliseconds of a hybrid clock, always above every version its writer '
    'has seen. The version alone decides between two writers; only a higher one replaces a row.';
COMMENT ON COLUMN binding.version_by IS
    'Version, second part: mapperd.id of the writer; 0 = this database.';
COMMENT ON COLUMN binding.removed IS 'A tombstone: the binding was removed with this version.';
COMMENT ON INDEX binding_device IS 'The living bindings of a device that loses a mapping.';

CREATE FUNCTION binding_version_must_rise() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'check_violation', TABLE = 'binding', COLUMN = 'version_ms',
        MESSAGE = format('version %s/%s does not replace %s/%s of the same binding',
                         NEW.version_ms, NEW.version_by, OLD.version_ms, OLD.version_by),
        HINT = 'Write with bind_put(): it keeps the higher version. By hand, set '
               'version_ms = version_ms + 1 as well.';
END
$$;

COMMENT ON FUNCTION binding_version_must_rise() IS
    'Refuses a change of a binding that does not raise its version.';

CREATE TRIGGER version_must_rise BEFORE UPDATE ON binding
    FOR EACH ROW WHEN ((NEW.version_ms, NEW.version_by) <= (OLD.version_ms, OLD.version_by))
    EXECUTE FUNCTION binding_version_must_rise();

CREATE FUNCTION bind_put(
    aor text, device_key text, instance_key text, store text, cn text, ground text, entry text,
    instance text, reg_id integer, contact text, expires_unix_s bigint, q integer, call_id text,
    cseq bigint, flow text, path text, version_ms bigint, version_by integer,
    removed boolean DEFAULT false)
RETURNS boolean
LANGUAGE sql
SET search_path = pg_catalog, public, pg_temp
AS $$
    WITH put AS (
        INSERT INTO binding AS b (
            aor, device_key, instance_key, store, cn, ground, entry, instance, reg_id, contact,
            expires_at, q, call_id, cseq, flow, path, version_ms, version_by, removed)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
            to_timestamp($11), $12, $13, $14, $15, $16, $17, $18, $19)
        ON CONFLICT (aor, device_key, instance_key) DO UPDATE SET
            store = excluded.store, cn = excluded.cn, ground = excluded.ground,
            entry = excluded.entry, instance = excluded.instance, reg_id = excluded.reg_id,
            contact = excluded.contact, expires_at = excluded.expires_at, q = excluded.q,
            call_id = excluded.call_id, cseq = excluded.cseq, flow = excluded.flow,
            path = excluded.path, version_ms = excluded.version_ms,
            version_by = excluded.version_by, removed = excluded.removed
        WHERE (excluded.version_ms, excluded.version_by) > (b.version_ms, b.version_by)
        RETURNING 1)
    SELECT EXISTS (SELECT FROM put)
$$;

COMMENT ON FUNCTION bind_put(text, text, text, text, text, text, text, text, integer, text, bigint,
    integer, text, bigint, text, text, bigint, integer, boolean) IS
    'Writes a binding or, with removed, its tombstone. False: the row that stands has the same or '
    'a higher version and stays.';

CREATE FUNCTION bind_remove(aor text, device_key text, version_ms bigint, version_by integer)
RETURNS bigint
LANGUAGE sql
SET search_path = pg_catalog, public, pg_temp
AS $$
    WITH gone AS (
        UPDATE binding b SET removed = true, version_ms = $3, version_by = $4
        WHERE b.aor = $1 AND (b.device_key = $2 OR $2 IS NULL) AND NOT b.removed
          AND ($3, $4) > (b.version_ms, b.version_by)
        RETURNING 1)
    SELECT count(*) FROM gone
$$;

COMMENT ON FUNCTION bind_remove(text, text, bigint, integer) IS
    'Turns all living bindings of an address of record with a lower version into tombstones: those '
    'of one device, or with device_key NULL of every device. Returns their number.';

CREATE FUNCTION binding_version_after(version_ms bigint) RETURNS bigint
LANGUAGE sql
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT greatest((extract(epoch FROM clock_timestamp()) * 1000)::bigint, $1 + 1)
$$;

COMMENT ON FUNCTION binding_version_after(bigint) IS
    'The version of a tombstone that this database writes: now, or one above the row''s own where '
    'its writer''s clock is ahead.';

CREATE FUNCTION bindings_end_of_users(users text[]) RETURNS void
LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    UPDATE binding b
    SET removed = true, version_by = 0,
        version_ms = binding_version_after(b.version_ms)
    WHERE b.aor = ANY ($1) AND NOT b.removed
$$;

COMMENT ON FUNCTION bindings_end_of_users(text[]) IS
    'Turns every binding of these users into a tombstone.';

CREATE FUNCTION binding_follow_mapping() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    UPDATE binding b
    SET removed = true, version_by = 0,
        version_ms = binding_version_after(b.version_ms)
    FROM (SELECT DISTINCT o.trust_store, o.cn FROM old_rows o) lost
    WHERE b.store = lost.trust_store AND b.cn = lost.cn AND b.ground = 'mapping' AND NOT b.removed
      AND NOT EXISTS (
          SELECT FROM cn_mapping m
          WHERE m.trust_store = b.store AND m.cn = b.cn
            AND m.identity IN (b.aor, split_part(b.aor, '@', 2)));
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION binding_follow_mapping() IS
    'Ends the bindings of devices that lost a mapping, where no other mapping of the device covers '
    'them.';

CREATE TRIGGER end_bindings AFTER DELETE ON cn_mapping REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION binding_follow_mapping();
CREATE TRIGGER end_bindings_of_update AFTER UPDATE ON cn_mapping REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION binding_follow_mapping();

-- TRUNCATE has no transition table: whatever is grounded on a mapping has lost it.
CREATE FUNCTION binding_follow_truncate() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    UPDATE binding b
    SET removed = true, version_by = 0,
        version_ms = binding_version_after(b.version_ms)
    WHERE b.ground = 'mapping' AND NOT b.removed;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION binding_follow_truncate() IS
    'Ends every binding that is grounded on a mapping.';

CREATE TRIGGER end_bindings_of_truncate AFTER TRUNCATE ON cn_mapping
    FOR EACH STATEMENT EXECUTE FUNCTION binding_follow_truncate();

CREATE FUNCTION binding_follow_user() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM bindings_end_of_users(ARRAY(SELECT o.identity FROM old_rows o));
    ELSE
        PERFORM bindings_end_of_users(ARRAY(
            SELECT n.identity FROM new_rows n WHERE n.state = 'disabled'
            UNION
            SELECT o.identity FROM old_rows o
            WHERE NOT EXISTS (SELECT FROM new_rows n WHERE n.identity = o.identity)));
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION binding_follow_user() IS
    'Ends the bindings of users that are disabled, deleted or renamed.';

CREATE TRIGGER end_bindings AFTER DELETE ON sip_user REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION binding_follow_user();
CREATE TRIGGER end_bindings_of_update AFTER UPDATE ON sip_user
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION binding_follow_user();

REVOKE ALL ON FUNCTION binding_version_must_rise(), binding_version_after(bigint),
    bindings_end_of_users(text[]), binding_follow_mapping(), binding_follow_truncate(),
    binding_follow_user(), bind_remove(text, text, bigint, integer),
    bind_put(text, text, text, text, text, text, text, text, integer, text, bigint,
    integer, text, bigint, text, text, bigint, integer, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION bind_remove(text, text, bigint, integer),
    bind_put(text, text, text, text, text, text, text, text, integer, text, bigint,
    integer, text, bigint, text, text, bigint, integer, boolean) TO holdline_mapperd;
GRANT SELECT, INSERT, UPDATE ON binding TO holdline_mapperd;
GRANT SELECT ON binding TO holdline_admin;

COMMIT;
