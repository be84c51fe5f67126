-- Verify holdline:change_log on pg
BEGIN;
SET LOCAL search_path = public;
SET LOCAL holdline.notify = off;

SELECT xid, stamp, system_id, database_oid, kind, key FROM change_log WHERE false;
SELECT xid FROM change_log_floor WHERE false;
INSERT INTO trust_store (name, cn_form) VALUES ('verify-holdline', 'mac');
INSERT INTO domain (name) VALUES ('verify.holdline.example');
INSERT INTO cn_mapping (trust_store, cn, identity)
VALUES ('verify-holdline', '0004F224A6AC', 'alice@verify.holdline.example');
SELECT 1 / (array_agg(kind ORDER BY kind) = '{domain,peer,store,user}')::integer
FROM change_log WHERE xid = pg_current_xact_id()
    AND system_id = (SELECT system_identifier FROM pg_control_system())
    AND database_oid = (SELECT oid FROM pg_database WHERE datname = current_database());
-- Four triggers on each of eight tables.
SELECT 1 / (count(*) = 32)::integer FROM pg_trigger
WHERE tgname IN ('log_insert', 'log_update', 'log_delete', 'log_truncate')
    AND tgrelid IN ('trust_store'::regclass, 'domain'::regclass, 'sip_user'::regclass,
        'cn_mapping'::regclass, 'user_group'::regclass, 'user_group_member'::regclass,
        'rights_rule'::regclass, 'binding'::regclass);
SELECT 1 / (has_table_privilege('holdline_mapperd', 'change_log', 'select')
            AND NOT has_table_privilege('holdline_admin', 'change_log',
                                         'insert, update, delete'))::integer;

ROLLBACK;
