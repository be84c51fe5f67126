-- Deploy holdline:blocked_serial to pg
-- A certificate is blocked by issuer and serial number as well, for who has a log line and no
-- certificate.
BEGIN;
SET LOCAL search_path = public;

-- What the row is found by stays sha256: mapperd, the log and the proxies know one kind of key.
ALTER TABLE blocked_certificate
    ADD COLUMN issuer text COLLATE "C",
    ADD COLUMN serial text COLLATE "C",
    ADD CONSTRAINT blocked_certificate_issuer_must_be_1_to_1024_printable_ascii CHECK (
        issuer ~ '^[\u0020-\u007e]+$' COLLATE "C" AND length(issuer) <= 1024),
    ADD CONSTRAINT blocked_certificate_serial_must_be_upper_case_hexadecimal CHECK (
        serial ~ '^(0|[1-9A-F][0-9A-F]{0,39})$'),
    ADD CONSTRAINT blocked_certificate_issuer_and_serial_must_come_together CHECK (
        (issuer IS NULL) = (serial IS NULL)),
    ADD CONSTRAINT blocked_certificate_sha256_must_be_of_issuer_and_serial CHECK (
        issuer IS NULL OR sha256 = encode(sha256(convert_to(
            lower(issuer COLLATE "C") || E'\n' || serial, 'UTF8')), 'hex'));

COMMENT ON COLUMN blocked_certificate.sha256 IS
    'SHA-256 of the certificate, as openssl x509 -noout -fingerprint -sha256 prints it; kept as 64 '
    'hexadecimal digits in lower case. Of a row with issuer and serial it is made from these.';
COMMENT ON COLUMN blocked_certificate.issuer IS
    'Of a certificate that is named by issuer and serial number: the issuer, as the log''s line of a '
    'denial has it, or openssl x509 -noout -issuer -nameopt RFC2253. Backslashes are left out, '
    'and letters compare without case.';
COMMENT ON COLUMN blocked_certificate.serial IS
    'The serial number, in upper-case hexadecimal without leading zeros.';

CREATE FUNCTION certificate_issuer(given text) RETURNS text
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
COMMENT ON FUNCTION certificate_issuer(text) IS
    'The issuer of a certificate as blocked_certificate has it, from what the log or OpenSSL '
    'prints.';

CREATE FUNCTION certificate_serial(given text) RETURNS text
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    plain text := upper(regexp_replace(
        translate(regexp_replace(given, '^ *(certificate_)?serial *=', '', 'i'), E'": \t\r\n', ''),
        '^-?(0x)?0*', '', 'i') COLLATE "C");
BEGIN
    IF given IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'not_null_violation', COLUMN = 'serial',
            MESSAGE = 'an issuer alone is no certificate: the serial number is missing',
            HINT = 'To block all that an authority has certified, block the authority''s certificate.';
    END IF;
    IF plain = '' AND given ~ '0' THEN
        plain := '0';
    END IF;
    IF plain !~ '^[0-9A-F]{1,40}$' THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', COLUMN = 'serial',
            MESSAGE = format('%s is not a serial number in hexadecimal', shown(given)),
            HINT = 'Write certificate_serial of the log''s line, or what this prints: '
                   'openssl x509 -noout -serial -in FILE';
    END IF;
    RETURN plain;
END
$$;
COMMENT ON FUNCTION certificate_serial(text) IS
    'The serial number of a certificate as blocked_certificate has it, from what the log or OpenSSL '
    'prints.';

CREATE OR REPLACE FUNCTION blocked_certificate_make_canonical() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    given text := NEW.sha256;
    named text;
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
    NEW.issuer := nullif(btrim(NEW.issuer, E' \t\r\n'), '');
    NEW.serial := nullif(btrim(NEW.serial, E' \t\r\n'), '');
    IF NEW.issuer IS NOT NULL OR NEW.serial IS NOT NULL THEN
        NEW.issuer := certificate_issuer(NEW.issuer);
        NEW.serial := certificate_serial(NEW.serial);
        named := encode(sha256(convert_to(
            lower(NEW.issuer COLLATE "C") || E'\n' || NEW.serial, 'UTF8')), 'hex');
        IF given IS NOT NULL AND given <> named
           AND (TG_OP = 'INSERT' OR given IS DISTINCT FROM OLD.sha256) THEN
            RAISE EXCEPTION USING ERRCODE = 'check_violation',
                TABLE = 'blocked_certificate', COLUMN = 'sha256',
                MESSAGE = 'a certificate is named by its SHA-256 or by issuer and serial number, not '
                          'by both',
                HINT = 'Leave out sha256, which is made from issuer and serial, or both of these.';
        END IF;
        NEW.sha256 := named;
        RETURN NEW;
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
                   'openssl x509 -noout -fingerprint -sha256 -in FILE. Or write issuer and serial.';
    END IF;
    RETURN NEW;
END
$$;

REVOKE ALL ON FUNCTION certificate_issuer(text), certificate_serial(text) FROM PUBLIC;

COMMIT;
