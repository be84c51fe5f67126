-- Deploy holdline:binding_batch to pg
-- What a batch of registrations pays beside its rows. ON CONFLICT fires the triggers of INSERT and of
-- UPDATE, and one of them has no rows: it asks nothing now. And a page of the purge called a function for
-- each row that it looked at, of which nearly none is over.
BEGIN;
SET LOCAL search_path = public;

-- Stamp and origin are those of change_log_origin(), looked for once a statement, if it has a row.
CREATE OR REPLACE FUNCTION change_log_binding() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT (SELECT uuid_hash_extended(gen_random_uuid(), 0)),
               (SELECT (pg_control_system()).system_identifier),
               (SELECT split_part(pg_relation_filepath('pg_class'), '/', -2)::oid),
               'binding', ARRAY[k.aor]
        FROM (SELECT DISTINCT r.aor FROM new_rows r) k;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT (SELECT uuid_hash_extended(gen_random_uuid(), 0)),
               (SELECT (pg_control_system()).system_identifier),
               (SELECT split_part(pg_relation_filepath('pg_class'), '/', -2)::oid),
               'binding', ARRAY[k.aor]
        FROM (SELECT DISTINCT r.aor FROM old_rows r) k;
    ELSE
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT (SELECT uuid_hash_extended(gen_random_uuid(), 0)),
               (SELECT (pg_control_system()).system_identifier),
               (SELECT split_part(pg_relation_filepath('pg_class'), '/', -2)::oid),
               'binding', ARRAY[k.aor]
        FROM (SELECT r.aor FROM old_rows r UNION SELECT r.aor FROM new_rows r) k;
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
DECLARE
    -- Nothing that ends later is over (binding_is_over()): a look that takes no call for each row.
    horizon CONSTANT timestamptz := now() - interval '8 days';
BEGIN
    IF NOT pg_try_advisory_xact_lock(5219509671717072488) THEN -- one at a time, nobody waits
        RETURN;
    END IF;
    RETURN QUERY
    WITH page AS MATERIALIZED (
        SELECT b.aor, b.device_key, b.instance_key, b.expires_at FROM binding b
        WHERE (b.aor, b.device_key, b.instance_key) > ($1, $2, $3)
        ORDER BY b.aor, b.device_key, b.instance_key
        LIMIT least(greatest($4, 1), 10000)),
    gone AS (
        DELETE FROM binding b USING page p
        WHERE p.expires_at < horizon
          AND b.aor = p.aor AND b.device_key = p.device_key AND b.instance_key = p.instance_key
          AND binding_is_over(b.expires_at, b.version_ms)
        RETURNING 1)
    SELECT p.aor, p.device_key, p.instance_key, count(*) OVER (), (SELECT count(*) FROM gone)
    FROM page p ORDER BY p.aor DESC, p.device_key DESC, p.instance_key DESC LIMIT 1;
END
$$;

COMMIT;
