-- Verify holdline:third_party on pg
BEGIN;
SET LOCAL search_path = public;

SELECT 1 / bind_put('alice@verify.holdline.example', 'device:0', 'c:sip:x', 'device',
    '000000000000', 'mapping', 'bob@verify.holdline.example', '', 0, 'sip:x', 2000000000, 1000, 'c',
    1, 'f', '', 1, 1, registered_by => 'bob@verify.holdline.example')::integer;
SELECT bindings_end_of_users('{bob@verify.holdline.example}');
SELECT 1 / count(*) FROM binding
WHERE aor = 'alice@verify.holdline.example' AND registered_by = 'bob@verify.holdline.example'
  AND removed;

ROLLBACK;
