-- Verify holdline:device_info on pg
BEGIN;
SET LOCAL search_path = public;

SELECT trust_store, cn, state, label, site, domain, created_at FROM device_info WHERE false;
INSERT INTO trust_store (name, cn_form) VALUES ('verify-holdline', 'mac');
INSERT INTO device_info (trust_store, cn, state)
VALUES ('verify-holdline', '00:04:f2:24:a6:ac', 'disabled')
ON CONFLICT (trust_store, cn) DO UPDATE SET state = excluded.state;
SELECT 1 / count(*) FROM change_log
WHERE xid = pg_current_xact_id() AND kind = 'peer' AND key = '{verify-holdline,0004F224A6AC}';
SELECT 1 / (has_table_privilege('holdline_mapperd', 'device_info', 'select')
            AND NOT has_table_privilege('holdline_mapperd', 'device_info',
                                         'insert, update, delete'))::integer;

ROLLBACK;
