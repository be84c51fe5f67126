-- Deploy holdline:challenge to pg
-- Rules that ask for the password of who sends (digest authentication).
BEGIN;
SET LOCAL search_path = public;

ALTER TABLE rights_rule
    DROP CONSTRAINT rights_rule_effect_must_be_allow_or_deny,
    ADD CONSTRAINT rights_rule_effect_must_be_allow_deny_or_challenge CHECK (
        effect IN ('allow', 'deny', 'challenge'));
COMMENT ON COLUMN rights_rule.effect IS
    'allow, deny or challenge: who has proved the password of From may, others are asked for it; '
    'where the listener takes no passwords it denies.';

COMMIT;
