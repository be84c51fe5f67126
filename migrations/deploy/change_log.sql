-- Deploy holdline:change_log to pg
-- What changed, one row a key, for mapperd to read again. A row says only which key: the reader
-- takes the values from the tables, in any later snapshot. No order of the rows may be trusted (an
-- id or a time is taken before the commit), so the reader goes by transactions: everything from
-- xmax of its last snapshot on, and what was in progress in it.
BEGIN;
SET LOCAL search_path = public;

CREATE TABLE change_log (
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    stamp bigint NOT NULL,
    system_id bigint NOT NULL,
    database_oid oid NOT NULL,
    kind text NOT NULL,
    key text[] NOT NULL,
    CONSTRAINT change_log_kind_must_be_known CHECK (
        kind IN ('peer', 'user', 'group', 'domain', 'store', 'rules', 'binding', 'all'))
);

-- mapperd's poll: xid >= xmax(last snapshot) OR xid = ANY (xip(last snapshot)).
CREATE INDEX change_log_xid ON change_log (xid);

COMMENT ON TABLE change_log IS
    'Which keys changed, in which transaction. Written by triggers, read by mapperd. Rows whose '
    'system_id or database_oid are not this database''s came with a restored dump and mean '
    'nothing.';
COMMENT ON COLUMN change_log.xid IS 'The transaction (top level).';
COMMENT ON COLUMN change_log.stamp IS
    'Random, one a statement: with xid it tells the statement from another one that got the same '
    'xid after commits were lost.';
COMMENT ON COLUMN change_log.system_id IS 'System identifier of the cluster that wrote the row.';
COMMENT ON COLUMN change_log.database_oid IS 'OID of the database that wrote the row.';
COMMENT ON COLUMN change_log.kind IS
    'What the key names: peer, user, group, domain, store, rules, binding, all.';
COMMENT ON COLUMN change_log.key IS
    'peer {trust store, CN}; user {identity}; group {name}; domain {name}; store {name}; rules {} '
    '(everyone''s); binding {aor}; all {} (read everything again).';
COMMENT ON INDEX change_log_xid IS
    'mapperd''s poll: xid >= xmax of its last snapshot, or one of those in progress in it.';

CREATE TABLE change_log_floor (
    xid xid8 NOT NULL
);

-- One row at most.
CREATE UNIQUE INDEX change_log_floor_one ON change_log_floor ((true));

COMMENT ON TABLE change_log_floor IS
    'Below this transaction the change log is not complete any more: a reader whose position lies '
    'below it fills afresh. No row: the log is complete.';
COMMENT ON COLUMN change_log_floor.xid IS
    'The first transaction from which on the log is complete.';
COMMENT ON INDEX change_log_floor_one IS 'One row at most.';

CREATE FUNCTION change_log_origin(OUT stamp bigint, OUT system_id bigint, OUT database_oid oid)
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT ('x' || replace(right(gen_random_uuid()::text, 17), '-', ''))::bit(64)::bigint,
           (SELECT system_identifier FROM pg_control_system()),
           (SELECT oid FROM pg_database WHERE datname = current_database())
$$;

COMMENT ON FUNCTION change_log_origin() IS
    'What all rows of one statement share: a random stamp, this cluster, this database.';

-- A hint, never the truth: mapperd polls as well. NOTIFY takes a lock of the whole cluster at
-- commit and fails when its queue is full, so one transaction at a time gives it, and none while
-- the queue is half full. It forbids PREPARE TRANSACTION: holdline.notify = off (for a session, a
-- role or the database) leaves it out.
CREATE FUNCTION change_log_hint() RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF coalesce(current_setting('holdline.notify', true), '') NOT IN ('off', 'false', 'no', '0')
       AND pg_notification_queue_usage() < 0.5
       AND pg_try_advisory_xact_lock(5219509671717072485) THEN -- 'Holdline' as a number
        PERFORM pg_notify('holdline_change', '');
    END IF;
END
$$;

COMMENT ON FUNCTION change_log_hint() IS
    'NOTIFY holdline_change, where it costs nothing. Off with ALTER DATABASE ... SET '
    'holdline.notify = off.';

CREATE FUNCTION change_log_all() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
    SELECT w.stamp, w.system_id, w.database_oid, 'all', '{}' FROM change_log_origin() w;
    PERFORM change_log_hint();
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION change_log_all() IS
    'Logs that everything is to be read again: TRUNCATE tells no rows.';

CREATE FUNCTION change_log_trust_store() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, k.kind, k.key
        FROM change_log_origin() w, (
            SELECT DISTINCT 'store' AS kind, ARRAY[r.name] AS key FROM new_rows r) k;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, k.kind, k.key
        FROM change_log_origin() w, (
            SELECT DISTINCT 'store' AS kind, ARRAY[r.name] AS key FROM old_rows r) k;
    ELSE
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, k.kind, k.key
        FROM change_log_origin() w, (
            SELECT 'store' AS kind, ARRAY[r.name] AS key FROM old_rows r
            UNION
            SELECT 'store' AS kind, ARRAY[r.name] AS key FROM new_rows r) k;
    END IF;
    IF FOUND THEN
        PERFORM change_log_hint();
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION change_log_trust_store() IS
    'Logs the trust stores that a statement touched, old and new, each once.';

CREATE TRIGGER log_insert AFTER INSERT ON trust_store REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_trust_store();
CREATE TRIGGER log_update AFTER UPDATE ON trust_store
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_trust_store();
CREATE TRIGGER log_delete AFTER DELETE ON trust_store REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_trust_store();
CREATE TRIGGER log_truncate AFTER TRUNCATE ON trust_store
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_all();

CREATE FUNCTION change_log_domain() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, k.kind, k.key
        FROM change_log_origin() w, (
            SELECT DISTINCT 'domain' AS kind, ARRAY[r.name] AS key FROM new_rows r) k;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, k.kind, k.key
        FROM change_log_origin() w, (
            SELECT DISTINCT 'domain' AS kind, ARRAY[r.name] AS key FROM old_rows r) k;
    ELSE
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, k.kind, k.key
        FROM change_log_origin() w, (
            SELECT 'domain' AS kind, ARRAY[r.name] AS key FROM old_rows r
            UNION
            SELECT 'domain' AS kind, ARRAY[r.name] AS key FROM new_rows r) k;
    END IF;
    IF FOUND THEN
        PERFORM change_log_hint();
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION change_log_domain() IS
    'Logs the domains that a statement touched, old and new, each once.';

CREATE TRIGGER log_insert AFTER INSERT ON domain REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_domain();
CREATE TRIGGER log_update AFTER UPDATE ON domain
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_domain();
CREATE TRIGGER log_delete AFTER DELETE ON domain REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_domain();
CREATE TRIGGER log_truncate AFTER TRUNCATE ON domain
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_all();

CREATE FUNCTION change_log_sip_user() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, k.kind, k.key
        FROM change_log_origin() w, (
            SELECT DISTINCT 'user' AS kind, ARRAY[r.identity] AS key FROM new_rows r) k;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, k.kind, k.key
        FROM change_log_origin() w, (
            SELECT DISTINCT 'user' AS kind, ARRAY[r.identity] AS key FROM old_rows r) k;
    ELSE
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, k.kind, k.key
        FROM change_log_origin() w, (
            SELECT 'user' AS kind, ARRAY[r.identity] AS key FROM old_rows r
            UNION
            SELECT 'user' AS kind, ARRAY[r.identity] AS key FROM new_rows r) k;
    END IF;
    IF FOUND THEN
        PERFORM change_log_hint();
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION change_log_sip_user() IS
    'Logs the users that a statement touched, old and new, each once.';

CREATE TRIGGER log_insert AFTER INSERT ON sip_user REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_sip_user();
CREATE TRIGGER log_update AFTER UPDATE ON sip_user
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_sip_user();
CREATE TRIGGER log_delete AFTER DELETE ON sip_user REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_sip_user();
CREATE TRIGGER log_truncate AFTER TRUNCATE ON sip_user
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_all();

CREATE FUNCTION change_log_cn_mapping() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, k.kind, k.key
        FROM change_log_origin() w, (
            SELECT DISTINCT 'peer' AS kind, ARRAY[r.trust_store, r.cn] AS key FROM new_rows r) k;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, k.kind, k.key
        FROM change_log_origin() w, (
            SELECT DISTINCT 'peer' AS kind, ARRAY[r.trust_store, r.cn] AS key FROM old_rows r) k;
    ELSE
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, k.kind, k.key
        FROM change_log_origin() w, (
            SELECT 'peer' AS kind, ARRAY[r.trust_store, r.cn] AS key FROM old_rows r
            UNION
            SELECT 'peer' AS kind, ARRAY[r.trust_store, r.cn] AS key FROM new_rows r) k;
    END IF;
    IF FOUND THEN
        PERFORM change_log_hint();
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION change_log_cn_mapping() IS
    'Logs the peers that a statement touched, old and new, each once.';

CREATE TRIGGER log_insert AFTER INSERT ON cn_mapping REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_cn_mapping();
CREATE TRIGGER log_update AFTER UPDATE ON cn_mapping
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_cn_mapping();
CREATE TRIGGER log_delete AFTER DELETE ON cn_mapping REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_cn_mapping();
CREATE TRIGGER log_truncate AFTER TRUNCATE ON cn_mapping
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_all();

CREATE FUNCTION change_log_user_group() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, k.kind, k.key
        FROM change_log_origin() w, (
            SELECT DISTINCT 'group' AS kind, ARRAY[r.name] AS key FROM new_rows r) k;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, k.kind, k.key
        FROM change_log_origin() w, (
            SELECT DISTINCT 'group' AS kind, ARRAY[r.name] AS key FROM old_rows r) k;
    ELSE
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, k.kind, k.key
        FROM change_log_origin() w, (
            SELECT 'group' AS kind, ARRAY[r.name] AS key FROM old_rows r
            UNION
            SELECT 'group' AS kind, ARRAY[r.name] AS key FROM new_rows r) k;
    END IF;
    IF FOUND THEN
        PERFORM change_log_hint();
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION change_log_user_group() IS
    'Logs the groups that a statement touched, old and new, each once.';

CREATE TRIGGER log_insert AFTER INSERT ON user_group REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_user_group();
CREATE TRIGGER log_update AFTER UPDATE ON user_group
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_user_group();
CREATE TRIGGER log_delete AFTER DELETE ON user_group REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_user_group();
CREATE TRIGGER log_truncate AFTER TRUNCATE ON user_group
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_all();

CREATE FUNCTION change_log_user_group_member() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, k.kind, k.key
        FROM change_log_origin() w, (
            SELECT DISTINCT 'user' AS kind, ARRAY[r.identity] AS key FROM new_rows r) k;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, k.kind, k.key
        FROM change_log_origin() w, (
            SELECT DISTINCT 'user' AS kind, ARRAY[r.identity] AS key FROM old_rows r) k;
    ELSE
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, k.kind, k.key
        FROM change_log_origin() w, (
            SELECT 'user' AS kind, ARRAY[r.identity] AS key FROM old_rows r
            UNION
            SELECT 'user' AS kind, ARRAY[r.identity] AS key FROM new_rows r) k;
    END IF;
    IF FOUND THEN
        PERFORM change_log_hint();
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION change_log_user_group_member() IS
    'Logs the users whose groups changed that a statement touched, old and new, each once.';

CREATE TRIGGER log_insert AFTER INSERT ON user_group_member REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_user_group_member();
CREATE TRIGGER log_update AFTER UPDATE ON user_group_member
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_user_group_member();
CREATE TRIGGER log_delete AFTER DELETE ON user_group_member REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_user_group_member();
CREATE TRIGGER log_truncate AFTER TRUNCATE ON user_group_member
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_all();

CREATE FUNCTION change_log_rights_rule() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, k.kind, k.key
        FROM change_log_origin() w, (
            SELECT DISTINCT
                CASE r.who_kind WHEN 'everyone' THEN 'rules' ELSE r.who_kind END AS kind,
                CASE r.who_kind WHEN 'everyone' THEN '{}' ELSE ARRAY[r.who] END AS key
            FROM new_rows r) k;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, k.kind, k.key
        FROM change_log_origin() w, (
            SELECT DISTINCT
                CASE r.who_kind WHEN 'everyone' THEN 'rules' ELSE r.who_kind END AS kind,
                CASE r.who_kind WHEN 'everyone' THEN '{}' ELSE ARRAY[r.who] END AS key
            FROM old_rows r) k;
    ELSE
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, k.kind, k.key
        FROM change_log_origin() w, (
            SELECT CASE r.who_kind WHEN 'everyone' THEN 'rules' ELSE r.who_kind END AS kind,
                CASE r.who_kind WHEN 'everyone' THEN '{}' ELSE ARRAY[r.who] END AS key
            FROM old_rows r
            UNION
            SELECT CASE r.who_kind WHEN 'everyone' THEN 'rules' ELSE r.who_kind END AS kind,
                CASE r.who_kind WHEN 'everyone' THEN '{}' ELSE ARRAY[r.who] END AS key
            FROM new_rows r) k;
    END IF;
    IF FOUND THEN
        PERFORM change_log_hint();
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION change_log_rights_rule() IS
    'Logs the scopes whose rules changed that a statement touched, old and new, each once.';

CREATE TRIGGER log_insert AFTER INSERT ON rights_rule REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_rights_rule();
CREATE TRIGGER log_update AFTER UPDATE ON rights_rule
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_rights_rule();
CREATE TRIGGER log_delete AFTER DELETE ON rights_rule REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_rights_rule();
CREATE TRIGGER log_truncate AFTER TRUNCATE ON rights_rule
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_all();

CREATE FUNCTION change_log_binding() RETURNS trigger
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

COMMENT ON FUNCTION change_log_binding() IS
    'Logs the addresses of record that a statement touched, old and new, each once.';

CREATE TRIGGER log_insert AFTER INSERT ON binding REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_binding();
CREATE TRIGGER log_update AFTER UPDATE ON binding
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_binding();
CREATE TRIGGER log_delete AFTER DELETE ON binding REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_binding();
CREATE TRIGGER log_truncate AFTER TRUNCATE ON binding
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_all();

REVOKE ALL ON FUNCTION change_log_origin(), change_log_hint(), change_log_all(),
    change_log_trust_store(), change_log_domain(), change_log_sip_user(),
    change_log_cn_mapping(), change_log_user_group(), change_log_user_group_member(),
    change_log_rights_rule(), change_log_binding()
    FROM PUBLIC;
GRANT SELECT ON change_log, change_log_floor TO holdline_mapperd, holdline_admin;

COMMIT;
