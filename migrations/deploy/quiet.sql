-- Deploy holdline:quiet to pg
-- The server's log has the whole row with the DETAIL of a CHECK or NOT NULL that refuses it. So no row
-- with a hash in it comes as far as that.
BEGIN;
SET LOCAL search_path = public;

CREATE FUNCTION credential_keep_quiet() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF NEW.identity IS NOT NULL AND NEW.realm IS NOT NULL AND NEW.username IS NOT NULL
       AND (substr(NEW.identity, strpos(NEW.identity, '@') + 1)
            <> ALL (tenant_of_session())) IS NOT TRUE THEN
        IF NEW.realm !~ '^[^\u0001-\u001f\u007f-\u009f"\\]{1,128}$' COLLATE "C"
           OR octet_length(NEW.realm) > 254 THEN
            RAISE EXCEPTION USING ERRCODE = 'check_violation',
                TABLE = 'credential', COLUMN = 'realm',
                MESSAGE = format('the realm of a credential of %s has a quote, a backslash or a '
                                 'control character, or not 1 to 128 characters',
                                 shown(NEW.identity)),
                HINT = 'Write it as the challenge has it, without its quotes; NULL for the '
                       'user''s domain.';
        END IF;
        IF NEW.username !~ '^[^\u0001-\u001f\u007f-\u009f"\\:]{1,128}$' COLLATE "C"
           OR octet_length(NEW.username) > 254 THEN
            RAISE EXCEPTION USING ERRCODE = 'check_violation',
                TABLE = 'credential', COLUMN = 'username',
                MESSAGE = format('the username of a credential of %s has a quote, a backslash, a '
                                 'colon or a control character, or not 1 to 128 characters',
                                 shown(NEW.identity)),
                HINT = 'Write the name that the phone authenticates with; NULL for the user part '
                       'of the identity.';
        END IF;
    END IF;
    -- Something else refuses it: a policy, NOT NULL, a CHECK of the hashes.
    NEW.ha1_sha256 := NULL;
    NEW.ha1_md5 := NULL;
    RETURN NEW;
END
$$;

COMMENT ON FUNCTION credential_keep_quiet() IS
    'Refuses or empties a credential that a constraint would refuse, since the server''s log would '
    'have its hashes.';

-- Fires behind `canonical`.
CREATE TRIGGER keep_quiet BEFORE INSERT OR UPDATE ON credential
    FOR EACH ROW WHEN (
        (NEW.identity IS NOT NULL
         AND NEW.realm ~ '^[^\u0001-\u001f\u007f-\u009f"\\]{1,128}$' COLLATE "C"
         AND octet_length(NEW.realm) <= 254
         AND NEW.username ~ '^[^\u0001-\u001f\u007f-\u009f"\\:]{1,128}$' COLLATE "C"
         AND octet_length(NEW.username) <= 254
         AND (NEW.ha1_sha256 ~ '^[0-9a-f]{64}$') IS NOT FALSE
         AND (NEW.ha1_md5 ~ '^[0-9a-f]{32}$') IS NOT FALSE) IS NOT TRUE)
    EXECUTE FUNCTION credential_keep_quiet();
COMMENT ON TRIGGER keep_quiet ON credential IS
    'Has nothing to do with rows that no constraint refuses.';

REVOKE ALL ON FUNCTION credential_keep_quiet() FROM PUBLIC;

COMMIT;
