-- SPDX-License-Identifier: Apache-2.0
-- Certificates that are cut off: whatever OpenSSL prints is taken, what is no SHA-256 is explained,
-- every change is logged for mapperd, and tenants have nothing of it.
\set QUIET on
BEGIN;
SELECT no_plan();

CREATE FUNCTION pg_temp.logged(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM change_log;
    EXECUTE statement;
    RETURN (SELECT coalesce(string_agg(kind || ' ' || array_to_string(key, ' '), ', ' ORDER BY kind, key), 'nothing') FROM change_log);
END
$$;
CREATE FUNCTION pg_temp.told(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    message text; hint text; code text;
BEGIN
    EXECUTE statement;
    RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT, code = RETURNED_SQLSTATE;
    RETURN code || ' ' || message || ' | ' || hint;
END
$$;

-- Spellings.
INSERT INTO blocked_certificate (trust_store, sha256, note) VALUES
    ('device', repeat('a1', 32), '  stolen '),
    ('device', 'sha256 Fingerprint=' || rtrim(repeat('B2:', 32), ':'), ' '),
    ('device', E'SHA256 Fingerprint=' || rtrim(repeat('C3:', 32), ':') || E'\n', NULL),
    ('corp', ' ' || rtrim(repeat('d4 ', 32)), NULL);
SELECT is(string_agg(trust_store || ' ' || sha256 || ' ' || coalesce(note, '-'), ', ' ORDER BY sha256),
    format('device %s stolen, device %s -, device %s -, corp %s -', repeat('a1', 32), repeat('b2', 32), repeat('c3', 32), repeat('d4', 32)),
    'what OpenSSL prints becomes 64 digits in lower case') FROM blocked_certificate;
SELECT throws_ok(format($$INSERT INTO blocked_certificate (trust_store, sha256) VALUES ('device', %L)$$, rtrim(repeat('A1:', 32), ':')),
    '23505', NULL, 'another spelling is the same certificate');
SELECT lives_ok($$INSERT INTO blocked_certificate (trust_store, sha256) VALUES ('corp', repeat('a1', 32))$$, 'each store has its own');

-- Issuer and serial number, in every spelling that the log or OpenSSL has.
INSERT INTO blocked_certificate (trust_store, issuer, serial) VALUES
    ('device', 'issuer="CN=Device root,O=Acme\\, Inc."', 'certificate_serial=4BC2F1'),
    ('device', 'CN=Caf\C3\A9', '-0x00'),
    ('corp', ' CN=Device root,O=Acme\, Inc. ', '00:4b:c2:f1');
SELECT is(string_agg(concat_ws(' ', trust_store, issuer, serial), '; ' ORDER BY trust_store, issuer COLLATE "C"),
    'corp CN=Device root,O=Acme, Inc. 4BC2F1; device CN=CafC3A9 0; device CN=Device root,O=Acme, Inc. 4BC2F1',
    'they become one form') FROM blocked_certificate WHERE issuer IS NOT NULL;
SELECT is(sha256, encode(sha256(E'cn=device root,o=acme, inc.\n4BC2F1'), 'hex'), 'the key is made of them')
FROM blocked_certificate WHERE trust_store = 'corp' AND serial = '4BC2F1';
SELECT throws_ok(format($$INSERT INTO blocked_certificate (trust_store, issuer, serial) VALUES ('device', %L, %L)$$, issuer, serial),
    '23505', NULL, format('%s %s is the same', issuer, serial))
FROM (VALUES ('CN=device root,O=ACME\, Inc.', '4bc2f1'), ('Issuer = CN=Device root,O=Acme\, Inc.', 'serial=004BC2F1'),
    ('"CN=Device root,O=Acme\\, Inc."', '"4B:C2:F1"')) x(issuer, serial);
SELECT matches(pg_temp.told(format($$INSERT INTO blocked_certificate (trust_store, issuer, serial) VALUES ('device', %L, %L)$$, issuer, serial)),
    wanted, format('%s, %s is explained', issuer, serial))
FROM (VALUES ('C = US, CN = x', '1', '^23514 .* is not an issuer as RFC 4514 .*-nameopt RFC2253'),
    ('C=US, CN=x', '1', '^23514 .* is not an issuer'), ('"CN=x + O=Acme"', '1', '^23514 .* is not an issuer'),
    ('Device root', '1', '^23514 .* is not an issuer'), ('CN=Café', '1', '^23514 .* is not an issuer'),
    ('"CN=Device ro\+12"', '1', '^23514 .* is cut at its end'), ('CN=' || repeat('x', 1022), '1', '^23514 .* is not an issuer'),
    ('CN=x', 'xyz', '^23514 .* is not a serial number .*-serial'), ('CN=x', repeat('A', 41), '^23514 .* is not a serial number'),
    ('CN=x', NULL, '^23502 .* the serial number is missing'), (NULL, '1', '^23502 .* the issuer is missing'),
    ('CN=x', ' ', '^23502 .* the serial number is missing')) x(issuer, serial, wanted);
SELECT matches(pg_temp.told($$INSERT INTO blocked_certificate (trust_store, sha256, issuer, serial) VALUES ('device', repeat('a', 64), 'CN=x', '1')$$),
    '^23514 .* not by both', 'one way of naming it');
SELECT lives_ok($$INSERT INTO blocked_certificate SELECT 'corp', b.sha256, b.note, b.created_at, b.issuer, b.serial
                  FROM blocked_certificate b WHERE b.serial = '0'$$, 'a row that was read is taken again');
SELECT is(pg_temp.logged($$UPDATE blocked_certificate SET serial = '01' WHERE trust_store = 'corp' AND serial = '0'$$),
    format('certificate corp %s, certificate corp %s', least(a, b), greatest(a, b)), 'another serial number is another certificate')
FROM (SELECT encode(sha256(E'cn=cafc3a9\n0'), 'hex') AS a, encode(sha256(E'cn=cafc3a9\n1'), 'hex') AS b) k;
SELECT lives_ok($$UPDATE blocked_certificate SET note = 'n' WHERE serial = '1'$$, 'a note is no change of it');
SELECT lives_ok(format($$INSERT INTO blocked_certificate (trust_store, issuer, serial) VALUES ('corp', %L, '2')$$, issuer), format('%s is an issuer', issuer))
FROM unnest(ARRAY['O=Acme\, L=x', '"O=Acme\\, L=y"', 'O=Acme, Inc.,L=z', 'CN=a+O=b']) issuer;
DELETE FROM blocked_certificate WHERE issuer IS NOT NULL;

-- What is refused, and what to write instead.
SELECT matches(pg_temp.told($$INSERT INTO blocked_certificate (trust_store, sha256) VALUES ('device', 'SHA1 Fingerprint=' || rtrim(repeat('A1:', 20), ':'))$$),
    '^23514 .* is a SHA-1, not a SHA-256 \| .*openssl x509 -noout -fingerprint -sha256', 'a SHA-1 is named');
SELECT matches(pg_temp.told(format($$INSERT INTO blocked_certificate (trust_store, sha256) VALUES ('device', %L)$$, bad)),
    '^23514 .* is not the SHA-256 of a certificate \| .*-sha256', format('%s is refused', left(bad, 20)))
FROM unnest(ARRAY['', 'x', repeat('a', 63), repeat('a', 65), repeat('g', 64), repeat('a1', 31) || 'é1', '0004F224A6AC']) bad;
SELECT matches(pg_temp.told($$INSERT INTO blocked_certificate (trust_store) VALUES ('device')$$), '^23502 .*missing \| .*openssl', 'no SHA-256');
SELECT matches(pg_temp.told($$INSERT INTO blocked_certificate (sha256) VALUES (repeat('a', 64))$$), '^23502 .*missing \| Write one of: corp, device',
    'no store: none is guessed');
SELECT matches(pg_temp.told($$INSERT INTO blocked_certificate (trust_store, sha256) VALUES ('devize', repeat('a', 64))$$),
    '^23503 there is no trust store .*devize.* \| Write one of: corp, device', 'a store that is not there');
SELECT throws_ok($$UPDATE blocked_certificate SET note = E'two\nlines'$$, '23514', NULL, 'a note is one line');
SELECT throws_ok($$DELETE FROM trust_store WHERE name = 'corp'$$, '23503', NULL, 'a store with blocked certificates stays');

-- The change log.
SELECT is(pg_temp.logged($$INSERT INTO blocked_certificate (trust_store, sha256) VALUES ('device', repeat('e', 64)), ('corp', repeat('F', 64))$$),
    format('certificate corp %s, certificate device %s', repeat('f', 64), repeat('e', 64)), 'an INSERT is logged');
SELECT is(pg_temp.logged($$UPDATE blocked_certificate SET trust_store = 'corp' WHERE sha256 = repeat('e', 64)$$),
    format('certificate corp %1$s, certificate device %1$s', repeat('e', 64)), 'an UPDATE is logged, old and new');
SELECT is(pg_temp.logged($$UPDATE blocked_certificate SET note = 'n' WHERE sha256 = repeat('e', 64)$$),
    format('certificate corp %s', repeat('e', 64)), '... each once');
SELECT is(pg_temp.logged($$DELETE FROM blocked_certificate WHERE trust_store = 'corp' AND sha256 IN (repeat('e', 64), repeat('f', 64))$$),
    format('certificate corp %s, certificate corp %s', repeat('e', 64), repeat('f', 64)), 'a DELETE is logged');
SELECT is(pg_temp.logged($$DELETE FROM blocked_certificate WHERE sha256 = 'none'$$), 'nothing', 'nothing of nothing');
SELECT is(pg_temp.logged($$TRUNCATE blocked_certificate$$), 'all ', 'TRUNCATE is logged');

-- The audit, and who may.
SELECT is((SELECT string_agg(concat_ws(' ', operation, trust_store, name, after ->> 'note'), ', ' ORDER BY id) FROM audit
           WHERE table_name = 'blocked_certificate' AND name = repeat('a1', 32)),
    format('insert device %1$s stolen, insert corp %1$s', repeat('a1', 32)), 'who did it is in the audit');
SET LOCAL ROLE holdline_admin;
SELECT lives_ok($$INSERT INTO blocked_certificate (trust_store, sha256) VALUES ('device', repeat('a', 64))$$, 'the operator blocks');
SELECT lives_ok($$DELETE FROM blocked_certificate$$, '... and lets in again');
RESET ROLE;
SET LOCAL ROLE holdline_mapperd;
SELECT throws_ok($$DELETE FROM blocked_certificate$$, '42501', NULL, 'mapperd only reads');
RESET ROLE;
SET LOCAL ROLE holdline_tenant;
SELECT throws_ok($$SELECT FROM blocked_certificate$$, '42501', NULL, 'a tenant sees none');
SELECT throws_ok($$INSERT INTO blocked_certificate (trust_store, sha256) VALUES ('device', repeat('a', 64))$$, '42501', NULL, '... and blocks none');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
