-- Deploy holdline:bulk to pg
-- A million rows in one statement cost about what writing them costs. A row that is canonical already
-- and gives user_identity as well needs no look of its own: the trigger's WHEN sees it. What it refers
-- to is looked for once a statement.
BEGIN;
SET LOCAL search_path = public;

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

-- Twelve upper-case hexadecimal digits are canonical in every trust store. That the identity's
-- domain is ours is proved by the user's row, which is made and which the foreign key demands.
DROP TRIGGER canonical ON cn_mapping;
CREATE TRIGGER canonical BEFORE INSERT OR UPDATE ON cn_mapping
    FOR EACH ROW WHEN ((NEW.user_identity = NEW.identity
                        AND octet_length(NEW.cn) = 12
                        AND translate(NEW.cn, '0123456789ABCDEF', '') = ''
                        AND NEW.identity ~ '^[A-Za-z0-9_.!~*''()&=+$,;?/-]+@[a-z0-9.-]+$')
                       IS NOT TRUE)
    EXECUTE FUNCTION cn_mapping_make_canonical();
COMMENT ON TRIGGER canonical ON cn_mapping IS
    'Has nothing to do with rows that are canonical and give user_identity as well.';
COMMENT ON COLUMN cn_mapping.user_identity IS
    'The identity again where it is a user of a domain of ours: then the user''s row exists. Set '
    'by the database; a large load that gives it, with canonical values, is several times faster.';

-- What the foreign key proves of the user's row needs no second look here.
ALTER TABLE cn_mapping
    DROP CONSTRAINT cn_mapping_cn_must_be_1_to_64_without_controls,
    DROP CONSTRAINT cn_mapping_identity_must_be_user_at_domain_or_domain;
ALTER TABLE cn_mapping
    ADD CONSTRAINT cn_mapping_cn_must_be_1_to_64_without_controls CHECK (
        octet_length(cn) = 12 AND translate(cn, '0123456789ABCDEF', '') = ''
        OR cn ~ '^[^\u0001-\u001f\u007f-\u009f]{1,64}$' COLLATE "C" AND octet_length(cn) <= 192),
    ADD CONSTRAINT cn_mapping_identity_must_be_user_at_domain_or_domain CHECK (
        user_identity IS NOT NULL
        OR identity ~ '^(([A-Za-z0-9_.!~*''()&=+$,;?/-]|%[0-9A-F]{2})+@)?[a-z0-9.-]+$'
        AND octet_length(identity) <= 254);

-- A user that a mapping makes was made canonical with the mapping.
DROP TRIGGER canonical ON sip_user;
CREATE TRIGGER canonical BEFORE INSERT ON sip_user
    FOR EACH ROW WHEN (pg_trigger_depth() = 0 OR strpos(NEW.identity, '%') > 0)
    EXECUTE FUNCTION sip_user_make_canonical();
CREATE TRIGGER canonical_name BEFORE UPDATE OF identity ON sip_user
    FOR EACH ROW EXECUTE FUNCTION sip_user_make_canonical();

-- A foreign key looks once a row, and a million rows mean the same few domains and stores. These
-- look once a statement, lock what is referred to as a foreign key does, and so meet who deletes it
-- in another transaction: the one of the two that comes second sees the other.
ALTER TABLE sip_user DROP CONSTRAINT sip_user_domain_fkey;
ALTER TABLE cn_mapping DROP CONSTRAINT cn_mapping_trust_store_fkey;

CREATE FUNCTION sip_user_hold_domain() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    named text[] := ARRAY(SELECT DISTINCT n.domain FROM new_rows n);
    held text[];
BEGIN
    SELECT array_agg(h.name) INTO held
    FROM (SELECT d.name FROM domain d WHERE d.name = ANY (named) FOR KEY SHARE) h;
    IF named <@ held IS NOT TRUE AND named <> '{}' THEN
        RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation',
            TABLE = 'sip_user', COLUMN = 'domain', CONSTRAINT = 'sip_user_domain_must_be_ours',
            MESSAGE = (SELECT format('%s is not one of our domains', shown(min(n)))
                       FROM unnest(named) n WHERE n <> ALL (coalesce(held, '{}'))),
            HINT = 'A domain becomes ours by a row in table domain.';
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION sip_user_hold_domain() IS
    'The domain of each user must be ours, and stays as long as the transaction: a foreign key that '
    'looks once a statement.';

CREATE TRIGGER hold_domain AFTER INSERT ON sip_user REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION sip_user_hold_domain();
CREATE TRIGGER hold_domain_of_update AFTER UPDATE ON sip_user REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION sip_user_hold_domain();

CREATE FUNCTION cn_mapping_hold_store() RETURNS trigger
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

COMMENT ON FUNCTION cn_mapping_hold_store() IS
    'The trust store of each mapping must exist, and stays as long as the transaction: a foreign '
    'key that looks once a statement.';

CREATE TRIGGER hold_store AFTER INSERT ON cn_mapping REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION cn_mapping_hold_store();
CREATE TRIGGER hold_store_of_update AFTER UPDATE ON cn_mapping REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION cn_mapping_hold_store();

-- The other side. A transaction that keeps its first snapshot would not see what was committed while
-- it waited for the lock.
CREATE FUNCTION referred_to_stays() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    gone text[];
    used text;
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        IF TG_TABLE_NAME = 'domain' THEN
            SELECT u.domain INTO used FROM sip_user u LIMIT 1;
        ELSE
            SELECT m.trust_store INTO used FROM cn_mapping m LIMIT 1;
        END IF;
    ELSE
        IF TG_OP = 'DELETE' THEN
            gone := ARRAY(SELECT o.name FROM old_rows o);
        ELSE
            gone := ARRAY(SELECT o.name FROM old_rows o EXCEPT SELECT n.name FROM new_rows n);
        END IF;
        IF gone = '{}' THEN
            RETURN NULL;
        END IF;
        IF current_setting('transaction_isolation') NOT IN ('read committed',
                                                            'read uncommitted') THEN
            RAISE EXCEPTION USING ERRCODE = 'feature_not_supported',
                MESSAGE = format('a %s is deleted or renamed in READ COMMITTED transactions only',
                                 replace(TG_TABLE_NAME, '_', ' ')),
                HINT = 'BEGIN ISOLATION LEVEL READ COMMITTED';
        END IF;
        IF TG_TABLE_NAME = 'domain' THEN
            SELECT g INTO used FROM unnest(gone) g
            WHERE EXISTS (SELECT FROM sip_user u WHERE u.domain = g);
        ELSE
            SELECT g INTO used FROM unnest(gone) g
            WHERE EXISTS (SELECT FROM cn_mapping m WHERE m.trust_store = g);
        END IF;
    END IF;
    IF used IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation',
            TABLE = TG_TABLE_NAME, COLUMN = 'name',
            CONSTRAINT = CASE TG_TABLE_NAME WHEN 'domain' THEN 'sip_user_domain_must_be_ours'
                         ELSE 'cn_mapping_trust_store_must_exist' END,
            MESSAGE = format('%s %s is still in use', replace(TG_TABLE_NAME, '_', ' '),
                             shown(used)),
            HINT = CASE TG_TABLE_NAME WHEN 'domain' THEN 'Delete its rows of sip_user first.'
                   ELSE 'Delete its rows of cn_mapping first.' END;
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION referred_to_stays() IS
    'Refuses to delete or rename a domain that has users, or a trust store that has mappings.';

CREATE TRIGGER referred_to_delete AFTER DELETE ON domain REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION referred_to_stays();
CREATE TRIGGER referred_to_update AFTER UPDATE ON domain
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION referred_to_stays();
CREATE TRIGGER referred_to_truncate AFTER TRUNCATE ON domain
    FOR EACH STATEMENT EXECUTE FUNCTION referred_to_stays();
CREATE TRIGGER referred_to_delete AFTER DELETE ON trust_store REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION referred_to_stays();
CREATE TRIGGER referred_to_update AFTER UPDATE ON trust_store
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION referred_to_stays();
CREATE TRIGGER referred_to_truncate AFTER TRUNCATE ON trust_store
    FOR EACH STATEMENT EXECUTE FUNCTION referred_to_stays();

COMMENT ON COLUMN sip_user.domain IS
    'The domain of the identity; it must be one of table domain (sip_user_hold_domain()).';
COMMENT ON COLUMN cn_mapping.trust_store IS
    'The trust store whose certificates are meant; it must exist (cn_mapping_hold_store()).';
COMMENT ON INDEX sip_user_domain IS 'Is there a user left in a domain that is being deleted.';

CREATE OR REPLACE FUNCTION cn_mapping_make_users() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
SET work_mem = '64MB'
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
SET work_mem = '64MB'
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, 'peer', ARRAY[k.trust_store, k.cn]
        FROM change_log_origin() w, (
            SELECT DISTINCT r.trust_store, r.cn FROM new_rows r) k;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, 'peer', ARRAY[k.trust_store, k.cn]
        FROM change_log_origin() w, (
            SELECT DISTINCT r.trust_store, r.cn FROM old_rows r) k;
    ELSE
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, 'peer', ARRAY[k.trust_store, k.cn]
        FROM change_log_origin() w, (
            SELECT r.trust_store, r.cn FROM old_rows r
            UNION
            SELECT r.trust_store, r.cn FROM new_rows r) k;
    END IF;
    IF FOUND THEN
        PERFORM change_log_hint();
    END IF;
    RETURN NULL;
END
$$;

-- No identity stands twice in one statement's rows: the primary key says so.
CREATE OR REPLACE FUNCTION change_log_sip_user() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, 'user', ARRAY[r.identity]
        FROM change_log_origin() w, new_rows r;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, 'user', ARRAY[r.identity]
        FROM change_log_origin() w, old_rows r;
    ELSE
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, 'user', ARRAY[k.identity]
        FROM change_log_origin() w, (
            SELECT r.identity FROM old_rows r
            UNION
            SELECT r.identity FROM new_rows r) k;
    END IF;
    IF FOUND THEN
        PERFORM change_log_hint();
    END IF;
    RETURN NULL;
END
$$;

REVOKE ALL ON FUNCTION sip_user_hold_domain(), cn_mapping_hold_store(), referred_to_stays()
    FROM PUBLIC;

COMMIT;
