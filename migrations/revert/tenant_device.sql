-- Revert holdline:tenant_device from pg
BEGIN;
SET LOCAL search_path = public;

CREATE OR REPLACE FUNCTION trust_store_keep_devices() RETURNS trigger
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
    has_row boolean;
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
    SELECT * INTO new_info FROM device_info i
    WHERE i.trust_store = new_store AND i.cn = new_name FOR UPDATE;
    IF new_info.state = 'disabled' THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', TABLE = 'device_info', COLUMN = 'state',
            MESSAGE = format('device %s of trust store %s is disabled', shown(new_name),
                             shown(new_store)),
            HINT = 'Set its state to known first, if it may take the place of another.';
    END IF;
    IF EXISTS (SELECT FROM cn_mapping m WHERE m.trust_store = new_store AND m.cn = new_name) THEN
        RAISE EXCEPTION USING ERRCODE = 'unique_violation', TABLE = 'cn_mapping',
            MESSAGE = format('device %s of trust store %s has mappings already', shown(new_name),
                             shown(new_store)),
            HINT = format('It is somebody''s phone. If not: SELECT retire_device(%L, %L), then '
                          'again.', new_name, new_store);
    END IF;
    SELECT * INTO old_info FROM device_info i
    WHERE i.trust_store = $3 AND i.cn = old_name FOR UPDATE;
    has_row := FOUND;
    UPDATE cn_mapping m SET trust_store = new_store, cn = new_name
    WHERE m.trust_store = $3 AND m.cn = old_name;
    GET DIAGNOSTICS moved = ROW_COUNT;
    IF moved = 0 AND (NOT has_row OR old_info.state = 'disabled') THEN
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
    'both named in any spelling; the registrations of the old one end. A disabled device leaves '
    'its successor disabled, and stays disabled itself. Returns how many mappings moved; raises '
    'no_data_found when there was nothing, unique_violation when the new one has mappings.';

CREATE OR REPLACE FUNCTION retire_device(cn text, trust_store text DEFAULT 'device') RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    canonical text;
    gone bigint;
BEGIN
    IF cn IS NULL OR trust_store IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'no device is named',
            HINT = 'Write retire_device(''0004F224A6AC'').';
    END IF;
    canonical := device_cn($1, $2);
    DELETE FROM cn_mapping m WHERE m.trust_store = $2 AND m.cn = canonical;
    GET DIAGNOSTICS gone = ROW_COUNT;
    -- What is disabled stays so: a mapping that comes later, or a name in the certificate, would be
    -- a yes again.
    DELETE FROM device_info i
    WHERE i.trust_store = $2 AND i.cn = canonical AND i.state <> 'disabled';
    IF gone = 0 AND NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found',
            MESSAGE = format('device %s of trust store %s has no mapping',
                             shown(canonical), shown($2)),
            HINT = format('Look for it with: SELECT * FROM device WHERE cn = %L', canonical);
    END IF;
    RETURN gone;
END
$$;
COMMENT ON FUNCTION retire_device(text, text) IS
    'Deletes every mapping of a device, named in any spelling, and its row of device_info; its '
    'registrations end with it. A disabled device loses its mappings and stays disabled. Returns '
    'how many mappings there were; raises no_data_found when there was nothing.';

CREATE OR REPLACE FUNCTION device_write() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM device_info i WHERE i.trust_store = OLD.trust_store AND i.cn = OLD.cn;
        DELETE FROM cn_mapping m WHERE m.trust_store = OLD.trust_store AND m.cn = OLD.cn;
        RETURN OLD;
    END IF;
    IF NEW.cn IS NULL OR NEW.trust_store IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', TABLE = 'device',
            MESSAGE = 'no device is named', HINT = 'Write trust_store and cn.';
    END IF;
    NEW.cn := device_cn(NEW.cn, NEW.trust_store);
    NEW.state := coalesce(NEW.state, 'known');
    IF TG_OP = 'UPDATE' THEN
        IF (NEW.trust_store, NEW.cn) IS DISTINCT FROM (OLD.trust_store, OLD.cn) THEN
            RAISE EXCEPTION USING ERRCODE = 'feature_not_supported', TABLE = 'device',
                MESSAGE = format('device %s cannot become another one by UPDATE', shown(OLD.cn)),
                HINT = format('SELECT replace_device(%L, %L, %L, %L) moves all that it has.',
                              OLD.cn, NEW.cn, OLD.trust_store, NEW.trust_store);
        END IF;
        UPDATE device_info i
        SET state = NEW.state, label = NEW.label, site = NEW.site, domain = NEW.domain
        WHERE i.trust_store = NEW.trust_store AND i.cn = NEW.cn
          AND (i.state, i.label, i.site, i.domain)
              IS DISTINCT FROM (NEW.state, NEW.label, NEW.site, NEW.domain);
    ELSIF EXISTS (SELECT FROM cn_mapping m
                  WHERE m.trust_store = NEW.trust_store AND m.cn = NEW.cn)
          OR EXISTS (SELECT FROM device_info i
                     WHERE i.trust_store = NEW.trust_store AND i.cn = NEW.cn) THEN
        RAISE EXCEPTION USING ERRCODE = 'unique_violation', TABLE = 'device',
            MESSAGE = format('device %s of trust store %s is there already',
                             shown(NEW.cn), shown(NEW.trust_store)),
            HINT = format('UPDATE device SET ... WHERE trust_store = %L AND cn = %L. To add an '
                          'identity, insert into cn_mapping.', NEW.trust_store, NEW.cn);
    END IF;
    -- A mapping alone suffices; what has none needs the row, or it would not be there at all.
    IF NEW.state <> 'known' OR NEW.label IS NOT NULL OR NEW.site IS NOT NULL
       OR NEW.domain IS NOT NULL OR cardinality(NEW.identities) = 0 THEN
        INSERT INTO device_info (trust_store, cn, state, label, site, domain)
        SELECT NEW.trust_store, NEW.cn, NEW.state, NEW.label, NEW.site, NEW.domain
        WHERE NOT EXISTS (SELECT FROM device_info i
                          WHERE i.trust_store = NEW.trust_store AND i.cn = NEW.cn);
    END IF;
    IF TG_OP = 'INSERT' OR NEW.identities IS DISTINCT FROM OLD.identities THEN
        PERFORM device_set_identities(NEW.trust_store, NEW.cn, NEW.identities);
    END IF;
    RETURN NEW;
END
$$;

CREATE OR REPLACE VIEW device WITH (security_invoker = true) AS
SELECT k.trust_store, k.cn,
    ARRAY(SELECT m.identity FROM cn_mapping m
          WHERE m.trust_store = k.trust_store AND m.cn = k.cn
          ORDER BY m.identity)::text[] AS identities,
    coalesce(i.state, 'known') AS state, i.label, i.site, i.domain
FROM (SELECT m.trust_store, m.cn FROM cn_mapping m
      UNION SELECT i.trust_store, i.cn FROM device_info i) k
LEFT JOIN device_info i ON i.trust_store = k.trust_store AND i.cn = k.cn;
COMMENT ON VIEW device IS
    'One row a device: its mappings and its row in device_info together. INSERT, UPDATE and DELETE '
    'work. To find a device by another spelling write WHERE trust_store = ''device'' AND cn = '
    'device_cn(''00:04:f2:24:a6:ac'').';
COMMENT ON COLUMN device.domain IS
    'Whose device it is: the domain of a tenant. NULL: the operator''s.';

ALTER TABLE device_info ALTER COLUMN domain SET DEFAULT tenant_default();
COMMENT ON TABLE device_info IS
    'What is known of a device besides its mappings. A device needs no row: without one it is '
    'known. View device shows mappings and this together.';
COMMENT ON COLUMN device_info.domain IS
    'Whose device it is: the domain of a tenant. NULL: the operator''s.';
DROP POLICY tenant ON device_info;
CREATE POLICY tenant ON device_info TO holdline_tenant
    USING (domain = ANY ((SELECT tenant_domains())::text[]) AND state = 'known')
    WITH CHECK (domain = ANY ((SELECT tenant_domains())::text[]) AND state = 'known'
                AND trust_store = ANY ((SELECT tenant_trust_stores())::text[]));
CREATE POLICY tenant_sees ON device_info FOR SELECT TO holdline_tenant
    USING (domain = ANY ((SELECT tenant_domains())::text[]));
COMMENT ON POLICY tenant ON device_info IS
    'A tenant has label and site of its devices; their state is the operator''s.';
COMMENT ON POLICY tenant_sees ON device_info IS 'A tenant sees also which of its devices are disabled.';
GRANT INSERT, UPDATE, DELETE ON device_info TO holdline_tenant;

LOCK TABLE tenant_device, device_info IN SHARE ROW EXCLUSIVE MODE;
-- One row a device has room for one: the operator's, else that of the first tenant.
INSERT INTO device_info AS i (trust_store, cn, domain, label, site, created_at)
SELECT DISTINCT ON (t.trust_store, t.cn) t.trust_store, t.cn, t.domain, t.label, t.site, t.created_at
FROM tenant_device t ORDER BY t.trust_store, t.cn, t.domain
ON CONFLICT (trust_store, cn) DO UPDATE SET label = excluded.label, site = excluded.site
WHERE i.domain = excluded.domain AND i.label IS NULL AND i.site IS NULL;

ALTER POLICY tenant ON audit
    USING (CASE WHEN table_name IN ('rights_rule', 'device_info', 'tenant') THEN domain
                WHEN table_name IN ('sip_user', 'cn_mapping', 'credential')
                THEN substr(identity, strpos(identity, '@') + 1)
                WHEN table_name = 'user_group_member'
                     AND name = ANY ((SELECT tenant_groups())::text[])
                THEN split_part(identity, '@', 2) END
           = ANY ((SELECT tenant_domains())::text[]));
SELECT audit_unfollow('tenant_device');
DROP TABLE tenant_device;
DROP FUNCTION tenant_device_make_canonical();

COMMIT;
