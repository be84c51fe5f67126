-- Deploy holdline:binding_end to pg
-- How a binding ends. mapperds keep copies, some of them read from replicas that lag behind, so
-- that a row which is not there tells nothing: it may not be there yet. What is to be gone is
-- therefore said by a tombstone with a version, kept for longer than any binding lasts; only then
-- the row goes, in the table and in the copies, by everyone's own clock.
BEGIN;
SET LOCAL search_path = public;

-- The longest registration is 7 days, and what is stored runs ahead of it by half an hour.
CREATE FUNCTION binding_is_over(expires_at timestamptz, version_ms bigint) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT $1 < now() - interval '8 days'
       AND $2 < (extract(epoch FROM now() - interval '8 days') * 1000)::bigint
$$;

COMMENT ON FUNCTION binding_is_over(timestamptz, bigint) IS
    'Whether a binding or tombstone has had its end, and was written, more than 8 days ago: longer '
    'than any registration lasts, so that nothing older can be on its way any more.';

CREATE FUNCTION binding_delete_leaves_tombstone() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    UPDATE binding b
    SET removed = true, version_by = 0, version_ms = binding_version_after(b.version_ms)
    WHERE b.aor = OLD.aor AND b.device_key = OLD.device_key
      AND b.instance_key = OLD.instance_key AND NOT b.removed;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION binding_delete_leaves_tombstone() IS
    'A DELETE of a binding removes it by a tombstone, as every removal does; the row itself goes '
    'when it is over (binding_purge()). The statement counts no rows.';

CREATE TRIGGER delete_leaves_tombstone BEFORE DELETE ON binding
    FOR EACH ROW WHEN (NOT binding_is_over(OLD.expires_at, OLD.version_ms))
    EXECUTE FUNCTION binding_delete_leaves_tombstone();

-- By pages of the primary key: an index on the end would be written with every refresh, which
-- changes no indexed column now.
CREATE FUNCTION binding_purge(
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

COMMENT ON FUNCTION binding_purge(text, text, text, integer) IS
    'Deletes what is over among the next rows behind a key, and gives the last key it looked at: '
    'mapperd goes on from there and begins anew when no row comes. No row comes also while another '
    'one purges.';

REVOKE ALL ON FUNCTION binding_is_over(timestamptz, bigint), binding_delete_leaves_tombstone(),
    binding_purge(text, text, text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION binding_purge(text, text, text, integer) TO holdline_mapperd;

COMMIT;
