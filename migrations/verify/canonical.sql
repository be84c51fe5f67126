-- Verify holdline:canonical on pg
BEGIN;
SET LOCAL search_path = public;

SELECT 1 / (identity_canonical('sip:%61lice@Example.ORG.') = 'alice@example.org')::integer;
SELECT 1 / (domain_canonical('Example.ORG.') = 'example.org')::integer;
SELECT 1 / (number_canonical('+49-30 (12)') = '+493012')::integer;
SELECT 1 / (cn_canonical('mac', '{}', '00:04:f2:24:a6:ac') = '0004F224A6AC')::integer;

ROLLBACK;
