-- Verify holdline:bulk on pg
BEGIN;
SET LOCAL search_path = public;

SELECT 1 / (count(*) = 4)::integer FROM pg_trigger
WHERE tgname IN ('hold_domain', 'hold_domain_of_update', 'hold_store', 'hold_store_of_update');
SELECT 1 / (count(*) = 6)::integer FROM pg_trigger
WHERE tgfoid = 'referred_to_stays()'::regprocedure;
SELECT 1 / (tgqual IS NOT NULL)::integer FROM pg_trigger
WHERE tgname = 'canonical' AND tgrelid IN ('cn_mapping'::regclass, 'sip_user'::regclass);

ROLLBACK;
