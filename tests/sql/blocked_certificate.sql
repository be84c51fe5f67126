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
