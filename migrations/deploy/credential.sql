-- Deploy holdline:credential to pg
-- Passwords for digest authentication (RFC 7616, 8760), as HA1 only: the hash of username, realm
-- and password with a colon between two. Who has an HA1 can answer challenges of its realm, so it
-- is guarded like the password itself: holdline_admin writes it and cannot read it back, mapperd
-- alone reads it.
BEGIN;
SET LOCAL search_path = public;

CREATE TABLE credential (
    identity text COLLATE "C" NOT NULL REFERENCES sip_user (identity) ON DELETE CASCADE,
    realm text COLLATE "C" NOT NULL,
    username text COLLATE "C" NOT NULL,
    ha1_sha256 text,
    ha1_md5 text,
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (identity, realm),
    CONSTRAINT credential_realm_must_be_1_to_128_without_controls_or_quotes CHECK (
        realm ~ '^[^\u0001-\u001f\u007f-\u009f"\\]{1,128}$' COLLATE "C"
        AND octet_length(realm) <= 254),
    CONSTRAINT credential_username_must_be_1_to_128_without_controls_or_quotes CHECK (
        username ~ '^[^\u0001-\u001f\u007f-\u009f"\\:]{1,128}$' COLLATE "C"
        AND octet_length(username) <= 254),
    CONSTRAINT credential_ha1_sha256_must_be_64_lower_case_hexadecimal_digits CHECK (
        ha1_sha256 ~ '^[0-9a-f]{64}$'),
    CONSTRAINT credential_ha1_md5_must_be_32_lower_case_hexadecimal_digits CHECK (
        ha1_md5 ~ '^[0-9a-f]{32}$'),
    CONSTRAINT credential_one_of_ha1_sha256_and_ha1_md5_must_be_there CHECK (
        ha1_sha256 IS NOT NULL OR ha1_md5 IS NOT NULL)
);

-- The primary key, in byte order, serves CREDENTIAL's read by identity and the fill by key ranges.

COMMENT ON TABLE credential IS
    'Passwords of users for digest authentication, as hashes. SELECT set_credential(''alice@'
    'example.org'', NULL, password) makes them; mapctl credential does so without the password '
    'leaving the terminal. Only holdline_mapperd can read the hashes.';
COMMENT ON COLUMN credential.identity IS
    'The user, user@domain; made canonical on the way in. It must have a row in sip_user.';
COMMENT ON COLUMN credential.realm IS
    'Realm of the challenge that the hashes are for; the user''s domain when it is left out.';
COMMENT ON COLUMN credential.username IS
    'Name that the phone authenticates with; the user part of the identity when it is left out.';
COMMENT ON COLUMN credential.ha1_sha256 IS
    'SHA-256 of username:realm:password in UTF-8, 64 hexadecimal digits; may be missing.';
COMMENT ON COLUMN credential.ha1_md5 IS
    'MD5 of username:realm:password in UTF-8, 32 hexadecimal digits, for phones that know no '
    'SHA-256; may be missing.';
COMMENT ON COLUMN credential.changed_at IS 'When the row was inserted or last changed.';

-- It never shows a hash, not even a malformed one: error messages end in logs.
CREATE FUNCTION credential_make_canonical() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    sign integer;
BEGIN
    IF NEW.identity IS NULL THEN
        RETURN NEW; -- NOT NULL says it
    END IF;
    NEW.identity := identity_canonical(NEW.identity);
    sign := strpos(NEW.identity, '@');
    IF sign = 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation',
            TABLE = 'credential', COLUMN = 'identity',
            MESSAGE = format('%s is a domain, and only a user has a password',
                             shown(NEW.identity)),
            HINT = format('Write user@%s.', NEW.identity);
    END IF;
    IF NOT EXISTS (SELECT FROM sip_user u WHERE u.identity = NEW.identity) THEN
        RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation',
            TABLE = 'credential', COLUMN = 'identity',
            MESSAGE = format('there is no user %s', shown(NEW.identity)),
            HINT = format('Make it first: INSERT INTO sip_user (identity) VALUES (%L)',
                          NEW.identity);
    END IF;
    NEW.realm := coalesce(NEW.realm, substr(NEW.identity, sign + 1));
    IF NEW.username IS NULL AND strpos(NEW.identity, '%') > 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'not_null_violation',
            TABLE = 'credential', COLUMN = 'username',
            MESSAGE = format('user %s has an escape, so its username must be given',
                             shown(NEW.identity)),
            HINT = 'Write the name that the phone authenticates with.';
    END IF;
    NEW.username := coalesce(NEW.username, left(NEW.identity, sign - 1));
    NEW.ha1_sha256 := lower(btrim(NEW.ha1_sha256, ' ') COLLATE "C");
    NEW.ha1_md5 := lower(btrim(NEW.ha1_md5, ' ') COLLATE "C");
    IF NEW.ha1_sha256 !~ '^[0-9a-f]{64}$' OR NEW.ha1_md5 !~ '^[0-9a-f]{32}$' THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', TABLE = 'credential',
            COLUMN = CASE WHEN NEW.ha1_md5 !~ '^[0-9a-f]{32}$' THEN 'ha1_md5'
                          ELSE 'ha1_sha256' END,
            MESSAGE = format('a hash of the credential of %s is not one', shown(NEW.identity)),
            HINT = 'ha1_sha256 has 64 hexadecimal digits, ha1_md5 has 32; set_credential() and '
                   'mapctl credential make them from the password.';
    END IF;
    IF NEW.ha1_sha256 IS NULL AND NEW.ha1_md5 IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', TABLE = 'credential',
            COLUMN = 'ha1_sha256',
            MESSAGE = format('the credential of %s has no hash', shown(NEW.identity)),
            HINT = 'Give ha1_sha256, ha1_md5 or both; set_credential() and mapctl credential make '
                   'them from the password.';
    END IF;
    IF (SELECT count(*) FROM credential c
        WHERE c.identity = NEW.identity AND c.realm <> NEW.realm) >= 16 THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', TABLE = 'credential',
            MESSAGE = format('user %s has credentials for 16 realms already',
                             shown(NEW.identity)),
            HINT = format('Delete those of realms that no listener has: SELECT realm FROM '
                          'credential WHERE identity = %L', NEW.identity);
    END IF;
    NEW.changed_at := now();
    RETURN NEW;
END
$$;

COMMENT ON FUNCTION credential_make_canonical() IS
    'Makes the values of a credential canonical on the way in, fills in realm and username, and '
    'explains what is wrong without showing a hash.';

CREATE TRIGGER canonical BEFORE INSERT OR UPDATE ON credential
    FOR EACH ROW EXECUTE FUNCTION credential_make_canonical();

-- ON CONFLICT DO UPDATE would have to read what it was given, and holdline_admin reads no hash.
CREATE FUNCTION set_credential_ha1(identity text, realm text, ha1_sha256 text, ha1_md5 text,
    username text DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    canonical text := identity_canonical($1);
    place text := coalesce($2, split_part(canonical, '@', 2));
    name text := coalesce($5, split_part(canonical, '@', 1));
BEGIN
    INSERT INTO sip_user AS u (identity) VALUES (canonical) ON CONFLICT DO NOTHING;
    LOOP
        UPDATE credential c SET username = name, ha1_sha256 = $3, ha1_md5 = $4
        WHERE c.identity = canonical AND c.realm = place;
        EXIT WHEN FOUND;
        INSERT INTO credential AS c (identity, realm, username, ha1_sha256, ha1_md5)
        VALUES (canonical, place, $5, $3, $4) ON CONFLICT DO NOTHING;
        EXIT WHEN FOUND;
    END LOOP;
END
$$;

COMMENT ON FUNCTION set_credential_ha1(text, text, text, text, text) IS
    'Sets a user''s hashes for a realm (NULL: its domain), each of which may be NULL, with its '
    'username when that is not the user part; makes the user if it is absent. What mapctl '
    'credential calls.';

CREATE FUNCTION set_credential(identity text, realm text, password text,
    username text DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    canonical text := identity_canonical($1);
    secret bytea := convert_to(coalesce($4, split_part(canonical, '@', 1)) || ':'
                               || coalesce($2, split_part(canonical, '@', 2)) || ':' || $3,
                               'UTF8');
BEGIN
    IF coalesce($3, '') = '' THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'password is empty',
            HINT = 'Write set_credential(''alice@example.org'', NULL, password).';
    END IF;
    PERFORM set_credential_ha1(canonical, $2, encode(sha256(secret), 'hex'), md5(secret), $4);
END
$$;

COMMENT ON FUNCTION set_credential(text, text, text, text) IS
    'Sets a user''s password for a realm (NULL: its domain), with its username when that is not '
    'the user part; makes the user if it is absent. Keeps hashes only. The statement itself may '
    'be logged by the server, with the password in it: use mapctl credential, which sends the '
    'hashes alone.';

-- A binding that stands on a password ends with it. Which realm''s it was is not kept, so any of
-- the user''s that goes or changes ends them: a phone with a good password registers again.
CREATE FUNCTION binding_follow_credential() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    lost text[];
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        UPDATE binding b
        SET removed = true, version_by = 0, version_ms = binding_version_after(b.version_ms)
        WHERE b.ground = 'digest' AND NOT b.removed;
        RETURN NULL;
    END IF;
    IF TG_OP = 'DELETE' THEN
        lost := ARRAY(SELECT DISTINCT o.identity FROM old_rows o);
    ELSE
        lost := ARRAY(
            SELECT DISTINCT o.identity FROM old_rows o
            WHERE NOT EXISTS (
                SELECT FROM new_rows n
                WHERE n.identity = o.identity AND n.realm = o.realm AND n.username = o.username
                  AND (o.ha1_sha256 IS NULL OR n.ha1_sha256 = o.ha1_sha256)
                  AND (o.ha1_md5 IS NULL OR n.ha1_md5 = o.ha1_md5)));
    END IF;
    UPDATE binding b
    SET removed = true, version_by = 0, version_ms = binding_version_after(b.version_ms)
    WHERE b.aor = ANY (lost) AND b.ground = 'digest' AND NOT b.removed;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION binding_follow_credential() IS
    'Ends the bindings that stand on a password when it goes or changes; a hash that is only '
    'added ends nothing.';

CREATE TRIGGER end_bindings AFTER DELETE ON credential REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION binding_follow_credential();
CREATE TRIGGER end_bindings_of_update AFTER UPDATE ON credential
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION binding_follow_credential();
CREATE TRIGGER end_bindings_of_truncate AFTER TRUNCATE ON credential
    FOR EACH STATEMENT EXECUTE FUNCTION binding_follow_credential();

ALTER TABLE change_log DROP CONSTRAINT change_log_kind_must_be_known;
ALTER TABLE change_log ADD CONSTRAINT change_log_kind_must_be_known CHECK (
    kind IN ('peer', 'user', 'credential', 'group', 'domain', 'store', 'rules', 'binding', 'all',
             'mark'));
COMMENT ON COLUMN change_log.kind IS
    'What the key names: peer, user, credential, group, domain, store, rules, binding, all; '
    'mark: nothing.';
COMMENT ON COLUMN change_log.key IS
    'peer {trust store, CN}; user {identity}; credential {identity}; group {name}; domain {name}; '
    'store {name}; rules {} (everyone''s); binding {aor}; all {} (read everything again); '
    'mark {} (nothing changed: a statement that a mapperd can be asked for after a time without '
    'changes).';

CREATE FUNCTION change_log_credential() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, k.kind, k.key
        FROM change_log_origin() w, (
            SELECT DISTINCT 'credential' AS kind, ARRAY[r.identity] AS key FROM new_rows r) k;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, k.kind, k.key
        FROM change_log_origin() w, (
            SELECT DISTINCT 'credential' AS kind, ARRAY[r.identity] AS key FROM old_rows r) k;
    ELSE
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, k.kind, k.key
        FROM change_log_origin() w, (
            SELECT 'credential' AS kind, ARRAY[r.identity] AS key FROM old_rows r
            UNION
            SELECT 'credential' AS kind, ARRAY[r.identity] AS key FROM new_rows r) k;
    END IF;
    IF FOUND THEN
        PERFORM change_log_hint();
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION change_log_credential() IS
    'Logs the users whose credentials a statement touched, old and new, each once.';

CREATE TRIGGER log_insert AFTER INSERT ON credential REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_credential();
CREATE TRIGGER log_update AFTER UPDATE ON credential
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_credential();
CREATE TRIGGER log_delete AFTER DELETE ON credential REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_credential();
CREATE TRIGGER log_truncate AFTER TRUNCATE ON credential
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_all();

SELECT audit_follow('credential', identity => 'r.identity', left_out => '{changed_at}',
                    secret => '{ha1_sha256,ha1_md5}');

REVOKE ALL ON FUNCTION credential_make_canonical(), binding_follow_credential(),
    change_log_credential(), set_credential(text, text, text, text),
    set_credential_ha1(text, text, text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION set_credential(text, text, text, text),
    set_credential_ha1(text, text, text, text, text) TO holdline_admin;
GRANT SELECT ON credential TO holdline_mapperd;
GRANT SELECT (identity, realm, username, changed_at), INSERT, UPDATE, DELETE ON credential
    TO holdline_admin;

COMMIT;
