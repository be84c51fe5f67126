-- SPDX-License-Identifier: Apache-2.0
-- Every change of provisioning leaves who, when, what before and after, by whatever way it came.
\set QUIET on
BEGIN;
SELECT no_plan();

-- What was audited since the last look: table operation key before after, in order.
CREATE FUNCTION pg_temp.audited() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    SELECT string_agg(concat_ws(' ', table_name, operation, trust_store, cn, identity, domain, name,
        coalesce((before - 'created_at')::text, 'null') || '>' || coalesce((after - 'created_at')::text, 'null')), '; ' ORDER BY id) INTO result FROM audit;
    DELETE FROM audit;
    RETURN coalesce(result, 'nothing');
END
$$;
CREATE FUNCTION pg_temp.refused(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END
$$;
DELETE FROM audit;

INSERT INTO domain (name) VALUES ('Example.org');
SELECT is(pg_temp.audited(), 'domain insert example.org null>{"state": "enabled"}', 'INSERT, in canonical form');
INSERT INTO cn_mapping (cn, identity) VALUES ('00:00:00:00:00:01', 'a@example.org'), ('000000000001', 'example.org');
SELECT is(pg_temp.audited(), 'cn_mapping insert device 000000000001 a@example.org null>{}; cn_mapping insert device 000000000001 example.org null>{}; '
    'sip_user insert a@example.org null>{"state": "enabled"}', 'a mapping, and the user that it makes');
COPY cn_mapping (cn, identity) FROM STDIN;
00-00-00-00-00-02	a@example.org
\.
SELECT is(pg_temp.audited(), 'cn_mapping insert device 000000000002 a@example.org null>{}', 'COPY');
INSERT INTO cn_mapping (cn, identity) VALUES ('000000000002', 'a@example.org') ON CONFLICT DO NOTHING;
UPDATE sip_user SET state = state;
DELETE FROM cn_mapping WHERE false;
SELECT is(pg_temp.audited(), 'nothing', 'what changes nothing leaves nothing');
UPDATE sip_user SET state = 'disabled', display_name = 'A' WHERE identity = 'a@example.org';
SELECT is(pg_temp.audited(), 'sip_user update a@example.org {"state": "enabled"}>{"state": "disabled", "display_name": "A"}', 'UPDATE: only what changed');
UPDATE sip_user SET state = 'enabled', display_name = NULL WHERE identity = 'a@example.org';
SELECT is(pg_temp.audited(), 'sip_user update a@example.org {"state": "disabled", "display_name": "A"}>{"state": "enabled"}', 'UPDATE to NULL');
UPDATE cn_mapping SET cn = '000000000003' WHERE cn = '000000000002';
SELECT is(pg_temp.audited(), 'cn_mapping update device 000000000002 a@example.org {}>null; cn_mapping update device 000000000003 a@example.org null>{}',
    'UPDATE of a key stands under both');
WITH gone AS (DELETE FROM cn_mapping WHERE cn = '000000000003' RETURNING identity)
INSERT INTO cn_mapping (cn, identity) SELECT '000000000004', identity FROM gone;
SELECT is(pg_temp.audited(), 'cn_mapping delete device 000000000003 a@example.org {}>null; cn_mapping insert device 000000000004 a@example.org null>{}',
    'a WITH that writes');
MERGE INTO cn_mapping m USING (VALUES ('000000000004'), ('000000000005')) v (cn) ON m.trust_store = 'device' AND m.cn = v.cn
    WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (cn, identity) VALUES (v.cn, 'a@example.org');
SELECT is(pg_temp.audited(), 'cn_mapping delete device 000000000004 a@example.org {}>null; cn_mapping insert device 000000000005 a@example.org null>{}', 'MERGE');
SELECT retire_device('00:00:00:00:00:05') AS forget \gset
SELECT is(pg_temp.audited(), 'cn_mapping delete device 000000000005 a@example.org {}>null', 'a function');
UPDATE trust_store SET state = 'disabled' WHERE name = 'corp';
SELECT is(pg_temp.audited(), 'trust_store update corp {"state": "enabled"}>{"state": "disabled"}', 'a trust store');
UPDATE trust_store SET state = 'enabled' WHERE name = 'corp';

INSERT INTO user_group (name, description) VALUES ('staff', 'all of us');
INSERT INTO user_group_member (group_name, identity) VALUES ('staff', 'a@example.org');
SELECT matches(pg_temp.audited(), 'user_group insert staff null>{"description": "all of us"}; user_group_member insert a@example.org staff null>{}$', 'groups and members');
INSERT INTO rights_rule (who_kind, who, methods, effect) VALUES ('user', 'a@example.org', '{INVITE}', 'deny') RETURNING id AS rule \gset
SELECT is(pg_temp.audited(), format('rights_rule insert a@example.org %s null>{"who": "a@example.org", "effect": "deny", "methods": ["INVITE"], '
    '"position": 100, "who_kind": "user", "target_kind": "any"}', :rule), 'a rule');
UPDATE rights_rule SET position = 7, effect = 'allow' WHERE id = :rule;
SELECT is(pg_temp.audited(), format('rights_rule update a@example.org %s {"effect": "deny", "position": 100}>{"effect": "allow", "position": 7}', :rule),
    'a rule that changes');
DELETE FROM sip_user WHERE identity = 'a@example.org';
SELECT is(pg_temp.audited(), format('sip_user delete a@example.org {"state": "enabled"}>null; cn_mapping delete device 000000000001 a@example.org {}>null; '
    'user_group_member delete a@example.org staff {}>null; rights_rule delete a@example.org %s {"who": "a@example.org", "effect": "allow", '
    '"methods": ["INVITE"], "position": 7, "who_kind": "user", "target_kind": "any"}>null', :rule), 'what goes along by a foreign key');

SELECT bind_put('d@example.org', 'k1', 'c:x', 'device', '00000000000C', 'mapping', 'd@example.org', '', 0, 'sip:x', 2000000000, 1000,
    'c', 1, 'p/1/0/0/1', '', 10, 1) AS forget \gset
SELECT is(pg_temp.audited(), 'nothing', 'registrations are no provisioning');
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;

TRUNCATE cn_mapping;
SELECT is(pg_temp.audited(), 'cn_mapping truncate null>null', 'TRUNCATE says so in one row');

-- Secrets: what a table of credentials would leave.
CREATE TABLE public.safe (identity text PRIMARY KEY, ha1 text, ha2 text, hint text);
SELECT audit_follow('public.safe', identity => 'r.identity', secret => '{ha1,ha2}') AS forget \gset
INSERT INTO safe VALUES ('a@example.org', 'geheim', NULL, 'h');
UPDATE safe SET ha1 = 'geheimer', ha2 = 'geheimst';
UPDATE safe SET ha1 = 'geheim', hint = 'i';
UPDATE safe SET ha2 = NULL;
DELETE FROM safe;
SELECT is(count(*), 0::bigint, 'no secret stands in the audit') FROM audit WHERE audit::text LIKE '%geheim%';
SELECT is(pg_temp.audited(), 'safe insert a@example.org null>{"ha1": "changed", "hint": "h"}; safe update a@example.org null>{"ha1": "changed", "ha2": "changed"}; '
    'safe update a@example.org {"hint": "h"}>{"ha1": "changed", "hint": "i"}; safe update a@example.org null>{"ha2": "changed"}; '
    'safe delete a@example.org {"hint": "i"}>null', 'secrets are changed, never told');

-- Who: the login and the role, whatever the statement runs as.
CREATE ROLE carol LOGIN;
GRANT holdline_admin TO carol;
SET SESSION AUTHORIZATION carol;
SET application_name = 'by hand';
INSERT INTO domain (name) VALUES ('carol.example');
SET ROLE holdline_admin;
INSERT INTO cn_mapping (cn, identity) VALUES ('00000000000A', 'x@carol.example');
RESET ROLE;
RESET SESSION AUTHORIZATION;
SELECT is(string_agg(concat_ws(' ', table_name, who, role, application), '; ' ORDER BY id),
    'domain carol none by hand; cn_mapping carol holdline_admin by hand; sip_user carol holdline_admin by hand', 'who: login, role, program') FROM audit;
SELECT ok(bool_and(xid = pg_current_xact_id() AND at <= clock_timestamp() AND at >= now() AND client IS NULL), 'when, and in which transaction') FROM audit;

-- Append-only for all but the owner.
GRANT CREATE ON SCHEMA public TO carol;
SET SESSION AUTHORIZATION carol;
SELECT isnt(count(*), 0::bigint, 'who provisions may read it') FROM audit;
SELECT is(pg_temp.refused(statement), '42501', format('who provisions may not: %s', statement)) FROM (VALUES
    ('DELETE FROM audit'), ('UPDATE audit SET who = NULL'), ('TRUNCATE audit'), ('INSERT INTO audit (who) VALUES (''x'')'),
    ('ALTER TABLE audit DISABLE TRIGGER ALL'), ('ALTER TABLE domain DISABLE TRIGGER audit_insert'), ('DROP TRIGGER audit_insert ON domain'),
    ('SELECT audit_prune(now())'), ('SELECT audit_follow(''domain'')'), ('SELECT audit_unfollow(''domain'')'), ('DROP TABLE audit'),
    ('CREATE TRIGGER t BEFORE INSERT ON audit FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()'),
    ('CREATE RULE r AS ON INSERT TO audit DO INSTEAD NOTHING'), ('SET session_replication_role = replica'), ('COMMENT ON TABLE audit IS ''x'''),
    ('CREATE TRIGGER t BEFORE INSERT ON domain FOR EACH ROW EXECUTE FUNCTION audit_domain()'), ('SELECT nextval(''audit_id_seq'')'),
    ('CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS ''BEGIN RETURN NULL; END''; CREATE TRIGGER t BEFORE INSERT ON audit FOR EACH ROW EXECUTE FUNCTION f()')
) AS s (statement);
-- Nor is it led astray by a table of that name in the caller's path.
CREATE TEMP TABLE audit (LIKE public.audit);
SET LOCAL search_path = pg_temp, public;
INSERT INTO public.domain (name) VALUES ('astray.example');
RESET search_path;
RESET SESSION AUTHORIZATION;
SELECT is((SELECT count(*) FROM public.audit WHERE domain = 'astray.example'), 1::bigint, 'a table of the same name catches nothing');

SELECT is(audit_prune('2000-01-01'), 0::bigint, 'nothing is that old');
SELECT ok(audit_prune(clock_timestamp()) > 0, 'the owner may remove what is old');
SELECT is((SELECT count(*) FROM public.audit), 0::bigint, 'and it is gone');

SELECT * FROM finish();
ROLLBACK;
