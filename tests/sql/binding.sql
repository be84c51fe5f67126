-- SPDX-License-Identifier: Apache-2.0
-- The version alone decides between two writers of a binding; the loss of a mapping or user leaves
-- tombstones.
\set QUIET on
BEGIN;
SELECT no_plan();

CREATE FUNCTION pg_temp.put(aor text, cn text, version_ms bigint, version_by integer DEFAULT 1, ground text DEFAULT 'mapping',
    contact text DEFAULT 'sip:x', removed boolean DEFAULT false) RETURNS boolean LANGUAGE sql AS $$
    SELECT bind_put(aor, 'device:' || cn, 'c:' || contact, 'device', cn, ground, aor, '', 0, contact, 4000000000, 1000, 'call', 1,
                    'p/1/0/0/1', '', version_ms, version_by, removed)
$$;
CREATE FUNCTION pg_temp.living() RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(aor || ' ' || cn || ' ' || ground, ', ' ORDER BY aor, cn, ground), 'none') FROM binding WHERE NOT removed
$$;

SELECT ok(pg_temp.put('a@example.org', '1', 100, 5), 'the first is stored');
SELECT ok(NOT pg_temp.put('a@example.org', '1', 100, 5), 'the same version again changes nothing');
SELECT ok(NOT pg_temp.put('a@example.org', '1', 99, 9), 'an older one changes nothing');
SELECT ok(NOT pg_temp.put('a@example.org', '1', 100, 4), 'of one moment the lower writer changes nothing');
SELECT ok(pg_temp.put('a@example.org', '1', 100, 6), 'of one moment the higher writer replaces');
SELECT ok(pg_temp.put('a@example.org', '1', 101, 1), 'a newer one replaces');
SELECT is((SELECT expires_at FROM binding), to_timestamp(4000000000), 'expiry in seconds since 1970');
SELECT ok(pg_temp.put('a@example.org', '1', 102, 1, removed => true), 'a tombstone is a version like others');
SELECT ok(NOT pg_temp.put('a@example.org', '1', 101, 9), 'an older binding does not revive');
SELECT is(pg_temp.living(), 'none', 'the tombstone stands');
SELECT ok(pg_temp.put('a@example.org', '1', 103, 1), 'a newer one does');
SELECT ok(pg_temp.put('a@example.org', '1', 5, 1, contact => 'sip:y'), 'another Contact is another binding');
SELECT ok(pg_temp.put('a@example.org', '2', 5, 1), 'another device is another binding');
SELECT ok(pg_temp.put('gone@example.org', '2', 5, 1, removed => true), 'a tombstone needs no binding before it');
SELECT throws_ok($$UPDATE binding SET contact = 'sip:z' WHERE cn = '2' AND NOT removed$$, '23514',
    'version 5/1 does not replace 5/1 of the same binding', 'an update that does not raise the version is refused');
SELECT lives_ok($$UPDATE binding SET contact = 'sip:z', version_ms = version_ms + 1 WHERE cn = '2' AND NOT removed$$, 'one that does is not');

SELECT is(bind_remove('a@example.org', 'device:1', 103, 1), 1::bigint, 'bind_remove takes what is older, not what is as new');
SELECT is(bind_remove('a@example.org', 'device:1', 103, 2), 1::bigint, 'and the rest with a higher version');
SELECT is(bind_remove('a@example.org', 'device:1', 200, 1), 0::bigint, 'a tombstone is not removed again');
SELECT is(pg_temp.living(), 'a@example.org 2 mapping', 'another device is not touched');
SELECT is(bind_remove('a@example.org', NULL, 300, 1), 1::bigint, 'without a device all are meant');
TRUNCATE binding;

-- Bounds.
SELECT pg_temp.put('a@example.org', '1', 1) AS forget \gset
SELECT throws_ok(format('UPDATE binding SET version_ms = version_ms + 1, %I = %L', field, value), '23514', NULL, field || ' is bounded')
FROM (VALUES
    ('aor', ''), ('aor', repeat('a', 255)), ('device_key', ''), ('device_key', repeat('d', 301)), ('instance_key', 'x:y'),
    ('instance_key', 'c:' || repeat('x', 1099)), ('store', repeat('s', 33)), ('cn', repeat('c', 193)), ('ground', 'none'), ('ground', ''),
    ('entry', repeat('e', 255)), ('instance', repeat('i', 513)), ('reg_id', '-1'), ('contact', ''), ('contact', repeat('c', 2049)),
    ('q', '-1'), ('q', '1001'), ('call_id', ''), ('call_id', repeat('c', 513)), ('cseq', '-1'), ('cseq', '4294967296'),
    ('flow', repeat('f', 129)), ('path', repeat('p', 2049)), ('version_by', '-1')) AS bad (field, value);
SELECT ok(bind_put(repeat('a', 254), repeat('d', 300), 'i:' || repeat('x', 1098), '', '', 'digest', repeat('e', 254), repeat('i', 512), 2147483647,
    repeat('c', 2048), 1, 0, repeat('c', 512), 4294967295, repeat('f', 128), repeat('p', 2048), 1, 1), 'the largest of all fits');
TRUNCATE binding;

-- Loss of what grounds a binding.
INSERT INTO domain (name) VALUES ('example.org');
INSERT INTO cn_mapping (cn, identity) VALUES ('000000000001', 'a@example.org'), ('000000000001', 'b@example.org'),
    ('000000000002', 'a@example.org'), ('000000000003', 'a@example.org'), ('000000000003', 'example.org'), ('000000000004', 'example.org');
SELECT bool_and(pg_temp.put(identity, cn, 7)) AS forget FROM cn_mapping WHERE strpos(identity, '@') > 0 \gset
SELECT pg_temp.put('a@example.org', '000000000004', 9000000000000) AS forget, pg_temp.put('a@example.org', '000000000001', 7, 1, 'name', 'sip:n') AS more \gset
SELECT is(pg_temp.living(), 'a@example.org 000000000001 mapping, a@example.org 000000000001 name, a@example.org 000000000002 mapping, '
    'a@example.org 000000000003 mapping, a@example.org 000000000004 mapping, b@example.org 000000000001 mapping', 'six are there');
DELETE FROM cn_mapping WHERE cn = '000000000001' AND identity = 'a@example.org';
SELECT is(pg_temp.living(), 'a@example.org 000000000001 name, a@example.org 000000000002 mapping, '
    'a@example.org 000000000003 mapping, a@example.org 000000000004 mapping, b@example.org 000000000001 mapping',
    'a lost mapping ends that user''s binding of that device on that ground');
SELECT ok(removed AND version_by = 0 AND version_ms BETWEEN extract(epoch FROM now()) * 1000 AND extract(epoch FROM clock_timestamp()) * 1000,
    'as a tombstone with a version of now') FROM binding WHERE aor = 'a@example.org' AND cn = '000000000001' AND ground = 'mapping';
DELETE FROM cn_mapping WHERE cn = '000000000003' AND identity = 'a@example.org';
SELECT matches(pg_temp.living(), '000000000003', 'what the whole domain still covers stays');
DELETE FROM cn_mapping WHERE cn IN ('000000000003', '000000000004') AND identity = 'example.org';
SELECT doesnt_match(pg_temp.living(), '00000000000[34]', 'and ends with the domain''s mapping');
SELECT is((SELECT version_ms FROM binding WHERE cn = '000000000004'), 9000000000001, 'a version ahead of our clock is raised all the same');
UPDATE cn_mapping SET cn = '000000000005' WHERE cn = '000000000002';
SELECT is(pg_temp.living(), 'a@example.org 000000000001 name, b@example.org 000000000001 mapping', 'a mapping that moved to another device');
UPDATE cn_mapping SET created_at = now();
SELECT is(pg_temp.living(), 'a@example.org 000000000001 name, b@example.org 000000000001 mapping', 'an update that takes nothing ends nothing');
SELECT pg_temp.put('a@example.org', '000000000005', 8) AS forget \gset
SELECT retire_device('00:00:00:00:00:05') AS forget \gset
SELECT doesnt_match(pg_temp.living(), '000000000005', 'retire_device ends its bindings');

UPDATE sip_user SET state = 'disabled' WHERE identity = 'a@example.org';
SELECT is(pg_temp.living(), 'b@example.org 000000000001 mapping', 'a disabled user is registered nowhere, on whatever ground');
UPDATE sip_user SET state = 'enabled' WHERE identity = 'a@example.org';
SELECT is(pg_temp.living(), 'b@example.org 000000000001 mapping', 'enabling revives nothing');
INSERT INTO cn_mapping (cn, identity) VALUES ('000000000001', 'example.org');
SELECT pg_temp.put('b@example.org', '000000000001', 9, 1, 'digest', 'sip:d') AS forget \gset
DELETE FROM sip_user WHERE identity = 'b@example.org';
SELECT is(pg_temp.living(), 'none', 'deleting a user ends its bindings');
SELECT pg_temp.put('z@example.org', '000000000001', 9000000000005) AS forget \gset
SELECT is(pg_temp.living(), 'z@example.org 000000000001 mapping', 'a user without a row, held through its domain, has bindings');
SET CONSTRAINTS ALL IMMEDIATE;
TRUNCATE cn_mapping;
SELECT is(pg_temp.living(), 'none', 'TRUNCATE of the mappings ends what they ground');

-- How it ends: a DELETE leaves a tombstone, and the row goes when it is over.
TRUNCATE binding;
SELECT pg_temp.put('a@example.org', '1', 100) AS forget, pg_temp.put('b@example.org', '1', 100, removed => true) AS more \gset
DELETE FROM binding;
SELECT results_eq('SELECT aor, removed, version_by, version_ms > 100 FROM binding ORDER BY aor',
    $$VALUES ('a@example.org' COLLATE "C", true, 0, true), ('b@example.org', true, 1, false)$$, 'a DELETE removes by a tombstone, and leaves one alone');
SELECT ok(NOT pg_temp.put('a@example.org', '1', 101), 'what is older does not revive it');
TRUNCATE binding;
CREATE FUNCTION pg_temp.aged(aor text, expired interval, written interval, removed boolean) RETURNS boolean LANGUAGE sql AS $$
    SELECT bind_put(aor, 'd', 'c:x', 'device', '1', 'mapping', aor, '', 0, 'sip:x', extract(epoch FROM now() - expired)::bigint, 1000, 'c', 1,
                    'f', '', (extract(epoch FROM now() - written) * 1000)::bigint, 1, removed)
$$;
SELECT bool_and(pg_temp.aged(aor, expired, written, removed)) AS forget FROM (VALUES
    ('1@example.org', interval '9 days', interval '9 days', false), ('2@example.org', '9 days', '9 days', true), ('3@example.org', '7 days', '9 days', true),
    ('4@example.org', '9 days', '7 days', true), ('5@example.org', '-1 hour', '9 days', false), ('6@example.org', '9 days', '9 days', false)
    ) AS v (aor, expired, written, removed) \gset
SELECT results_eq($$SELECT aor, looked_at, purged FROM binding_purge('', '', '', 4)$$, $$VALUES ('4@example.org', 4::bigint, 2::bigint)$$,
    'a page looks at some, deletes what is over and says where it ended');
SELECT results_eq($$SELECT aor, looked_at, purged FROM binding_purge('4@example.org', 'd', 'c:x', 4)$$, $$VALUES ('6@example.org', 2::bigint, 1::bigint)$$,
    'the next goes on from there');
SELECT is_empty($$SELECT FROM binding_purge('6@example.org', 'd', 'c:x', 4)$$, 'at the end nothing comes');
SELECT results_eq('SELECT aor FROM binding ORDER BY aor', $$VALUES ('3@example.org' COLLATE "C"), ('4@example.org'), ('5@example.org')$$,
    'what ended, or was written, less than 8 days ago stays');

SELECT * FROM finish();
ROLLBACK;
