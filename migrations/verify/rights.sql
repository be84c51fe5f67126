-- Verify holdline:rights on pg
BEGIN;
SET LOCAL search_path = public;

SELECT name, description, created_at FROM user_group WHERE false;
SELECT group_name, identity, created_at FROM user_group_member WHERE false;
SELECT id, position, who_kind, who, trust_store, methods, target_kind, target, effect, valid_from,
    valid_until, calls_per_minute, created_at
FROM rights_rule WHERE false;
-- With an id of its own, since a sequence does not roll back.
INSERT INTO rights_rule (id, methods, target_kind, target, effect) OVERRIDING SYSTEM VALUE
VALUES (-1, '{message,INVITE}', 'number', '+49-30', 'deny');
SELECT 1 / count(*) FROM rights_rule
WHERE id = -1 AND methods = '{INVITE,MESSAGE}' AND target = '+4930' AND position = 100;
SELECT 1 / (has_table_privilege('holdline_mapperd', 'rights_rule', 'select')
            AND NOT has_table_privilege('holdline_mapperd', 'rights_rule',
                                         'insert, update, delete'))::integer;

ROLLBACK;
