-- Deploy holdline:canonical to pg
-- Two spellings of one thing are one value. common/identity.c has the same rules in C; tests/corpus
-- holds the cases that prove both equal. What has no canonical form is refused with a message that
-- says what to write instead.
BEGIN;
SET LOCAL search_path = public;

-- How a refused value stands in a message: quoted, control characters escaped, cut.
CREATE FUNCTION shown(value text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, public, pg_temp
RETURN to_json(left(value, 80))::text || CASE WHEN length(value) > 80 THEN '...' ELSE '' END;

COMMENT ON FUNCTION shown(text) IS
    'A value as error messages show it: quoted, control characters escaped, cut at 80 characters.';

CREATE FUNCTION domain_canonical(value text) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    host text := lower(regexp_replace(btrim(value, ' '), '\.$', '') COLLATE "C");
    label CONSTANT text := '[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?';
BEGIN
    IF octet_length(host) > 253 THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation',
            MESSAGE = format('domain %s is longer than 253 octets', shown(value)),
            HINT = 'Write the domain''s name alone, such as example.org.';
    END IF;
    -- The last label begins with a letter (RFC 3261 toplabel), so that a bare number is never taken
    -- for a domain.
    IF host ~ ('^(' || label || '\.)*[a-z]([a-z0-9-]{0,61}[a-z0-9])?$' COLLATE "C") THEN
        RETURN host;
    END IF;
    IF host ~ '^((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(\.(?!$)|$)){4}$' COLLATE "C" THEN
        RETURN host;
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'check_violation',
        MESSAGE = format('%s is not a domain', shown(value)),
        HINT = 'Write a host name of letters, digits and hyphens, such as example.org: no port, '
               'no parameters, no underscore; an international name in its xn-- form.';
END
$$;

COMMENT ON FUNCTION domain_canonical(text) IS
    'Canonical form of a domain: lower case, no trailing dot; a host name or an IPv4 address. '
    'Raises check_violation.';

-- The user part by RFC 3261 19.1.4: an escape of a character that may stand as itself becomes that
-- character, another escape keeps its octet with upper-case digits; case is kept.
CREATE FUNCTION user_part_canonical(value text) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    plain CONSTANT text := '^[A-Za-z0-9_.!~*''()&=+$,;?/-]$' COLLATE "C";
    result text := '';
    at integer := 1;
    one text;
    hex text;
    octet integer;
BEGIN
    WHILE at <= length(value) LOOP
        one := substr(value, at, 1);
        IF one = '%' THEN
            hex := upper(substr(value, at + 1, 2) COLLATE "C");
            IF hex !~ '^[0-9A-F]{2}$' COLLATE "C" THEN
                RAISE EXCEPTION USING ERRCODE = 'check_violation',
                    MESSAGE = format('user %s has a %% without two hexadecimal digits',
                                     shown(value)),
                    HINT = 'Write the character itself, or %25 for a percent sign.';
            END IF;
            octet := get_byte(decode(hex, 'hex'), 0);
            IF octet < 32 OR octet = 127 THEN
                RAISE EXCEPTION USING ERRCODE = 'check_violation',
                    MESSAGE = format('user %s has the escape %%%s, a control character',
                                     shown(value), hex),
                    HINT = 'Leave it out: no SIP user has control characters.';
            END IF;
            IF octet < 128 AND chr(octet) ~ plain THEN
                result := result || chr(octet);
            ELSE
                result := result || '%' || hex;
            END IF;
            at := at + 3;
        ELSIF one ~ plain THEN
            result := result || one;
            at := at + 1;
        ELSIF one = ':' THEN
            RAISE EXCEPTION USING ERRCODE = 'check_violation',
                MESSAGE = format('user %s has a password or a scheme that SIP does not know',
                                 shown(value)),
                HINT = 'Write user@domain alone, such as alice@example.org; a telephone number as '
                       '+493012345@example.org.';
        ELSE
            RAISE EXCEPTION USING ERRCODE = 'check_violation',
                MESSAGE = format('user %s has a character that must be escaped', shown(value)),
                HINT = CASE WHEN ascii(one) < 32 OR ascii(one) BETWEEN 127 AND 159
                    THEN 'Leave the control character out.'
                    ELSE format('Write %s instead of %s.',
                                upper(regexp_replace(encode(convert_to(one, 'UTF8'), 'hex'),
                                                     '(..)', '%\1', 'g')),
                                shown(one))
                    END;
        END IF;
    END LOOP;
    RETURN result;
END
$$;

COMMENT ON FUNCTION user_part_canonical(text) IS
    'Canonical form of a SIP URI''s user part (RFC 3261 19.1.4). Raises check_violation.';

CREATE FUNCTION identity_canonical(value text) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    text_form text := btrim(value, ' ');
    sign integer;
    result text;
BEGIN
    -- Nearly every value is canonical already: one look decides.
    IF octet_length(value) <= 64
       AND value ~ ('^[A-Za-z0-9_.!~*''()&=+$,;?/-]+'
                    '@([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)*[a-z]([a-z0-9-]*[a-z0-9])?$'
                    COLLATE "C") THEN
        RETURN value;
    END IF;
    text_form := regexp_replace(text_form, '^sips?:', '', 'i');
    IF octet_length(text_form) > 3 * 254 THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation',
            MESSAGE = format('identity %s is longer than 254 octets', shown(value)),
            HINT = 'Write user@domain alone, such as alice@example.org.';
    END IF;
    IF text_form = '' THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation',
            MESSAGE = 'identity is empty',
            HINT = 'Write user@domain, such as alice@example.org, or a whole domain, such as '
                   'example.org.';
    END IF;
    sign := strpos(text_form, '@');
    IF sign = 0 THEN
        IF text_form ~* '^tel:'
           OR text_form ~ '^\+?[0-9().-]*[0-9]$' AND text_form !~ '^[0-9]+(\.[0-9]+){3}$' THEN
            RAISE EXCEPTION USING ERRCODE = 'check_violation',
                MESSAGE = format('identity %s has no domain', shown(value)),
                HINT = format('Write the number as a user of your domain: %s@example.org.',
                              regexp_replace(regexp_replace(text_form, '^tel:', '', 'i'),
                                             '[^+0-9]', '', 'g'));
        END IF;
        RETURN domain_canonical(text_form);
    END IF;
    IF sign = 1 THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation',
            MESSAGE = format('identity %s has no user before the @', shown(value)),
            HINT = format('Write user@domain, or for every user of the domain: %s',
                          substr(text_form, 2));
    END IF;
    IF substr(text_form, sign + 1) ~ '[:;?]' THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation',
            MESSAGE = format('identity %s has a port, parameters or headers', shown(value)),
            HINT = format('Write user and domain alone: %s',
                          regexp_replace(text_form, '(@[^:;?]*).*$', '\1'));
    END IF;
    result := user_part_canonical(left(text_form, sign - 1)) || '@'
              || domain_canonical(substr(text_form, sign + 1));
    IF octet_length(result) > 254 THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation',
            MESSAGE = format('identity %s is longer than 254 octets', shown(value)),
            HINT = 'Give the user a shorter name.';
    END IF;
    RETURN result;
END
$$;

COMMENT ON FUNCTION identity_canonical(text) IS
    'Canonical form of an identity: user@domain or a whole domain, with or without sip: or sips:. '
    'Raises check_violation.';

CREATE FUNCTION number_canonical(value text) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    result text := regexp_replace(regexp_replace(value, '^\s*tel:', '', 'i'), '[ ().-]', '', 'g');
BEGIN
    IF result !~ '^\+?[0-9]{1,32}$' COLLATE "C" THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation',
            MESSAGE = format('%s is not a number', shown(value)),
            HINT = 'Write digits, with + before a country code, such as +4930 or 0900.';
    END IF;
    RETURN result;
END
$$;

COMMENT ON FUNCTION number_canonical(text) IS
    'A telephone number or its beginning without visual separators (RFC 3966 5.1.1). Raises '
    'check_violation.';

CREATE FUNCTION cn_canonical(cn_form text, cn_prefixes text[], value text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    mac CONSTANT text := '^[0-9A-Fa-f]{2}([:.-]?[0-9A-Fa-f]{2}){5}$' COLLATE "C";
    bare text := btrim(value, ' ');
    prefix text;
BEGIN
    IF value IS NULL THEN
        RETURN NULL;
    END IF;
    IF cn_form = 'mac' THEN
        IF value ~ '^[0-9A-F]{12}$' COLLATE "C" THEN
            RETURN value;
        END IF;
        -- A MAC address is one before any prefix is cut from it, so that a canonical CN stays what
        -- it is.
        IF bare !~ mac THEN
            FOREACH prefix IN ARRAY cn_prefixes LOOP
                IF prefix <> '' AND starts_with(lower(bare COLLATE "C"),
                                                lower(prefix COLLATE "C")) THEN
                    bare := btrim(substr(bare, length(prefix) + 1), ' ');
                    EXIT;
                END IF;
            END LOOP;
        END IF;
        IF bare ~ mac THEN
            RETURN upper(translate(bare, ':.-', '') COLLATE "C");
        END IF;
        RAISE EXCEPTION USING ERRCODE = 'check_violation',
            MESSAGE = format('%s is not a MAC address, and this trust store takes only those as CN',
                             shown(value)),
            HINT = 'Write twelve hexadecimal digits, such as 0004F224A6AC or 00:04:f2:24:a6:ac; '
                   'for names of another kind use a trust store with cn_form ''exact'', '
                   'such as corp.';
    ELSIF cn_form = 'exact' THEN
        IF value = '' OR length(value) > 64 OR octet_length(value) > 192 THEN
            RAISE EXCEPTION USING ERRCODE = 'check_violation',
                MESSAGE = format('CN %s is empty or longer than 64 characters', shown(value)),
                HINT = 'Write the subject''s common name exactly as the certificate has it.';
        END IF;
        IF value ~ '[\u0001-\u001f\u007f-\u009f]' COLLATE "C" THEN
            RAISE EXCEPTION USING ERRCODE = 'check_violation',
                MESSAGE = format('CN %s has a control character', shown(value)),
                HINT = 'Write the common name without line breaks, tabs and the like: no '
                       'certificate with them is accepted.';
        END IF;
        RETURN value;
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'check_violation',
        MESSAGE = format('%s is not a form of CNs', shown(cn_form)),
        HINT = 'Write mac or exact.';
END
$$;

COMMENT ON FUNCTION cn_canonical(text, text[], text) IS
    'Canonical form of a certificate''s CN by its trust store''s form (mac, exact) and prefixes. '
    'Raises check_violation.';

REVOKE ALL ON FUNCTION shown(text), domain_canonical(text), user_part_canonical(text),
    identity_canonical(text), number_canonical(text), cn_canonical(text, text[], text)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION shown(text), domain_canonical(text), user_part_canonical(text),
    identity_canonical(text), number_canonical(text), cn_canonical(text, text[], text)
    TO holdline_mapperd, holdline_admin;

COMMIT;
