-- Revert holdline:binding_batch from pg
BEGIN;
SET LOCAL search_path = public;

CREATE OR REPLACE FUNCTION change_log_binding() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, k.kind, k.key
        FROM change_log_origin() w, (
            SELECT DISTINCT 'binding' AS kind, ARRAY[r.aor] AS key FROM new_rows r) k;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, k.kind, k.key
        FROM change_log_origin() w, (
            SELECT DISTINCT 'binding' AS kind, ARRAY[r.aor] AS key FROM old_rows r) k;
    ELSE
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, k.kind, k.key
        FROM change_log_origin() w, (
            SELECT 'binding' AS kind, ARRAY[r.aor] AS key FROM old_rows r
            UNION
            SELECT 'binding' AS kind, ARRAY[r.aor] AS key FROM new_rows r) k;
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION binding_purge(
    after_aor text, after_device_key text, after_instance_key text, rows integer)
RETURNS TABLE (aor text, device_key text, instance_key text, looked_at bigint, purged bigint)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF NOT pg_try_advisory_xact_lock(5219509671717072488) THEN -- one at a time, nobody waits
        RETURN;
    END IF;
    RETURN QUERY
    WITH page AS MATERIALIZED (
        SELECT b.aor, b.device_key, b.instance_key FROM binding b
        WHERE (b.aor, b.device_key, b.instance_key) > ($1, $2, $3)
        ORDER BY b.aor, b.device_key, b.instance_key
        LIMIT least(greatest($4, 1), 10000)),
    gone AS (
        DELETE FROM binding b USING page p
        WHERE b.aor = p.aor AND b.device_key = p.device_key AND b.instance_key = p.instance_key
          AND binding_is_over(b.expires_at, b.version_ms)
        RETURNING 1)
    SELECT p.aor, p.device_key, p.instance_key, count(*) OVER (), (SELECT count(*) FROM gone)
    FROM page p ORDER BY p.aor DESC, p.device_key DESC, p.instance_key DESC LIMIT 1;
END
$$;

COMMIT;
