-- Verify holdline:quiet on pg
BEGIN;
SET LOCAL search_path = public;

SELECT 1 / (count(*) = 1)::integer FROM pg_trigger
WHERE tgrelid = 'credential'::regclass AND tgname = 'keep_quiet' AND tgenabled = 'O';

ROLLBACK;
