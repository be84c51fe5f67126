-- Deploy holdline:audit to pg
-- Who changed what in provisioning, by whatever way: statement triggers with transition tables, one
-- INSERT a statement. Nobody but the owner can change or remove what stands here.
BEGIN;
SET LOCAL search_path = public;

CREATE TABLE audit (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY (CACHE 32),
    at timestamptz NOT NULL,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    who text NOT NULL,
    role text NOT NULL,
    application text NOT NULL,
    client inet,
    table_name text NOT NULL,
    operation text NOT NULL,
    trust_store text COLLATE "C",
    cn text COLLATE "C",
    identity text COLLATE "C",
    domain text COLLATE "C",
    name text COLLATE "C",
    before jsonb,
    after jsonb
);

CREATE INDEX audit_device ON audit (cn, trust_store) WHERE cn IS NOT NULL;
CREATE INDEX audit_identity ON audit (identity) WHERE identity IS NOT NULL;
CREATE INDEX audit_at ON audit USING brin (at);

COMMENT ON TABLE audit IS
    'Every change of provisioning: who, when, what before and after. Written by triggers, '
    'append-only; only the owner can remove rows (audit_prune()). Registrations are not in it.';
COMMENT ON COLUMN audit.id IS 'Orders the rows of one session; between sessions see at and xid.';
COMMENT ON COLUMN audit.at IS 'When the statement wrote it. It counts from the commit on.';
COMMENT ON COLUMN audit.xid IS 'The transaction (top level).';
COMMENT ON COLUMN audit.who IS 'Who logged in (session_user).';
COMMENT ON COLUMN audit.role IS 'The role set with SET ROLE, or none.';
COMMENT ON COLUMN audit.application IS
    'application_name of the session; whatever the client says of itself.';
COMMENT ON COLUMN audit.client IS 'Address of the client; NULL: over a unix socket.';
COMMENT ON COLUMN audit.table_name IS 'The table whose row changed.';
COMMENT ON COLUMN audit.operation IS
    'insert, update, delete; truncate: one row for all rows that went. A row that got another key '
    'stands as two updates: the old key with before alone, the new key with after alone.';
COMMENT ON COLUMN audit.trust_store IS 'Trust store of the changed row, where it has one.';
COMMENT ON COLUMN audit.cn IS 'CN of the changed row, where it has one.';
COMMENT ON COLUMN audit.identity IS 'Identity of the changed row, where it has one.';
COMMENT ON COLUMN audit.domain IS
    'Domain of the changed row, where it has one that its identity does not say.';
COMMENT ON COLUMN audit.name IS 'Group, or number of a rule, of the changed row.';
COMMENT ON COLUMN audit.before IS
    'What the row held besides its key: of an update, what was changed. NULL: there was no row. '
    'Secrets are left out.';
COMMENT ON COLUMN audit.after IS
    'What the row holds besides its key: of an update, what was changed. NULL: there is no row. A '
    'secret stands as "changed", never with its value.';
COMMENT ON INDEX audit_device IS 'mapctl history CN: what happened to a device.';
COMMENT ON INDEX audit_identity IS 'mapctl history IDENTITY: what happened to a user.';
COMMENT ON INDEX audit_at IS 'audit_prune(), and what happened in a time; small, since rows come in order.';

-- The triggers of a table are made from its columns, so that a new table is one line:
--     SELECT audit_follow('credential', identity => 'r.identity', secret => '{ha1_md5}');
-- Each expression says, of a row r, what goes into the column of audit of that name.
CREATE FUNCTION audit_follow(
    followed regclass, trust_store text DEFAULT 'NULL', cn text DEFAULT 'NULL',
    identity text DEFAULT 'NULL', domain text DEFAULT 'NULL', name text DEFAULT 'NULL',
    left_out text[] DEFAULT '{}', secret text[] DEFAULT '{}')
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    short CONSTANT text := (SELECT c.relname FROM pg_class c WHERE c.oid = followed);
    key CONSTANT text[] := ARRAY(
        SELECT a.attname::text FROM pg_index i
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
        WHERE i.indrelid = followed AND i.indisprimary);
    -- What stands in before and after. A generated column follows from others.
    columns CONSTANT text[] := ARRAY(
        SELECT a.attname::text FROM pg_attribute a
        WHERE a.attrelid = followed AND a.attnum > 0 AND NOT a.attisdropped
          AND a.attgenerated = '' AND a.attname <> ALL (key || left_out || secret)
        ORDER BY a.attnum);
    of_columns CONSTANT text := (SELECT string_agg(format('%L, r.%I', c, c), ', ')
                                 FROM unnest(columns) c);
    of_insert CONSTANT text := concat_ws(', ',
        (SELECT string_agg(format('%L, r.%I', c, c), ', ')
         FROM unnest(columns) c WHERE c <> 'created_at'),
        (SELECT string_agg(format('%L, CASE WHEN r.%I IS NOT NULL THEN ''changed'' END', c, c),
                           ', ') FROM unnest(secret) c));
    of_secrets CONSTANT text := (
        SELECT string_agg(format('%L, CASE WHEN o.%I IS DISTINCT FROM n.%I THEN ''changed'' END',
                                 c, c, c), ', ') FROM unnest(secret) c);
    same_key CONSTANT text := (SELECT string_agg(format('o.%I = n.%I', c, c), ' AND ')
                               FROM unnest(key) c);
    keys CONSTANT text := concat_ws(', ', trust_store, cn, identity, domain, name);
BEGIN
    EXECUTE format($make$
        CREATE FUNCTION public.%1$I() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER
        SET search_path = pg_catalog, public, pg_temp
        AS $body$
        DECLARE
            by_whom CONSTANT text := session_user;
            by_role CONSTANT text := current_setting('role');
            by_application CONSTANT text := current_setting('application_name');
            by_client CONSTANT inet := inet_client_addr();
            moment CONSTANT timestamptz := clock_timestamp();
        BEGIN
            IF TG_OP = 'INSERT' THEN
                INSERT INTO audit (at, who, role, application, client, table_name, operation,
                                   trust_store, cn, identity, domain, name, after)
                SELECT moment, by_whom, by_role, by_application, by_client, %2$L,
                       'insert', %3$s, %4$s
                FROM new_rows r;
            ELSIF TG_OP = 'DELETE' THEN
                INSERT INTO audit (at, who, role, application, client, table_name, operation,
                                   trust_store, cn, identity, domain, name, before)
                SELECT moment, by_whom, by_role, by_application, by_client, %2$L,
                       'delete', %3$s, %5$s
                FROM old_rows r;
            ELSE
                INSERT INTO audit (at, who, role, application, client, table_name, operation,
                                   trust_store, cn, identity, domain, name, before, after)
                SELECT moment, by_whom, by_role, by_application, by_client, %2$L, 'update',
                       k.*, d.before,
                       d.after
                FROM old_rows o
                FULL JOIN new_rows n ON %6$s
                CROSS JOIN LATERAL (
                    SELECT %3$s FROM (SELECT (n).*) r WHERE n IS DISTINCT FROM NULL
                    UNION ALL
                    SELECT %3$s FROM (SELECT (o).*) r WHERE n IS NOT DISTINCT FROM NULL) k
                CROSS JOIN LATERAL (
                    SELECT (SELECT %7$s FROM (SELECT (o).*) r WHERE o IS DISTINCT FROM NULL),
                           (SELECT %7$s %8$s FROM (SELECT (n).*) r
                            WHERE n IS DISTINCT FROM NULL)) j (b, a)
                CROSS JOIN LATERAL (
                    SELECT CASE WHEN a IS NULL THEN b ELSE (
                               SELECT jsonb_object_agg(e.key, e.value) FROM jsonb_each(b) e
                               WHERE e.value IS DISTINCT FROM a -> e.key) END,
                           CASE WHEN b IS NULL THEN a ELSE (
                               SELECT jsonb_object_agg(e.key, e.value) FROM jsonb_each(a) e
                               WHERE e.value IS DISTINCT FROM b -> e.key) END) d (before, after)
                WHERE d.before IS NOT NULL OR d.after IS NOT NULL;
            END IF;
            RETURN NULL;
        END
        $body$
        $make$,
        'audit_' || short, short, keys,
        CASE WHEN of_insert = '' THEN '''{}''::jsonb'
             ELSE format('jsonb_strip_nulls(jsonb_build_object(%s))', of_insert) END,
        CASE WHEN of_columns IS NULL THEN '''{}''::jsonb'
             ELSE format('jsonb_strip_nulls(jsonb_build_object(%s))', of_columns) END,
        same_key,
        CASE WHEN of_columns IS NULL THEN '''{}''::jsonb'
             ELSE format('jsonb_strip_nulls(jsonb_build_object(%s))', of_columns) END,
        CASE WHEN of_secrets IS NULL THEN ''
             ELSE format('|| jsonb_strip_nulls(jsonb_build_object(%s))', of_secrets) END);
    EXECUTE format('REVOKE ALL ON FUNCTION public.%I() FROM PUBLIC', 'audit_' || short);
    EXECUTE format('COMMENT ON FUNCTION public.%I() IS %L', 'audit_' || short,
                   format('Writes into the audit what a statement changed in %s. Made by '
                          'audit_follow().', short));
    EXECUTE format('CREATE TRIGGER audit_insert AFTER INSERT ON %s REFERENCING NEW TABLE AS '
                   'new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.%I()',
                   followed, 'audit_' || short);
    EXECUTE format('CREATE TRIGGER audit_update AFTER UPDATE ON %s REFERENCING OLD TABLE AS '
                   'old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.%I()',
                   followed, 'audit_' || short);
    EXECUTE format('CREATE TRIGGER audit_delete AFTER DELETE ON %s REFERENCING OLD TABLE AS '
                   'old_rows FOR EACH STATEMENT EXECUTE FUNCTION public.%I()',
                   followed, 'audit_' || short);
    EXECUTE format('CREATE TRIGGER audit_truncate AFTER TRUNCATE ON %s FOR EACH STATEMENT '
                   'EXECUTE FUNCTION audit_truncated()', followed);
END
$$;

COMMENT ON FUNCTION audit_follow(regclass, text, text, text, text, text, text[], text[]) IS
    'For migrations: makes the triggers that write a table''s changes into the audit.';

CREATE FUNCTION audit_unfollow(followed regclass) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    short CONSTANT text := (SELECT c.relname FROM pg_class c WHERE c.oid = followed);
BEGIN
    EXECUTE format('DROP TRIGGER audit_truncate ON %s', followed);
    EXECUTE format('DROP FUNCTION public.%I() CASCADE', 'audit_' || short);
END
$$;

COMMENT ON FUNCTION audit_unfollow(regclass) IS
    'For the way back of migrations: undoes audit_follow().';

CREATE FUNCTION audit_truncated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    INSERT INTO audit (at, who, role, application, client, table_name, operation)
    VALUES (clock_timestamp(), session_user, current_setting('role'),
            current_setting('application_name'), inet_client_addr(), TG_TABLE_NAME, 'truncate');
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION audit_truncated() IS 'Writes into the audit that a table was emptied.';

CREATE FUNCTION audit_prune(before timestamptz) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    gone bigint;
BEGIN
    DELETE FROM audit a WHERE a.at < $1;
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END
$$;

COMMENT ON FUNCTION audit_prune(timestamptz) IS
    'For the owner: deletes what is older than a moment, and says how many rows that were.';

SELECT audit_follow('trust_store', trust_store => 'r.name');
SELECT audit_follow('domain', domain => 'r.name');
SELECT audit_follow('sip_user', identity => 'r.identity');
SELECT audit_follow('cn_mapping', trust_store => 'r.trust_store', cn => 'r.cn',
                    identity => 'r.identity', left_out => '{user_identity}');
SELECT audit_follow('user_group', name => 'r.name');
SELECT audit_follow('user_group_member', identity => 'r.identity', name => 'r.group_name');
SELECT audit_follow('rights_rule', identity => 'r.who_user', domain => 'r.who_domain',
                    name => 'r.id::text');

REVOKE ALL ON FUNCTION audit_follow(regclass, text, text, text, text, text, text[], text[]),
    audit_unfollow(regclass), audit_truncated(), audit_prune(timestamptz) FROM PUBLIC;
GRANT SELECT ON audit TO holdline_admin;

COMMIT;
