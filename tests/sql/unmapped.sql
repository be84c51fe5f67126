-- SPDX-License-Identifier: Apache-2.0
-- F32, T35: devices without mapping are noted, the table stays bounded, and a mapping takes the row.
\set QUIET on
BEGIN;
SELECT no_plan();
INSERT INTO domain (name) VALUES ('example.org');

CREATE FUNCTION pg_temp.report(cn text, at_s bigint, times bigint DEFAULT 1, from_tried text DEFAULT 'a@example.org', address text DEFAULT '192.0.2.1')
RETURNS void LANGUAGE sql AS $$
    SELECT report_unmapped('{device}', ARRAY[cn], ARRAY[at_s * 1000], ARRAY[at_s * 1000 + 500], ARRAY[times], ARRAY[from_tried], ARRAY[address],
        '{device-unknown}')
$$;
CREATE FUNCTION pg_temp.rows() RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(concat_ws(' ', cn, extract(epoch FROM first_seen)::numeric(12, 1), extract(epoch FROM last_seen)::numeric(12, 1), count,
        from_tried, address), ', ' ORDER BY cn), 'none') FROM unmapped_device
$$;

SELECT pg_temp.report('000000000001', 100) AS forget \gset
SELECT is(pg_temp.rows(), '000000000001 100.0 100.5 1 a@example.org 192.0.2.1', 'F32: an unknown device is noted');
SELECT pg_temp.report('000000000001', 200, 5, 'b@example.org', '2001:db8::1') AS forget \gset
SELECT is(pg_temp.rows(), '000000000001 100.0 200.5 6 b@example.org 2001:db8::1', 'first seen stays, the rest is the newest, counts add up');
SELECT pg_temp.report('000000000001', 150) AS forget \gset
SELECT is((SELECT extract(epoch FROM last_seen)::numeric(12, 1) FROM unmapped_device), 200.5, 'what comes late makes last seen no earlier');
SELECT report_unmapped('{device,corp}', '{000000000002,Big Box}', '{1,2}', '{1,2}', '{1,2}', '{"",x}', '{"",y}', '{device-unknown,device-unknown}') AS forget \gset
SELECT is((SELECT string_agg(trust_store || ':' || cn, ' ' ORDER BY cn) FROM unmapped_device), 'device:000000000001 device:000000000002 corp:Big Box', 'many in one call');
SELECT report_unmapped('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}') AS forget \gset
SELECT is((SELECT count(*) FROM unmapped_device), 3::bigint, 'none in one call');

-- A mapping takes the row, whoever makes it.
SET LOCAL ROLE holdline_admin;
INSERT INTO cn_mapping (cn, identity) VALUES ('00:00:00:00:00:01', 'a@example.org');
RESET ROLE;
SELECT is((SELECT string_agg(cn, ' ' ORDER BY cn) FROM unmapped_device), '000000000002 Big Box', 'a mapping in any spelling takes the row');
UPDATE cn_mapping SET cn = '000000000002';
SELECT is((SELECT string_agg(cn, ' ' ORDER BY cn) FROM unmapped_device), 'Big Box', 'and so does one that is changed to it');
SELECT pg_temp.report('000000000002', 300) AS forget \gset
SELECT is((SELECT count(*) FROM unmapped_device WHERE cn = '000000000002'), 0::bigint, 'what has a mapping is not noted by a late report');
DELETE FROM unmapped_device;
DELETE FROM cn_mapping;
SELECT pg_temp.report(lpad(n::text, 12, '0'), n) AS forget FROM generate_series(1, 300) AS n \g /dev/null
INSERT INTO cn_mapping (cn, identity) SELECT lpad(n::text, 12, '0'), 'a@example.org' FROM generate_series(11, 5000) AS n;
SELECT is((SELECT string_agg(cn, ' ' ORDER BY cn) FROM unmapped_device),
    (SELECT string_agg(lpad(n::text, 12, '0'), ' ' ORDER BY n) FROM generate_series(1, 10) AS n), 'a large load takes its rows and no others');
SELECT lives_ok($$INSERT INTO cn_mapping (cn, identity) VALUES ('0000000000FF', 'a@example.org')$$, 'a mapping that nobody waited for changes nothing');
SELECT is((SELECT count(*) FROM unmapped_device), 10::bigint, 'the others stay');
-- Reported while the transaction that provisions was open: the trigger could not see it.
SET LOCAL session_replication_role = replica;
INSERT INTO cn_mapping (trust_store, cn, identity) VALUES ('device', '000000000003', 'a@example.org');
SET LOCAL session_replication_role = origin;
SELECT tidy_unmapped() AS forget \gset
SELECT is((SELECT string_agg(right(cn, 2), ' ' ORDER BY cn) FROM unmapped_device), '01 02 04 05 06 07 08 09 10', 'tidying takes what has a mapping by now');

-- Bounds.
SET LOCAL holdline.unmapped_max = '5';
SELECT pg_temp.report('0000000000AA', 1000) AS forget \gset
SELECT is((SELECT string_agg(right(cn, 2), ' ' ORDER BY cn) FROM unmapped_device), '07 08 09 10 AA', 'T35: what was not seen for longest goes first');
SELECT pg_temp.report('000000000007', 2000) AS forget, pg_temp.report('0000000000AB', 1000) AS more \gset
SELECT is((SELECT string_agg(right(cn, 2), ' ' ORDER BY cn) FROM unmapped_device), '07 09 10 AA AB', 'and what comes again stays');
SET LOCAL holdline.unmapped_max = '0';
SELECT tidy_unmapped() AS forget \gset
SELECT is((SELECT count(*) FROM unmapped_device), 0::bigint, '0 keeps none');
SELECT is(unmapped_max(), 0, 'the setting counts');
SET LOCAL holdline.unmapped_max = 'many';
SELECT is(unmapped_max(), 10000, 'what is no number counts as not set');
SELECT report_unmapped(array_fill('device'::text, ARRAY[10050]), array_agg(lpad(n::text, 12, '0')), array_agg(n), array_agg(n), array_agg(1::bigint),
    array_fill(''::text, ARRAY[10050]), array_fill(''::text, ARRAY[10050]), array_fill('device-unknown'::text, ARRAY[10050])) AS forget
FROM generate_series(500001, 510050) AS n \gset
SELECT is((SELECT count(*) || ' ' || min(cn) FROM unmapped_device), '10000 000000500051', 'T35: 10000 if it is not set');

-- Hostile values do not get in.
SELECT throws_ok(format('INSERT INTO unmapped_device VALUES (%L, %L, now(), now(), %s, %L, %L, %L)', store, cn, n, f, a, r), '23514', NULL, what || ' is refused')
FROM (VALUES ('', 'c', 1, '', '', 'r', 'no store'), (repeat('s', 33), 'c', 1, '', '', 'r', 'a long store'), ('s', '', 1, '', '', 'r', 'no CN'),
    ('s', repeat('c', 193), 1, '', '', 'r', 'a long CN'), ('s', E'a\nb', 1, '', '', 'r', 'a line break'), ('s', 'c', 0, '', '', 'r', 'count 0'),
    ('s', 'c', 1, repeat('f', 255), '', 'r', 'a long From'), ('s', 'c', 1, '', repeat('a', 65), 'r', 'a long address'),
    ('s', 'c', 1, '', '', 'a b', 'a reason that is none')) AS bad (store, cn, n, f, a, r, what);

SELECT * FROM finish();
ROLLBACK;
