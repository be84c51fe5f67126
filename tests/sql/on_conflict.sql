-- SPDX-License-Identifier: Apache-2.0
-- INSERT ... ON CONFLICT works as people expect: every spelling of a key is the same row, whether
-- nothing is to be done or an update. And the bounds that mapperd has explain themselves.
\set QUIET on
BEGIN;
SELECT no_plan();

CREATE FUNCTION pg_temp.refusal(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    state text; message text; hint text;
BEGIN
    EXECUTE statement;
    RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
    RETURN state || ' ' || message || ' HINT ' || hint;
END
$$;

INSERT INTO domain (name) VALUES ('example.org');
INSERT INTO user_group (name) VALUES ('staff');
INSERT INTO sip_user (identity) VALUES ('alice@example.org');
INSERT INTO user_group_member (group_name, identity) VALUES ('staff', 'alice@example.org');
INSERT INTO cn_mapping (cn, identity) VALUES ('0004F2000001', 'alice@example.org');
INSERT INTO device_info (cn, label) VALUES ('0004F2000001', 'a');
DELETE FROM change_log;

-- One statement each, with another spelling of the key; what it changes when there is a row.
CREATE TEMP TABLE upsert (n integer, target text, given text, on_key text, action text);
INSERT INTO upsert VALUES
    (1, 'domain (name)', $$('Example.ORG.')$$, '(name)', $$state = 'disabled'$$),
    (2, 'sip_user (identity, display_name)', $$('sip:%61lice@EXAMPLE.org', 'Alice')$$, '(identity)', 'display_name = excluded.display_name'),
    (3, 'cn_mapping (cn, identity)', $$('00:04:f2:00:00:01', 'sips:alice@example.ORG')$$, '(trust_store, cn, identity)', 'created_at = excluded.created_at'),
    (4, 'device_info (cn, label)', $$('0004-F200-0001', 'b')$$, '(trust_store, cn)', 'label = excluded.label'),
    (5, 'user_group (name, description)', $$('staff', 'x')$$, '(name)', 'description = excluded.description'),
    (6, 'user_group_member (group_name, identity)', $$('staff', 'sip:alice@example.org')$$, '(identity, group_name)', 'created_at = excluded.created_at'),
    (7, 'trust_store (name)', $$('device')$$, '(name)', $$cn_prefixes = '{SEP}'$$);

SELECT lives_ok(format('INSERT INTO %s VALUES %s ON CONFLICT DO NOTHING', target, given), target || ': DO NOTHING without a key') FROM upsert ORDER BY n;
SELECT lives_ok(format('INSERT INTO %s VALUES %s ON CONFLICT %s DO NOTHING', target, given, on_key), target || ': DO NOTHING') FROM upsert ORDER BY n;
SELECT is((SELECT count(*) FROM change_log), 0::bigint, 'what does nothing is no change');
SELECT lives_ok(format('INSERT INTO %s VALUES %s ON CONFLICT %s DO UPDATE SET %s', target, given, on_key, action), target || ': DO UPDATE') FROM upsert ORDER BY n;
SELECT is((SELECT concat_ws(' ', (SELECT count(*) FROM domain), (SELECT count(*) FROM sip_user), (SELECT count(*) FROM cn_mapping), (SELECT count(*) FROM device_info),
    (SELECT count(*) FROM user_group), (SELECT count(*) FROM user_group_member), (SELECT count(*) FROM trust_store))), '1 1 1 1 3 1 2', 'each found its row, beside the two groups that are shipped');
SELECT is((SELECT concat_ws(' ', d.state, u.display_name, i.label, g.description, s.cn_prefixes)
    FROM domain d, sip_user u, device_info i, user_group g, trust_store s WHERE s.name = 'device' AND g.name = 'staff'), 'disabled Alice b x {SEP}', 'and updated it');
SELECT is((SELECT string_agg(DISTINCT kind, ' ' ORDER BY kind) FROM change_log), 'domain group peer store user', 'each is logged');

-- One statement that has the same key twice, in two spellings.
SELECT lives_ok($$INSERT INTO cn_mapping (cn, identity) VALUES ('0004F2000002', 'b@example.org'), ('00:04:f2:00:00:02', 'sip:b@example.org') ON CONFLICT DO NOTHING$$,
    'a key twice in one statement: DO NOTHING takes the first');
SELECT is((SELECT count(*) FROM cn_mapping WHERE cn = '0004F2000002'), 1::bigint, 'once');
SELECT matches(pg_temp.refusal($$INSERT INTO cn_mapping (cn, identity) VALUES ('0004F2000003', 'b@example.org'), ('00:04:f2:00:00:03', 'b@example.org')
    ON CONFLICT (trust_store, cn, identity) DO UPDATE SET created_at = now()$$), '^21000 ON CONFLICT DO UPDATE command cannot affect row a second time', 'DO UPDATE says so');
SELECT matches(pg_temp.refusal($$INSERT INTO cn_mapping (cn, identity) VALUES ('0004', 'b@example.org') ON CONFLICT DO NOTHING$$), '^23514 "0004" is not a MAC address',
    'what is wrong is no conflict');
-- Nothing that an upsert does gives back what `disabled` took.
UPDATE device_info SET state = 'disabled';
UPDATE sip_user SET state = 'disabled' WHERE identity = 'alice@example.org';
INSERT INTO sip_user (identity) VALUES ('alice@example.org') ON CONFLICT (identity) DO UPDATE SET display_name = 'A';
INSERT INTO device_info (cn, label) VALUES ('0004F2000001', 'c') ON CONFLICT (trust_store, cn) DO UPDATE SET label = excluded.label;
SELECT is((SELECT concat_ws(' ', (SELECT string_agg(state, ',') FROM device_info), (SELECT state FROM sip_user WHERE identity = 'alice@example.org'))), 'disabled disabled',
    'an upsert leaves the state that it does not name');

-- Bounds.
INSERT INTO user_group (name) SELECT 'g' || n FROM generate_series(1, 65) n;
SELECT is(pg_temp.refusal($$INSERT INTO user_group_member (group_name, identity) SELECT name, 'b@example.org' FROM user_group WHERE name LIKE 'g_%'$$),
    '23514 user "b@example.org" would be in more than 64 groups HINT Take the user out of others first, or write a rule for its domain.', 'a user in 65 groups');
SELECT is(pg_temp.refusal($$INSERT INTO user_group_member (group_name, identity) SELECT name, 'b@example.org' FROM user_group WHERE name LIKE 'g_%' AND name <> 'g65'$$), 'accepted', 'in 64');
SELECT matches(pg_temp.refusal($$INSERT INTO user_group_member (group_name, identity) VALUES ('g65', 'b@example.org')$$), '^23514 user "b@example.org" would be in more', 'one more');
SELECT matches(pg_temp.refusal($$UPDATE user_group_member SET group_name = 'g65', identity = 'b@example.org' WHERE identity = 'alice@example.org'$$), '^23514 user "b@example.org" would', 'one more by UPDATE');
SELECT is(pg_temp.refusal($$INSERT INTO rights_rule (who_kind, who, effect) SELECT 'group', 'g1', 'deny' FROM generate_series(1, 4096)$$), 'accepted', '4096 rules of a group');
SELECT is(pg_temp.refusal($$INSERT INTO rights_rule (who_kind, who, effect) VALUES ('group', 'g1', 'deny')$$),
    '23514 group "g1" would have more than 4096 rules HINT Write fewer and wider ones: a domain or the beginning of a number in place of many targets.', 'one more');
SELECT matches(pg_temp.refusal($$INSERT INTO rights_rule (effect) SELECT 'deny' FROM generate_series(1, 4096)$$), '^23514 everyone would have more than 4096 rules', 'of everyone, with the shipped one');
SELECT is(pg_temp.refusal($$INSERT INTO rights_rule (who_kind, who, effect) VALUES ('group', 'g2', 'deny')$$), 'accepted', 'another group''s');

SELECT * FROM finish();
ROLLBACK;
