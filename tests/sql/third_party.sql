-- SPDX-License-Identifier: Apache-2.0
-- Bindings that a third party has made: who it may be, and with what they end.
\set QUIET on
BEGIN;
SELECT no_plan();

INSERT INTO domain (name) VALUES ('example.org'), ('a.example'), ('b.example');
INSERT INTO cn_mapping (cn, identity) VALUES ('000000000001', 'desk@example.org'), ('000000000001', 'other@example.org'),
    ('000000000002', 'example.org'), ('000000000003', 'desk@example.org');
INSERT INTO sip_user (identity) VALUES ('guest@example.org');
CREATE FUNCTION pg_temp.put(cn text, by text, aor text DEFAULT 'guest@example.org', ground text DEFAULT 'mapping') RETURNS boolean LANGUAGE sql AS $$
    SELECT bind_put(aor, 'device:' || cn, 'c:' || ground, 'device', cn, ground, by, '', 0, 'sip:x', 4000000000, 1000, 'call', 1,
                    'p/1/0/0/1', '', (SELECT coalesce(max(version_ms), 0) + 1 FROM binding), 1, registered_by => by)
$$;
CREATE FUNCTION pg_temp.living() RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(concat_ws(' ', aor, cn, ground, registered_by), ', ' ORDER BY aor, cn, ground), 'none') FROM binding WHERE NOT removed
$$;

SELECT throws_ok(format('SELECT pg_temp.put(%L, %L)', '000000000001', by), '23514', NULL, format('registered by %L is refused', by))
FROM (VALUES ('guest@example.org'), (''), ('example.org'), ('a b@example.org'), (repeat('x', 250) || '@x.org'), (E'a\n@example.org'), ('a@B.org'), ('ü@example.org')) AS v (by);
SELECT ok(pg_temp.put('000000000001', 'desk@example.org'), 'another user is not');
SELECT is((SELECT registered_by FROM binding WHERE aor = 'guest@example.org'), 'desk@example.org', 'and stands there');

-- Its own mapping is what counts, not one of the address of record.
SELECT pg_temp.put('000000000002', 'desk@example.org'), pg_temp.put('000000000003', 'desk@example.org', ground => 'digest') \gset forget
DELETE FROM cn_mapping WHERE cn = '000000000001' AND identity = 'other@example.org';
SELECT matches(pg_temp.living(), '000000000001', 'another mapping that goes ends nothing');
INSERT INTO cn_mapping (cn, identity) VALUES ('000000000001', 'guest@example.org');
DELETE FROM cn_mapping WHERE cn = '000000000001' AND identity = 'desk@example.org';
SELECT doesnt_match(pg_temp.living(), '000000000001', 'the mapping of who registered it ends it, whatever else the device holds');
SELECT matches(pg_temp.living(), '000000000002', 'a whole domain holds who registered it');
DELETE FROM cn_mapping WHERE cn = '000000000002';
SELECT is(pg_temp.living(), 'guest@example.org 000000000003 digest desk@example.org', 'and ends it with its own end');

-- Its password, not the other's.
SELECT set_credential('guest@example.org', NULL, 'x'), set_credential('desk@example.org', NULL, 'y') \gset forget
SELECT set_credential('guest@example.org', NULL, 'z') \gset forget
SELECT matches(pg_temp.living(), 'digest', 'the password of the address of record does not matter');
SELECT set_credential('desk@example.org', NULL, 'z') \gset forget
SELECT is(pg_temp.living(), 'none', 'that of who registered it does');

-- Users.
SELECT pg_temp.put('000000000003', 'desk@example.org') \gset forget
UPDATE sip_user SET state = 'disabled' WHERE identity = 'desk@example.org';
SELECT is(pg_temp.living(), 'none', 'a disabled user''s registrations for others end');
UPDATE sip_user SET state = 'enabled' WHERE identity = 'desk@example.org';
SELECT is(pg_temp.living(), 'none', 'enabling revives nothing');
SELECT pg_temp.put('000000000003', 'desk@example.org') \gset forget
UPDATE sip_user SET state = 'disabled' WHERE identity = 'guest@example.org';
SELECT is(pg_temp.living(), 'none', 'nor is a disabled address of record registered by anybody');
SELECT pg_temp.put('000000000003', 'desk@example.org') \gset forget
DELETE FROM sip_user WHERE identity = 'desk@example.org';
SELECT is(pg_temp.living(), 'none', 'a deleted user''s registrations for others end');
SELECT pg_temp.put('000000000003', 'desk@example.org') \gset forget
SELECT bind_put('guest@example.org', 'device:000000000003', 'c:mapping', 'device', '000000000003', 'mapping', 'guest@example.org', '', 0, 'sip:x',
                4000000000, 1000, 'call', 1, 'p/1/0/0/1', '', (SELECT max(version_ms) + 1 FROM binding), 1) \gset forget
SELECT is(pg_temp.living(), 'guest@example.org 000000000003 mapping', 'its own registration takes a third party''s place whole');

-- T56: a tenant lets its users register for its own users alone, whatever else it may allow.
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
SELECT tenants_enable() AS forget \gset
CREATE ROLE anton LOGIN;
SELECT tenant_grant('anton', 'a.example') AS forget \gset
UPDATE tenant SET may_allow_ours = true, may_allow_domains = '{b.example}' WHERE domain = 'a.example';
CREATE FUNCTION pg_temp.refusal(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END
$$;
SET SESSION AUTHORIZATION anton;
SELECT is(pg_temp.refusal(format($$INSERT INTO rights_rule (who_kind, who, methods, target_kind, target, effect)
    VALUES ('domain', 'a.example', '{INVITE,REGISTER}', %L, %L, %L)$$, kind, target, effect)), wanted, format('T56 %s %s %s for a tenant', effect, kind, target))
FROM (VALUES ('domain', 'a.example', 'allow', 'accepted'), ('user', 'x@a.example', 'allow', 'accepted'), ('user', 'x@a.example', 'challenge', 'accepted'),
    ('ours', NULL, 'allow', '42501'), ('ours', NULL, 'challenge', '42501'), ('any', NULL, 'allow', '42501'), ('domain', 'b.example', 'allow', '42501'),
    ('user', 'x@b.example', 'allow', '42501'), ('ours', NULL, 'deny', 'accepted')) AS v (kind, target, effect, wanted);
SELECT is(pg_temp.refusal($$INSERT INTO rights_rule (who_kind, who, methods, target_kind, effect) VALUES ('domain', 'a.example', '{INVITE}', 'ours', 'allow')$$),
    'accepted', 'what it may allow besides REGISTER stays as it was');
RESET SESSION AUTHORIZATION;

SELECT * FROM finish();
ROLLBACK;
