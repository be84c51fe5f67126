-- SPDX-License-Identifier: Apache-2.0
-- Devices: state, label, site and owner beside the mappings, the view that shows both, and the
-- functions that take any spelling.
\set QUIET on
BEGIN;
SELECT no_plan();

-- sqlstate, message and hint of a statement that must fail; 'accepted' when it does not.
CREATE FUNCTION pg_temp.refusal(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    state text; message text; hint text; constraint_name text;
BEGIN
    EXECUTE statement;
    SET CONSTRAINTS ALL IMMEDIATE;
    SET CONSTRAINTS ALL DEFERRED;
    RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT,
        constraint_name = CONSTRAINT_NAME;
    IF constraint_name <> '' THEN
        RETURN state || ' constraint ' || constraint_name;
    END IF;
    RETURN state || ' ' || message || ' HINT ' || hint;
END
$$;

-- A device as one line.
CREATE FUNCTION pg_temp.shown(store text, cn text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(format('%s %s %s', d.identities, d.state, concat_ws(',', d.label, d.site, d.domain)), ' | ')
    FROM device d WHERE d.trust_store = $1 AND d.cn = $2
$$;
CREATE FUNCTION pg_temp.logged() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    SELECT string_agg(kind || ' ' || array_to_string(key, '/'), ', ' ORDER BY kind COLLATE "C", key COLLATE "C") INTO result FROM change_log;
    DELETE FROM change_log;
    RETURN coalesce(result, 'nothing');
END
$$;
CREATE FUNCTION pg_temp.bind(aor text, store text, cn text, ground text) RETURNS boolean LANGUAGE sql AS $$
    SELECT bind_put(aor, store || ':' || cn, 'c:' || ground, store, cn, ground, aor, '', 0, 'sip:x', 4000000000, 1000, 'c', 1, 'p/1/0/0/1', '',
                    10 + (SELECT coalesce(max(version_ms), 0) FROM binding), 1)
$$;
CREATE FUNCTION pg_temp.bound() RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(aor || ' ' || ground, ', ' ORDER BY aor COLLATE "C", ground), 'nothing') FROM binding WHERE NOT removed
$$;

INSERT INTO domain (name) VALUES ('example.org'), ('tenant.example');
INSERT INTO trust_store (name, cn_form, cn_prefixes) VALUES ('cisco', 'mac', '{SEP}');

-- The table: any spelling in, one row a device.
INSERT INTO device_info (cn, label, site, domain) VALUES ('00:04:f2:00:00:01', ' Reception ', '', 'Tenant.Example.');
SELECT is((SELECT format('%s %s %s %s %s %s', trust_store, cn, state, label, site, domain) FROM device_info),
    'device 0004F2000001 known Reception  tenant.example', 'a row is canonical; an empty text is none');
INSERT INTO device_info (cn, label) VALUES ('0004-f200-0001', 'x') ON CONFLICT DO NOTHING;
SELECT is((SELECT label FROM device_info), 'Reception', 'another spelling is the same row to DO NOTHING');
INSERT INTO device_info (cn, label) VALUES ('0004.f200.0001', 'Hall') ON CONFLICT (trust_store, cn) DO UPDATE SET label = excluded.label;
SELECT is((SELECT string_agg(label, ',') FROM device_info), 'Hall', 'and to DO UPDATE');
SELECT is(pg_temp.refusal('INSERT INTO device_info ' || written), refusal, refusal) FROM (VALUES
    ($$(cn) VALUES ('0004.F200.0001')$$, '23505 constraint device_info_pkey'),
    ($$(cn, state) VALUES ('0004F2000009', 'enabled')$$, '23514 constraint device_info_state_must_be_known_or_disabled'),
    ($$(cn, state) VALUES ('0004F2000009', NULL)$$, '23502 null value in column "state" of relation "device_info" violates not-null constraint HINT '),
    ($$(cn, label) VALUES ('0004F2000009', E'a\nb')$$, '23514 constraint device_info_label_must_be_1_to_128_without_controls'),
    ($$(cn, label) VALUES ('0004F2000009', repeat('x', 129))$$, '23514 constraint device_info_label_must_be_1_to_128_without_controls'),
    ($$(cn, site) VALUES ('0004F2000009', E'\u0085')$$, '23514 constraint device_info_site_must_be_1_to_128_without_controls'),
    ($$(cn, domain) VALUES ('0004F2000009', 'other.example')$$, '23503 "other.example" is not one of our domains HINT Write the domain of the tenant whose device it is, or NULL for the operator.'),
    ($$(trust_store, cn) VALUES ('phones', '0004-F200-0009')$$, '23503 there is no trust store "phones" HINT Write one of: cisco, corp, device.'),
    ($$(trust_store, cn) VALUES ('phones', '0004F2000009')$$, '23503 constraint device_info_trust_store_fkey'),
    ($$(cn) VALUES ('reception')$$, '23514 "reception" is not a MAC address, and this trust store takes only those as CN HINT Write twelve hexadecimal digits, such as 0004F224A6AC or 00:04:f2:24:a6:ac; for names of another kind use a trust store with cn_form ''exact'', such as corp.')
) AS bad (written, refusal);
SELECT is(pg_temp.refusal($$DELETE FROM domain WHERE name = 'tenant.example'$$), '23503 constraint device_info_domain_fkey', 'a domain with devices stays');
SELECT is(pg_temp.refusal($$DELETE FROM trust_store WHERE name = 'device'$$), '23503 constraint device_info_trust_store_fkey', 'a trust store with devices stays');
SELECT is(pg_temp.refusal($$UPDATE trust_store SET cn_form = 'exact' WHERE name = 'device'$$),
    '23514 trust store "device" has devices, so its cn_form cannot change HINT Delete its devices first, or make another trust store.', 'and keeps its form');

SELECT is((SELECT string_agg(format('%s %s %s %s', trust_store, cn, before, after), ', ' ORDER BY id) FROM audit WHERE table_name = 'device_info'),
    'device 0004F2000001  {"label": "Reception", "state": "known", "domain": "tenant.example"}, device 0004F2000001 {"label": "Reception"} {"label": "Hall"}',
    'the audit says what was there before and after');
-- A row that is canonical is not looked at one by one; every other is.
INSERT INTO device_info (cn, label, site) VALUES ('0004F2000031', 'a', 'b'), ('0004F2000032', ' a', NULL), ('0004F2000033', NULL, ''), ('0004F2000034', '', 'b '),
    ('0004F2000035', NULL, NULL), ('0004f2000036', NULL, NULL);
SELECT is((SELECT string_agg(format('%s:%s:%s', right(cn, 2), label, site), ' ' ORDER BY cn) FROM device_info WHERE cn >= '0004F2000031'), '31:a:b 32:a: 33:: 34::b 35:: 36::', 'with the same outcome');
DELETE FROM device_info WHERE cn >= '0004F2000031';

-- The log: the state is mapperd's, label and site are not.
SELECT pg_temp.logged() IS NOT NULL AS forget \gset
INSERT INTO device_info (cn) VALUES ('0004F2000002'), ('0004F2000003');
SELECT is(pg_temp.logged(), 'peer device/0004F2000002, peer device/0004F2000003', 'INSERT of devices');
UPDATE device_info SET label = 'x', site = 'y';
SELECT is(pg_temp.logged(), 'nothing', 'a label is no change of permission');
UPDATE device_info SET state = CASE cn WHEN '0004F2000002' THEN 'disabled' ELSE state END, label = NULL;
SELECT is(pg_temp.logged(), 'peer device/0004F2000002', 'UPDATE of a state: the device alone whose state changed');
UPDATE device_info SET cn = '0004F2000004' WHERE cn = '0004F2000003';
SELECT is(pg_temp.logged(), 'peer device/0004F2000003, peer device/0004F2000004', 'UPDATE of a CN logs both');
DELETE FROM device_info WHERE cn = '0004F2000004';
SELECT is(pg_temp.logged(), 'peer device/0004F2000004', 'DELETE of a device');
DELETE FROM device_info WHERE false;
SELECT is(pg_temp.logged(), 'nothing', 'statements that touch no row');

-- No delete gives back what disabled took.
SELECT is(pg_temp.refusal($$DELETE FROM device_info WHERE cn = '0004F2000002'$$),
    '23514 device "0004F2000002" of trust store "device" is disabled and cannot be deleted or renamed: its certificate could be accepted again '
    'HINT SELECT retire_device(''0004F2000002'', ''device'') takes its identities and leaves it disabled; or set state to known first.', 'a disabled device stays');
SELECT matches(pg_temp.refusal($$UPDATE device_info SET cn = '0004F2000009' WHERE cn = '0004F2000002'$$), '^23514 device "0004F2000002" of trust store "device" is disabled',
    'a disabled device keeps its name');
SELECT matches(pg_temp.refusal($$UPDATE device_info SET trust_store = 'cisco' WHERE cn = '0004F2000002'$$), '^23514 ', 'and its store');
SELECT is(pg_temp.refusal($$UPDATE device_info SET cn = '00:04:f2:00:00:02' WHERE cn = '0004F2000002'$$), 'accepted', 'another spelling is its name');
SELECT matches(pg_temp.refusal($$UPDATE device_info SET cn = '0004F2000009', state = 'known' WHERE cn = '0004F2000002'$$), '^23514 ', 'not even in one statement with its state');
INSERT INTO device_info (trust_store, cn, state) VALUES ('cisco', 'SEP0004f2000002', 'disabled');
SELECT is(pg_temp.refusal($$UPDATE trust_store SET cn_prefixes = '{}' WHERE name = 'cisco'$$),
    '23514 trust store "cisco" has disabled devices, so the prefixes that it has stay HINT Write new prefixes behind those that are there.',
    'prefixes by which a disabled device is recognised stay');
SELECT matches(pg_temp.refusal($$UPDATE trust_store SET cn_prefixes = '{S,SEP}' WHERE name = 'cisco'$$), '^23514 ', 'none is put before them');
SELECT is(pg_temp.refusal($$UPDATE trust_store SET cn_prefixes = '{SEP,ATA}' WHERE name = 'cisco'$$), 'accepted', 'others may follow them');
SELECT matches(pg_temp.refusal($$DELETE FROM trust_store WHERE name = 'cisco'$$), '^23503 constraint device_info_trust_store_fkey', 'its store stays');

-- Bindings end with the state, whatever they stand on, and those of other devices stay.
INSERT INTO cn_mapping (cn, identity) VALUES ('0004F2000005', 'a@example.org'), ('0004F2000006', 'b@example.org');
SELECT pg_temp.bind('a@example.org', 'device', '0004F2000005', 'mapping') AND pg_temp.bind('n@example.org', 'device', '0004F2000005', 'name')
    AND pg_temp.bind('b@example.org', 'device', '0004F2000006', 'mapping') AND pg_temp.bind('c@example.org', 'cisco', '0004F2000005', 'name') AS forget \gset
INSERT INTO device_info (cn) VALUES ('0004F2000005'), ('0004F2000006');
SELECT is(pg_temp.bound(), 'a@example.org mapping, b@example.org mapping, c@example.org name, n@example.org name', 'a row alone ends nothing');
UPDATE device_info SET state = 'disabled' WHERE cn = '0004F2000005';
SELECT is(pg_temp.bound(), 'b@example.org mapping, c@example.org name', 'F25: disabling a device ends its bindings, by mapping and by name');
INSERT INTO device_info (trust_store, cn, state) VALUES ('cisco', '0004F2000005', 'disabled');
SELECT is(pg_temp.bound(), 'b@example.org mapping', 'also when its row is new');
INSERT INTO device_info (cn, state) VALUES ('0004F2000006', 'disabled') ON CONFLICT (trust_store, cn) DO UPDATE SET state = excluded.state;
SELECT is(pg_temp.bound(), 'nothing', 'also by an upsert');
SELECT ok(bool_and(version_ms >= 10 AND version_by = 0), 'each by a tombstone of the database''s') FROM binding;
UPDATE device_info SET state = 'known' WHERE state = 'disabled';
SELECT is(pg_temp.bound(), 'nothing', 'enabling brings no registration back');

-- The view.
DELETE FROM device_info;
DELETE FROM cn_mapping;
SELECT pg_temp.logged() IS NOT NULL AS forget \gset
INSERT INTO device (cn, identities) VALUES ('00:04:f2:00:00:01', '{sip:Zoe@EXAMPLE.org,example.org,Zoe@example.org}');
SELECT is(pg_temp.shown('device', '0004F2000001'), '{Zoe@example.org,example.org} known ', 'INSERT: canonical, each identity once');
SELECT is((SELECT count(*) FROM device_info), 0::bigint, 'a mapping alone suffices');
SELECT is(pg_temp.logged(), 'peer device/0004F2000001, user Zoe@example.org', 'INSERT into the view is logged once');
INSERT INTO device (trust_store, cn, identities, label, site, domain) VALUES ('corp', 'Big Box', '{b@example.org}', 'Box', 'Cellar', 'tenant.example');
SELECT is(pg_temp.shown('corp', 'Big Box'), '{b@example.org} known Box,Cellar,tenant.example', 'with label, site and owner');
INSERT INTO device (cn) VALUES ('0004F2000002');
SELECT is(pg_temp.shown('device', '0004F2000002'), '{} known ', 'a device in stock has no identity');
INSERT INTO device (cn, state) VALUES ('0004F2000003', 'disabled');
SELECT is(pg_temp.shown('device', '0004F2000003'), '{} disabled ', 'a device can be disabled before it has anything');
INSERT INTO cn_mapping (cn, identity) VALUES ('0004F2000003', 'c@example.org');
SELECT is(pg_temp.shown('device', '0004F2000003'), '{c@example.org} disabled ', 'a mapping gives nothing back');
SELECT is((SELECT string_agg(cn, ',' ORDER BY cn) FROM device), '0004F2000001,0004F2000002,0004F2000003,Big Box', 'one row a device of either table');

SELECT is(pg_temp.refusal('INSERT INTO device ' || written), refusal, refusal) FROM (VALUES
    ($$(cn, identities) VALUES ('0004-f200-0001', '{x@example.org}')$$, '23505 device "0004F2000001" of trust store "device" is there already HINT UPDATE device SET ... WHERE trust_store = ''device'' AND cn = ''0004F2000001''. To add an identity, insert into cn_mapping.'),
    ($$(cn, identities) VALUES ('0004F2000002', '{x@example.org}')$$, '23505 device "0004F2000002" of trust store "device" is there already HINT UPDATE device SET ... WHERE trust_store = ''device'' AND cn = ''0004F2000002''. To add an identity, insert into cn_mapping.'),
    ($$(cn, identities) VALUES ('0004F2000009', NULL)$$, '22004 identities of device "0004F2000009" are NULL HINT Write all of them, such as ''{alice@example.org,example.net}'', or ''{}'' for none.'),
    ($$(cn, identities) VALUES ('0004F2000009', '{a@example.org,NULL}')$$, '22004 identities of device "0004F2000009" have a NULL among them HINT Write all of them, such as ''{alice@example.org,example.net}'', or ''{}'' for none.'),
    ($$(cn, identities) VALUES (NULL, '{a@example.org}')$$, '22004 no device is named HINT Write trust_store and cn.'),
    ($$(cn, identities) VALUES ('0004', '{a@example.org}')$$, '23514 "0004" is not a MAC address, and this trust store takes only those as CN HINT Write twelve hexadecimal digits, such as 0004F224A6AC or 00:04:f2:24:a6:ac; for names of another kind use a trust store with cn_form ''exact'', such as corp.'),
    ($$(cn, identities) VALUES ('0004F2000009', '{alice}')$$, '23514 identity "alice" has no domain HINT Write user@domain: alice@example.org. A whole domain of one word must be in table domain first.'),
    ($$(cn, identities, state) VALUES ('0004F2000009', '{a@example.org}', 'off')$$, '23514 constraint device_info_state_must_be_known_or_disabled'),
    ($$(trust_store, cn) VALUES ('phones', '0004F2000009')$$, 'P0002 there is no trust store "phones" HINT Write one of: cisco, corp, device.')
) AS bad (written, refusal);
SELECT is(pg_temp.shown('device', '0004F2000009'), NULL, 'what is refused leaves nothing');

SELECT pg_temp.logged() IS NOT NULL AS forget \gset
UPDATE device SET identities = '{d@example.org,sip:zoe@example.org}' WHERE cn = device_cn('00-04-F2-00-00-01');
SELECT is(pg_temp.shown('device', '0004F2000001'), '{d@example.org,zoe@example.org} known ', 'UPDATE replaces the set of identities');
UPDATE device SET identities = array_append(identities, 'example.org') WHERE trust_store = 'device' AND cn = '0004F2000001';
SELECT is(pg_temp.shown('device', '0004F2000001'), '{d@example.org,example.org,zoe@example.org} known ', 'one more');
SELECT pg_temp.logged() IS NOT NULL AS forget \gset
UPDATE device SET label = 'Desk', site = 'Bern' WHERE trust_store = 'device' AND cn = '0004F2000001';
SELECT is(pg_temp.shown('device', '0004F2000001'), '{d@example.org,example.org,zoe@example.org} known Desk,Bern', 'UPDATE of the label makes the row');
SELECT is(pg_temp.logged(), 'peer device/0004F2000001', 'and touches no mapping');
UPDATE device SET label = NULL, state = 'disabled' WHERE trust_store = 'device' AND cn = '0004F2000001';
SELECT is(pg_temp.shown('device', '0004F2000001'), '{d@example.org,example.org,zoe@example.org} disabled Bern', 'UPDATE of the state');
UPDATE device SET identities = '{}' WHERE trust_store = 'corp';
SELECT is(pg_temp.shown('corp', 'Big Box'), '{} known Box,Cellar,tenant.example', 'no identity is left');
UPDATE device SET cn = '0004f2:00:00:02' WHERE cn = '0004F2000002';
SELECT is(pg_temp.shown('device', '0004F2000002'), '{} known ', 'another spelling of its name is no other device');
SELECT is(pg_temp.refusal($$UPDATE device SET cn = '0004F2000009' WHERE trust_store = 'device' AND cn = '0004F2000001'$$),
    '0A000 device "0004F2000001" cannot become another one by UPDATE HINT SELECT replace_device(''0004F2000001'', ''0004F2000009'', ''device'', ''device'') moves all that it has.',
    'a device is not renamed by the way');
SELECT matches(pg_temp.refusal($$UPDATE device SET identities = NULL$$), '^22004 identities of device', 'UPDATE to NULL');

SELECT matches(pg_temp.refusal($$DELETE FROM device WHERE trust_store = 'device' AND cn = '0004F2000001'$$),
    '^23514 device "0004F2000001" of trust store "device" is disabled and cannot be deleted.*HINT SELECT retire_device', 'a disabled device is not deleted through the view');
SELECT is(pg_temp.shown('device', '0004F2000001'), '{d@example.org,example.org,zoe@example.org} disabled Bern', 'and has lost nothing');
UPDATE device SET state = 'known' WHERE trust_store = 'device' AND cn = '0004F2000001';
DELETE FROM device WHERE trust_store = 'device' AND cn = device_cn('0004.f200.0001');
SELECT is(pg_temp.shown('device', '0004F2000001'), NULL, 'DELETE takes all');
SELECT is((SELECT count(*) FROM cn_mapping WHERE cn = '0004F2000001') + (SELECT count(*) FROM device_info WHERE cn = '0004F2000001'), 0::bigint, 'of both tables');
SELECT isnt((SELECT identity FROM sip_user WHERE identity = 'd@example.org'), NULL, 'users stay');
SELECT is(pg_temp.refusal($$INSERT INTO device (cn, identities) VALUES ('0004F2000001', '{a@example.org}') ON CONFLICT (trust_store, cn) DO NOTHING$$),
    '42P10 there is no unique or exclusion constraint matching the ON CONFLICT specification HINT ', 'a view has no keys: ON CONFLICT is the tables''');
INSERT INTO device (cn, identities) SELECT lpad(to_hex(n), 12, '0'), ARRAY['u' || n || '@example.org'] FROM generate_series(1, 300) n;
SELECT is((SELECT count(*) FROM device WHERE cn < '000000001000'), 300::bigint, 'many at once');
DELETE FROM device WHERE cn < '000000001000';
SELECT is((SELECT count(*) FROM cn_mapping WHERE cn < '000000001000'), 0::bigint, 'gone at once');

-- By key the view reads ranges of indexes alone, whatever is in the tables.
CREATE FUNCTION pg_temp.plan(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    line text; lines text := '';
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || statement LOOP
        lines := lines || line || E'\n';
    END LOOP;
    RETURN lines;
END
$$;
SET LOCAL enable_seqscan = off;
SELECT is((SELECT count(*) FROM regexp_matches(pg_temp.plan($$SELECT * FROM device WHERE trust_store = 'device' AND cn = '0004F2000001'$$),
    'Index Cond: \(\(trust_store = ''device''::text( COLLATE "C")?\) AND \(cn = ''0004F2000001''::text( COLLATE "C")?\)\)', 'g')), 6::bigint,
    'a device is found by the keys of its three tables');
RESET enable_seqscan;

-- retire_device.
INSERT INTO device (cn, identities, label) VALUES ('0004F2000011', '{r@example.org,s@example.org}', 'Old'), ('0004F2000012', '{r@example.org}', NULL), ('0004F2000013', '{}', 'Stock');
SELECT is(retire_device('00:04:f2:00:00:11'), 2::bigint, 'retire_device says how many mappings went');
SELECT is(pg_temp.shown('device', '0004F2000011'), NULL, 'its label goes too');
SELECT is(retire_device('0004F2000013'), 0::bigint, 'a device without mapping');
SELECT is(pg_temp.shown('device', '0004F2000013'), NULL, 'is gone as well');
UPDATE device SET state = 'disabled' WHERE cn = '0004F2000012';
SELECT is(retire_device('0004F2000012'), 1::bigint, 'a disabled device is retired');
SELECT is(pg_temp.shown('device', '0004F2000012'), '{} disabled ', 'and stays disabled');
SELECT matches(pg_temp.refusal($$SELECT retire_device('0004F2000012')$$), '^P0002 device "0004F2000012" of trust store "device" has no mapping HINT ', 'a second time there is nothing to take');

-- replace_device.
INSERT INTO device (cn, identities, label, site, domain) VALUES ('0004F2000021', '{e@example.org,example.org}', 'Desk', 'Bern', 'tenant.example');
SELECT pg_temp.bind('e@example.org', 'device', '0004F2000021', 'mapping') AS forget, pg_temp.logged() IS NOT NULL AS forget2 \gset
SELECT is(replace_device('00:04:f2:00:00:21', '00-04-F2-00-00-22'), 2::bigint, 'replace_device takes any spelling and says how many mappings moved');
SELECT is(pg_temp.shown('device', '0004F2000022'), '{e@example.org,example.org} known Desk,Bern,tenant.example', 'all is the new one''s');
SELECT is(pg_temp.shown('device', '0004F2000021'), NULL, 'the old one has nothing');
SELECT is(pg_temp.bound(), 'nothing', 'its registrations have ended');
SELECT is(pg_temp.logged(), 'binding e@example.org, peer device/0004F2000021, peer device/0004F2000021, peer device/0004F2000022, peer device/0004F2000022', 'both are logged');
SELECT matches(pg_temp.refusal($$SELECT replace_device('0004F2000021', '0004F2000023')$$), '^P0002 device "0004F2000021" of trust store "device" has no mapping HINT ', 'an old one that has nothing');
INSERT INTO device (cn, identities) VALUES ('0004F2000024', '{f@example.org}');
SELECT is(pg_temp.refusal($$SELECT replace_device('0004F2000022', '0004F2000024')$$),
    '23505 device "0004F2000024" of trust store "device" has mappings already HINT It is somebody''s phone. If not: SELECT retire_device(''0004F2000024'', ''device''), then again.',
    'a new one that is somebody''s');
SELECT is(pg_temp.shown('device', '0004F2000022'), '{e@example.org,example.org} known Desk,Bern,tenant.example', 'nothing has moved');
INSERT INTO device (cn, label, site) VALUES ('0004F2000025', 'Spare 5', 'Stock');
UPDATE device SET site = NULL WHERE cn = '0004F2000022';
SELECT is(replace_device('0004F2000022', '0004F2000025'), 2::bigint, 'a new one from stock');
SELECT is(pg_temp.shown('device', '0004F2000025'), '{e@example.org,example.org} known Desk,Stock,tenant.example', 'takes over what the old one says');
SELECT is(replace_device('0004F2000025', 'SEP0004F2000025', 'device', 'cisco'), 2::bigint, 'from one trust store to another');
SELECT is(pg_temp.shown('cisco', '0004F2000025'), '{e@example.org,example.org} known Desk,Stock,tenant.example', 'the same MAC address is another device there');
SELECT is(replace_device('0004F2000024', '0004F2000026'), 1::bigint, 'a device that is a mapping alone');
SELECT is(pg_temp.shown('device', '0004F2000026'), '{f@example.org} known ', 'stays one');
SELECT matches(pg_temp.refusal(statement), '^' || state, statement) FROM (VALUES
    ($$SELECT replace_device('0004F2000026', '00:04:f2:00:00:26')$$, '22023 "0004F2000026" and "00:04:f2:00:00:26" are one device'),
    ($$SELECT replace_device(NULL, '0004F2000026')$$, '22004 no device is named'),
    ($$SELECT replace_device('0004F2000026', NULL)$$, '22004 no device is named'),
    ($$SELECT replace_device('0004F2000026', 'x')$$, '23514 "x" is not a MAC address'),
    ($$SELECT replace_device('0004F2000026', '0004F2000027', 'phones')$$, 'P0002 there is no trust store "phones"')
) v (statement, state);

-- Replacing gives nothing back that `disabled` took.
UPDATE device SET state = 'disabled', label = 'Stolen' WHERE cn = '0004F2000026';
SELECT is(replace_device('0004F2000026', '0004F2000027'), 1::bigint, 'a disabled device can be replaced');
SELECT is(pg_temp.shown('device', '0004F2000026'), '{} disabled ', 'it stays disabled');
SELECT is(pg_temp.shown('device', '0004F2000027'), '{f@example.org} disabled Stolen', 'and so does what takes its place');
SELECT matches(pg_temp.refusal($$SELECT replace_device('0004F2000026', '0004F2000028')$$), '^P0002 ', 'a second time there is nothing to move');
INSERT INTO device (cn, identities) VALUES ('0004F2000029', '{g@example.org}');
SELECT is(pg_temp.refusal($$SELECT replace_device('0004F2000029', '0004F2000026')$$),
    '23514 device "0004F2000026" of trust store "device" is disabled HINT Set its state to known first, if it may take the place of another.', 'a disabled device takes no place');

SELECT * FROM finish();
ROLLBACK;
