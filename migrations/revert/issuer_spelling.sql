-- Revert holdline:issuer_spelling from pg
BEGIN;
SET LOCAL search_path = public;

CREATE OR REPLACE FUNCTION certificate_issuer(given text) RETURNS text
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    -- issuer="CN=Device root" is what the log has, issuer=CN=Device root what OpenSSL prints.
    plain text := regexp_replace(btrim(given, E' \t\r\n'), '^issuer *= *', '', 'i');
    hint CONSTANT text := 'Write what the log''s line of the denial says, or what this prints: '
                          'openssl x509 -noout -issuer -nameopt RFC2253 -in FILE';
BEGIN
    IF given IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'not_null_violation', COLUMN = 'issuer',
            MESSAGE = 'a serial number alone is no certificate: the issuer is missing', HINT = hint;
    END IF;
    -- The log cuts a long value, and says so.
    IF plain ~ '\\\+[0-9]+"?$' THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', COLUMN = 'issuer',
            MESSAGE = format('%s is cut at its end, as the log does with a long one', shown(given)),
            HINT = 'Write what this prints: openssl x509 -noout -issuer -nameopt RFC2253 -in FILE';
    END IF;
    IF plain ~ '^".*"$' THEN
        plain := substr(plain, 2, length(plain) - 2);
    END IF;
    plain := btrim(replace(plain, E'\\', ''), ' ');
    IF (plain ~ '^[A-Za-z0-9.]+=' AND plain !~ '^[A-Za-z0-9.]+ = ') IS NOT TRUE
       OR plain !~ '^[\u0020-\u007e]+$' COLLATE "C" OR length(plain) > 1024 THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', COLUMN = 'issuer',
            MESSAGE = format('%s is not an issuer as RFC 4514 writes it, such as CN=Device root,O=Maker',
                             shown(given)),
            HINT = hint;
    END IF;
    RETURN plain;
END
$$;

COMMIT;
