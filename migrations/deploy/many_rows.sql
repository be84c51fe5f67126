-- Deploy holdline:many_rows to pg
-- What a statement of a million rows did once too often by the row: ON CONFLICT looks for a user, takes a
-- lock and writes a second record to the WAL for each, though a load makes nearly all of its users;
-- DISTINCT hashed what stood in order already; and a look for mappings older than their user was made
-- for each user, where no mapping is older at all.
BEGIN;
SET LOCAL search_path = public;

-- A regular expression says in a third of the time what translate() says.
DROP TRIGGER canonical ON cn_mapping;
CREATE TRIGGER canonical BEFORE INSERT OR UPDATE ON cn_mapping
    FOR EACH ROW WHEN ((NEW.user_identity = NEW.identity
                        AND octet_length(NEW.cn) = 12 AND NEW.cn ~ '^[0-9A-F]+$'
                        AND NEW.identity ~ '^[A-Za-z0-9_.!~*''()&=+$,;?/-]+@[a-z0-9.-]+$')
                       IS NOT TRUE)
    EXECUTE FUNCTION cn_mapping_make_canonical();
COMMENT ON TRIGGER canonical ON cn_mapping IS
    'Has nothing to do with rows that are canonical and give user_identity as well.';

CREATE OR REPLACE FUNCTION cn_mapping_inserted() RETURNS trigger
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
    many boolean;
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
        FROM (SELECT DISTINCT ON (n.trust_store, n.cn) n.trust_store, n.cn
              FROM new_rows n ORDER BY 1, 2) k;
        -- In order, so that two loads that overlap wait for each other and never deadlock.
        many := EXISTS (SELECT FROM new_rows OFFSET 1000);
        IF many THEN
            BEGIN
                EXECUTE
                    'INSERT INTO public.sip_user (identity) '
                    'SELECT DISTINCT ON (n.user_identity) n.user_identity FROM new_rows n '
                    'WHERE n.user_identity IS NOT NULL AND NOT EXISTS ('
                    'SELECT FROM public.sip_user u WHERE u.identity = n.user_identity) '
                    'ORDER BY n.user_identity';
            EXCEPTION WHEN unique_violation THEN
                many := false; -- another has made one of them since
            END;
        END IF;
        IF NOT many THEN
            INSERT INTO sip_user (identity)
            SELECT DISTINCT n.user_identity FROM new_rows n
            WHERE n.user_identity IS NOT NULL ORDER BY 1
            ON CONFLICT DO NOTHING;
        END IF;
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

CREATE OR REPLACE FUNCTION sip_user_inserted() RETURNS trigger
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
               n.identity, CASE WHEN n.state = 'enabled' AND n.display_name IS NULL
                                THEN '{"state": "enabled"}'
                                ELSE jsonb_strip_nulls(jsonb_build_object(
                                    'state', n.state, 'display_name', n.display_name)) END
        FROM new_rows n;
        -- No identity stands twice in one statement's rows: the primary key says so.
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT here_stamp, here_system, here_database, 'user', ARRAY[n.identity] FROM new_rows n
        ORDER BY n.identity;
        -- The first of its index says whether there is any.
        older := (SELECT min(m.identity) FROM cn_mapping m WHERE m.user_identity IS NULL)
                 IS NOT NULL
                 AND EXISTS (SELECT FROM new_rows n JOIN cn_mapping m
                             ON m.identity = n.identity AND m.user_identity IS NULL);
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

COMMIT;
