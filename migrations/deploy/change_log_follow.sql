-- Deploy holdline:change_log_follow to pg
-- What fires no statement trigger. The worker of a logical subscription, and a session that says
-- session_replication_role = replica, fire none but those that are enabled for it, and row by row.
-- An INSERT straight into a partition or an inheriting table fires its own triggers and not its
-- parent's: change_log_follow() gives it the same.
BEGIN;
SET LOCAL search_path = public;

CREATE FUNCTION change_log_row() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    here record;
    -- One a transaction, as the stamp of one statement: random as its moment is.
    stamp bigint := hashtextextended(pg_current_xact_id() || now()::text || pg_backend_pid(), 0);
    changed jsonb;
BEGIN
    SELECT w.system_id, w.database_oid INTO here FROM change_log_origin() w;
    FOREACH changed IN ARRAY CASE TG_OP
        WHEN 'INSERT' THEN ARRAY[to_jsonb(NEW)]
        WHEN 'DELETE' THEN ARRAY[to_jsonb(OLD)]
        ELSE ARRAY[to_jsonb(OLD), to_jsonb(NEW)] END
    LOOP
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT stamp, here.system_id, here.database_oid, k.kind, k.key
        FROM (SELECT CASE WHEN TG_ARGV[0] <> 'rule' THEN TG_ARGV[0]
                          WHEN changed ->> 'who_kind' = 'everyone' THEN 'rules'
                          ELSE changed ->> 'who_kind' END AS kind,
                     CASE WHEN TG_ARGV[0] <> 'rule'
                          THEN ARRAY(SELECT changed ->> a.name
                                     FROM unnest(TG_ARGV[1:]) WITH ORDINALITY AS a (name, n)
                                     ORDER BY a.n)
                          WHEN changed ->> 'who_kind' = 'everyone' THEN '{}'
                          ELSE ARRAY[changed ->> 'who'] END AS key) k;
    END LOOP;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION change_log_row() IS
    'Logs the keys of a row that a logical subscription has written; arguments: kind, columns of '
    'the key.';

CREATE TRIGGER log_replicated AFTER INSERT OR UPDATE OR DELETE ON trust_store
    FOR EACH ROW EXECUTE FUNCTION change_log_row('store', 'name');
CREATE TRIGGER log_replicated AFTER INSERT OR UPDATE OR DELETE ON domain
    FOR EACH ROW EXECUTE FUNCTION change_log_row('domain', 'name');
CREATE TRIGGER log_replicated AFTER INSERT OR UPDATE OR DELETE ON sip_user
    FOR EACH ROW EXECUTE FUNCTION change_log_row('user', 'identity');
CREATE TRIGGER log_replicated AFTER INSERT OR UPDATE OR DELETE ON cn_mapping
    FOR EACH ROW EXECUTE FUNCTION change_log_row('peer', 'trust_store', 'cn');
CREATE TRIGGER log_replicated AFTER INSERT OR UPDATE OR DELETE ON device_info
    FOR EACH ROW EXECUTE FUNCTION change_log_row('peer', 'trust_store', 'cn');
CREATE TRIGGER log_replicated AFTER INSERT OR UPDATE OR DELETE ON credential
    FOR EACH ROW EXECUTE FUNCTION change_log_row('credential', 'identity');
CREATE TRIGGER log_replicated AFTER INSERT OR UPDATE OR DELETE ON user_group
    FOR EACH ROW EXECUTE FUNCTION change_log_row('group', 'name');
CREATE TRIGGER log_replicated AFTER INSERT OR UPDATE OR DELETE ON user_group_member
    FOR EACH ROW EXECUTE FUNCTION change_log_row('user', 'identity');
CREATE TRIGGER log_replicated AFTER INSERT OR UPDATE OR DELETE ON rights_rule
    FOR EACH ROW EXECUTE FUNCTION change_log_row('rule');
CREATE TRIGGER log_replicated AFTER INSERT OR UPDATE OR DELETE ON binding
    FOR EACH ROW EXECUTE FUNCTION change_log_row('binding', 'aor');

DO $$
DECLARE
    followed text;
BEGIN
    FOREACH followed IN ARRAY ARRAY['trust_store', 'domain', 'sip_user', 'cn_mapping', 'user_group',
                                    'user_group_member', 'rights_rule', 'binding',
                                    'device_info', 'credential']
    LOOP
        EXECUTE format('ALTER TABLE public.%I ENABLE REPLICA TRIGGER log_replicated', followed);
        EXECUTE format('ALTER TABLE public.%I ENABLE ALWAYS TRIGGER log_truncate', followed);
    END LOOP;
END
$$;

CREATE FUNCTION change_log_follow(child regclass) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    parent regclass;
    given record;
BEGIN
    WITH RECURSIVE above (oid) AS (
        SELECT i.inhparent FROM pg_inherits i WHERE i.inhrelid = child
        UNION SELECT i.inhparent FROM pg_inherits i JOIN above a ON i.inhrelid = a.oid)
    SELECT a.oid INTO parent FROM above a
    WHERE EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = a.oid AND t.tgname = 'log_insert')
    LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'wrong_object_type',
            MESSAGE = format('%s belongs to no table that mapperd follows', child),
            HINT = 'Name a partition of one, or a table that inherits from one, after attaching it.';
    END IF;
    FOR given IN
        SELECT t.tgname, t.tgfoid::regproc AS does,
               CASE t.tgname
                   WHEN 'log_insert' THEN 'INSERT ON %s REFERENCING NEW TABLE AS new_rows'
                   WHEN 'log_update' THEN 'UPDATE ON %s REFERENCING OLD TABLE AS old_rows '
                                          'NEW TABLE AS new_rows'
                   WHEN 'log_delete' THEN 'DELETE ON %s REFERENCING OLD TABLE AS old_rows'
                   ELSE 'TRUNCATE ON %s' END AS what
        FROM pg_trigger t
        WHERE t.tgrelid = parent
            AND t.tgname IN ('log_insert', 'log_update', 'log_delete', 'log_truncate')
    LOOP
        EXECUTE format('CREATE OR REPLACE TRIGGER %I AFTER ' || given.what
                       || ' FOR EACH STATEMENT EXECUTE FUNCTION public.%s()',
                       given.tgname, child, given.does);
    END LOOP;
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER log_truncate', child);
    -- A partition has its parent's; a table that inherits has none.
    IF NOT EXISTS (SELECT FROM pg_trigger t
                   WHERE t.tgrelid = child AND t.tgname = 'log_replicated') THEN
        EXECUTE format('CREATE TRIGGER log_replicated AFTER INSERT OR UPDATE OR DELETE ON %s '
                       'FOR EACH ROW EXECUTE FUNCTION public.change_log_row(%s)', child,
                       (SELECT string_agg(quote_literal(a.word), ', ' ORDER BY a.n)
                        FROM pg_trigger t,
                             string_to_table(encode(t.tgargs, 'escape'), '\000') WITH ORDINALITY AS a (word, n)
                        WHERE t.tgrelid = parent AND t.tgname = 'log_replicated' AND a.word <> ''));
    END IF;
    EXECUTE format('ALTER TABLE %s ENABLE REPLICA TRIGGER log_replicated', child);
END
$$;

COMMENT ON FUNCTION change_log_follow(regclass) IS
    'Gives a partition, or a table that inherits from one of ours, the triggers that log its '
    'changes: what is written straight into it is logged by no other. Call it after attaching.';

REVOKE ALL ON FUNCTION change_log_row(), change_log_follow(regclass) FROM PUBLIC;

COMMIT;
