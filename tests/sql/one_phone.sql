-- SPDX-License-Identifier: Apache-2.0
-- A statement of one row goes a shorter way than one of several: both do the same.
\set QUIET on
BEGIN;
SELECT no_plan();
SET LOCAL holdline.notify = off;

CREATE FUNCTION pg_temp.refusal(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    state text; message text; named text;
BEGIN
    EXECUTE statement;
    RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, named = CONSTRAINT_NAME;
    RETURN state || ' ' || message || ' ' || named;
END
$$;

INSERT INTO domain (name) VALUES ('example.org');
INSERT INTO unmapped_device (trust_store, cn, first_seen, last_seen, count, from_tried, address, reason)
SELECT 'device', '0004FA0000' || n, now(), now(), 1, '', '192.0.2.1', 'no-mapping' FROM generate_series(11, 19) n;

-- What a statement left behind, its numbers made comparable.
CREATE FUNCTION pg_temp.left_behind() RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY
    SELECT 'log ' || kind || ' ' || translate(key::text, '12', 'NN') FROM change_log
    UNION ALL
    SELECT concat_ws('|', 'audit', table_name, operation, trust_store, translate(cn, '12', 'NN'), translate(identity, '12', 'NN'),
                     domain, name, before, after, who, role, application) FROM audit
    UNION ALL
    SELECT concat_ws('|', 'user', translate(identity, '12', 'NN'), domain, state) FROM sip_user
    UNION ALL
    SELECT concat_ws('|', 'mapping', trust_store, translate(cn, '12', 'NN'), translate(identity, '12', 'NN'), translate(user_identity, '12', 'NN'))
    FROM cn_mapping
    UNION ALL
    SELECT 'unmapped ' || (SELECT count(*) FROM unmapped_device WHERE cn IN ('0004FA000011', '0004FA000012'))
    ORDER BY 1;
    DELETE FROM cn_mapping;
    DELETE FROM sip_user;
    DELETE FROM change_log;
    DELETE FROM audit;
END
$$;

SELECT count(*) FROM pg_temp.left_behind() \gset
-- Two users of two phones, by one statement and by two.
INSERT INTO cn_mapping (cn, identity) VALUES ('00:04:fa:00:00:11', 'user1@example.org'), ('0004FA000012', 'user2@EXAMPLE.org');
CREATE TEMP TABLE together AS SELECT * FROM pg_temp.left_behind() l (line);
INSERT INTO unmapped_device (trust_store, cn, first_seen, last_seen, count, from_tried, address, reason)
SELECT 'device', '0004FA0000' || n, now(), now(), 1, '', '192.0.2.1', 'no-mapping' FROM generate_series(11, 12) n;
INSERT INTO cn_mapping (cn, identity) VALUES ('00:04:fa:00:00:11', 'user1@example.org');
INSERT INTO cn_mapping (cn, identity) VALUES ('0004FA000012', 'user2@EXAMPLE.org');
CREATE TEMP TABLE apart AS SELECT * FROM pg_temp.left_behind() l (line);
SELECT results_eq('SELECT line FROM apart', 'SELECT line FROM together', 'mappings by one statement and by two leave the same');
SELECT set_eq('SELECT DISTINCT line FROM together', ARRAY[
    'audit|cn_mapping|insert|device|0004FA0000NN|userN@example.org|{}|' || session_user || '|none|' || current_setting('application_name'),
    'audit|sip_user|insert|userN@example.org|{"state": "enabled"}|' || session_user || '|none|' || current_setting('application_name'),
    'log peer {device,0004FA0000NN}', 'log user {userN@example.org}', 'mapping|device|0004FA0000NN|userN@example.org|userN@example.org',
    'user|userN@example.org|example.org|enabled', 'unmapped 0'], 'and what they must');

-- Users, of whom mappings are older than their domain's day with us.
CREATE FUNCTION pg_temp.older() RETURNS void LANGUAGE sql AS $$
    INSERT INTO cn_mapping (trust_store, cn, identity) VALUES ('corp', 'x1', 'user1@late.example.org'), ('corp', 'x2', 'user2@late.example.org');
    INSERT INTO domain (name) VALUES ('late.example.org');
    DELETE FROM audit;
    DELETE FROM change_log;
$$;
SELECT pg_temp.older() \gset
INSERT INTO sip_user (identity, display_name) VALUES ('user1@late.example.org', 'x'), ('user2@late.example.org', 'x');
TRUNCATE together;
INSERT INTO together SELECT * FROM pg_temp.left_behind();
DELETE FROM domain WHERE name = 'late.example.org';
SELECT pg_temp.older() \gset
INSERT INTO sip_user (identity, display_name) VALUES ('user1@late.example.org', 'x');
INSERT INTO sip_user (identity, display_name) VALUES ('user2@late.example.org', 'x');
TRUNCATE apart;
INSERT INTO apart SELECT * FROM pg_temp.left_behind();
SELECT results_eq('SELECT line FROM apart', 'SELECT line FROM together', 'users by one statement and by two leave the same');
SELECT ok(EXISTS (SELECT FROM together WHERE line = 'mapping|corp|xN|userN@late.example.org|userN@late.example.org'), 'older mappings are linked');
SELECT ok(EXISTS (SELECT FROM together WHERE line LIKE 'audit|sip_user|insert|userN@late.example.org|{"state": "enabled", "display_name": "x"}|%'),
    'the audit has what the users hold');

-- One device with two identities in one statement is one row of the log; a user that is there is not made.
INSERT INTO sip_user (identity) VALUES ('user1@example.org');
DELETE FROM change_log;
INSERT INTO cn_mapping (cn, identity) VALUES ('0004FA000011', 'user1@example.org'), ('0004FA000011', 'example.org');
SELECT results_eq($$SELECT kind || key::text FROM change_log$$, ARRAY['peer{device,0004FA000011}'], 'each key stands once in the log');
DELETE FROM change_log;
INSERT INTO cn_mapping (cn, identity) VALUES ('0004FA000013', 'user1@example.org');
SELECT results_eq($$SELECT kind || key::text FROM change_log$$, ARRAY['peer{device,0004FA000013}'], 'no user is told of who was there');
DELETE FROM change_log;
INSERT INTO cn_mapping (cn, identity) VALUES ('0004FA000013', 'user1@example.org') ON CONFLICT DO NOTHING;
INSERT INTO cn_mapping (cn, identity) SELECT '0004FA000014', 'user1@example.org' WHERE false;
INSERT INTO sip_user (identity) VALUES ('user1@example.org') ON CONFLICT DO NOTHING;
SELECT is_empty('SELECT * FROM change_log', 'a statement that changes nothing logs nothing');

-- Rows that spare the row trigger by giving user_identity are checked by the statement's all the same.
SELECT is(pg_temp.refusal(format($$INSERT INTO cn_mapping (trust_store, cn, identity, user_identity) VALUES %s$$, rows)),
    '23503 there is no trust store "none" cn_mapping_trust_store_must_exist', format('a store that is not there, %s', what))
FROM (VALUES ('one row', $$('none', '0004FA000015', 'a@example.org', 'a@example.org')$$),
             ('two rows', $$('none', '0004FA000015', 'a@example.org', 'a@example.org'), ('device', '0004FA000015', 'a@example.org', 'a@example.org')$$)) v (what, rows);
SELECT is(pg_temp.refusal(format($$INSERT INTO cn_mapping (cn, identity, user_identity) VALUES %s$$, rows)),
    '23503 "none.example.org" is not one of our domains sip_user_domain_must_be_ours', format('a domain that is not there, %s', what))
FROM (VALUES ('one row', $$('0004FA000015', 'a@none.example.org', 'a@none.example.org')$$),
             ('two rows', $$('0004FA000015', 'a@none.example.org', 'a@none.example.org'), ('0004FA000015', 'a@example.org', 'a@example.org')$$)) v (what, rows);
-- Such a row is looked at when it is not canonical, or says two things.
INSERT INTO cn_mapping (cn, identity, user_identity) VALUES ('00-04-fa-00-00-16', 'sip:a@EXAMPLE.org', 'sip:a@EXAMPLE.org'),
    ('0004FA000017', 'a@example.org', 'b@example.org');
SELECT set_eq($$SELECT concat_ws(' ', cn, identity, user_identity) FROM cn_mapping WHERE cn IN ('0004FA000016', '0004FA000017')$$,
    ARRAY['0004FA000016 a@example.org a@example.org', '0004FA000017 a@example.org a@example.org'], 'it becomes canonical');

-- A statement of many looks up its own users, however many others there are.
CREATE FUNCTION pg_temp.users_read() RETURNS bigint LANGUAGE sql AS $$
    SELECT pg_stat_get_xact_tuples_returned('sip_user'::regclass) + pg_stat_get_xact_tuples_returned('sip_user_pkey'::regclass) $$;
INSERT INTO sip_user (identity) SELECT 'there' || n || '@example.org' FROM generate_series(1, 5000) n;
SELECT pg_temp.users_read() AS before, count(*) AS users FROM sip_user \gset
INSERT INTO cn_mapping (cn, identity)
SELECT lpad(n::text, 12, '0'), CASE WHEN n > 1900 THEN 'there' ELSE 'many' END || n || '@example.org' FROM generate_series(1, 2000) n;
SELECT is(pg_temp.users_read() - :before, 100::bigint, 'those that are there are read, and no others');
SELECT is(count(*) - :users, 1900::bigint, 'those that are absent are made') FROM sip_user;

-- Each statement has a stamp of its own, and this cluster's and database's numbers.
DELETE FROM change_log;
INSERT INTO cn_mapping (cn, identity) VALUES ('0004FA000018', 'new@example.org');
INSERT INTO domain (name) VALUES ('other.example.org');
SELECT is(count(DISTINCT stamp), 3::bigint, 'a stamp for each statement') FROM change_log;
SELECT ok(bool_and(system_id = (SELECT system_identifier FROM pg_control_system())
                   AND database_oid = (SELECT oid FROM pg_database WHERE datname = current_database())), 'rows say where they are from')
FROM change_log;

SELECT * FROM finish();
ROLLBACK;
