-- Revert holdline:device_view from pg
BEGIN;
SET LOCAL search_path = public;

DROP FUNCTION replace_device(text, text, text, text);
DROP VIEW device;
DROP FUNCTION device_write();
DROP FUNCTION device_set_identities(text, text, text[]);

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

COMMIT;
