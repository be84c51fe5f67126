-- Deploy holdline:tenant_device to pg
-- Label and site of a device were one row, so the tenant that wrote it first kept the others from
-- theirs and told them that somebody has the CN. Now each tenant has a row of its own; device_info
-- is the operator's, and alone has the state.
BEGIN;
SET LOCAL search_path = public;

CREATE TABLE tenant_device (
    trust_store text COLLATE "C" NOT NULL DEFAULT 'device' REFERENCES trust_store (name),
    cn text COLLATE "C" NOT NULL,
    domain text COLLATE "C" NOT NULL DEFAULT tenant_default() REFERENCES domain (name),
    label text,
    site text,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (trust_store, cn, domain),
    CONSTRAINT tenant_device_cn_must_be_1_to_64_without_controls CHECK (
        cn ~ '^[^\u0001-\u001f\u007f-\u009f]{1,64}$' COLLATE "C" AND octet_length(cn) <= 192),
    CONSTRAINT tenant_device_label_must_be_1_to_128_without_controls CHECK (
        label ~ '^[^\u0001-\u001f\u007f-\u009f]{1,128}$' COLLATE "C"),
    CONSTRAINT tenant_device_site_must_be_1_to_128_without_controls CHECK (
        site ~ '^[^\u0001-\u001f\u007f-\u009f]{1,128}$' COLLATE "C")
);
CREATE INDEX tenant_device_domain ON tenant_device (domain);

COMMENT ON TABLE tenant_device IS
    'What a tenant writes of a device: a row for each tenant that does, and none tells of another. '
    'View device shows a tenant its own; the operator''s is device_info.';
COMMENT ON COLUMN tenant_device.trust_store IS 'The trust store whose certificates are meant.';
COMMENT ON COLUMN tenant_device.cn IS
    'Common name in the store''s canonical form; other spellings become that on the way in.';
COMMENT ON COLUMN tenant_device.domain IS 'Whose row it is: the domain of a tenant.';
COMMENT ON COLUMN tenant_device.label IS 'Name for people, at most 128 characters; may be missing.';
COMMENT ON COLUMN tenant_device.site IS
    'Where it stands, for people, at most 128 characters; may be missing.';
COMMENT ON COLUMN tenant_device.created_at IS 'When the row was inserted.';
COMMENT ON INDEX tenant_device_pkey IS
    'What a tenant, and mapctl import and export for it, writes and reads of a device; ON CONFLICT '
    '(trust_store, cn, domain).';
COMMENT ON INDEX tenant_device_domain IS
    'The devices of a tenant: listing them, and is there one left in a domain that is being '
    'deleted (foreign key).';

CREATE FUNCTION tenant_device_make_canonical() RETURNS trigger
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
    IF NEW.trust_store IS NULL OR NEW.cn IS NULL THEN
        RETURN NEW; -- NOT NULL says it
    END IF;
    SELECT s.cn_form, s.cn_prefixes INTO form,
    prefixes FROM trust_store s WHERE s.name = NEW.trust_store;
    -- A store that is not the tenant's is refused by the policy; its form would show in what is said
    -- here.
    IF tenant_of_session() IS NOT NULL
       AND NOT EXISTS (SELECT FROM tenant t WHERE t.domain = ANY (tenant_of_session())
                       AND NEW.trust_store = ANY (t.trust_stores)) THEN
        RETURN NEW;
    END IF;
    IF form IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation',
            TABLE = 'tenant_device', COLUMN = 'trust_store',
            MESSAGE = format('there is no trust store %s', shown(NEW.trust_store)),
            HINT = format('Write one of: %s.',
                          (SELECT string_agg(name, ', ' ORDER BY name) FROM trust_store));
    END IF;
    NEW.cn := cn_canonical(form, prefixes, NEW.cn);
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION tenant_device_make_canonical() IS
    'Makes the values of a tenant''s row of a device canonical on the way in.';

-- Twelve upper-case hexadecimal digits are canonical in every trust store.
CREATE TRIGGER canonical BEFORE INSERT OR UPDATE ON tenant_device
    FOR EACH ROW WHEN ((octet_length(NEW.cn) = 12 AND NEW.cn ~ '^[0-9A-F]+$'
                        AND (NEW.label = btrim(NEW.label, ' ')) IS NOT FALSE
                        AND (NEW.site = btrim(NEW.site, ' ')) IS NOT FALSE
                        AND '' NOT IN (coalesce(NEW.label, '-'), coalesce(NEW.site, '-'))
                        AND NEW.domain ~ '^[a-z0-9-]+(\.[a-z0-9-]+)*$') IS NOT TRUE)
    EXECUTE FUNCTION tenant_device_make_canonical();
COMMENT ON TRIGGER canonical ON tenant_device IS 'Has nothing to do with rows that are canonical.';

SELECT audit_follow('tenant_device', trust_store => 'r.trust_store', cn => 'r.cn',
                    domain => 'r.domain');

-- What mapperd does not read needs no way round: policies hold from the first, tenants or none.
ALTER TABLE tenant_device ENABLE ROW LEVEL SECURITY;
CREATE POLICY operator ON tenant_device TO holdline_admin USING (true) WITH CHECK (true);
CREATE POLICY tenant ON tenant_device TO holdline_tenant
    USING (domain = ANY ((SELECT tenant_domains())::text[]))
    WITH CHECK (domain = ANY ((SELECT tenant_domains())::text[])
                AND trust_store = ANY ((SELECT tenant_trust_stores())::text[]));
COMMENT ON POLICY operator ON tenant_device IS 'The operator sees and does everything.';
COMMENT ON POLICY tenant ON tenant_device IS
    'A tenant has label and site of devices, in trust stores that it may use.';
GRANT SELECT, INSERT, UPDATE, DELETE ON tenant_device TO holdline_admin, holdline_tenant;

ALTER POLICY tenant ON audit
    USING (CASE WHEN table_name IN ('rights_rule', 'device_info', 'tenant_device', 'tenant')
                THEN domain
                WHEN table_name IN ('sip_user', 'cn_mapping', 'credential')
                THEN substr(identity, strpos(identity, '@') + 1)
                WHEN table_name = 'user_group_member'
                     AND name = ANY ((SELECT tenant_groups())::text[])
                THEN split_part(identity, '@', 2) END
           = ANY ((SELECT tenant_domains())::text[]));

-- ---- What tenants had in device_info

-- What a tenant writes meanwhile waits, and is then refused rather than lost.
LOCK TABLE device_info IN SHARE ROW EXCLUSIVE MODE;
INSERT INTO tenant_device (trust_store, cn, domain, label, site, created_at)
SELECT i.trust_store, i.cn, i.domain, i.label, i.site, i.created_at
FROM device_info i JOIN tenant t ON t.domain = i.domain;
DELETE FROM device_info i USING tenant t WHERE t.domain = i.domain AND i.state = 'known';
UPDATE device_info i SET label = NULL, site = NULL FROM tenant t WHERE t.domain = i.domain;

REVOKE INSERT, UPDATE, DELETE ON device_info FROM holdline_tenant;
DROP POLICY tenant_sees ON device_info;
DROP POLICY tenant ON device_info;
CREATE POLICY tenant ON device_info FOR SELECT TO holdline_tenant
    USING (domain = ANY ((SELECT tenant_domains())::text[]));
COMMENT ON POLICY tenant ON device_info IS
    'A tenant sees what the operator says of a device and lets it see by naming its domain.';
ALTER TABLE device_info ALTER COLUMN domain DROP DEFAULT;
COMMENT ON TABLE device_info IS
    'What the operator knows of a device besides its mappings. A device needs no row: without one '
    'it is known. What tenants write is in tenant_device. View device shows mappings and this '
    'together.';
COMMENT ON COLUMN device_info.domain IS
    'Whose device it is: the domain of a tenant, which then sees this row. NULL: the operator''s.';

-- ---- Who asks

CREATE OR REPLACE VIEW device WITH (security_invoker = true) AS
SELECT k.trust_store, k.cn,
    ARRAY(SELECT m.identity FROM cn_mapping m
          WHERE m.trust_store = k.trust_store AND m.cn = k.cn
          ORDER BY m.identity)::text[] AS identities,
    coalesce(i.state, 'known') AS state,
    CASE WHEN (SELECT tenant_default()) IS NULL THEN i.label ELSE t.label END AS label,
    CASE WHEN (SELECT tenant_default()) IS NULL THEN i.site ELSE t.site END AS site,
    CASE WHEN (SELECT tenant_default()) IS NULL THEN i.domain ELSE t.domain END AS domain
FROM (SELECT m.trust_store, m.cn FROM cn_mapping m
      UNION SELECT i.trust_store, i.cn FROM device_info i
      UNION SELECT t.trust_store, t.cn FROM tenant_device t
      WHERE (SELECT tenant_default()) IS NOT NULL) k
LEFT JOIN device_info i ON i.trust_store = k.trust_store AND i.cn = k.cn
-- One row a device also for who provisions two domains: that of the first.
LEFT JOIN (SELECT t.* FROM tenant_device t
           WHERE (SELECT tenant_default()) IS NOT NULL AND NOT EXISTS (
               SELECT FROM tenant_device o
               WHERE o.trust_store = t.trust_store AND o.cn = t.cn AND o.domain < t.domain)) t
    ON t.trust_store = k.trust_store AND t.cn = k.cn;
COMMENT ON VIEW device IS
    'One row a device: its mappings together with its row of device_info or, for a tenant, its own '
    'of tenant_device. INSERT, UPDATE and DELETE work. To find a device by another spelling write '
    'WHERE trust_store = ''device'' AND cn = device_cn(''00:04:f2:24:a6:ac'').';
COMMENT ON COLUMN device.domain IS
    'Whose device it is, for a tenant whose row: the domain of a tenant. NULL: the operator''s.';

-- As who writes: row security of the tables decides.
CREATE OR REPLACE FUNCTION device_write() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    own CONSTANT text := tenant_default();
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF own IS NULL THEN
            DELETE FROM device_info i WHERE i.trust_store = OLD.trust_store AND i.cn = OLD.cn;
        END IF;
        DELETE FROM tenant_device t WHERE t.trust_store = OLD.trust_store AND t.cn = OLD.cn;
        DELETE FROM cn_mapping m WHERE m.trust_store = OLD.trust_store AND m.cn = OLD.cn;
        RETURN OLD;
    END IF;
    IF NEW.cn IS NULL OR NEW.trust_store IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', TABLE = 'device',
            MESSAGE = 'no device is named', HINT = 'Write trust_store and cn.';
    END IF;
    NEW.cn := device_cn(NEW.cn, NEW.trust_store);
    NEW.state := coalesce(NEW.state, 'known');
    IF own IS NOT NULL AND NEW.state <> coalesce(OLD.state, 'known') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', TABLE = 'device', COLUMN = 'state',
            MESSAGE = 'the state of a device is the operator''s',
            HINT = format('SELECT retire_device(%L, %L) takes your identities from it.',
                          NEW.cn, NEW.trust_store);
    END IF;
    IF TG_OP = 'UPDATE' THEN
        IF (NEW.trust_store, NEW.cn) IS DISTINCT FROM (OLD.trust_store, OLD.cn) THEN
            RAISE EXCEPTION USING ERRCODE = 'feature_not_supported', TABLE = 'device',
                MESSAGE = format('device %s cannot become another one by UPDATE', shown(OLD.cn)),
                HINT = format('SELECT replace_device(%L, %L, %L, %L) moves all that it has.',
                              OLD.cn, NEW.cn, OLD.trust_store, NEW.trust_store);
        END IF;
        IF own IS NULL THEN
            UPDATE device_info i
            SET state = NEW.state, label = NEW.label, site = NEW.site, domain = NEW.domain
            WHERE i.trust_store = NEW.trust_store AND i.cn = NEW.cn
              AND (i.state, i.label, i.site, i.domain)
                  IS DISTINCT FROM (NEW.state, NEW.label, NEW.site, NEW.domain);
        ELSE
            UPDATE tenant_device t
            SET label = NEW.label, site = NEW.site, domain = NEW.domain
            WHERE t.trust_store = NEW.trust_store AND t.cn = NEW.cn AND t.domain = OLD.domain
              AND (t.label, t.site, t.domain)
                  IS DISTINCT FROM (NEW.label, NEW.site, NEW.domain);
        END IF;
    ELSIF EXISTS (SELECT FROM device d
                  WHERE d.trust_store = NEW.trust_store AND d.cn = NEW.cn) THEN
        RAISE EXCEPTION USING ERRCODE = 'unique_violation', TABLE = 'device',
            MESSAGE = format('device %s of trust store %s is there already',
                             shown(NEW.cn), shown(NEW.trust_store)),
            HINT = format('UPDATE device SET ... WHERE trust_store = %L AND cn = %L. To add an '
                          'identity, insert into cn_mapping.', NEW.trust_store, NEW.cn);
    END IF;
    -- A mapping alone suffices; what has none needs the row, or it would not be there at all.
    IF NEW.state <> 'known' AND own IS NULL OR NEW.label IS NOT NULL OR NEW.site IS NOT NULL
       OR NEW.domain IS NOT NULL OR cardinality(NEW.identities) = 0 THEN
        IF own IS NULL THEN
            INSERT INTO device_info (trust_store, cn, state, label, site, domain)
            SELECT NEW.trust_store, NEW.cn, NEW.state, NEW.label, NEW.site, NEW.domain
            WHERE NOT EXISTS (SELECT FROM device_info i
                              WHERE i.trust_store = NEW.trust_store AND i.cn = NEW.cn);
        ELSIF TG_OP = 'INSERT' OR OLD.domain IS NULL THEN
            INSERT INTO tenant_device (trust_store, cn, domain, label, site)
            VALUES (NEW.trust_store, NEW.cn, coalesce(NEW.domain, own), NEW.label, NEW.site);
        END IF;
    END IF;
    IF TG_OP = 'INSERT' OR NEW.identities IS DISTINCT FROM OLD.identities THEN
        PERFORM device_set_identities(NEW.trust_store, NEW.cn, NEW.identities);
    END IF;
    RETURN NEW;
END
$$;

CREATE OR REPLACE FUNCTION retire_device(cn text, trust_store text DEFAULT 'device') RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    canonical text;
    gone bigint;
    had boolean;
BEGIN
    IF cn IS NULL OR trust_store IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'no device is named',
            HINT = 'Write retire_device(''0004F224A6AC'').';
    END IF;
    canonical := device_cn($1, $2);
    DELETE FROM cn_mapping m WHERE m.trust_store = $2 AND m.cn = canonical;
    GET DIAGNOSTICS gone = ROW_COUNT;
    DELETE FROM tenant_device t WHERE t.trust_store = $2 AND t.cn = canonical;
    had := FOUND;
    IF tenant_default() IS NULL THEN
        -- What is disabled stays so: a mapping that comes later, or a name in the certificate, would
        -- be a yes again.
        DELETE FROM device_info i
        WHERE i.trust_store = $2 AND i.cn = canonical AND i.state <> 'disabled';
        had := had OR FOUND;
    END IF;
    IF gone = 0 AND NOT had THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found',
            MESSAGE = format('device %s of trust store %s has no mapping',
                             shown(canonical), shown($2)),
            HINT = format('Look for it with: SELECT * FROM device WHERE cn = %L', canonical);
    END IF;
    RETURN gone;
END
$$;
COMMENT ON FUNCTION retire_device(text, text) IS
    'Deletes every mapping of a device, named in any spelling, and what is written of it; its '
    'registrations end with it. Of a tenant: what is its own. A disabled device loses its mappings '
    'and stays disabled. Returns how many mappings there were; raises no_data_found when there was '
    'nothing.';

CREATE OR REPLACE FUNCTION replace_device(
    old_cn text, new_cn text, trust_store text DEFAULT 'device', new_trust_store text DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    old_name text;
    new_name text;
    new_store text := coalesce($4, $3);
    old_info device_info%ROWTYPE;
    new_info device_info%ROWTYPE;
    operator CONSTANT boolean := tenant_default() IS NULL;
    has_row boolean := false;
    has_own boolean;
    moved bigint;
BEGIN
    IF $1 IS NULL OR $2 IS NULL OR $3 IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'no device is named',
            HINT = 'Write replace_device(''0004F224A6AC'', ''0004F224A6AD''): the old one, then '
                   'the new one.';
    END IF;
    old_name := device_cn($1, $3);
    new_name := device_cn($2, new_store);
    IF old_name = new_name AND $3 = new_store THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('%s and %s are one device', shown($1), shown($2)),
            HINT = 'Write the old one, then the new one.';
    END IF;
    PERFORM FROM cn_mapping m WHERE m.trust_store = $3 AND m.cn = old_name
    ORDER BY m.identity FOR UPDATE;
    IF operator THEN
        SELECT * INTO new_info FROM device_info i
        WHERE i.trust_store = new_store AND i.cn = new_name FOR UPDATE;
        IF new_info.state = 'disabled' THEN
            RAISE EXCEPTION USING ERRCODE = 'check_violation',
                TABLE = 'device_info', COLUMN = 'state',
                MESSAGE = format('device %s of trust store %s is disabled', shown(new_name),
                                 shown(new_store)),
                HINT = 'Set its state to known first, if it may take the place of another.';
        END IF;
    END IF;
    IF EXISTS (SELECT FROM cn_mapping m WHERE m.trust_store = new_store AND m.cn = new_name) THEN
        RAISE EXCEPTION USING ERRCODE = 'unique_violation', TABLE = 'cn_mapping',
            MESSAGE = format('device %s of trust store %s has mappings already', shown(new_name),
                             shown(new_store)),
            HINT = format('It is somebody''s phone. If not: SELECT retire_device(%L, %L), then '
                          'again.', new_name, new_store);
    END IF;
    IF operator THEN
        SELECT * INTO old_info FROM device_info i
        WHERE i.trust_store = $3 AND i.cn = old_name FOR UPDATE;
        has_row := FOUND;
    END IF;
    UPDATE cn_mapping m SET trust_store = new_store, cn = new_name
    WHERE m.trust_store = $3 AND m.cn = old_name;
    GET DIAGNOSTICS moved = ROW_COUNT;
    WITH gone AS (
        DELETE FROM tenant_device t WHERE t.trust_store = $3 AND t.cn = old_name
        RETURNING t.domain, t.label, t.site)
    INSERT INTO tenant_device AS t (trust_store, cn, domain, label, site)
    SELECT new_store, new_name, g.domain, g.label, g.site FROM gone g
    ON CONFLICT ON CONSTRAINT tenant_device_pkey DO UPDATE SET
        label = coalesce(excluded.label, t.label), site = coalesce(excluded.site, t.site);
    has_own := FOUND;
    IF moved = 0 AND NOT has_own AND (NOT has_row OR old_info.state = 'disabled') THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found',
            MESSAGE = format('device %s of trust store %s has no mapping', shown(old_name),
                             shown($3)),
            HINT = format('Look for it with: SELECT * FROM device WHERE cn = %L', old_name);
    END IF;
    IF NOT has_row THEN
        RETURN moved;
    END IF;
    INSERT INTO device_info AS i (trust_store, cn, state, label, site, domain)
    VALUES (new_store, new_name, old_info.state, old_info.label, old_info.site, old_info.domain)
    ON CONFLICT ON CONSTRAINT device_info_pkey DO UPDATE SET
        state = excluded.state,
        label = coalesce(excluded.label, i.label), site = coalesce(excluded.site, i.site),
        domain = coalesce(excluded.domain, i.domain);
    IF old_info.state = 'disabled' THEN
        -- The old one stays what it is, and the new one does not give back what that took.
        UPDATE device_info i SET label = NULL, site = NULL
        WHERE i.trust_store = $3 AND i.cn = old_name;
        RAISE WARNING USING
            MESSAGE = format('device %s is disabled, so %s is disabled too', shown(old_name),
                             shown(new_name)),
            HINT = format('If the new one may be used: UPDATE device_info SET state = ''known'' '
                          'WHERE trust_store = %L AND cn = %L', new_store, new_name);
    ELSE
        DELETE FROM device_info i WHERE i.trust_store = $3 AND i.cn = old_name;
    END IF;
    RETURN moved;
END
$$;
COMMENT ON FUNCTION replace_device(text, text, text, text) IS
    'Moves all identities, label, site and owner of a device to another one that takes its place, '
    'both named in any spelling; the registrations of the old one end. Of a tenant: what is its '
    'own. A disabled device leaves its successor disabled, and stays disabled itself. Returns how '
    'many mappings moved; raises no_data_found when there was nothing, unique_violation when the '
    'new one has mappings.';

-- Read by another form, a CN would be another device to tenants too.
CREATE OR REPLACE FUNCTION trust_store_keep_devices() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF OLD.cn_form IS DISTINCT FROM NEW.cn_form
       AND (EXISTS (SELECT FROM device_info i WHERE i.trust_store = OLD.name)
            OR EXISTS (SELECT FROM tenant_device t WHERE t.trust_store = OLD.name)) THEN
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

REVOKE ALL ON FUNCTION tenant_device_make_canonical() FROM PUBLIC;

COMMIT;
