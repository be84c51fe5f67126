-- Revert holdline:blocked_serial from pg
BEGIN;
SET LOCAL search_path = public;

-- Nobody asks for these any more.
DELETE FROM blocked_certificate WHERE issuer IS NOT NULL;

CREATE OR REPLACE FUNCTION blocked_certificate_make_canonical() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    given text := NEW.sha256;
BEGIN
    NEW.note := nullif(btrim(NEW.note, ' '), '');
    IF NEW.trust_store IS NULL OR NOT EXISTS (
        SELECT FROM trust_store s WHERE s.name = NEW.trust_store) THEN
        RAISE EXCEPTION USING
            ERRCODE = CASE WHEN NEW.trust_store IS NULL THEN 'not_null_violation'
                           ELSE 'foreign_key_violation' END,
            TABLE = 'blocked_certificate', COLUMN = 'trust_store',
            MESSAGE = CASE WHEN NEW.trust_store IS NULL THEN 'the trust store is missing'
                           ELSE format('there is no trust store %s', shown(NEW.trust_store)) END,
            HINT = format('Write one of: %s.',
                          (SELECT string_agg(name, ', ' ORDER BY name) FROM trust_store));
    END IF;
    -- "sha256 Fingerprint=AB:CD:..." is what OpenSSL prints.
    NEW.sha256 := lower(translate(regexp_replace(given, '^ *sha-?256 fingerprint *=', '', 'i'),
                                  E': \t\n\r', '') COLLATE "C");
    IF (NEW.sha256 ~ '^[0-9a-f]{64}$') IS NOT TRUE THEN
        RAISE EXCEPTION USING
            ERRCODE = CASE WHEN given IS NULL THEN 'not_null_violation'
                           ELSE 'check_violation' END,
            TABLE = 'blocked_certificate', COLUMN = 'sha256',
            MESSAGE = CASE WHEN given IS NULL THEN 'the SHA-256 of the certificate is missing'
                           WHEN NEW.sha256 ~ '^[0-9a-f]{40}$' OR given ~* '^ *sha1 '
                           THEN format('%s is a SHA-1, not a SHA-256', shown(given))
                           ELSE format('%s is not the SHA-256 of a certificate', shown(given)) END,
            HINT = 'Write the 64 hexadecimal digits, with or without colons, that this prints: '
                   'openssl x509 -noout -fingerprint -sha256 -in FILE';
    END IF;
    RETURN NEW;
END
$$;

ALTER TABLE blocked_certificate DROP COLUMN issuer, DROP COLUMN serial;
DROP FUNCTION certificate_issuer(text);
DROP FUNCTION certificate_serial(text);
COMMENT ON COLUMN blocked_certificate.sha256 IS
    'SHA-256 of the certificate, as openssl x509 -noout -fingerprint -sha256 prints it; kept as 64 '
    'hexadecimal digits in lower case.';

COMMIT;
