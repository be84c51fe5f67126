-- Verify holdline:binding on pg
BEGIN;
SET LOCAL search_path = public;

SELECT aor, device_key, instance_key, store, cn, ground, entry, instance, reg_id, contact,
    expires_at, q, call_id, cseq, flow, path, version_ms, version_by, removed
FROM binding WHERE false;
SELECT 1 / bind_put('alice@verify.holdline.example', 'device:0', 'c:sip:x', 'device',
    '000000000000', 'mapping', 'alice@verify.holdline.example', '', 0, 'sip:x', 1, 1000, 'c', 1,
    'p/1/0/0/1', '', 2, 1)::integer;
SELECT 1 / (NOT bind_put('alice@verify.holdline.example', 'device:0', 'c:sip:x', 'device',
    '000000000000', 'mapping', 'alice@verify.holdline.example', '', 0, 'sip:x', 1, 1000, 'c', 1,
    'p/1/0/0/1', '', 1, 9))::integer;
SELECT 1 / (has_table_privilege('holdline_mapperd', 'binding', 'insert')
            AND NOT has_table_privilege('holdline_admin', 'binding',
                                         'insert, update, delete'))::integer;

ROLLBACK;
