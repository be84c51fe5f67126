-- SPDX-License-Identifier: Apache-2.0
-- Digest credentials: hashes only, canonical, with constraints that explain themselves; what stands
-- on a password ends with it.
\set QUIET on
BEGIN;
SELECT no_plan();
INSERT INTO domain (name) VALUES ('example.org'), ('example.net');
INSERT INTO sip_user (identity) VALUES ('alice@example.org'), ('bob@example.org'), ('j%C3%B6rg@example.org');

CREATE FUNCTION pg_temp.put(aor text, ground text) RETURNS boolean LANGUAGE sql AS $$
    SELECT bind_put(aor, 'digest:' || aor, 'c:sip:' || ground, '', '', ground, aor, '', 0, 'sip:' || ground, 4000000000, 1000, 'call', 1,
                    'p/1/0/0/1', '', (SELECT coalesce(max(version_ms), 0) + 1 FROM binding), 1)
$$;
CREATE FUNCTION pg_temp.living() RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(aor || ' ' || ground, ', ' ORDER BY aor, ground), 'none') FROM binding WHERE NOT removed
$$;
CREATE FUNCTION pg_temp.logged() RETURNS text LANGUAGE sql AS $$
    WITH gone AS (SELECT kind || ' ' || array_to_string(key, ' ') AS line FROM change_log WHERE kind IN ('credential', 'all'))
    SELECT coalesce(string_agg(line, ', ' ORDER BY line), 'nothing') FROM gone
$$;

-- What is kept: RFC 7616 3.4.2, A1 = username ":" realm ":" password, hashed.
SELECT lives_ok($$SELECT set_credential('sip:alice@Example.ORG', NULL, 'Circle of Life')$$, 'a password is set, whatever the spelling');
SELECT is((SELECT concat_ws(' ', identity, realm, username, ha1_md5) FROM credential),
    'alice@example.org example.org alice ' || md5('alice:example.org:Circle of Life'), 'the realm is the domain, the name the user part');
SELECT is((SELECT ha1_sha256 FROM credential), encode(sha256('alice:example.org:Circle of Life'), 'hex'), 'both hashes are made');
DELETE FROM credential;
SELECT set_credential('alice@example.org', 'http-auth@example.org', 'Circle of Life', 'Mufasa') AS forget \gset
SELECT is((SELECT ha1_sha256 FROM credential), '7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232', 'the example of RFC 7616 3.9.1, SHA-256');
SELECT is((SELECT ha1_md5 FROM credential), '3d78807defe7de2157e2b0b6573a855f', 'the example of RFC 7616 3.9.1, MD5');
SELECT is((SELECT count(*) FROM credential c WHERE c::text LIKE '%Circle%'), 0::bigint, 'the password is nowhere');
SELECT set_credential('alice@example.org', 'http-auth@example.org', E'p\u00e4sswort', 'Mufasa') AS forget \gset
SELECT is((SELECT ha1_md5 FROM credential), md5(convert_to(E'Mufasa:http-auth@example.org:p\u00e4sswort', 'UTF8')), 'set again it replaces; octets are UTF-8');
SELECT is((SELECT count(*) FROM credential), 1::bigint, 'one row a user and realm');
SELECT set_credential('carol@example.org', NULL, 'x') AS forget \gset
SELECT is((SELECT state FROM sip_user WHERE identity = 'carol@example.org'), 'enabled', 'the user is made if absent');
DELETE FROM credential;

INSERT INTO credential (identity, ha1_sha256) VALUES ('alice@EXAMPLE.org', upper(repeat('ab', 32)));
SELECT is((SELECT concat_ws(' ', identity, realm, username, ha1_sha256) FROM credential), 'alice@example.org example.org alice ' || repeat('ab', 32),
    'a plain INSERT gets realm, name and spelling as well');
DELETE FROM credential;

-- What is refused, and what to write instead. No message shows a hash or password.
CREATE FUNCTION pg_temp.refused(statement text, state text, said text, hinted text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    message text; hint text; detail text; code text; context text;
BEGIN
    BEGIN
        EXECUTE statement;
        RETURN NEXT fail('accepted: ' || statement);
        RETURN;
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT, detail = PG_EXCEPTION_DETAIL, code = RETURNED_SQLSTATE,
            context = PG_EXCEPTION_CONTEXT;
    END;
    RETURN NEXT is(code || ' ' || message, state || ' ' || said, said);
    RETURN NEXT alike(hint, hinted, 'and says: ' || hinted);
    RETURN NEXT unalike(message || hint || detail || left(context, strpos(context || 'SQL statement', 'SQL statement')), '%feedface%', 'and shows no secret');
END
$$;
SELECT pg_temp.refused($$INSERT INTO credential (identity, ha1_md5) VALUES ('example.org', repeat('feedface', 4))$$, '23514',
    '"example.org" is a domain, and only a user has a password', 'Write user@example.org.');
SELECT pg_temp.refused($$INSERT INTO credential (identity, ha1_md5) VALUES ('dave@example.org', repeat('feedface', 4))$$, '23503',
    'there is no user "dave@example.org"', 'Make it first: INSERT INTO sip_user%');
SELECT pg_temp.refused($$INSERT INTO credential (identity, ha1_md5) VALUES ('alice@example.org', 'feedface')$$, '23514',
    'a hash of the credential of "alice@example.org" is not one', '%set_credential()%');
SELECT pg_temp.refused($$INSERT INTO credential (identity, ha1_sha256) VALUES ('alice@example.org', repeat('feedface', 4))$$, '23514',
    'a hash of the credential of "alice@example.org" is not one', 'ha1_sha256 has 64%');
SELECT pg_temp.refused($$INSERT INTO credential (identity) VALUES ('alice@example.org')$$, '23514',
    'the credential of "alice@example.org" has no hash', 'Give ha1_sha256, ha1_md5 or both%');
SELECT pg_temp.refused($$INSERT INTO credential (identity, ha1_md5) VALUES ('j%c3%b6rg@example.org', repeat('feedface', 4))$$, '23502',
    'user "j%C3%B6rg@example.org" has an escape, so its username must be given', 'Write the name%');
SELECT pg_temp.refused($$SELECT set_credential('alice@example.org', NULL, '')$$, '22004', 'password is empty', 'Write set_credential%');
SELECT throws_ok($$INSERT INTO credential (identity, realm, ha1_md5) VALUES ('alice@example.org', 'a"b', repeat('0', 32))$$, '23514', NULL, 'a realm with a quote is refused');
SELECT throws_ok($$INSERT INTO credential (identity, realm, ha1_md5) VALUES ('alice@example.org', E'a\u0001', repeat('0', 32))$$, '23514', NULL, 'a realm with a control is refused');
SELECT throws_ok($$INSERT INTO credential (identity, username, ha1_md5) VALUES ('alice@example.org', 'a:b', repeat('0', 32))$$, '23514', NULL, 'a username with a colon is refused');
SELECT throws_ok($$INSERT INTO credential (identity, realm, ha1_md5) VALUES ('alice@example.org', repeat('x', 129), repeat('0', 32))$$, '23514', NULL, 'a long realm is refused');
INSERT INTO credential (identity, realm, ha1_md5) SELECT 'alice@example.org', 'r' || n, repeat('0', 32) FROM generate_series(1, 16) AS n;
SELECT pg_temp.refused($$INSERT INTO credential (identity, realm, ha1_md5) VALUES ('alice@example.org', 'r17', repeat('feedface', 4))$$, '23514',
    'user "alice@example.org" has credentials for 16 realms already', 'Delete those%');
SELECT lives_ok($$SELECT set_credential('alice@example.org', 'r16', 'x')$$, 'one of the 16 can be set anew');
DELETE FROM credential;

-- With triggers off (a restore) the constraints hold what would break mapperd's record.
SET LOCAL session_replication_role = replica;
SELECT throws_ok($$INSERT INTO credential (identity, realm, username, ha1_md5) VALUES ('a@example.org', 'r', 'u', 'x')$$, '23514', NULL, 'no hash of another length');
SELECT throws_ok($$INSERT INTO credential (identity, realm, username) VALUES ('a@example.org', 'r', 'u')$$, '23514', NULL, 'no row without a hash');
SELECT throws_ok($$INSERT INTO credential (identity, realm, username, ha1_sha256) VALUES ('a@example.org', 'r', 'u', upper(repeat('ab', 32)))$$, '23514', NULL, 'one spelling of digits');
SET LOCAL session_replication_role = origin;

-- The log names the user, each once.
TRUNCATE change_log;
INSERT INTO credential (identity, realm, ha1_md5) VALUES ('alice@example.org', 'r', repeat('0', 32)), ('alice@example.org', 's', repeat('0', 32)),
    ('bob@example.org', 'r', repeat('0', 32));
SELECT is(pg_temp.logged(), 'credential alice@example.org, credential bob@example.org', 'an insert is logged');
TRUNCATE change_log;
UPDATE credential SET identity = 'carol@example.org' WHERE identity = 'bob@example.org';
SELECT is(pg_temp.logged(), 'credential bob@example.org, credential carol@example.org', 'an update is logged, old and new');
TRUNCATE change_log;
DELETE FROM sip_user WHERE identity = 'carol@example.org';
SELECT is(pg_temp.logged(), 'credential carol@example.org', 'deleting the user deletes and logs its credentials');
SELECT is((SELECT count(*) FROM credential WHERE identity = 'carol@example.org'), 0::bigint, 'they are gone');
TRUNCATE change_log;
TRUNCATE credential;
SELECT is(pg_temp.logged(), 'all ', 'TRUNCATE is logged');

-- The audit says that a password changed, never to what.
INSERT INTO credential (identity, realm, ha1_md5) VALUES ('alice@example.org', 'r', repeat('feedface', 4));
UPDATE credential SET ha1_sha256 = repeat('feedface', 8), username = 'ally';
DELETE FROM credential;
SELECT is((SELECT string_agg(concat_ws(' ', operation, identity, before, after), '; ' ORDER BY at, id) FROM audit WHERE table_name = 'credential' AND after::text LIKE '%ally%'),
    'update alice@example.org {"username": "alice"} {"username": "ally", "ha1_sha256": "changed"}', 'an update is audited');
SELECT ok((SELECT count(*) > 8 AND count(*) FILTER (WHERE a::text ~ 'feedface|[0-9a-f]{32}') = 0 FROM audit a WHERE table_name = 'credential'),
    'no row of the audit has a hash');

-- Bindings that stand on a password.
INSERT INTO credential (identity, realm, ha1_md5) VALUES ('alice@example.org', 'r', repeat('0', 32)), ('bob@example.org', 'r', repeat('0', 32));
SELECT pg_temp.put('alice@example.org', 'digest') AND pg_temp.put('alice@example.org', 'name') AND pg_temp.put('bob@example.org', 'digest') AS forget \gset
UPDATE credential SET ha1_sha256 = repeat('0', 64);
SELECT is(pg_temp.living(), 'alice@example.org digest, alice@example.org name, bob@example.org digest', 'a hash that is added ends nothing');
UPDATE credential SET ha1_md5 = ha1_md5;
SELECT is(pg_temp.living(), 'alice@example.org digest, alice@example.org name, bob@example.org digest', 'nor does the same value');
UPDATE credential SET ha1_md5 = repeat('1', 32) WHERE identity = 'alice@example.org';
SELECT is(pg_temp.living(), 'alice@example.org name, bob@example.org digest', 'another password ends what stood on the old one, and nothing else');
SELECT pg_temp.put('alice@example.org', 'digest') AS forget \gset
DELETE FROM credential WHERE identity = 'alice@example.org';
SELECT is(pg_temp.living(), 'alice@example.org name, bob@example.org digest', 'the end of the credential ends them');
UPDATE credential SET ha1_sha256 = NULL WHERE identity = 'bob@example.org';
SELECT is(pg_temp.living(), 'alice@example.org name', 'and so does a hash taken away');
SELECT pg_temp.put('bob@example.org', 'digest') AS forget \gset
TRUNCATE credential;
SELECT is(pg_temp.living(), 'alice@example.org name', 'and TRUNCATE');

SELECT * FROM finish();
ROLLBACK;
