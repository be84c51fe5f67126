-- Deploy holdline:device_info to pg
-- What is known of a device besides its mappings. A mapping alone suffices: no row means known.
BEGIN;
SET LOCAL search_path = public;

CREATE TABLE device_info (
    trust_store text COLLATE "C" NOT NULL DEFAULT 'device' REFERENCES trust_store (name),
    cn text COLLATE "C" NOT NULL,
    state text NOT NULL DEFAULT 'known',
    label text,
    site text,
    domain text COLLATE "C" REFERENCES domain (name),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (trust_store, cn),
    CONSTRAINT device_info_cn_must_be_1_to_64_without_controls CHECK (
        cn ~ '^[^\u0001-\u001f\u007f-\u009f]{1,64}$' COLLATE "C" AND octet_length(cn) <= 192),
    CONSTRAINT device_info_state_must_be_known_or_disabled CHECK (state IN ('known', 'disabled')),
    CONSTRAINT device_info_label_must_be_1_to_128_without_controls CHECK (
        label ~ '^[^\u0001-\u001f\u007f-\u009f]{1,128}$' COLLATE "C"),
    CONSTRAINT device_info_site_must_be_1_to_128_without_controls CHECK (
        site ~ '^[^\u0001-\u001f\u007f-\u009f]{1,128}$' COLLATE "C")
);

CREATE INDEX device_info_domain ON device_info (domain) WHERE domain IS NOT NULL;
CREATE INDEX device_info_disabled ON device_info (trust_store, cn) WHERE state = 'disabled';

COMMENT ON TABLE device_info IS
    'What is known of a device besides its mappings. A device needs no row: without one it is '
    'known. View device shows mappings and this together.';
COMMENT ON COLUMN device_info.trust_store IS 'The trust store whose certificates are meant.';
COMMENT ON COLUMN device_info.cn IS
    'Common name in the store''s canonical form; other spellings become that on the way in.';
COMMENT ON COLUMN device_info.state IS
    'known or disabled. A disabled device may do nothing, whatever its mappings or the names in '
    'its certificate say; its bindings are gone.';
COMMENT ON COLUMN device_info.label IS 'Name for people, at most 128 characters; may be missing.';
COMMENT ON COLUMN device_info.site IS
    'Where it stands, for people, at most 128 characters; may be missing.';
COMMENT ON COLUMN device_info.domain IS
    'Whose device it is: the domain of a tenant. NULL: the operator''s.';
COMMENT ON COLUMN device_info.created_at IS 'When the row was inserted.';
COMMENT ON INDEX device_info_domain IS
    'The devices of a tenant: listing them, and is there one left in a domain that is being '
    'deleted (foreign key).';
COMMENT ON INDEX device_info_disabled IS
    'The disabled devices of a trust store: listing them, and is there one when its prefixes '
    'change.';

CREATE FUNCTION device_info_make_canonical() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    form text;
    prefixes text[];
BEGIN
    NEW.label := nullif(btrim(NEW.label, ' '), '');
    NEW.site := nullif(btrim(NEW.site, ' '), '');
    NEW.domain := domain_canonical(NEW.domain);
    IF NEW.domain IS NOT NULL AND NOT EXISTS (SELECT FROM domain d WHERE d.name = NEW.domain) THEN
        RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation',
            TABLE = 'device_info', COLUMN = 'domain',
            MESSAGE = format('%s is not one of our domains', shown(NEW.domain)),
            HINT = 'Write the domain of the tenant whose device it is, or NULL for the operator.';
    END IF;
    IF NEW.trust_store IS NULL OR NEW.cn IS NULL THEN
        RETURN NEW; -- NOT NULL says it
    END IF;
    SELECT s.cn_form, s.cn_prefixes INTO form,
    prefixes FROM trust_store s WHERE s.name = NEW.trust_store;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation',
            TABLE = 'device_info', COLUMN = 'trust_store',
            MESSAGE = format('there is no trust store %s', shown(NEW.trust_store)),
            HINT = format('Write one of: %s.',
                          (SELECT string_agg(name, ', ' ORDER BY name) FROM trust_store));
    END IF;
    NEW.cn := cn_canonical(form, prefixes, NEW.cn);
    RETURN NEW;
END
$$;

COMMENT ON FUNCTION device_info_make_canonical() IS
    'Makes the values of a device''s row canonical on the way in.';

-- Twelve upper-case hexadecimal digits are canonical in every trust store.
CREATE TRIGGER canonical BEFORE INSERT OR UPDATE ON device_info
    FOR EACH ROW WHEN ((octet_length(NEW.cn) = 12
                        AND translate(NEW.cn, '0123456789ABCDEF', '') = ''
                        AND (NEW.label = btrim(NEW.label, ' ')) IS NOT FALSE
                        AND (NEW.site = btrim(NEW.site, ' ')) IS NOT FALSE
                        AND '' NOT IN (coalesce(NEW.label, '-'), coalesce(NEW.site, '-'))
                        AND NEW.domain IS NULL) IS NOT TRUE)
    EXECUTE FUNCTION device_info_make_canonical();
COMMENT ON TRIGGER canonical ON device_info IS
    'Has nothing to do with rows that are canonical and are the operator''s.';

-- A mapping that stands or comes, or a name in the certificate, would be a yes again.
CREATE FUNCTION device_info_keep_disabled() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF OLD.state = 'disabled' THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', TABLE = 'device_info', COLUMN = 'state',
            MESSAGE = format('device %s of trust store %s is disabled and cannot be deleted or '
                             'renamed: its certificate could be accepted again',
                             shown(OLD.cn), shown(OLD.trust_store)),
            HINT = format('SELECT retire_device(%L, %L) takes its identities and leaves it '
                          'disabled; or set state to known first.', OLD.cn, OLD.trust_store);
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END
$$;

COMMENT ON FUNCTION device_info_keep_disabled() IS
    'Refuses to delete or rename a disabled device.';

-- Fires behind `canonical`, so that another spelling of the same name is no other name.
CREATE TRIGGER keep_disabled BEFORE DELETE ON device_info
    FOR EACH ROW EXECUTE FUNCTION device_info_keep_disabled();
CREATE TRIGGER keep_disabled_name BEFORE UPDATE OF trust_store, cn ON device_info
    FOR EACH ROW WHEN ((OLD.trust_store, OLD.cn) IS DISTINCT FROM (NEW.trust_store, NEW.cn))
    EXECUTE FUNCTION device_info_keep_disabled();

-- Read by another form or by other prefixes, a certificate would be another device, or none.
CREATE FUNCTION trust_store_keep_devices() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF OLD.cn_form IS DISTINCT FROM NEW.cn_form
       AND EXISTS (SELECT FROM device_info i WHERE i.trust_store = OLD.name) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation',
            TABLE = 'trust_store', COLUMN = 'cn_form',
            MESSAGE = format('trust store %s has devices, so its cn_form cannot change',
                             shown(OLD.name)),
            HINT = 'Delete its devices first, or make another trust store.';
    END IF;
    IF OLD.cn_prefixes IS DISTINCT FROM NEW.cn_prefixes[1:cardinality(OLD.cn_prefixes)]
       AND EXISTS (SELECT FROM device_info i
                   WHERE i.trust_store = OLD.name AND i.state = 'disabled') THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation',
            TABLE = 'trust_store', COLUMN = 'cn_prefixes',
            MESSAGE = format('trust store %s has disabled devices, so the prefixes that it has '
                             'stay', shown(OLD.name)),
            HINT = 'Write new prefixes behind those that are there.';
    END IF;
    RETURN NEW;
END
$$;

COMMENT ON FUNCTION trust_store_keep_devices() IS
    'Refuses to change how CNs are read where it would turn a disabled device into another one.';

CREATE TRIGGER keep_devices BEFORE UPDATE OF cn_form, cn_prefixes ON trust_store
    FOR EACH ROW EXECUTE FUNCTION trust_store_keep_devices();

CREATE FUNCTION change_log_device_info() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, 'peer', ARRAY[r.trust_store, r.cn]
        FROM change_log_origin() w, new_rows r;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, 'peer', ARRAY[r.trust_store, r.cn]
        FROM change_log_origin() w, old_rows r;
    ELSE
        -- Labels and sites are not mapperd's.
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, 'peer', ARRAY[k.trust_store, k.cn]
        FROM change_log_origin() w, (
            (SELECT r.trust_store, r.cn, r.state FROM old_rows r
             EXCEPT SELECT r.trust_store, r.cn, r.state FROM new_rows r)
            UNION
            (SELECT r.trust_store, r.cn, r.state FROM new_rows r
             EXCEPT SELECT r.trust_store, r.cn, r.state FROM old_rows r)) k
        GROUP BY w.stamp, w.system_id, w.database_oid, k.trust_store, k.cn;
    END IF;
    IF FOUND THEN
        PERFORM change_log_hint();
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION change_log_device_info() IS
    'Logs the peers whose state a statement touched, old and new, each once.';

CREATE TRIGGER log_insert AFTER INSERT ON device_info REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_device_info();
CREATE TRIGGER log_update AFTER UPDATE ON device_info
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_device_info();
CREATE TRIGGER log_delete AFTER DELETE ON device_info REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_device_info();
CREATE TRIGGER log_truncate AFTER TRUNCATE ON device_info
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_all();

CREATE FUNCTION binding_follow_device() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    -- A load of many rows, none of them disabled, costs one look at them.
    IF EXISTS (SELECT FROM new_rows n WHERE n.state = 'disabled') THEN
        UPDATE binding b
        SET removed = true, version_by = 0,
            version_ms = binding_version_after(b.version_ms)
        FROM (SELECT n.trust_store, n.cn FROM new_rows n WHERE n.state = 'disabled') lost
        WHERE b.store = lost.trust_store AND b.cn = lost.cn AND NOT b.removed;
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION binding_follow_device() IS
    'Ends the bindings of devices that are disabled, whatever they stand on.';

CREATE TRIGGER end_bindings AFTER INSERT ON device_info REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION binding_follow_device();
CREATE TRIGGER end_bindings_of_update AFTER UPDATE ON device_info
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION binding_follow_device();

SELECT audit_follow('device_info', trust_store => 'r.trust_store', cn => 'r.cn',
                    domain => 'r.domain');

-- With the state in it, mapperd's fill never visits the table itself. After audit_follow(), which
-- takes every column of the primary key's index for one of the key.
ALTER TABLE device_info
    DROP CONSTRAINT device_info_pkey,
    ADD CONSTRAINT device_info_pkey PRIMARY KEY (trust_store, cn) INCLUDE (state);

REVOKE ALL ON FUNCTION device_info_make_canonical(), device_info_keep_disabled(),
    trust_store_keep_devices(), change_log_device_info(), binding_follow_device() FROM PUBLIC;
GRANT SELECT ON device_info TO holdline_mapperd;
GRANT SELECT, INSERT, UPDATE, DELETE ON device_info TO holdline_admin;

COMMIT;
