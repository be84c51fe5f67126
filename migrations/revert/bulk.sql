-- Revert holdline:bulk from pg
BEGIN;
SET LOCAL search_path = public;

DROP TRIGGER referred_to_truncate ON trust_store;
DROP TRIGGER referred_to_update ON trust_store;
DROP TRIGGER referred_to_delete ON trust_store;
DROP TRIGGER referred_to_truncate ON domain;
DROP TRIGGER referred_to_update ON domain;
DROP TRIGGER referred_to_delete ON domain;
DROP FUNCTION referred_to_stays();
DROP TRIGGER hold_store_of_update ON cn_mapping;
DROP TRIGGER hold_store ON cn_mapping;
DROP FUNCTION cn_mapping_hold_store();
DROP TRIGGER hold_domain_of_update ON sip_user;
DROP TRIGGER hold_domain ON sip_user;
DROP FUNCTION sip_user_hold_domain();
ALTER TABLE sip_user ADD FOREIGN KEY (domain) REFERENCES domain (name);
ALTER TABLE cn_mapping ADD FOREIGN KEY (trust_store) REFERENCES trust_store (name);

ALTER TABLE cn_mapping
    DROP CONSTRAINT cn_mapping_cn_must_be_1_to_64_without_controls,
    DROP CONSTRAINT cn_mapping_identity_must_be_user_at_domain_or_domain;
ALTER TABLE cn_mapping
    ADD CONSTRAINT cn_mapping_cn_must_be_1_to_64_without_controls CHECK (
        cn ~ '^[^\u0001-\u001f\u007f-\u009f]{1,64}$' COLLATE "C" AND octet_length(cn) <= 192),
    ADD CONSTRAINT cn_mapping_identity_must_be_user_at_domain_or_domain CHECK (
        identity ~ '^(([A-Za-z0-9_.!~*''()&=+$,;?/-]|%[0-9A-F]{2})+@)?[a-z0-9.-]+$'
        AND octet_length(identity) <= 254);

DROP TRIGGER canonical_name ON sip_user;
DROP TRIGGER canonical ON sip_user;
CREATE TRIGGER canonical BEFORE INSERT OR UPDATE OF identity ON sip_user
    FOR EACH ROW EXECUTE FUNCTION sip_user_make_canonical();
DROP TRIGGER canonical ON cn_mapping;
CREATE TRIGGER canonical BEFORE INSERT OR UPDATE ON cn_mapping
    FOR EACH ROW EXECUTE FUNCTION cn_mapping_make_canonical();

CREATE OR REPLACE FUNCTION cn_mapping_make_canonical() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    form text;
    prefixes text[];
    host text;
    ours boolean;
BEGIN
    IF NEW.trust_store IS NULL OR NEW.cn IS NULL OR NEW.identity IS NULL THEN
        RETURN NEW; -- NOT NULL says it
    END IF;
    SELECT s.cn_form, s.cn_prefixes INTO form,
    prefixes FROM trust_store s WHERE s.name = NEW.trust_store;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation',
            TABLE = 'cn_mapping', COLUMN = 'trust_store',
            MESSAGE = format('there is no trust store %s', shown(NEW.trust_store)),
            HINT = format('Write one of: %s.',
                          (SELECT string_agg(name, ', ' ORDER BY name) FROM trust_store));
    END IF;
    NEW.cn := cn_canonical(form, prefixes, NEW.cn);
    NEW.identity := identity_canonical(NEW.identity);
    host := substr(NEW.identity, strpos(NEW.identity, '@') + 1);
    ours := EXISTS (SELECT FROM domain WHERE name = host);
    -- A word without dot is far more often a user whose domain was forgotten than a domain.
    IF host = NEW.identity AND strpos(host, '.') = 0 AND NOT ours THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation',
            TABLE = 'cn_mapping', COLUMN = 'identity',
            MESSAGE = format('identity %s has no domain', shown(NEW.identity)),
            HINT = format('Write user@domain: %s@example.org. A whole domain of one word must be '
                          'in table domain first.',
                          NEW.identity);
    END IF;
    NEW.user_identity := CASE WHEN host <> NEW.identity AND ours THEN NEW.identity END;
    RETURN NEW;
END
$$;

CREATE OR REPLACE FUNCTION cn_mapping_make_users() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    -- In order, so that two loads that overlap wait for each other and never deadlock.
    INSERT INTO sip_user (identity)
    SELECT DISTINCT n.user_identity FROM new_rows n WHERE n.user_identity IS NOT NULL ORDER BY 1
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION change_log_cn_mapping() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, k.kind, k.key
        FROM change_log_origin() w, (
            SELECT DISTINCT 'peer' AS kind, ARRAY[r.trust_store, r.cn] AS key FROM new_rows r) k;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, k.kind, k.key
        FROM change_log_origin() w, (
            SELECT DISTINCT 'peer' AS kind, ARRAY[r.trust_store, r.cn] AS key FROM old_rows r) k;
    ELSE
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, k.kind, k.key
        FROM change_log_origin() w, (
            SELECT 'peer' AS kind, ARRAY[r.trust_store, r.cn] AS key FROM old_rows r
            UNION
            SELECT 'peer' AS kind, ARRAY[r.trust_store, r.cn] AS key FROM new_rows r) k;
    END IF;
    IF FOUND THEN
        PERFORM change_log_hint();
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION change_log_sip_user() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, k.kind, k.key
        FROM change_log_origin() w, (
            SELECT DISTINCT 'user' AS kind, ARRAY[r.identity] AS key FROM new_rows r) k;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, k.kind, k.key
        FROM change_log_origin() w, (
            SELECT DISTINCT 'user' AS kind, ARRAY[r.identity] AS key FROM old_rows r) k;
    ELSE
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, k.kind, k.key
        FROM change_log_origin() w, (
            SELECT 'user' AS kind, ARRAY[r.identity] AS key FROM old_rows r
            UNION
            SELECT 'user' AS kind, ARRAY[r.identity] AS key FROM new_rows r) k;
    END IF;
    IF FOUND THEN
        PERFORM change_log_hint();
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON COLUMN sip_user.domain IS 'The domain of the identity; it must be one of table domain.';
COMMENT ON COLUMN cn_mapping.trust_store IS 'The trust store whose certificates are meant.';
COMMENT ON COLUMN cn_mapping.user_identity IS
    'The identity again where it is a user of a domain of ours: then the user''s row exists. Set '
    'by the database.';
COMMENT ON INDEX sip_user_domain IS
    'Is there a user left in a domain that is being deleted (foreign key).';

COMMIT;
