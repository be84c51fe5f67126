-- Revert holdline:trust from pg
BEGIN;
SET LOCAL search_path = public;

DROP TABLE domain;
DROP TABLE trust_store;
DROP FUNCTION trust_store_keep_disabled();
DROP FUNCTION domain_make_canonical();

COMMIT;
