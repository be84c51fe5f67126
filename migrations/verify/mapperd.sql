-- Verify holdline:mapperd on pg
BEGIN;
SET LOCAL search_path = public;

SELECT id, name, counter, position_xmin, seen_at, created_at FROM mapperd WHERE false;
-- With an id of its own, since a sequence does not roll back.
INSERT INTO mapperd (id, name) OVERRIDING SYSTEM VALUE VALUES (-1, 'verify.holdline.example');
SELECT 1 / (mapperd_enrol('verify.holdline.example') = -1)::integer;
SELECT 1 / (has_column_privilege('holdline_mapperd', 'mapperd', 'counter', 'update')
            AND NOT has_column_privilege('holdline_mapperd', 'mapperd', 'name', 'update'))::integer;

ROLLBACK;
