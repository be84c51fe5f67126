-- SPDX-License-Identifier: Apache-2.0
-- T55 and the SQL side of T10: hostile values are refused, or are data and nothing more. With
-- triggers off (a restore, a replica's apply) the plain constraints still hold what would break a
-- key or a line of mapperd's.
\set QUIET on
BEGIN;
SELECT no_plan();
INSERT INTO domain (name) VALUES ('example.org');

CREATE TEMP TABLE hostile (what text, value text);
INSERT INTO hostile VALUES ('a space', 'a b@example.org'), ('a line break', E'a\n@example.org'), ('a carriage return', E'a@example.org\r'),
    ('a tab', E'\ta@example.org'), ('a C0 control', E'a\u0001@example.org'), ('DEL', E'a\u007f@example.org'), ('a C1 control', E'a\u0085@example.org'),
    ('10 KB', repeat('x', 10240) || '@example.org'), ('10 KB of domain', 'x@' || repeat('x.', 5120) || 'org'), ('10 KB of escapes', repeat('%61', 3400) || '@example.org'),
    ('1 MB', repeat('x', 1048576)), ('a zero width space', E'a\u200b@example.org'), ('a look-alike', E'\u0430lice@example.org'),
    ('a right-to-left mark', E'a\u202e@example.org'), ('RESP', E'$5\r\nalice\r\n'), ('an escaped NUL', 'a%00@example.org'), ('two @', 'a@b@example.org'),
    ('LIKE', '%@example.org'), ('SQL', $$x'; DROP TABLE cn_mapping; --@example.org$$), ('a backslash', E'a\\@example.org'),
    ('a format', '%s%n@example.org'), ('an LMDB key of another kind', E'p\u0001a@example.org');
SELECT throws_ok(format('INSERT INTO cn_mapping (cn, identity) VALUES (''0004F224A6AC'', %L)', value), '23514', NULL, 'identity with ' || what || ' is refused')
FROM hostile;
SELECT throws_ok(format('INSERT INTO sip_user (identity) VALUES (%L)', value), '23514', NULL, 'user with ' || what || ' is refused') FROM hostile;
SELECT throws_ok(format('INSERT INTO rights_rule (target_kind, target, effect) VALUES (''user'', %L, ''allow'')', value), '23514', NULL,
    'target with ' || what || ' is refused') FROM hostile;

-- What SQL may mistake and SIP allows is data.
INSERT INTO cn_mapping (cn, identity) VALUES ('0004F224A6AC', $$o'brien;--$1@example.org$$), ('0004F224A6AC', '*3@example.org');
SELECT is((SELECT count(*) FROM sip_user WHERE identity IN ($$o'brien;--$1@example.org$$, '*3@example.org')), 2::bigint, 'quotes, dollars and stars are data');
INSERT INTO cn_mapping (trust_store, cn, identity) VALUES ('corp', $$'; DROP TABLE cn_mapping; --$$, 'a@example.org'), ('corp', E'{"a",\\b}', 'a@example.org');
SELECT ok(EXISTS (SELECT FROM change_log WHERE kind = 'peer' AND key = ARRAY['corp', $$'; DROP TABLE cn_mapping; --$$]), 'a CN is data in the log');
SELECT ok(EXISTS (SELECT FROM change_log WHERE kind = 'peer' AND key = ARRAY['corp', E'{"a",\\b}']), 'a CN that looks like an array is one element');
SELECT is(retire_device($$'; DROP TABLE cn_mapping; --$$, 'corp'), 1::bigint, 'and in retire_device');

SELECT throws_ok(format('INSERT INTO cn_mapping (trust_store, cn, identity) VALUES (''corp'', %L, ''a@example.org'')', cn), '23514', NULL, 'CN with ' || what)
FROM (VALUES ('nothing', ''), ('a line break', E'a\nb'), ('a C1 control', E'a\u009fb'), ('65 characters', repeat('x', 65)),
    ('193 octets', repeat(E'\u20ac', 64) || 'x'), ('256 octets', repeat(E'\U0001F600', 64)), ('1 MB', repeat('x', 1048576))) v (what, cn);
SELECT lives_ok(format('INSERT INTO cn_mapping (trust_store, cn, identity) VALUES (''corp'', %L, ''a@example.org'')', repeat(E'\u20ac', 64)), 'a CN of 192 octets fits');

-- Devices: label and site are people's text, and data.
SELECT throws_ok(format('INSERT INTO device_info (cn, %I) VALUES (''0004F224A6AC'', %L)', field, value), '23514', NULL, field || ' with ' || what)
FROM (VALUES ('label'), ('site')) f (field), (VALUES ('a line break', E'a\nb'), ('a C1 control', E'a\u009fb'), ('DEL', E'a\u007f'), ('129 characters', repeat('x', 129)),
    ('1 MB', repeat('x', 1048576))) v (what, value);
SELECT throws_ok(format('INSERT INTO device (cn, identities) VALUES (''0004F224A6B1'', ARRAY[%L])', value), '23514', NULL, 'through the view: identity with ' || what) FROM hostile;
SELECT throws_ok(format('INSERT INTO device (trust_store, cn) VALUES (''corp'', %L)', cn), '23514', NULL, 'through the view: CN ' || left(cn, 10))
FROM (VALUES (''), (E'a\nb'), (repeat('x', 65)), (repeat('x', 1048576))) v (cn);
INSERT INTO device (trust_store, cn, identities, label, site) VALUES ('corp', $$'); DELETE FROM cn_mapping; --$$, ARRAY[$$o'brien;--$1@example.org$$], '%s{"x"}', E'\u202e\\');
SELECT is((SELECT format('%s %s %s', identities, label, site) FROM device WHERE trust_store = 'corp' AND cn = $$'); DELETE FROM cn_mapping; --$$),
    $${o'brien;--$1@example.org} %s{"x"} $$ || E'\u202e\\', 'what SQL may mistake is data in the view');
SELECT is(replace_device($$'); DELETE FROM cn_mapping; --$$, $$%I$1\'$$, 'corp'), 1::bigint, 'and in replace_device');
SELECT is(retire_device($$%I$1\'$$, 'corp'), 1::bigint, 'and in retire_device of what took its place');
SELECT throws_ok(format('SELECT replace_device(%L, %L, ''corp'')', old, new), NULL, NULL, 'replace_device of ' || left(old, 9) || ' by ' || left(new, 9))
FROM (VALUES ('', 'x'), ('x', ''), (E'a\nb', 'x'), ('x', E'a\nb'), ('x', repeat('x', 65)), ('*', 'x'), ('%', 'x')) v (old, new);

-- A message shows what was refused without letting it forge a line of a log, and not all of it.
SELECT throws_ok($$INSERT INTO domain (name) VALUES (E'x\nFATAL: forged')$$, '23514', '"x\nFATAL: forged" is not a domain', 'a line break is shown escaped');
SELECT throws_ok($$INSERT INTO domain (name) VALUES (repeat('_', 200))$$, '23514', '"' || repeat('_', 80) || '"... is not a domain', 'a long value is cut');

-- The longest keys that the constraints let through.
SELECT cmp_ok(32 + 1 + 192 + 1 + 254, '<', 511, 'store, CN and identity fit into one key');

-- Triggers off.
SET LOCAL session_replication_role = replica;
SELECT throws_ok(format('INSERT INTO cn_mapping (trust_store, cn, identity) VALUES (''device'', ''x'', %L)', value), '23514', NULL,
    'without triggers too: identity with ' || what) FROM hostile WHERE what NOT IN ('an escaped NUL');
SELECT throws_ok(format('INSERT INTO sip_user (identity) VALUES (%L)', value), '23514', NULL,
    'without triggers too: user with ' || what) FROM hostile WHERE what NOT IN ('an escaped NUL');
SELECT throws_ok(format('INSERT INTO cn_mapping (trust_store, cn, identity) VALUES (''device'', %L, ''a@example.org'')', cn), '23514', NULL,
    'without triggers too: CN ' || left(cn, 10)) FROM (VALUES (''), (E'a\nb'), (repeat('x', 65)), (repeat(E'\U0001F600', 64))) v (cn);
SELECT throws_ok(statement, '23514', NULL, 'without triggers too: ' || left(statement, 90)) FROM (VALUES
    ($$INSERT INTO domain (name) VALUES ('Example.org')$$), ($$INSERT INTO domain (name) VALUES ('a b')$$),
    ($$INSERT INTO device_info (cn, state) VALUES ('x', 'enabled')$$), ($$INSERT INTO device_info (cn, label) VALUES ('x', E'a\nb')$$),
    ($$INSERT INTO device_info (cn) VALUES (E'a\nb')$$), ($$INSERT INTO device_info (cn) VALUES ('')$$), ($$INSERT INTO device_info (cn, site) VALUES ('x', '')$$),
    ($$INSERT INTO rights_rule (effect, methods) VALUES ('allow', '{invite}')$$), ($$INSERT INTO rights_rule (effect, methods) VALUES ('allow', '{"A B"}')$$),
    ($$INSERT INTO rights_rule (effect, methods) VALUES ('allow', '{}')$$), ($$INSERT INTO rights_rule (effect, methods) VALUES ('allow', '{NULL}')$$),
    ($$INSERT INTO rights_rule (effect, target_kind, target) VALUES ('allow', 'domain', 'a b')$$),
    ($$INSERT INTO rights_rule (effect, target_kind, target) VALUES ('allow', 'number', '+49 30')$$),
    ($$INSERT INTO rights_rule (effect, target_kind, target) VALUES ('allow', 'user', 'a b@c.d')$$)
) v (statement);

SELECT * FROM finish();
ROLLBACK;
