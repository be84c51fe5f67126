-- Deploy holdline:limits to pg
-- mapperd bounds what one key can make an answer of (mapperd/record.h). What it would cut or disable
-- is refused here, where it can be explained. Identities of a device are not counted here, since a
-- load of many would pay for it: of those beyond 4096 mapperd leaves out the last and says so.
BEGIN;
SET LOCAL search_path = public;

CREATE FUNCTION user_group_member_limit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    crowded text;
BEGIN
    SELECT n.identity INTO crowded FROM (SELECT DISTINCT r.identity FROM new_rows r) n
    WHERE (SELECT count(*) FROM user_group_member m WHERE m.identity = n.identity) > 64
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation',
            TABLE = 'user_group_member', COLUMN = 'identity',
            MESSAGE = format('user %s would be in more than 64 groups', shown(crowded)),
            HINT = 'Take the user out of others first, or write a rule for its domain.';
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION user_group_member_limit() IS
    'Refuses a user in more groups than mapperd takes: it would be disabled there.';

CREATE TRIGGER limit_insert AFTER INSERT ON user_group_member REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION user_group_member_limit();
CREATE TRIGGER limit_update AFTER UPDATE ON user_group_member REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION user_group_member_limit();

CREATE FUNCTION rights_rule_limit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    crowded text;
BEGIN
    SELECT concat_ws(' ', n.who_kind, shown(n.who)) INTO crowded
    FROM (SELECT DISTINCT r.who_kind, r.who FROM new_rows r) n
    WHERE (SELECT count(*) FROM rights_rule q
           WHERE q.who_kind = n.who_kind AND q.who IS NOT DISTINCT FROM n.who) > 4096
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation',
            TABLE = 'rights_rule', COLUMN = 'who',
            MESSAGE = format('%s would have more than 4096 rules', crowded),
            HINT = 'Write fewer and wider ones: a domain or the beginning of a number in place of '
                   'many targets.';
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION rights_rule_limit() IS
    'Refuses more rules of one scope than mapperd takes: behind them it would deny all.';

CREATE TRIGGER limit_insert AFTER INSERT ON rights_rule REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION rights_rule_limit();
CREATE TRIGGER limit_update AFTER UPDATE ON rights_rule REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION rights_rule_limit();

COMMENT ON INDEX trust_store_pkey IS
    'mapperd''s reading of a store and its fill, in byte order; what refers to it.';
COMMENT ON INDEX domain_pkey IS
    'mapperd''s reading of a domain and its fill, in byte order; what refers to it.';
COMMENT ON INDEX sip_user_pkey IS
    'mapperd''s reading of a user (RIGHTS) and its fill, in byte order; what refers to it.';
COMMENT ON INDEX cn_mapping_pkey IS
    'mapperd''s reading of a device (PEER) and its fill, in byte order, from the index alone; '
    'ON CONFLICT (trust_store, cn, identity).';
COMMENT ON INDEX device_info_pkey IS
    'mapperd''s reading of a device (PEER) and its fill, in byte order, from the index alone; '
    'ON CONFLICT (trust_store, cn).';
COMMENT ON INDEX user_group_pkey IS 'What refers to a group.';
COMMENT ON INDEX user_group_member_pkey IS
    'mapperd''s reading of a user: its groups; ON CONFLICT (identity, group_name).';
COMMENT ON INDEX rights_rule_pkey IS 'A rule by the number that logs and mapctl check name.';
COMMENT ON INDEX binding_pkey IS
    'mapperd''s reading of an address of record (LOCATE) and its fill; ON CONFLICT of a newer '
    'registration.';
COMMENT ON INDEX mapperd_pkey IS 'A mapperd''s counter and position, each second.';

REVOKE ALL ON FUNCTION user_group_member_limit(), rights_rule_limit() FROM PUBLIC;

COMMIT;
