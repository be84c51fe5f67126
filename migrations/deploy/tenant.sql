-- Deploy holdline:tenant to pg
-- A role that is granted one domain provisions there and sees nothing else. Row security decides,
-- and is off until tenants_enable(): where it is on, nobody but the owner can COPY into a table, and
-- holdline_mapperd needs BYPASSRLS, which only a superuser can give.
BEGIN;
SET LOCAL search_path = public;
SET LOCAL client_min_messages = warning;

DO $$
BEGIN
    IF to_regrole('holdline_tenant') IS NULL THEN
        CREATE ROLE holdline_tenant NOLOGIN;
        COMMENT ON ROLE holdline_tenant IS
            'Holdline: may provision the domains that tenant_grant() gave; nothing without one';
    END IF;
END
$$;
GRANT USAGE ON SCHEMA public TO holdline_tenant;

CREATE TABLE tenant (
    domain text COLLATE "C" PRIMARY KEY REFERENCES domain (name),
    trust_stores text[] NOT NULL DEFAULT '{device}',
    groups text[] NOT NULL DEFAULT '{}',
    may_allow_ours boolean NOT NULL DEFAULT false,
    may_allow_domains text[] NOT NULL DEFAULT '{}',
    may_allow_numbers text[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT tenant_lists_must_not_have_null_or_empty_texts CHECK (
        array_position(trust_stores || groups || may_allow_domains || may_allow_numbers, NULL)
            IS NULL
        AND array_position(trust_stores || groups || may_allow_domains || may_allow_numbers, '')
            IS NULL)
);

COMMENT ON TABLE tenant IS
    'Domains that others than the operator provision, and what the operator lets them do there. '
    'Who they are says tenant_role.';
COMMENT ON COLUMN tenant.domain IS 'The domain.';
COMMENT ON COLUMN tenant.trust_stores IS
    'Trust stores that are seen, and whose devices may be mapped.';
COMMENT ON COLUMN tenant.groups IS
    'Groups of the operator that are seen, and into which users of the domain may be put.';
COMMENT ON COLUMN tenant.may_allow_ours IS
    'May a rule of the tenant allow calls to every domain of ours; to its own it always may.';
COMMENT ON COLUMN tenant.may_allow_domains IS
    'Other domains to which a rule of the tenant may allow calls.';
COMMENT ON COLUMN tenant.may_allow_numbers IS
    'Beginnings of numbers to which a rule of the tenant may allow calls, such as {+49}.';
COMMENT ON COLUMN tenant.created_at IS 'When the row was inserted.';

CREATE TABLE tenant_role (
    role regrole NOT NULL,
    domain text COLLATE "C" NOT NULL REFERENCES tenant (domain) ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (role, domain)
);
CREATE INDEX tenant_role_domain ON tenant_role (domain);

COMMENT ON TABLE tenant_role IS
    'Which roles provision which domain; written by tenant_grant() and tenant_revoke().';
COMMENT ON COLUMN tenant_role.role IS 'The role; members of it that inherit its rights may too.';
COMMENT ON COLUMN tenant_role.domain IS 'The domain.';
COMMENT ON COLUMN tenant_role.created_at IS 'When the row was inserted.';
COMMENT ON INDEX tenant_role_domain IS
    'Who provisions a domain: listing, and a tenant that is deleted (foreign key).';

-- ---- Who asks. Policies run as who asks; trigger functions as the owner.

CREATE FUNCTION tenant_domains() RETURNS text[]
LANGUAGE sql STABLE
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT coalesce(array_agg(t.domain::text), '{}') FROM tenant_role t
    WHERE pg_has_role(current_user, t.role, 'USAGE')
$$;
COMMENT ON FUNCTION tenant_domains() IS 'The domains that the current role provisions as a tenant.';

CREATE FUNCTION tenant_trust_stores() RETURNS text[]
LANGUAGE sql STABLE
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT coalesce(array_agg(s), '{}') FROM tenant t, unnest(t.trust_stores) s
    WHERE t.domain = ANY (tenant_domains())
$$;
COMMENT ON FUNCTION tenant_trust_stores() IS 'The trust stores that a tenant may use.';

CREATE FUNCTION tenant_groups() RETURNS text[]
LANGUAGE sql STABLE
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT coalesce(array_agg(g), '{}') FROM tenant t, unnest(t.groups) g
    WHERE t.domain = ANY (tenant_domains())
$$;
COMMENT ON FUNCTION tenant_groups() IS 'The groups that a tenant may use.';

CREATE FUNCTION tenant_default() RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT CASE WHEN pg_has_role(current_user, 'holdline_admin', 'USAGE') THEN NULL
                ELSE (tenant_domains())[1] END
$$;
COMMENT ON FUNCTION tenant_default() IS
    'The domain whose rows a tenant writes when it names none; NULL for the operator.';

CREATE FUNCTION tenant_default_position() RETURNS integer
LANGUAGE sql STABLE
SET search_path = pg_catalog, public, pg_temp
AS $$ SELECT CASE WHEN tenant_default() IS NULL THEN 100 ELSE 1000100 END $$;
COMMENT ON FUNCTION tenant_default_position() IS
    'Where a new rule stands when no position is named: 100, of a tenant 1000100.';

-- The role that counts in a function that runs as the owner.
CREATE FUNCTION tenant_of_session() RETURNS text[]
LANGUAGE sql STABLE
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT CASE WHEN pg_has_role(r.name, 'holdline_tenant', 'USAGE')
                     AND NOT pg_has_role(r.name, 'holdline_admin', 'USAGE')
                THEN ARRAY(SELECT t.domain::text FROM tenant_role t
                           WHERE pg_has_role(r.name, t.role, 'USAGE')) END
    FROM (SELECT CASE current_setting('role') WHEN 'none' THEN session_user::name
                 ELSE current_setting('role')::name END) r (name)
$$;
COMMENT ON FUNCTION tenant_of_session() IS
    'For trigger functions: the domains of the tenant whose statement this is; NULL where it is '
    'the operator''s.';

-- ---- Rules of tenants

ALTER TABLE rights_rule
    ADD COLUMN tenant text COLLATE "C" DEFAULT tenant_default()
        REFERENCES tenant (domain) ON DELETE CASCADE,
    ALTER COLUMN position SET DEFAULT tenant_default_position(),
    ADD CONSTRAINT rights_rule_position_from_1000000_is_for_rules_of_tenants CHECK (
        (tenant IS NULL) = (position < 1000000));
CREATE INDEX rights_rule_tenant ON rights_rule (tenant) WHERE tenant IS NOT NULL;
COMMENT ON COLUMN rights_rule.tenant IS
    'Whose rule it is: the domain of a tenant, whose rules stand at 1000000 and above, behind all '
    'of the operator''s, and match only callers of its domain. NULL: the operator''s.';
COMMENT ON COLUMN rights_rule.position IS
    'Lower is earlier. The shipped rule stands at 1000, a new one at 100; those of tenants from '
    '1000000 on.';
COMMENT ON INDEX rights_rule_tenant IS
    'The rules of a tenant: listing them, and a tenant that is deleted or may do less.';

-- What a tenant's rule says that the operator does not let the tenant say; NULL: nothing.
CREATE FUNCTION tenant_rule_fault(rule rights_rule) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    t tenant%ROWTYPE;
BEGIN
    SELECT * INTO t FROM tenant WHERE domain = rule.tenant;
    IF NOT FOUND THEN
        RETURN 'there is no such tenant';
    ELSIF NOT coalesce(rule.who_kind = 'domain' AND rule.who = t.domain
                       OR rule.who_kind = 'user'
                          AND split_part(rule.who, '@', 2) = t.domain, false) THEN
        RETURN 'it is not for the tenant''s domain or one of its users';
    ELSIF rule.trust_store <> ALL (t.trust_stores) THEN
        RETURN 'its trust store is none of the tenant''s';
    ELSIF rule.effect IS NOT DISTINCT FROM 'deny' THEN
        RETURN NULL;
    END IF;
    RETURN CASE
        WHEN coalesce(CASE rule.target_kind
            WHEN 'ours' THEN t.may_allow_ours
            WHEN 'domain' THEN rule.target = t.domain OR rule.target = ANY (t.may_allow_domains)
            WHEN 'user' THEN split_part(rule.target, '@', 2) = ANY (t.domain
                                                                     || t.may_allow_domains)
            WHEN 'number' THEN EXISTS (SELECT FROM unnest(t.may_allow_numbers) n
                                       WHERE starts_with(rule.target, n))
            ELSE false END, false) THEN NULL
        ELSE 'it allows a target that the operator does not let the tenant allow' END;
END
$$;
COMMENT ON FUNCTION tenant_rule_fault(rights_rule) IS
    'What a tenant''s rule says that its row of table tenant does not permit; NULL: nothing.';

CREATE FUNCTION rights_rule_keep_bounds() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    fault text;
BEGIN
    -- Another tenant's bounds are nobody's business: the policy refuses it.
    IF NEW.tenant <> ALL (tenant_of_session()) THEN
        RETURN NEW;
    END IF;
    fault := tenant_rule_fault(NEW);
    IF fault IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            TABLE = 'rights_rule', COLUMN = 'tenant',
            MESSAGE = format('tenant %s may not have this rule: %s', shown(NEW.tenant), fault),
            HINT = 'What it may is in table tenant: who_kind domain or user of its own domain, and '
                   'allow only targets that are listed there.';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION rights_rule_keep_bounds() IS
    'Refuses a rule of a tenant that the operator does not let it have.';

-- Fires behind `canonical`.
CREATE TRIGGER keep_bounds BEFORE INSERT OR UPDATE ON rights_rule
    FOR EACH ROW WHEN (NEW.tenant IS NOT NULL) EXECUTE FUNCTION rights_rule_keep_bounds();

-- Less for the tenant is less at once: what it may not have any more goes.
CREATE FUNCTION tenant_shrink() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    DELETE FROM rights_rule r USING new_rows n
    WHERE r.tenant = n.domain AND tenant_rule_fault(r) IS NOT NULL;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION tenant_shrink() IS
    'Deletes the rules of a tenant that it may not have any more.';
CREATE TRIGGER shrink AFTER UPDATE ON tenant REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION tenant_shrink();

-- ---- What the operator has put on a user stays

CREATE FUNCTION sip_user_keep_operators() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF tenant_of_session() IS NOT NULL AND (
        EXISTS (SELECT FROM rights_rule r WHERE r.who_user = OLD.identity AND r.tenant IS NULL)
        OR EXISTS (SELECT FROM user_group_member m
                   LEFT JOIN tenant t ON t.domain = OLD.domain
                   WHERE m.identity = OLD.identity
                     AND (m.group_name = ANY (t.groups)) IS NOT TRUE)) THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', TABLE = 'sip_user',
            MESSAGE = format('user %s has rules or groups of the operator, which would go with it',
                             shown(OLD.identity)),
            HINT = 'Set its state to disabled instead, or ask the operator.';
    END IF;
    RETURN OLD;
END
$$;
COMMENT ON FUNCTION sip_user_keep_operators() IS
    'Refuses that a tenant deletes a user, and with it what the operator ruled for it.';
CREATE TRIGGER keep_operators BEFORE DELETE ON sip_user
    FOR EACH ROW EXECUTE FUNCTION sip_user_keep_operators();

-- ---- What is not there and what is another's look the same to a tenant: where a trigger would say
-- more, it leaves the refusal to the policy.

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
    IF NOT EXISTS (SELECT FROM domain WHERE name = split_part(NEW.identity, '@', 2))
       AND tenant_of_session() IS NULL THEN
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
    IF NEW.domain IS NOT NULL AND NOT EXISTS (SELECT FROM domain d WHERE d.name = NEW.domain)
       AND tenant_of_session() IS NULL THEN
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
    IF tenant_of_session() IS NOT NULL
       AND NOT EXISTS (SELECT FROM tenant t WHERE t.domain = ANY (tenant_of_session())
                       AND NEW.trust_store = ANY (t.trust_stores)) THEN
        RETURN NEW;
    END IF;
    IF form IS NULL THEN
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
    -- Whether another's user is there is not told: the policy refuses it.
    IF substr(NEW.identity, sign + 1) <> ALL (tenant_of_session()) THEN
        RETURN NEW;
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
            HINT = 'SELECT name FROM trust_store shows those that are there.';
    END IF;
    RETURN NULL;
END
$$;

-- ---- Policies

CREATE POLICY operator ON trust_store TO holdline_admin USING (true) WITH CHECK (true);
CREATE POLICY operator ON domain TO holdline_admin USING (true) WITH CHECK (true);
CREATE POLICY operator ON sip_user TO holdline_admin USING (true) WITH CHECK (true);
CREATE POLICY operator ON cn_mapping TO holdline_admin USING (true) WITH CHECK (true);
CREATE POLICY operator ON user_group TO holdline_admin USING (true) WITH CHECK (true);
CREATE POLICY operator ON user_group_member TO holdline_admin USING (true) WITH CHECK (true);
CREATE POLICY operator ON rights_rule TO holdline_admin USING (true) WITH CHECK (true);
CREATE POLICY operator ON device_info TO holdline_admin USING (true) WITH CHECK (true);
CREATE POLICY operator ON credential TO holdline_admin USING (true) WITH CHECK (true);
CREATE POLICY operator ON audit FOR SELECT TO holdline_admin USING (true);
CREATE POLICY operator ON tenant TO holdline_admin USING (true) WITH CHECK (true);
CREATE POLICY operator ON tenant_role TO holdline_admin USING (true) WITH CHECK (true);
COMMENT ON POLICY operator ON trust_store IS 'The operator sees and does everything.';
COMMENT ON POLICY operator ON domain IS 'The operator sees and does everything.';
COMMENT ON POLICY operator ON sip_user IS 'The operator sees and does everything.';
COMMENT ON POLICY operator ON cn_mapping IS 'The operator sees and does everything.';
COMMENT ON POLICY operator ON user_group IS 'The operator sees and does everything.';
COMMENT ON POLICY operator ON user_group_member IS 'The operator sees and does everything.';
COMMENT ON POLICY operator ON rights_rule IS 'The operator sees and does everything.';
COMMENT ON POLICY operator ON device_info IS 'The operator sees and does everything.';
COMMENT ON POLICY operator ON credential IS 'The operator does everything, and reads no hash.';
COMMENT ON POLICY operator ON audit IS 'The operator sees everything.';
COMMENT ON POLICY operator ON tenant IS 'The operator sees and does everything.';
COMMENT ON POLICY operator ON tenant_role IS 'The operator sees everything.';

CREATE POLICY tenant ON tenant_role FOR SELECT TO holdline_tenant
    USING (pg_has_role(current_user, role, 'USAGE'));
CREATE POLICY tenant ON tenant FOR SELECT TO holdline_tenant
    USING (domain = ANY ((SELECT tenant_domains())::text[]));
CREATE POLICY tenant ON domain FOR SELECT TO holdline_tenant
    USING (name = ANY ((SELECT tenant_domains())::text[]));
CREATE POLICY tenant ON trust_store FOR SELECT TO holdline_tenant
    USING (name = ANY ((SELECT tenant_trust_stores())::text[]));
CREATE POLICY tenant ON sip_user TO holdline_tenant
    USING (domain = ANY ((SELECT tenant_domains())::text[]))
    WITH CHECK (domain = ANY ((SELECT tenant_domains())::text[]));
CREATE POLICY tenant ON cn_mapping TO holdline_tenant
    USING (substr(identity, strpos(identity, '@') + 1) = ANY ((SELECT tenant_domains())::text[]))
    WITH CHECK (substr(identity, strpos(identity, '@') + 1)
                    = ANY ((SELECT tenant_domains())::text[])
                AND trust_store = ANY ((SELECT tenant_trust_stores())::text[]));
CREATE POLICY tenant ON credential TO holdline_tenant
    USING (split_part(identity, '@', 2) = ANY ((SELECT tenant_domains())::text[]))
    WITH CHECK (split_part(identity, '@', 2) = ANY ((SELECT tenant_domains())::text[]));
CREATE POLICY tenant ON user_group FOR SELECT TO holdline_tenant
    USING (name = ANY ((SELECT tenant_groups())::text[]));
CREATE POLICY tenant ON user_group_member TO holdline_tenant
    USING (split_part(identity, '@', 2) = ANY ((SELECT tenant_domains())::text[])
           AND group_name = ANY ((SELECT tenant_groups())::text[]))
    WITH CHECK (split_part(identity, '@', 2) = ANY ((SELECT tenant_domains())::text[])
                AND group_name = ANY ((SELECT tenant_groups())::text[]));
CREATE POLICY tenant ON rights_rule TO holdline_tenant
    USING (tenant = ANY ((SELECT tenant_domains())::text[]))
    WITH CHECK (tenant = ANY ((SELECT tenant_domains())::text[]));
CREATE POLICY tenant ON audit FOR SELECT TO holdline_tenant
    USING (CASE WHEN table_name IN ('rights_rule', 'device_info', 'tenant') THEN domain
                WHEN table_name IN ('sip_user', 'cn_mapping', 'credential')
                THEN substr(identity, strpos(identity, '@') + 1)
                WHEN table_name = 'user_group_member'
                     AND name = ANY ((SELECT tenant_groups())::text[])
                THEN split_part(identity, '@', 2) END
           = ANY ((SELECT tenant_domains())::text[]));
-- A phone may have identities of two tenants: neither stops it for the other, so its state is the
-- operator's. A tenant that gives one up takes its identities away.
CREATE POLICY tenant ON device_info TO holdline_tenant
    USING (domain = ANY ((SELECT tenant_domains())::text[]) AND state = 'known')
    WITH CHECK (domain = ANY ((SELECT tenant_domains())::text[]) AND state = 'known'
                AND trust_store = ANY ((SELECT tenant_trust_stores())::text[]));
CREATE POLICY tenant_sees ON device_info FOR SELECT TO holdline_tenant
    USING (domain = ANY ((SELECT tenant_domains())::text[]));
ALTER TABLE device_info ALTER COLUMN domain SET DEFAULT tenant_default();
ALTER VIEW device ALTER COLUMN domain SET DEFAULT tenant_default();
COMMENT ON POLICY tenant ON device_info IS
    'A tenant has label and site of its devices; their state is the operator''s.';
COMMENT ON POLICY tenant_sees ON device_info IS 'A tenant sees also which of its devices are disabled.';
COMMENT ON POLICY tenant ON tenant_role IS 'A tenant sees itself.';
COMMENT ON POLICY tenant ON tenant IS 'A tenant sees what it may.';
COMMENT ON POLICY tenant ON domain IS 'A tenant sees its domain.';
COMMENT ON POLICY tenant ON trust_store IS 'A tenant sees the trust stores that it may use.';
COMMENT ON POLICY tenant ON sip_user IS 'A tenant has the users of its domain.';
COMMENT ON POLICY tenant ON cn_mapping IS
    'A tenant has the mappings to its domain and its users, in trust stores that it may use.';
COMMENT ON POLICY tenant ON credential IS 'A tenant sets the passwords of its users.';
COMMENT ON POLICY tenant ON user_group IS 'A tenant sees the groups that it may use.';
COMMENT ON POLICY tenant ON user_group_member IS
    'A tenant puts its users into the groups that it may use.';
COMMENT ON POLICY tenant ON rights_rule IS 'A tenant has its own rules; the operator''s are not seen.';
COMMENT ON POLICY tenant ON audit IS
    'A tenant sees what happened to the rows that it would see.';

GRANT SELECT ON domain, trust_store, user_group, audit, tenant, tenant_role TO holdline_tenant;
GRANT SELECT, INSERT, UPDATE, DELETE ON sip_user, cn_mapping, user_group_member, rights_rule,
    device_info, device TO holdline_tenant;
GRANT SELECT (identity, realm, username, changed_at), INSERT, UPDATE, DELETE ON credential
    TO holdline_tenant;
GRANT SELECT, INSERT, UPDATE, DELETE ON tenant TO holdline_admin;
GRANT SELECT ON tenant_role TO holdline_admin;

-- A rule is a tenant's or the operator's, whomever it is for.
SELECT audit_unfollow('rights_rule');
SELECT audit_follow('rights_rule', identity => 'r.who_user', domain => 'r.tenant',
                    name => 'r.id::text');
SELECT audit_follow('tenant', domain => 'r.domain');
SELECT audit_follow('tenant_role', domain => 'r.domain', name => 'r.role::text');

-- ---- For the owner

CREATE FUNCTION tenants_enable() RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    followed regclass;
BEGIN
    IF NOT (SELECT r.rolbypassrls FROM pg_roles r WHERE r.rolname = 'holdline_mapperd') THEN
        IF NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user) THEN
            RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
                MESSAGE = 'holdline_mapperd must see every row, and does not',
                HINT = 'As a superuser, once for the cluster: ALTER ROLE holdline_mapperd '
                       'BYPASSRLS';
        END IF;
        ALTER ROLE holdline_mapperd BYPASSRLS;
    END IF;
    FOR followed IN SELECT DISTINCT p.polrelid FROM pg_policy p
                    WHERE p.polname = 'tenant' ORDER BY 1 LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', followed);
    END LOOP;
END
$$;
COMMENT ON FUNCTION tenants_enable() IS
    'For the owner: turns row security on, without which there are no tenants. From then on only '
    'the owner can COPY into a table; others load by INSERT ... SELECT, as mapctl import does.';

CREATE FUNCTION tenant_grant(role regrole, domain text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    canonical text := domain_canonical($2);
BEGIN
    IF EXISTS (SELECT FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
               WHERE p.polname = 'tenant' AND NOT c.relrowsecurity) THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = 'row security is off: a tenant would see everything',
            HINT = 'SELECT tenants_enable()';
    END IF;
    IF $1 IS NULL OR pg_has_role($1, 'holdline_admin', 'MEMBER')
       OR pg_has_role($1, 'holdline_mapperd', 'MEMBER')
       OR (SELECT r.rolbypassrls FROM pg_roles r WHERE r.oid = $1) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_grant_operation',
            MESSAGE = format('role %s cannot be a tenant: it has every domain', $1),
            HINT = 'CREATE ROLE ... LOGIN makes one that has nothing else.';
    END IF;
    INSERT INTO tenant AS t (domain) VALUES (canonical) ON CONFLICT DO NOTHING;
    INSERT INTO tenant_role AS t (role, domain) VALUES ($1, canonical) ON CONFLICT DO NOTHING;
    EXECUTE format('GRANT holdline_tenant TO %s', $1);
END
$$;
COMMENT ON FUNCTION tenant_grant(regrole, text) IS
    'For the owner: lets a role provision a domain of ours, and nothing else. What it may there is '
    'its row of table tenant.';

CREATE FUNCTION tenant_revoke(role regrole, domain text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    DELETE FROM tenant_role t WHERE t.role = $1 AND t.domain = domain_canonical($2);
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found',
            MESSAGE = format('role %s does not provision %s', $1, shown($2)),
            HINT = 'SELECT * FROM tenant_role';
    END IF;
    IF NOT EXISTS (SELECT FROM tenant_role t WHERE t.role = $1) THEN
        EXECUTE format('REVOKE holdline_tenant FROM %s', $1);
    END IF;
END
$$;
COMMENT ON FUNCTION tenant_revoke(regrole, text) IS
    'For the owner: takes a domain from a role. Its rows and rules stay.';

REVOKE ALL ON FUNCTION tenant_domains(), tenant_trust_stores(), tenant_groups(), tenant_default(),
    tenant_default_position(), tenant_of_session(), tenant_rule_fault(rights_rule),
    rights_rule_keep_bounds(), tenant_shrink(), sip_user_keep_operators(), tenants_enable(),
    tenant_grant(regrole, text), tenant_revoke(regrole, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenant_domains(), tenant_default(), tenant_default_position()
    TO holdline_admin, holdline_tenant;
GRANT EXECUTE ON FUNCTION tenant_trust_stores(), tenant_groups(),
    shown(text), domain_canonical(text), user_part_canonical(text), identity_canonical(text),
    number_canonical(text), cn_canonical(text, text[], text), device_cn(text, text),
    retire_device(text, text), device_set_identities(text, text, text[]),
    replace_device(text, text, text, text), set_credential(text, text, text, text),
    set_credential_ha1(text, text, text, text, text) TO holdline_tenant;

COMMIT;
