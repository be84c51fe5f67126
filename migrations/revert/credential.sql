-- Revert holdline:credential from pg
BEGIN;
SET LOCAL search_path = public;

SELECT audit_unfollow('credential');
DROP FUNCTION set_credential(text, text, text, text);
DROP FUNCTION set_credential_ha1(text, text, text, text, text);
DROP TABLE credential;
DROP FUNCTION credential_make_canonical();
DROP FUNCTION binding_follow_credential();
DROP FUNCTION change_log_credential();
-- A mapperd of before does not know the kind.
UPDATE change_log SET kind = 'user' WHERE kind = 'credential';
ALTER TABLE change_log DROP CONSTRAINT change_log_kind_must_be_known;
ALTER TABLE change_log ADD CONSTRAINT change_log_kind_must_be_known CHECK (
    kind IN ('peer', 'user', 'group', 'domain', 'store', 'rules', 'binding', 'all',
             'mark'));
COMMENT ON COLUMN change_log.kind IS
    'What the key names: peer, user, group, domain, store, rules, binding, all; '
    'mark: nothing.';
COMMENT ON COLUMN change_log.key IS
    'peer {trust store, CN}; user {identity}; group {name}; domain {name}; store {name}; rules {} '
    '(everyone''s); binding {aor}; all {} (read everything again); '
    'mark {} (nothing changed: a statement that a mapperd can be asked for after a time without '
    'changes).';

COMMIT;
