-- Verify holdline:service_spelling on pg
BEGIN;
SET LOCAL search_path = public;

DO $$
BEGIN
    PERFORM service_canonical('sos.-fire');
    RAISE EXCEPTION 'a label that begins with a hyphen is taken';
EXCEPTION WHEN check_violation THEN
    NULL;
END
$$;

ROLLBACK;
