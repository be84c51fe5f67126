-- Verify holdline:binding_end on pg
BEGIN;
SET LOCAL search_path = public;

SELECT bind_put('alice@verify.holdline.example', 'device:0', 'c:sip:x', 'device', '000000000000',
    'mapping', 'alice@verify.holdline.example', '', 0, 'sip:x', 4000000000, 1000, 'c', 1,
    'p/1/0/0/1', '', 1, 1);
DELETE FROM binding WHERE aor = 'alice@verify.holdline.example';
SELECT 1 / count(*) FROM binding WHERE aor = 'alice@verify.holdline.example' AND removed;
SELECT 1 / (has_function_privilege('holdline_mapperd',
                                   'binding_purge(text, text, text, integer)', 'execute')
            AND NOT has_function_privilege('holdline_admin',
                                   'binding_purge(text, text, text, integer)', 'execute'))::integer;

ROLLBACK;
