-- SPDX-License-Identifier: Apache-2.0
-- Every statement that changes what mapperd holds leaves one row a key in the change log, old and
-- new.
\set QUIET on
BEGIN;
SELECT no_plan();

-- What was logged since the last look, one `kind key` a row, sorted, and how many statements wrote
-- it.
CREATE FUNCTION pg_temp.logged() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    SELECT string_agg(kind || ' ' || array_to_string(key, '/'), ', ' ORDER BY kind COLLATE "C", key COLLATE "C") INTO result FROM change_log;
    DELETE FROM change_log;
    RETURN coalesce(result, 'nothing');
END
$$;
DELETE FROM change_log;

-- mapperd reads a large statement's keys in the order of its rows here, which must be that of the keys:
-- each on a page of its own, they would be a hundred times as much to write. Each device
-- stands twice in the list, far apart.
CREATE FUNCTION pg_temp.in_order(what text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    result boolean;
BEGIN
    SELECT count(*) > 900 AND bool_and(l.key > l.before) INTO result FROM (
        SELECT key, lag(key, 1, '{}') OVER (ORDER BY ctid) AS before FROM change_log WHERE kind = what) l;
    RETURN result;
END
$$;
INSERT INTO cn_mapping (cn, identity)
SELECT lpad((i * 7919 % 1000)::text, 12, '0'), 'u' || i || '@example.com' FROM generate_series(0, 1999) AS i;
SELECT ok(pg_temp.in_order('peer'), 'INSERT of many mappings logs their devices in order');
DELETE FROM change_log;
UPDATE cn_mapping SET identity = 'v' || substr(identity, 2);
SELECT ok(pg_temp.in_order('peer'), 'UPDATE of many mappings logs their devices in order');
DELETE FROM change_log;
DELETE FROM cn_mapping;
SELECT ok(pg_temp.in_order('peer'), 'DELETE of many mappings logs their devices in order');
DELETE FROM change_log;
INSERT INTO domain (name) VALUES ('example.com');
INSERT INTO sip_user (identity) SELECT 'w' || i * 7919 % 1000 || '@example.com' FROM generate_series(0, 999) AS i;
SELECT ok(pg_temp.in_order('user'), 'INSERT of many users logs them in order');
DELETE FROM change_log;
UPDATE sip_user SET state = 'disabled' WHERE identity LIKE 'w%';
SELECT ok(pg_temp.in_order('user'), 'UPDATE of many users logs them in order');
UPDATE sip_user SET state = 'enabled' WHERE identity LIKE 'w%';
DELETE FROM change_log;
DELETE FROM sip_user WHERE identity LIKE 'w%';
SELECT ok(pg_temp.in_order('user'), 'DELETE of many users logs them in order');
DELETE FROM domain WHERE name = 'example.com';
DELETE FROM sip_user;
DELETE FROM change_log;

INSERT INTO domain (name) VALUES ('Example.org'), ('example.net');
SELECT is(pg_temp.logged(), 'domain example.net, domain example.org', 'INSERT of domains');
UPDATE domain SET state = 'disabled' WHERE name = 'example.net';
SELECT is(pg_temp.logged(), 'domain example.net', 'UPDATE of a domain');
UPDATE domain SET name = 'example.com', state = 'enabled' WHERE name = 'example.net';
SELECT is(pg_temp.logged(), 'domain example.com, domain example.net', 'UPDATE of a domain''s name logs both');
DELETE FROM domain WHERE name = 'example.com';
SELECT is(pg_temp.logged(), 'domain example.com', 'DELETE of a domain');

INSERT INTO trust_store (name) VALUES ('partner');
SELECT is(pg_temp.logged(), 'store partner', 'INSERT of a trust store');
UPDATE trust_store SET name = 'friends' WHERE name = 'partner';
SELECT is(pg_temp.logged(), 'store friends, store partner', 'UPDATE of a trust store''s name logs both');
UPDATE trust_store SET state = 'disabled' WHERE name = 'friends';
SELECT is(pg_temp.logged(), 'store friends', 'UPDATE of a trust store''s state');
UPDATE trust_store SET state = 'enabled' WHERE name = 'friends';
DELETE FROM trust_store WHERE name = 'friends';
SELECT is(pg_temp.logged(), 'store friends, store friends', 'one row a statement');

INSERT INTO cn_mapping (cn, identity) VALUES ('00:00:00:00:00:01', 'a@example.org'), ('000000000001', 'b@example.org'),
    ('000000000002', 'b@example.org'), ('000000000002', 'other.example');
SELECT is(pg_temp.logged(), 'peer device/000000000001, peer device/000000000002, user a@example.org, user b@example.org',
    'INSERT of mappings: each peer once, each new user');
INSERT INTO cn_mapping (cn, identity) VALUES ('000000000001', 'a@example.org') ON CONFLICT DO NOTHING;
SELECT is(pg_temp.logged(), 'nothing', 'an upsert that does nothing');
INSERT INTO cn_mapping (cn, identity) VALUES ('000000000001', 'a@example.org'), ('000000000003', 'a@example.org')
    ON CONFLICT (trust_store, cn, identity) DO UPDATE SET created_at = now();
SELECT is(pg_temp.logged(), 'peer device/000000000001, peer device/000000000003', 'an upsert logs what it inserts and what it updates');
UPDATE cn_mapping SET cn = '000000000009' WHERE cn = '000000000003';
SELECT is(pg_temp.logged(), 'peer device/000000000003, peer device/000000000009', 'UPDATE of a CN logs both peers');
UPDATE cn_mapping SET identity = 'c@example.org' WHERE cn = '000000000009';
SELECT is(pg_temp.logged(), 'peer device/000000000009, user c@example.org', 'UPDATE of an identity: the peer once, the new user');
UPDATE cn_mapping SET created_at = now() WHERE false;
DELETE FROM cn_mapping WHERE false;
SELECT is(pg_temp.logged(), 'nothing', 'statements that touch no row');
DELETE FROM cn_mapping WHERE cn = '000000000001';
SELECT is(pg_temp.logged(), 'peer device/000000000001', 'DELETE of two mappings of a peer: one row');
MERGE INTO cn_mapping m USING (VALUES ('000000000002', 'b@example.org'), ('00000000000A', 'b@example.org')) v (cn, identity)
    ON m.trust_store = 'device' AND m.cn = v.cn AND m.identity = v.identity
    WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (cn, identity) VALUES (v.cn, v.identity);
SELECT is(pg_temp.logged(), 'peer device/000000000002, peer device/00000000000A', 'MERGE logs what it inserts and what it deletes');
WITH gone AS (DELETE FROM cn_mapping WHERE cn = '00000000000A' RETURNING trust_store, identity)
INSERT INTO cn_mapping (trust_store, cn, identity) SELECT trust_store, '00000000000B', identity FROM gone;
SELECT is(pg_temp.logged(), 'peer device/00000000000A, peer device/00000000000B', 'a WITH that writes');
COPY cn_mapping (cn, identity) FROM STDIN;
00000000000C	c@example.org
00:00:00:00:00:0c	d@example.org
\.
SELECT is(pg_temp.logged(), 'peer device/00000000000C, user d@example.org', 'COPY is one statement');
SELECT retire_device('00:00:00:00:00:0b') AS forget \gset
SELECT is(pg_temp.logged(), 'peer device/00000000000B', 'retire_device');

INSERT INTO sip_user (identity) VALUES ('e@example.org'), ('f@example.org');
SELECT is(pg_temp.logged(), 'user e@example.org, user f@example.org', 'INSERT of users');
UPDATE sip_user SET identity = 'g@example.org' WHERE identity = 'f@example.org';
SELECT is(pg_temp.logged(), 'user f@example.org, user g@example.org', 'UPDATE of a user''s name logs both');
UPDATE sip_user SET state = 'disabled' WHERE identity = 'e@example.org';
SELECT is(pg_temp.logged(), 'user e@example.org', 'UPDATE of a user''s state');
INSERT INTO user_group (name) VALUES ('staff');
SELECT is(pg_temp.logged(), 'group staff', 'INSERT of a group');
UPDATE user_group SET description = 'x' WHERE name = 'staff';
SELECT is(pg_temp.logged(), 'group staff', 'UPDATE of a group');
INSERT INTO user_group_member (group_name, identity) VALUES ('staff', 'c@example.org'), ('staff', 'd@example.org');
SELECT is(pg_temp.logged(), 'user c@example.org, user d@example.org', 'members are users whose groups changed');
UPDATE user_group_member SET identity = 'g@example.org' WHERE identity = 'd@example.org';
SELECT is(pg_temp.logged(), 'user d@example.org, user g@example.org', 'UPDATE of a member logs both users');
DELETE FROM user_group WHERE name = 'staff';
SELECT is(pg_temp.logged(), 'group staff, user c@example.org, user g@example.org', 'DELETE of a group logs its members');

INSERT INTO user_group (name) VALUES ('staff');
INSERT INTO user_group_member (group_name, identity) VALUES ('staff', 'c@example.org');
SELECT pg_temp.logged() IS NOT NULL AS forget \gset
INSERT INTO rights_rule (who_kind, who, effect) VALUES ('everyone', NULL, 'deny'), ('domain', 'example.org', 'deny'),
    ('group', 'staff', 'deny'), ('group', 'staff', 'allow'), ('user', 'c@example.org', 'deny');
SELECT is(pg_temp.logged(), 'domain example.org, group staff, rules , user c@example.org', 'INSERT of rules logs each scope once');
UPDATE rights_rule SET who_kind = 'everyone', who = NULL WHERE who = 'staff' AND effect = 'allow';
SELECT is(pg_temp.logged(), 'group staff, rules ', 'UPDATE of a rule logs the scope it leaves and the one it enters');
UPDATE rights_rule SET position = 5 WHERE who_kind = 'user';
SELECT is(pg_temp.logged(), 'user c@example.org', 'UPDATE of a rule''s position');
DELETE FROM rights_rule WHERE who_kind = 'everyone';
SELECT is(pg_temp.logged(), 'rules ', 'DELETE of rules for everyone');

-- Cascades.
DELETE FROM sip_user WHERE identity = 'c@example.org';
SELECT is(pg_temp.logged(), 'peer device/000000000009, peer device/00000000000C, user c@example.org, user c@example.org, user c@example.org',
    'DELETE of a user logs it, each peer that held it, and it again for its groups and rules');

-- Bindings.
SELECT bind_put('d@example.org', 'k1', 'c:x', 'device', '00000000000C', 'mapping', 'd@example.org', '', 0, 'sip:x', 2000000000, 1000,
    'c', 1, 'p/1/0/0/1', '', 10, 1) AS forget \gset
SELECT is(pg_temp.logged(), 'binding d@example.org', 'a new binding');
SELECT bind_put('d@example.org', 'k1', 'c:x', 'device', '00000000000C', 'mapping', 'd@example.org', '', 0, 'sip:x', 2000000000, 1000,
    'c', 1, 'p/1/0/0/1', '', 11, 1) AS forget \gset
SELECT is(pg_temp.logged(), 'binding d@example.org', 'a newer binding');
SELECT bind_put('d@example.org', 'k1', 'c:x', 'device', '00000000000C', 'mapping', 'd@example.org', '', 0, 'sip:x', 2000000000, 1000,
    'c', 1, 'p/1/0/0/1', '', 11, 1) AS forget \gset
SELECT is(pg_temp.logged(), 'nothing', 'a binding that is not newer');
DELETE FROM cn_mapping WHERE cn = '00000000000C';
SELECT is(pg_temp.logged(), 'binding d@example.org, peer device/00000000000C', 'a binding that ends with its mapping');
SELECT bind_put('d@example.org', 'k1', 'c:x', 'device', '00000000000C', 'name', 'd@example.org', '', 0, 'sip:x', 2000000000, 1000,
    'c', 1, 'p/1/0/0/1', '', 9000000000000, 1) AS forget \gset
SELECT is(pg_temp.logged(), 'binding d@example.org', 'a binding that comes back');
DELETE FROM binding;
SELECT is(pg_temp.logged(), 'binding d@example.org', 'DELETE of a binding');

-- mapperd's own row is nobody's change.
SELECT mapperd_enrol('m1') AS forget \gset
UPDATE mapperd SET counter = counter + 1;
SELECT is(pg_temp.logged(), 'nothing', 'a counter is no change');

-- What a row says of its origin.
INSERT INTO cn_mapping (cn, identity) VALUES ('0000000000E1', 'other.example'), ('0000000000E2', 'other.example');
SELECT ok(bool_and(xid = pg_current_xact_id() AND system_id = (SELECT system_identifier FROM pg_control_system())
                   AND database_oid = (SELECT oid FROM pg_database WHERE datname = current_database())), 'transaction, cluster and database')
FROM change_log;
SELECT is(count(DISTINCT stamp), 1::bigint, 'one stamp a statement') FROM change_log;
INSERT INTO cn_mapping (cn, identity) VALUES ('0000000000E3', 'other.example');
SELECT is(count(DISTINCT stamp), 2::bigint, 'another statement, another stamp') FROM change_log;
SAVEPOINT s;
INSERT INTO cn_mapping (cn, identity) VALUES ('000000000004', 'other.example');
SELECT is(count(DISTINCT xid), 1::bigint, 'a savepoint has the transaction of all') FROM change_log;
ROLLBACK TO s;
SELECT is(count(*), 3::bigint, 'what is rolled back is not logged') FROM change_log;
SELECT pg_temp.logged() IS NOT NULL AS forget \gset

-- TRUNCATE.
DO $$
DECLARE
    name text;
BEGIN
    SET CONSTRAINTS ALL IMMEDIATE;
    FOREACH name IN ARRAY '{binding,rights_rule,user_group_member,cn_mapping}'::text[] LOOP
        EXECUTE format('TRUNCATE %I', name);
    END LOOP;
    TRUNCATE credential, sip_user, user_group, domain, trust_store CASCADE;
END
$$;
SELECT is(pg_temp.logged(), array_to_string(array_fill('all '::text, ARRAY[14]), ', '), 'TRUNCATE logs that everything changed');

SELECT * FROM finish();
ROLLBACK;
