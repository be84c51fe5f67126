-- SPDX-License-Identifier: Apache-2.0
-- Each role can do its work and nothing else.
\set QUIET on
BEGIN;
SELECT no_plan();

CREATE FUNCTION pg_temp.privileges(role text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(c.relname || ':' || (
               SELECT string_agg(left(p, 1), '' ORDER BY n) FROM unnest('{select,insert,update,delete,truncate,references,trigger}'::text[])
                   WITH ORDINALITY AS r (p, n) WHERE has_table_privilege(role, c.oid, p)), ' ' ORDER BY c.relname COLLATE "C")
    FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'S')
        AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype = 'e')
$$;
CREATE FUNCTION pg_temp.functions(role text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(proname, ' ' ORDER BY proname) FROM pg_proc p WHERE pronamespace = 'public'::regnamespace
        AND has_function_privilege(role, p.oid, 'execute') AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND deptype = 'e')
$$;
CREATE ROLE holdline_stranger;
GRANT USAGE ON SCHEMA public TO holdline_stranger;

SELECT is(pg_temp.privileges('holdline_mapperd'), 'binding:siu blocked_certificate:s change_log:s change_log_floor:s cn_mapping:s credential:s device_info:s domain:s mapperd:s rights_rule:s '
    'sip_user:s trust_store:s unmapped_device:siud user_group:s user_group_member:s', 'holdline_mapperd reads, and writes bindings');
SELECT is(pg_temp.privileges('holdline_admin'), 'audit:s binding:s blocked_certificate:siud change_log:s change_log_floor:s cn_mapping:siud credential:iud device:siud device_info:siud domain:siud mapperd:s rights_rule:siud '
    'sip_user:siud tenant:siud tenant_device:siud tenant_role:s trust_store:siud unmapped_device:sd user_group:siud user_group_member:siud', 'holdline_admin provisions');
SELECT is(pg_temp.privileges('holdline_stranger'), NULL, 'others have nothing');
SELECT is(pg_temp.functions('holdline_mapperd'), 'bind_put bind_remove binding_purge change_log_prune cn_canonical domain_canonical identity_canonical mapperd_enrol '
    'number_canonical report_unmapped shown tidy_unmapped unmapped_max unmapped_trim user_part_canonical', 'functions of holdline_mapperd');
SELECT is(pg_temp.functions('holdline_admin'), 'cn_canonical device_cn device_set_identities domain_canonical identity_canonical number_canonical '
    'replace_device retire_device set_credential set_credential_ha1 shown tenant_default tenant_default_position tenant_domains user_part_canonical', 'functions of holdline_admin');
SELECT is(pg_temp.functions('holdline_stranger'), NULL, 'others have no function');
SELECT is((SELECT count(*) FROM pg_attribute a WHERE attnum > 0 AND attrelid = 'mapperd'::regclass
    AND has_column_privilege('holdline_mapperd', attrelid, attnum, 'update')), 3::bigint, 'of its row mapperd writes counter, position and time');
SELECT ok(NOT rolsuper AND NOT rolcreaterole AND NOT rolcreatedb AND NOT rolreplication AND NOT rolbypassrls, rolname || ' has no power of the cluster')
FROM pg_roles WHERE rolname IN ('holdline_mapperd', 'holdline_admin');
SELECT ok(NOT has_schema_privilege('holdline_mapperd', 'public', 'create') AND NOT has_schema_privilege('holdline_admin', 'public', 'create'),
    'nobody makes objects where trigger functions look');

-- The work of each, done as that role.
SET LOCAL ROLE holdline_admin;
INSERT INTO domain (name) VALUES ('example.org');
INSERT INTO cn_mapping (cn, identity) VALUES ('00:04:f2:24:a6:ac', 'alice@example.org') ON CONFLICT DO NOTHING;
COPY cn_mapping (cn, identity) FROM STDIN;
0004F224A6AD	bob@example.org
\.
INSERT INTO user_group (name) VALUES ('staff');
INSERT INTO user_group_member (group_name, identity) VALUES ('staff', 'alice@example.org');
INSERT INTO rights_rule (who_kind, who, effect) VALUES ('group', 'staff', 'deny');
SELECT set_credential('alice@example.org', NULL, 'secret') AS forget \gset
SELECT set_credential('alice@example.org', NULL, 'changed') AS forget \gset
UPDATE credential SET ha1_md5 = NULL WHERE identity = 'alice@example.org';
INSERT INTO credential (identity, ha1_md5) VALUES ('bob@example.org', md5('bob:example.org:x'));
DELETE FROM credential WHERE identity = 'bob@example.org';
UPDATE sip_user SET state = 'disabled' WHERE identity = 'bob@example.org';
UPDATE trust_store SET state = 'disabled' WHERE name = 'corp';
INSERT INTO device (cn, identities, label) VALUES ('00:04:f2:24:a6:af', '{dora@example.org}', 'Desk');
UPDATE device SET state = 'disabled' WHERE cn = '0004F224A6AD';
SELECT replace_device('0004F224A6AF', '0004F224A6B0') = 1 AND retire_device('0004F224A6B0') = 1 AS forget \gset
RESET ROLE;
SELECT ok((SELECT count(*) FROM change_log) > 0, 'what the admin changes is logged');

SET LOCAL ROLE holdline_mapperd;
SELECT mapperd_enrol('m1') = mapperd_enrol('m1') AS same \gset
UPDATE mapperd SET counter = counter + 1, position_xmin = pg_snapshot_xmin(pg_current_snapshot()), seen_at = now() WHERE name = 'm1';
SELECT bind_put('alice@example.org', 'd', 'c:x', 'device', '0004F224A6AC', 'mapping', 'alice@example.org', '', 0, 'sip:x', 4000000000,
    1000, 'c', 1, 'p/1/0/0/1', '', 1, 1) AS put \gset
INSERT INTO binding (aor, device_key, instance_key, store, cn, ground, entry, contact, expires_at, call_id, cseq, flow, version_ms, version_by)
VALUES ('alice@example.org', 'd', 'c:x', 'device', '0004F224A6AC', 'mapping', 'alice@example.org', 'sip:x', now(), 'c', 2, 'p/1/0/0/1', 2, 1)
ON CONFLICT (aor, device_key, instance_key) DO UPDATE SET version_ms = excluded.version_ms
    WHERE (excluded.version_ms, excluded.version_by) > (binding.version_ms, binding.version_by);
SELECT count(*) AS keys FROM change_log WHERE xid >= pg_current_xact_id() \gset
SELECT system_identifier AS system FROM pg_control_system() \gset
RESET ROLE;
SELECT ok(:'same' AND :'put' AND :keys > 0 AND :system <> 0, 'mapperd does its work');
SELECT isnt((SELECT count(*) FROM change_log WHERE kind = 'binding'), 0::bigint, 'its bindings are logged');

CREATE FUNCTION pg_temp.denied(role text, statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('SET LOCAL ROLE %I', role);
    EXECUTE statement;
    RESET ROLE;
    RETURN fail(role || ' may: ' || statement);
EXCEPTION WHEN insufficient_privilege THEN
    RESET ROLE;
    RETURN pass(role || ' may not: ' || statement);
END
$$;
SELECT pg_temp.denied(role, statement) FROM (VALUES
    ('holdline_mapperd', $$INSERT INTO cn_mapping (cn, identity) VALUES ('0004F224A6AC', 'x@example.org')$$),
    ('holdline_mapperd', $$DELETE FROM cn_mapping$$),
    ('holdline_mapperd', $$UPDATE sip_user SET state = 'enabled'$$),
    ('holdline_mapperd', $$INSERT INTO rights_rule (effect) VALUES ('allow')$$),
    ('holdline_mapperd', $$UPDATE trust_store SET state = 'enabled'$$),
    ('holdline_mapperd', $$DELETE FROM binding$$),
    ('holdline_mapperd', $$INSERT INTO change_log (stamp, system_id, database_oid, kind, key) VALUES (0, 0, 0, 'all', '{}')$$),
    ('holdline_mapperd', $$DELETE FROM change_log$$),
    ('holdline_mapperd', $$UPDATE change_log_floor SET xid = '0'$$),
    ('holdline_mapperd', $$SELECT FROM change_log_position$$),
    ('holdline_mapperd', $$UPDATE mapperd SET name = 'm2'$$),
    ('holdline_mapperd', $$INSERT INTO mapperd (name, counter) VALUES ('m3', 1)$$),
    ('holdline_mapperd', $$DELETE FROM mapperd$$),
    ('holdline_mapperd', $$UPDATE credential SET ha1_md5 = NULL$$),
    ('holdline_mapperd', $$SELECT set_credential('alice@example.org', NULL, 'x')$$),
    ('holdline_mapperd', $$SELECT retire_device('0004F224A6AC')$$),
    ('holdline_mapperd', $$SELECT replace_device('0004F224A6AC', '0004F224A6AD')$$),
    ('holdline_mapperd', $$UPDATE device_info SET state = 'known'$$),
    ('holdline_mapperd', $$SELECT FROM device$$),
    ('holdline_mapperd', $$SELECT bindings_end_of_users('{alice@example.org}')$$),
    ('holdline_mapperd', $$CREATE TABLE public.x ()$$),
    ('holdline_admin', $$UPDATE unmapped_device SET cn = cn$$),
    ('holdline_admin', $$SELECT tidy_unmapped()$$),
    ('holdline_admin', $$SELECT * FROM credential$$),
    ('holdline_admin', $$SELECT ha1_md5 FROM credential$$),
    ('holdline_admin', $$SELECT ha1_sha256 FROM credential$$),
    ('holdline_admin', $$SELECT identity FROM credential WHERE ha1_md5 LIKE '0%'$$),
    ('holdline_admin', $$DELETE FROM credential RETURNING ha1_md5$$),
    ('holdline_admin', $$UPDATE credential SET realm = ha1_sha256$$),
    ('holdline_admin', $$UPDATE binding SET removed = true$$),
    ('holdline_admin', $$DELETE FROM binding$$),
    ('holdline_admin', $$SELECT binding_purge('', '', '', 1)$$),
    ('holdline_mapperd', $$SELECT binding_is_over(now(), 1)$$),
    ('holdline_admin', $$DELETE FROM change_log$$),
    ('holdline_admin', $$SELECT change_log_prune('1 second', 1)$$),
    ('holdline_admin', $$TRUNCATE cn_mapping$$),
    ('holdline_admin', $$ALTER TABLE cn_mapping DISABLE TRIGGER USER$$),
    ('holdline_admin', $$SELECT bindings_end_of_users('{alice@example.org}')$$),
    ('holdline_admin', $$SELECT bind_put('a', 'd', 'c:x', 's', 'c', 'name', 'e', '', 0, 'c', 1, 1, 'c', 1, 'f', '', 1, 1)$$),
    ('holdline_admin', $$SELECT mapperd_enrol('x')$$),
    ('holdline_admin', $$SET session_replication_role = replica$$),
    ('holdline_stranger', $$SELECT FROM cn_mapping$$),
    ('holdline_stranger', $$SELECT FROM device$$),
    ('holdline_stranger', $$INSERT INTO device (cn) VALUES ('0004F224A6AC')$$),
    ('holdline_stranger', $$SELECT identity_canonical('a@b.c')$$)
) AS forbidden (role, statement);

-- A search path of the caller's leads no trigger astray.
CREATE SCHEMA evil AUTHORIZATION holdline_admin;
SET LOCAL ROLE holdline_admin;
CREATE FUNCTION evil.identity_canonical(text) RETURNS text LANGUAGE sql AS $$ SELECT 'boss@example.org' $$;
CREATE FUNCTION evil.lower(text) RETURNS text LANGUAGE sql AS $$ SELECT 'evil' $$;
CREATE TABLE evil.domain (name text);
CREATE TEMP TABLE change_log (LIKE public.change_log);
SET LOCAL search_path = evil, pg_temp, public, pg_catalog;
INSERT INTO public.cn_mapping (cn, identity) VALUES ('0004F224A6AE', 'carol@Example.ORG');
SELECT count(*) AS astray FROM pg_temp.change_log \gset
RESET search_path;
RESET ROLE;
SELECT is((SELECT identity || ' ' || user_identity FROM cn_mapping WHERE cn = '0004F224A6AE'), 'carol@example.org carol@example.org',
    'a search path of the caller''s leads no trigger astray');
SELECT is(:astray, 0, 'nor the log');

SELECT * FROM finish();
ROLLBACK;
