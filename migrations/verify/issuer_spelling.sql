-- Verify holdline:issuer_spelling on pg
BEGIN;
SET LOCAL search_path = public;

DO $$
BEGIN
    PERFORM certificate_issuer('C=US, CN=Device root');
    RAISE EXCEPTION 'an issuer with spaces behind its commas is taken';
EXCEPTION WHEN check_violation THEN
    NULL;
END
$$;

ROLLBACK;
