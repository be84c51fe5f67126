-- Verify holdline:audit on pg
BEGIN;
SET LOCAL search_path = public;
SET LOCAL holdline.notify = off;

INSERT INTO trust_store (name, cn_form) VALUES ('verify-holdline', 'mac');
INSERT INTO domain (name) VALUES ('verify.holdline.example');
INSERT INTO cn_mapping (trust_store, cn, identity)
VALUES ('verify-holdline', '0004F224A6AC', 'alice@verify.holdline.example');
SELECT 1 / (array_agg(table_name ORDER BY table_name) = '{cn_mapping,domain,sip_user,trust_store}')::integer
FROM audit WHERE xid = pg_current_xact_id() AND who = session_user AND operation = 'insert';
SELECT 1 / (has_table_privilege('holdline_admin', 'audit', 'select')
            AND NOT has_table_privilege('holdline_admin', 'audit',
                                        'insert, update, delete, truncate'))::integer;

ROLLBACK;
