-- Revert holdline:blocked_certificate from pg
BEGIN;
SET LOCAL search_path = public;

SELECT audit_unfollow('blocked_certificate');
DROP TABLE blocked_certificate;
DROP FUNCTION blocked_certificate_make_canonical();
DROP FUNCTION change_log_blocked_certificate();
-- A mapperd of before does not know the kind.
UPDATE change_log SET kind = 'store', key = key[1:1] WHERE kind = 'certificate';
ALTER TABLE change_log DROP CONSTRAINT change_log_kind_must_be_known;
ALTER TABLE change_log ADD CONSTRAINT change_log_kind_must_be_known CHECK (
    kind = ANY ('{peer,user,credential,group,domain,store,rules,binding,all,mark}'));
COMMENT ON COLUMN change_log.kind IS
    'What the key names: peer, user, credential, group, domain, store, rules, binding, all; '
    'mark: nothing.';
COMMENT ON COLUMN change_log.key IS
    'peer {trust store, CN}; user {identity}; credential {identity}; group {name}; domain {name}; '
    'store {name}; rules {} (everyone''s); binding {aor}; all {} (read everything again); '
    'mark {} (nothing changed: a statement that a mapperd can be asked for after a time without '
    'changes).';

COMMIT;
