-- Deploy holdline:one_phone to pg
-- One INSERT of one phone is one transaction of its own nearly always, and what its triggers cost is
-- calls and statements, not rows. So what five triggers of cn_mapping and four of sip_user did is done
-- by one function each, with a short way for a single row. A rule that holds for one way holds for the
-- other: tests/sql/one_phone.sql compares them.
BEGIN;
SET LOCAL search_path = public;

-- In PL/pgSQL, which keeps its plans: a function in SQL is parsed and planned by every statement.
CREATE OR REPLACE FUNCTION change_log_origin(
    OUT stamp bigint, OUT system_id bigint, OUT database_oid oid)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    stamp := uuid_hash_extended(gen_random_uuid(), 0);
    system_id := (pg_control_system()).system_identifier;
    database_oid := split_part(pg_relation_filepath('pg_class'), '/', -2)::oid; -- base/OID/file
END
$$;

-- As before, but as one constant: a condition is read back from the catalogue by every statement that
-- writes, and ten constants are three times the text.
ALTER TABLE change_log DROP CONSTRAINT change_log_kind_must_be_known;
ALTER TABLE change_log ADD CONSTRAINT change_log_kind_must_be_known CHECK (
    kind = ANY ('{peer,user,credential,group,domain,store,rules,binding,all,mark}'));

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
    host := substr(NEW.identity, strpos(NEW.identity, '@') + 1);
    SELECT s.cn_form, s.cn_prefixes, EXISTS (SELECT FROM domain d WHERE d.name = host)
    INTO form, prefixes, ours FROM trust_store s WHERE s.name = NEW.trust_store;
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
        host := substr(NEW.identity, strpos(NEW.identity, '@') + 1);
        ours := EXISTS (SELECT FROM domain d WHERE d.name = host);
    END IF;
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

CREATE FUNCTION cn_mapping_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
SET work_mem = '64MB'
AS $$
DECLARE
    -- What change_log_origin() says, without the call.
    here_stamp CONSTANT bigint := uuid_hash_extended(gen_random_uuid(), 0);
    here_system CONSTANT bigint := (pg_control_system()).system_identifier;
    here_database CONSTANT oid := split_part(pg_relation_filepath('pg_class'), '/', -2)::oid;
    moment CONSTANT timestamptz := clock_timestamp();
    by_whom CONSTANT text := session_user;
    by_role CONSTANT text := current_setting('role');
    by_application CONSTANT text := current_setting('application_name');
    by_client CONSTANT inet := inet_client_addr();
    the_store text;
    the_cn text;
    the_identity text;
    the_user text;
    reported boolean;
    named text[];
    held text[];
BEGIN
    -- The trust store must exist, and stays as long as the transaction: a foreign key that looks once
    -- a statement.
    SELECT n.trust_store, n.cn, n.identity, n.user_identity, EXISTS (SELECT FROM unmapped_device)
    INTO the_store, the_cn, the_identity, the_user, reported
    FROM (SELECT r.* FROM new_rows r LIMIT 1) n JOIN trust_store s ON s.name = n.trust_store
    WHERE NOT EXISTS (SELECT FROM new_rows OFFSET 1)
    FOR KEY SHARE OF s;
    IF FOUND THEN
        IF reported THEN
            DELETE FROM unmapped_device u WHERE u.trust_store = the_store AND u.cn = the_cn;
        END IF;
        WITH told AS (
            INSERT INTO audit (at, who, role, application, client, table_name, operation,
                               trust_store, cn, identity, after)
            VALUES (moment, by_whom, by_role, by_application, by_client, 'cn_mapping',
                    'insert', the_store, the_cn, the_identity, '{}'))
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        VALUES (here_stamp, here_system, here_database, 'peer', ARRAY[the_store, the_cn]);
        IF the_user IS NOT NULL THEN
            INSERT INTO sip_user (identity) VALUES (the_user) ON CONFLICT DO NOTHING;
        END IF;
    ELSE
        named := ARRAY(SELECT DISTINCT n.trust_store FROM new_rows n);
        IF named = '{}' THEN
            RETURN NULL;
        END IF;
        SELECT array_agg(h.name) INTO held
        FROM (SELECT s.name FROM trust_store s WHERE s.name = ANY (named) FOR KEY SHARE) h;
        IF named <@ held IS NOT TRUE THEN
            RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation',
                TABLE = 'cn_mapping', COLUMN = 'trust_store',
                CONSTRAINT = 'cn_mapping_trust_store_must_exist',
                MESSAGE = (SELECT format('there is no trust store %s', shown(min(n)))
                           FROM unnest(named) n WHERE n <> ALL (coalesce(held, '{}'))),
                HINT = 'SELECT name FROM trust_store shows those that are there.';
        END IF;
        -- Planned anew each time: a plan for few rows would be a slow one for a million.
        IF EXISTS (SELECT FROM unmapped_device) THEN
            EXECUTE
                'WITH mapped AS ('
                'SELECT u.trust_store, u.cn FROM public.unmapped_device u '
                'WHERE (u.trust_store, u.cn) IN (SELECT n.trust_store, n.cn FROM new_rows n) '
                'ORDER BY u.trust_store, u.cn FOR UPDATE) '
                'DELETE FROM public.unmapped_device u USING mapped m '
                'WHERE u.trust_store = m.trust_store AND u.cn = m.cn';
        END IF;
        INSERT INTO audit (at, who, role, application, client, table_name, operation,
                           trust_store, cn, identity, after)
        SELECT moment, by_whom, by_role, by_application, by_client, 'cn_mapping', 'insert',
               n.trust_store, n.cn, n.identity, '{}'
        FROM new_rows n;
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT here_stamp, here_system, here_database, 'peer', ARRAY[k.trust_store, k.cn]
        FROM (SELECT DISTINCT n.trust_store, n.cn FROM new_rows n) k;
        -- In order, so that two loads that overlap wait for each other and never deadlock.
        INSERT INTO sip_user (identity)
        SELECT DISTINCT n.user_identity FROM new_rows n
        WHERE n.user_identity IS NOT NULL ORDER BY 1
        ON CONFLICT DO NOTHING;
    END IF;
    -- change_log_hint(), without the call.
    IF coalesce(current_setting('holdline.notify', true), '') NOT IN ('off', 'false', 'no', '0')
       AND pg_notification_queue_usage() < 0.5
       AND pg_try_advisory_xact_lock(5219509671717072485) THEN
        PERFORM pg_notify('holdline_change', '');
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION cn_mapping_inserted() IS
    'What a statement''s new mappings mean: their trust store must exist and stays as long as the '
    'transaction, the rows of users that they name and that are absent are made, their devices go from '
    'unmapped_device, and audit and change log say so, the log each device once.';

CREATE FUNCTION sip_user_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    -- What change_log_origin() says, without the call.
    here_stamp CONSTANT bigint := uuid_hash_extended(gen_random_uuid(), 0);
    here_system CONSTANT bigint := (pg_control_system()).system_identifier;
    here_database CONSTANT oid := split_part(pg_relation_filepath('pg_class'), '/', -2)::oid;
    moment CONSTANT timestamptz := clock_timestamp();
    by_whom CONSTANT text := session_user;
    by_role CONSTANT text := current_setting('role');
    by_application CONSTANT text := current_setting('application_name');
    by_client CONSTANT inet := inet_client_addr();
    the_identity text;
    the_state text;
    the_name text;
    older boolean;
    named text[];
    held text[];
BEGIN
    -- The domain must be ours, and stays as long as the transaction: a foreign key that looks once a
    -- statement.
    SELECT n.identity, n.state, n.display_name,
           EXISTS (SELECT FROM cn_mapping m
                   WHERE m.identity = n.identity AND m.user_identity IS NULL)
    INTO the_identity, the_state, the_name, older
    FROM (SELECT r.* FROM new_rows r LIMIT 1) n JOIN domain d ON d.name = n.domain
    WHERE NOT EXISTS (SELECT FROM new_rows OFFSET 1)
    FOR KEY SHARE OF d;
    IF FOUND THEN
        WITH told AS (
            INSERT INTO audit (at, who, role, application, client, table_name, operation,
                               identity, after)
            VALUES (moment, by_whom, by_role, by_application, by_client, 'sip_user',
                    'insert', the_identity,
                    jsonb_strip_nulls(jsonb_build_object('state', the_state,
                                                         'display_name', the_name))))
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        VALUES (here_stamp, here_system, here_database, 'user', ARRAY[the_identity]);
    ELSE
        named := ARRAY(SELECT DISTINCT n.domain FROM new_rows n);
        IF named = '{}' THEN
            RETURN NULL;
        END IF;
        SELECT array_agg(h.name) INTO held
        FROM (SELECT d.name FROM domain d WHERE d.name = ANY (named) FOR KEY SHARE) h;
        IF named <@ held IS NOT TRUE THEN
            RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation',
                TABLE = 'sip_user', COLUMN = 'domain', CONSTRAINT = 'sip_user_domain_must_be_ours',
                MESSAGE = (SELECT format('%s is not one of our domains', shown(min(n)))
                           FROM unnest(named) n WHERE n <> ALL (coalesce(held, '{}'))),
                HINT = 'A domain becomes ours by a row in table domain.';
        END IF;
        INSERT INTO audit (at, who, role, application, client, table_name, operation,
                           identity, after)
        SELECT moment, by_whom, by_role, by_application, by_client, 'sip_user', 'insert',
               n.identity, jsonb_strip_nulls(jsonb_build_object('state', n.state,
                                                                'display_name', n.display_name))
        FROM new_rows n;
        -- No identity stands twice in one statement's rows: the primary key says so.
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT here_stamp, here_system, here_database, 'user', ARRAY[n.identity] FROM new_rows n;
        older := EXISTS (SELECT FROM new_rows n
                         JOIN cn_mapping m ON m.identity = n.identity AND m.user_identity IS NULL);
    END IF;
    -- A mapping may be older than the day its domain became ours: the user's row takes it over.
    IF older THEN
        UPDATE cn_mapping m SET user_identity = n.identity
        FROM new_rows n WHERE m.identity = n.identity AND m.user_identity IS NULL;
    END IF;
    -- change_log_hint(), without the call.
    IF coalesce(current_setting('holdline.notify', true), '') NOT IN ('off', 'false', 'no', '0')
       AND pg_notification_queue_usage() < 0.5
       AND pg_try_advisory_xact_lock(5219509671717072485) THEN
        PERFORM pg_notify('holdline_change', '');
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION sip_user_inserted() IS
    'What a statement''s new users mean: their domain must be ours and stays as long as the '
    'transaction, mappings that are older than they are linked to them, and audit and change log say '
    'so.';

DROP TRIGGER audit_insert ON cn_mapping;
DROP TRIGGER forget_unmapped ON cn_mapping;
DROP TRIGGER hold_store ON cn_mapping;
DROP TRIGGER log_insert ON cn_mapping;
DROP TRIGGER make_users ON cn_mapping;
CREATE TRIGGER log_insert AFTER INSERT ON cn_mapping REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION cn_mapping_inserted();
DROP TRIGGER audit_insert ON sip_user;
DROP TRIGGER hold_domain ON sip_user;
DROP TRIGGER log_insert ON sip_user;
DROP TRIGGER take_mappings ON sip_user;
DROP FUNCTION sip_user_take_mappings();
CREATE TRIGGER log_insert AFTER INSERT ON sip_user REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION sip_user_inserted();

COMMENT ON INDEX credential_pkey IS
    'mapperd''s reading of a user''s credentials and their fill, in byte order.';
COMMENT ON INDEX unmapped_device_pkey IS
    'report_unmapped() finds a device that was reported before; a mapping takes its device away.';
COMMENT ON INDEX tenant_pkey IS 'What the operator lets a tenant do; what refers to a tenant.';
COMMENT ON INDEX tenant_role_pkey IS
    'tenant_grant() and tenant_revoke(): does a role provision a domain.';

REVOKE ALL ON FUNCTION cn_mapping_inserted(), sip_user_inserted() FROM PUBLIC;

COMMIT;
