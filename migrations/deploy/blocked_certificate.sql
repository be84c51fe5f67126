-- Deploy holdline:blocked_certificate to pg
-- A certificate that is cut off by SQL, whatever CA, CRL and mappings say of it.
BEGIN;
SET LOCAL search_path = public;

-- No default for the store: a block that stands in another store than meant would block nothing.
CREATE TABLE blocked_certificate (
    trust_store text COLLATE "C" NOT NULL REFERENCES trust_store (name),
    sha256 text COLLATE "C" NOT NULL,
    note text,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (trust_store, sha256),
    CONSTRAINT blocked_certificate_sha256_must_be_64_lower_case_hexadecimal_digits CHECK (
        sha256 ~ '^[0-9a-f]{64}$'),
    CONSTRAINT blocked_certificate_note_must_be_1_to_128_without_controls CHECK (
        note ~ '^[^\u0001-\u001f\u007f-\u009f]{1,128}$' COLLATE "C")
);

-- The primary key, in byte order, serves mapperd's read by (trust_store, sha256) and the fill by key
-- ranges.

COMMENT ON TABLE blocked_certificate IS
    'Certificates that are cut off: of devices, which may do nothing with them whatever their '
    'mappings or the names in them say, and of authorities, with all that they have certified. '
    'Deleting a row lets the certificate in again.';
COMMENT ON COLUMN blocked_certificate.trust_store IS
    'The trust store in which it is blocked; in another store the same certificate is not.';
COMMENT ON COLUMN blocked_certificate.sha256 IS
    'SHA-256 of the certificate, as openssl x509 -noout -fingerprint -sha256 prints it; kept as 64 '
    'hexadecimal digits in lower case.';
COMMENT ON COLUMN blocked_certificate.note IS
    'Why, or whose it is, for people, at most 128 characters; may be missing.';
COMMENT ON COLUMN blocked_certificate.created_at IS 'When the row was inserted.';
COMMENT ON INDEX blocked_certificate_pkey IS
    'mapperd''s reading of a certificate and their fill, in byte order; those of a trust store that '
    'is being deleted (foreign key).';

CREATE FUNCTION blocked_certificate_make_canonical() RETURNS trigger
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

COMMENT ON FUNCTION blocked_certificate_make_canonical() IS
    'Makes a blocked certificate''s values canonical on the way in, and explains what is wrong.';

CREATE TRIGGER canonical BEFORE INSERT OR UPDATE ON blocked_certificate
    FOR EACH ROW EXECUTE FUNCTION blocked_certificate_make_canonical();

ALTER TABLE change_log DROP CONSTRAINT change_log_kind_must_be_known;
ALTER TABLE change_log ADD CONSTRAINT change_log_kind_must_be_known CHECK (
    kind = ANY ('{peer,user,credential,certificate,group,domain,store,rules,binding,all,mark}'));
COMMENT ON COLUMN change_log.kind IS
    'What the key names: peer, user, credential, certificate, group, domain, store, rules, '
    'binding, all; mark: nothing.';
COMMENT ON COLUMN change_log.key IS
    'peer {trust store, CN}; user {identity}; credential {identity}; certificate {trust store, '
    'SHA-256}; group {name}; domain {name}; store {name}; rules {} (everyone''s); binding {aor}; '
    'all {} (read everything again); '
    'mark {} (nothing changed: a statement that a mapperd can be asked for after a time without '
    'changes).';

CREATE FUNCTION change_log_blocked_certificate() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, 'certificate', ARRAY[r.trust_store, r.sha256]
        FROM change_log_origin() w, new_rows r ORDER BY r.trust_store, r.sha256;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, 'certificate', ARRAY[r.trust_store, r.sha256]
        FROM change_log_origin() w, old_rows r ORDER BY r.trust_store, r.sha256;
    ELSE
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, 'certificate', ARRAY[k.trust_store, k.sha256]
        FROM change_log_origin() w, (
            SELECT r.trust_store, r.sha256 FROM old_rows r
            UNION
            SELECT r.trust_store, r.sha256 FROM new_rows r ORDER BY 1, 2) k;
    END IF;
    IF FOUND THEN
        PERFORM change_log_hint();
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION change_log_blocked_certificate() IS
    'Logs the blocked certificates that a statement touched, old and new, each once.';

CREATE TRIGGER log_insert AFTER INSERT ON blocked_certificate REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_blocked_certificate();
CREATE TRIGGER log_update AFTER UPDATE ON blocked_certificate
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_blocked_certificate();
CREATE TRIGGER log_delete AFTER DELETE ON blocked_certificate REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_blocked_certificate();
CREATE TRIGGER log_truncate AFTER TRUNCATE ON blocked_certificate
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_all();
CREATE TRIGGER log_replicated AFTER INSERT OR UPDATE OR DELETE ON blocked_certificate
    FOR EACH ROW EXECUTE FUNCTION change_log_row('certificate', 'trust_store', 'sha256');
ALTER TABLE blocked_certificate ENABLE REPLICA TRIGGER log_replicated;
ALTER TABLE blocked_certificate ENABLE ALWAYS TRIGGER log_truncate;

SELECT audit_follow('blocked_certificate', trust_store => 'r.trust_store', name => 'r.sha256');

-- Tenants have nothing of it: an authority's certificate is not one domain's.
REVOKE ALL ON FUNCTION blocked_certificate_make_canonical(), change_log_blocked_certificate()
    FROM PUBLIC;
GRANT SELECT ON blocked_certificate TO holdline_mapperd;
GRANT SELECT, INSERT, UPDATE, DELETE ON blocked_certificate TO holdline_admin;

COMMIT;
