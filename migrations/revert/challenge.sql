-- Revert holdline:challenge from pg
-- A rule that asked for a password denies from here on: nothing is permitted that was not.
BEGIN;
SET LOCAL search_path = public;

UPDATE rights_rule SET effect = 'deny' WHERE effect = 'challenge';
ALTER TABLE rights_rule
    DROP CONSTRAINT rights_rule_effect_must_be_allow_deny_or_challenge,
    ADD CONSTRAINT rights_rule_effect_must_be_allow_or_deny CHECK (effect IN ('allow', 'deny'));
COMMENT ON COLUMN rights_rule.effect IS 'allow or deny.';

COMMIT;
