-- Verify holdline:rights on pg
BEGIN;
SET LOCAL search_path = public;

SELECT name, description, created_at FROM user_group WHERE false;
SELECT group_name, identity, created_at FROM user_group_member WHERE false;
SELECT id, position, who_kind, who, trust_store, methods, target_kind, target, effect, valid_from, valid_until,
    calls_per_minute, created_at FROM rights_rule WHERE false;
INSERT INTO rights_rule (methods, target_kind, target, effect) VALUES ('{message,INVITE}', 'number', '+49-30', 'deny');
SELECT 1 / count(*) FROM rights_rule WHERE methods = '{INVITE,MESSAGE}' AND target = '+4930' AND position = 100;
SELECT 1 / (has_table_privilege('holdline_mapperd', 'rights_rule', 'select')
            AND NOT has_table_privilege('holdline_mapperd', 'rights_rule', 'insert, update, delete'))::integer;

ROLLBACK;
