-- Revert holdline:tenant from pg
BEGIN;
SET LOCAL search_path = public;

-- BYPASSRLS of holdline_mapperd and the role holdline_tenant are the cluster's: another database may
-- need them.
ALTER TABLE trust_store DISABLE ROW LEVEL SECURITY;
ALTER TABLE domain DISABLE ROW LEVEL SECURITY;
ALTER TABLE sip_user DISABLE ROW LEVEL SECURITY;
ALTER TABLE cn_mapping DISABLE ROW LEVEL SECURITY;
ALTER TABLE user_group DISABLE ROW LEVEL SECURITY;
ALTER TABLE user_group_member DISABLE ROW LEVEL SECURITY;
ALTER TABLE rights_rule DISABLE ROW LEVEL SECURITY;
ALTER TABLE device_info DISABLE ROW LEVEL SECURITY;
ALTER TABLE credential DISABLE ROW LEVEL SECURITY;
ALTER TABLE audit DISABLE ROW LEVEL SECURITY;
DROP POLICY operator ON trust_store;
DROP POLICY operator ON domain;
DROP POLICY operator ON sip_user;
DROP POLICY operator ON cn_mapping;
DROP POLICY operator ON user_group;
DROP POLICY operator ON user_group_member;
DROP POLICY operator ON rights_rule;
DROP POLICY operator ON device_info;
DROP POLICY tenant ON device_info;
DROP POLICY tenant_sees ON device_info;
ALTER VIEW device ALTER COLUMN domain DROP DEFAULT;
ALTER TABLE device_info ALTER COLUMN domain DROP DEFAULT;
DROP POLICY operator ON credential;
DROP POLICY tenant ON credential;
DROP POLICY operator ON audit;
DROP POLICY operator ON tenant;
DROP POLICY operator ON tenant_role;
DROP POLICY tenant ON tenant_role;
DROP POLICY tenant ON tenant;
DROP POLICY tenant ON domain;
DROP POLICY tenant ON trust_store;
DROP POLICY tenant ON sip_user;
DROP POLICY tenant ON cn_mapping;
DROP POLICY tenant ON user_group;
DROP POLICY tenant ON user_group_member;
DROP POLICY tenant ON rights_rule;
DROP POLICY tenant ON audit;

DROP FUNCTION tenant_revoke(regrole, text);
DROP FUNCTION tenant_grant(regrole, text);
DROP FUNCTION tenants_enable();
SELECT audit_unfollow('tenant_role');
SELECT audit_unfollow('tenant');
SELECT audit_unfollow('rights_rule');
CREATE OR REPLACE FUNCTION device_info_make_canonical() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    form text;
    prefixes text[];
BEGIN
    NEW.label := nullif(btrim(NEW.label, ' '), '');
    NEW.site := nullif(btrim(NEW.site, ' '), '');
    NEW.domain := domain_canonical(NEW.domain);
    IF NEW.domain IS NOT NULL AND NOT EXISTS (SELECT FROM domain d WHERE d.name = NEW.domain) THEN
        RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation',
            TABLE = 'device_info', COLUMN = 'domain',
            MESSAGE = format('%s is not one of our domains', shown(NEW.domain)),
            HINT = 'Write the domain of the tenant whose device it is, or NULL for the operator.';
    END IF;
    IF NEW.trust_store IS NULL OR NEW.cn IS NULL THEN
        RETURN NEW; -- NOT NULL says it
    END IF;
    SELECT s.cn_form, s.cn_prefixes INTO form,
    prefixes FROM trust_store s WHERE s.name = NEW.trust_store;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation',
            TABLE = 'device_info', COLUMN = 'trust_store',
            MESSAGE = format('there is no trust store %s', shown(NEW.trust_store)),
            HINT = format('Write one of: %s.',
                          (SELECT string_agg(name, ', ' ORDER BY name) FROM trust_store));
    END IF;
    NEW.cn := cn_canonical(form, prefixes, NEW.cn);
    RETURN NEW;
END
$$;

CREATE OR REPLACE FUNCTION credential_make_canonical() RETURNS trigger
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

CREATE OR REPLACE FUNCTION cn_mapping_hold_store() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    named text[] := ARRAY(SELECT DISTINCT n.trust_store FROM new_rows n);
    held text[];
BEGIN
    SELECT array_agg(h.name) INTO held
    FROM (SELECT s.name FROM trust_store s WHERE s.name = ANY (named) FOR KEY SHARE) h;
    IF named <@ held IS NOT TRUE AND named <> '{}' THEN
        RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation',
            TABLE = 'cn_mapping', COLUMN = 'trust_store',
            CONSTRAINT = 'cn_mapping_trust_store_must_exist',
            MESSAGE = (SELECT format('there is no trust store %s', shown(min(n)))
                       FROM unnest(named) n WHERE n <> ALL (coalesce(held, '{}'))),
            HINT = format('Write one of: %s.',
                          (SELECT string_agg(name, ', ' ORDER BY name) FROM trust_store));
    END IF;
    RETURN NULL;
END
$$;

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

CREATE OR REPLACE FUNCTION sip_user_make_canonical() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    NEW.identity := identity_canonical(NEW.identity);
    IF strpos(NEW.identity, '@') = 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', TABLE = 'sip_user', COLUMN = 'identity',
            MESSAGE = format('%s is a domain, not a user', shown(NEW.identity)),
            HINT = format('Write user@%s; a domain of ours goes into table domain.', NEW.identity);
    END IF;
    IF NOT EXISTS (SELECT FROM domain WHERE name = split_part(NEW.identity, '@', 2)) THEN
        RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation',
            TABLE = 'sip_user', COLUMN = 'identity',
            MESSAGE = format('%s is not one of our domains',
                             shown(split_part(NEW.identity, '@', 2))),
            HINT = format('If it is to be ours: INSERT INTO domain (name) VALUES (%L)',
                          split_part(NEW.identity, '@', 2));
    END IF;
    RETURN NEW;
END
$$;

DROP TRIGGER keep_operators ON sip_user;
DROP FUNCTION sip_user_keep_operators();
DROP TRIGGER shrink ON tenant;
DROP FUNCTION tenant_shrink();
DROP TRIGGER keep_bounds ON rights_rule;
DROP FUNCTION rights_rule_keep_bounds();
DROP FUNCTION tenant_rule_fault(rights_rule);
-- What tenants allowed falls with what bounds it.
DELETE FROM rights_rule WHERE tenant IS NOT NULL;
ALTER TABLE rights_rule
    DROP CONSTRAINT rights_rule_position_from_1000000_is_for_rules_of_tenants,
    DROP COLUMN tenant,
    ALTER COLUMN position SET DEFAULT 100;
COMMENT ON COLUMN rights_rule.position IS
    'Lower is earlier. The shipped rule stands at 1000, a new one at 100.';

DROP FUNCTION tenant_of_session();
DROP FUNCTION tenant_default_position();
DROP FUNCTION tenant_default();
DROP FUNCTION tenant_groups();
DROP FUNCTION tenant_trust_stores();
DROP FUNCTION tenant_domains();
DROP TABLE tenant_role;
DROP TABLE tenant;
SELECT audit_follow('rights_rule', identity => 'r.who_user', domain => 'r.who_domain',
                    name => 'r.id::text');

REVOKE ALL ON domain, trust_store, user_group, audit, sip_user, cn_mapping, user_group_member,
    rights_rule, device_info, device, credential FROM holdline_tenant;
REVOKE SELECT (identity, realm, username, changed_at) ON credential FROM holdline_tenant;
REVOKE ALL ON FUNCTION shown(text), domain_canonical(text), user_part_canonical(text),
    identity_canonical(text), number_canonical(text), cn_canonical(text, text[], text),
    device_cn(text, text), retire_device(text, text), device_set_identities(text, text, text[]),
    replace_device(text, text, text, text), set_credential(text, text, text, text),
    set_credential_ha1(text, text, text, text, text) FROM holdline_tenant;
REVOKE USAGE ON SCHEMA public FROM holdline_tenant;

COMMIT;
