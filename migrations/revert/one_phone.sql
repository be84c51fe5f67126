-- Revert holdline:one_phone from pg
BEGIN;
SET LOCAL search_path = public;

COMMENT ON INDEX credential_pkey IS NULL;
COMMENT ON INDEX unmapped_device_pkey IS NULL;
COMMENT ON INDEX tenant_pkey IS NULL;
COMMENT ON INDEX tenant_role_pkey IS NULL;

DROP TRIGGER log_insert ON sip_user;
DROP FUNCTION sip_user_inserted();
CREATE FUNCTION sip_user_take_mappings() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM new_rows n
               JOIN cn_mapping m ON m.identity = n.identity AND m.user_identity IS NULL) THEN
        UPDATE cn_mapping m SET user_identity = n.identity
        FROM new_rows n WHERE m.identity = n.identity AND m.user_identity IS NULL;
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION sip_user_take_mappings() IS
    'Links mappings that are older than their user''s row.';

REVOKE ALL ON FUNCTION sip_user_take_mappings() FROM PUBLIC;
CREATE TRIGGER take_mappings AFTER INSERT ON sip_user REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION sip_user_take_mappings();
CREATE TRIGGER log_insert AFTER INSERT ON sip_user REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_sip_user();
CREATE TRIGGER hold_domain AFTER INSERT ON sip_user REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION sip_user_hold_domain();
CREATE TRIGGER audit_insert AFTER INSERT ON sip_user REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION audit_sip_user();

DROP TRIGGER log_insert ON cn_mapping;
DROP FUNCTION cn_mapping_inserted();
CREATE TRIGGER make_users AFTER INSERT ON cn_mapping REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION cn_mapping_make_users();
CREATE TRIGGER log_insert AFTER INSERT ON cn_mapping REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION change_log_cn_mapping();
CREATE TRIGGER hold_store AFTER INSERT ON cn_mapping REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION cn_mapping_hold_store();
CREATE TRIGGER forget_unmapped AFTER INSERT ON cn_mapping REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION cn_mapping_forget_unmapped();
CREATE TRIGGER audit_insert AFTER INSERT ON cn_mapping REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION audit_cn_mapping();

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
    -- A store that is not the tenant's is refused by the policy; its form would show in what is said
    -- here. Not asked for each row, since nearly all have nothing to be said of.
    IF (form IS NULL OR NEW.cn !~ '^[0-9A-F]{12}$') AND tenant_of_session() IS NOT NULL
       AND NOT EXISTS (SELECT FROM tenant t WHERE t.domain = ANY (tenant_of_session())
                       AND NEW.trust_store = ANY (t.trust_stores)) THEN
        RETURN NEW;
    END IF;
    IF form IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation',
            TABLE = 'cn_mapping', COLUMN = 'trust_store',
            MESSAGE = format('there is no trust store %s', shown(NEW.trust_store)),
            HINT = format('Write one of: %s.',
                          (SELECT string_agg(name, ', ' ORDER BY name) FROM trust_store));
    END IF;
    -- Both looks save the call of a function where nothing is to be done, which is nearly always.
    IF NEW.cn !~ '^[0-9A-F]{12}$' THEN
        NEW.cn := cn_canonical(form, prefixes, NEW.cn);
    END IF;
    IF octet_length(NEW.identity) > 64
       OR NEW.identity !~ ('^[A-Za-z0-9_.!~*''()&=+$,;?/-]+'
                           '@([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)*[a-z]([a-z0-9-]*[a-z0-9])?$') THEN
        NEW.identity := identity_canonical(NEW.identity);
    END IF;
    host := substr(NEW.identity, strpos(NEW.identity, '@') + 1);
    ours := EXISTS (SELECT FROM domain WHERE name = host);
    -- A word without dot is far more often a user whose domain was forgotten than a domain.
    IF host = NEW.identity AND strpos(host, '.') = 0 AND NOT ours
       AND tenant_of_session() IS NULL THEN
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

ALTER TABLE change_log DROP CONSTRAINT change_log_kind_must_be_known;
ALTER TABLE change_log ADD CONSTRAINT change_log_kind_must_be_known CHECK (
    kind IN ('peer', 'user', 'credential', 'group', 'domain', 'store', 'rules', 'binding', 'all',
             'mark'));

CREATE OR REPLACE FUNCTION change_log_origin(OUT stamp bigint, OUT system_id bigint, OUT database_oid oid)
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT ('x' || replace(right(gen_random_uuid()::text, 17), '-', ''))::bit(64)::bigint,
           (SELECT system_identifier FROM pg_control_system()),
           (SELECT oid FROM pg_database WHERE datname = current_database())
$$;

COMMIT;
