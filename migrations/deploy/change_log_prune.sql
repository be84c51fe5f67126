-- Deploy holdline:change_log_prune to pg
-- The change log must not grow for ever, and nobody may miss a row that is gone. So a floor moves up
-- in the transaction that deletes, and whoever stands below it fills afresh. It never passes what a
-- mapperd that lives still needs, nor a position that is younger than the time to keep: then one
-- that was away for less goes on where it stood. Positions are remembered with wall time, since a
-- row has no time of use: that of its statement's start is long over when a long transaction makes
-- the row visible.
BEGIN;
SET LOCAL search_path = public;

ALTER TABLE change_log DROP CONSTRAINT change_log_kind_must_be_known;
ALTER TABLE change_log ADD CONSTRAINT change_log_kind_must_be_known CHECK (
    kind IN ('peer', 'user', 'group', 'domain', 'store', 'rules', 'binding', 'all', 'mark'));
COMMENT ON COLUMN change_log.kind IS
    'What the key names: peer, user, group, domain, store, rules, binding, all; mark: nothing.';
COMMENT ON COLUMN change_log.key IS
    'peer {trust store, CN}; user {identity}; group {name}; domain {name}; store {name}; rules {} '
    '(everyone''s); binding {aor}; all {} (read everything again); mark {} (nothing changed: a '
    'statement that a mapperd can be asked for after a time without changes).';

-- Rows come and go at one rate, so what matters is their number since the last time, not its share.
-- Vacuum keeps up with 10,000 rows a second.
ALTER TABLE change_log SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 100000,
    autovacuum_vacuum_cost_delay = 0);

ALTER TABLE change_log_floor
    ADD COLUMN system_id bigint, ADD COLUMN database_oid oid,
    ADD COLUMN cleared xid8 NOT NULL DEFAULT '0';
UPDATE change_log_floor SET (system_id, database_oid) =
    (SELECT w.system_id, w.database_oid FROM change_log_origin() w);
ALTER TABLE change_log_floor
    ALTER COLUMN system_id SET NOT NULL, ALTER COLUMN database_oid SET NOT NULL;
COMMENT ON COLUMN change_log_floor.system_id IS
    'System identifier of the cluster whose transaction it is: a floor that came with a restored '
    'dump says nothing.';
COMMENT ON COLUMN change_log_floor.database_oid IS 'OID of the database.';
COMMENT ON COLUMN change_log_floor.cleared IS
    'Below this transaction no row is left to delete.';

CREATE TABLE change_log_position (
    remembered_at timestamptz NOT NULL,
    position_xmin xid8 NOT NULL,
    system_id bigint NOT NULL,
    database_oid oid NOT NULL
);

COMMENT ON TABLE change_log_position IS
    'Where the change log stood at some moments of the time to keep, a few dozen rows: how '
    'change_log_prune() knows how old a transaction is.';
COMMENT ON COLUMN change_log_position.remembered_at IS 'Wall time.';
COMMENT ON COLUMN change_log_position.position_xmin IS
    'xmin of a snapshot of that moment: every transaction below had ended.';
COMMENT ON COLUMN change_log_position.system_id IS 'System identifier of the cluster.';
COMMENT ON COLUMN change_log_position.database_oid IS 'OID of the database.';

CREATE FUNCTION change_log_prune(keep interval, at_most integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
SET enable_seqscan = off SET jit = off
SET lock_timeout = '1s'
AS $$
DECLARE
    here record;
    snapshot pg_snapshot := pg_current_snapshot();
    moment timestamptz := clock_timestamp();
    kept interval := greatest(keep, interval '1 second');
    budget integer := least(greatest(at_most, 1), 100000);
    remembered change_log_position%ROWTYPE;
    up_to xid8;
    standing change_log_floor%ROWTYPE;
    gone integer := 0;
    foreign_gone integer;
    last_gone xid8;
BEGIN
    IF keep IS NULL OR at_most IS NULL
       OR NOT pg_try_advisory_xact_lock(5219509671717072486) THEN -- one at a time, nobody waits
        RETURN 0;
    END IF;
    SELECT w.stamp, w.system_id, w.database_oid INTO here FROM change_log_origin() w;

    -- What a restored dump brought along.
    DELETE FROM change_log_floor f
    WHERE (f.system_id, f.database_oid) <> (here.system_id, here.database_oid);
    DELETE FROM change_log_position p
    WHERE (p.system_id, p.database_oid) <> (here.system_id, here.database_oid)
        OR p.remembered_at > moment; -- the clock has gone back
    WITH doomed AS (
        SELECT l.ctid FROM change_log l
        WHERE l.xid >= pg_snapshot_xmax(snapshot)
            AND (l.system_id, l.database_oid) <> (here.system_id, here.database_oid)
        LIMIT budget)
    DELETE FROM change_log l WHERE l.ctid = ANY (ARRAY(SELECT d.ctid FROM doomed d));
    GET DIAGNOSTICS foreign_gone = ROW_COUNT;

    -- A mark goes with each position that is remembered: a mapperd that has seen one can be asked
    -- for a statement above the floor, however long nothing changed.
    IF NOT EXISTS (SELECT FROM change_log_position p
                   WHERE p.remembered_at > moment - kept / 16) THEN
        INSERT INTO change_log_position (remembered_at, position_xmin, system_id, database_oid)
        VALUES (moment, pg_snapshot_xmin(snapshot), here.system_id, here.database_oid);
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        VALUES (here.stamp, here.system_id, here.database_oid, 'mark', '{}');
    END IF;

    SELECT p.* INTO remembered FROM change_log_position p
    WHERE p.remembered_at <= moment - kept ORDER BY p.remembered_at DESC LIMIT 1;
    IF NOT FOUND THEN
        RETURN foreign_gone;
    END IF;
    DELETE FROM change_log_position p WHERE p.remembered_at < remembered.remembered_at;
    SELECT least(remembered.position_xmin, (
        SELECT m.position_xmin FROM mapperd m
        WHERE m.position_xmin IS NOT NULL AND m.seen_at > moment - kept
        ORDER BY m.position_xmin LIMIT 1)) INTO up_to;

    SELECT f.* INTO standing FROM change_log_floor f;
    IF NOT FOUND THEN
        INSERT INTO change_log_floor AS f (xid, system_id, database_oid)
        VALUES (up_to, here.system_id, here.database_oid) RETURNING f.* INTO standing;
    ELSIF up_to > standing.xid THEN
        UPDATE change_log_floor f SET xid = up_to RETURNING f.* INTO standing;
    END IF;
    IF standing.cleared < standing.xid AND foreign_gone < budget THEN
        -- From where the last one ended: what it deleted may lie in the index for as long as some
        -- snapshot stays open.
        WITH doomed AS (
            SELECT l.ctid FROM change_log l
            WHERE l.xid >= standing.cleared AND l.xid < standing.xid
            ORDER BY l.xid LIMIT budget - foreign_gone),
        deleted AS (
            DELETE FROM change_log l WHERE l.ctid = ANY (ARRAY(SELECT d.ctid FROM doomed d))
            RETURNING l.xid)
        SELECT count(*), (SELECT d.xid FROM deleted d ORDER BY d.xid DESC LIMIT 1)
        INTO gone, last_gone FROM deleted;
        UPDATE change_log_floor f SET cleared =
            CASE WHEN gone < budget - foreign_gone THEN f.xid ELSE last_gone END;
    END IF;
    RETURN gone + foreign_gone;
END
$$;

COMMENT ON FUNCTION change_log_prune(interval, integer) IS
    'Moves the floor of the change log up to where it stood that long ago, but not above what a '
    'mapperd seen in that time still needs, and deletes at most so many rows below it, and those '
    'of another cluster or database. Returns how many: as many as allowed means that more may be '
    'left. Called by mapperd now and then; returns 0 while another does it.';

REVOKE ALL ON FUNCTION change_log_prune(interval, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION change_log_prune(interval, integer) TO holdline_mapperd;

COMMIT;
