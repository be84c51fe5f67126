-- Deploy holdline:device to pg
-- After INSERT '00:04:f2:24:a6:ac' a DELETE ... WHERE cn = '00:04:f2:24:a6:ac' finds nothing, and a
-- stolen phone would stay. These take any spelling and raise an error when nothing matched.
BEGIN;
SET LOCAL search_path = public;

CREATE FUNCTION device_cn(cn text, trust_store text DEFAULT 'device') RETURNS text
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    store trust_store%ROWTYPE;
BEGIN
    SELECT * INTO store FROM trust_store s WHERE s.name = $2;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found',
            MESSAGE = format('there is no trust store %s', shown($2)),
            HINT = format('Write one of: %s.',
                          (SELECT string_agg(s.name, ', ' ORDER BY s.name) FROM trust_store s));
    END IF;
    RETURN cn_canonical(store.cn_form, store.cn_prefixes, $1);
END
$$;

COMMENT ON FUNCTION device_cn(text, text) IS
    'Canonical CN of a device from any spelling: DELETE FROM cn_mapping WHERE cn = '
    'device_cn(''00:04:f2:24:a6:ac'').';

CREATE FUNCTION retire_device(cn text, trust_store text DEFAULT 'device') RETURNS bigint
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
    IF gone = 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found',
            MESSAGE = format('device %s of trust store %s has no mapping',
                             shown(canonical), shown($2)),
            HINT = format('Look for it with: SELECT * FROM cn_mapping WHERE cn = %L', canonical);
    END IF;
    RETURN gone;
END
$$;

COMMENT ON FUNCTION retire_device(text, text) IS
    'Deletes every mapping of a device, named in any spelling; its registrations end with it. '
    'Returns how many there were; raises no_data_found when there was none.';

REVOKE ALL ON FUNCTION device_cn(text, text), retire_device(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION device_cn(text, text), retire_device(text, text) TO holdline_admin;

COMMIT;
