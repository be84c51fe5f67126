-- Verify holdline:challenge on pg
BEGIN;
SET LOCAL search_path = public;

SELECT 1 / (count(*) = 1)::integer FROM pg_constraint
WHERE conname = 'rights_rule_effect_must_be_allow_deny_or_challenge';

ROLLBACK;
