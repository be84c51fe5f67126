-- Verify holdline:bulk on pg
BEGIN;
SET LOCAL search_path = public;

-- Those of INSERT become part of one_phone.
SELECT 1 / (count(*) = 2)::integer FROM pg_trigger
WHERE tgname IN ('hold_domain_of_update', 'hold_store_of_update');
SELECT 1 / (count(*) = 6)::integer FROM pg_trigger
WHERE tgfoid = 'referred_to_stays()'::regprocedure;
SELECT 1 / (tgqual IS NOT NULL)::integer FROM pg_trigger
WHERE tgname = 'canonical' AND tgrelid IN ('cn_mapping'::regclass, 'sip_user'::regclass);

ROLLBACK;
