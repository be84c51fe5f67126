-- Revert holdline:change_log_prune from pg
BEGIN;
SET LOCAL search_path = public;

DROP FUNCTION change_log_prune(interval, integer);
DROP TABLE change_log_position;

ALTER TABLE change_log_floor DROP COLUMN cleared, DROP COLUMN database_oid, DROP COLUMN system_id;

ALTER TABLE change_log RESET (
    autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold,
    autovacuum_vacuum_insert_scale_factor, autovacuum_vacuum_insert_threshold,
    autovacuum_analyze_scale_factor, autovacuum_analyze_threshold, autovacuum_vacuum_cost_delay);

COMMENT ON COLUMN change_log.kind IS
    'What the key names: peer, user, group, domain, store, rules, binding, all.';
COMMENT ON COLUMN change_log.key IS
    'peer {trust store, CN}; user {identity}; group {name}; domain {name}; store {name}; rules {} '
    '(everyone''s); binding {aor}; all {} (read everything again).';
DELETE FROM change_log WHERE kind = 'mark';
ALTER TABLE change_log DROP CONSTRAINT change_log_kind_must_be_known;
ALTER TABLE change_log ADD CONSTRAINT change_log_kind_must_be_known CHECK (
    kind IN ('peer', 'user', 'group', 'domain', 'store', 'rules', 'binding', 'all'));

COMMIT;
