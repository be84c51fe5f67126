-- Revert holdline:absent_users from pg
BEGIN;
SET LOCAL search_path = public;

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

COMMIT;
