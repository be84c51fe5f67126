-- SPDX-License-Identifier: Apache-2.0
-- T56: a role that is granted one domain provisions there, and neither sees nor touches anything else.
\set QUIET on
BEGIN;
SELECT no_plan();

CREATE FUNCTION pg_temp.refusal(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    SET CONSTRAINTS ALL IMMEDIATE;
    SET CONSTRAINTS ALL DEFERRED;
    RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END
$$;
-- All that a client is told of an error.
CREATE FUNCTION pg_temp.told(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    message text; detail text; hint text; context text; name text;
BEGIN
    EXECUTE statement;
    RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT,
        context = PG_EXCEPTION_CONTEXT, name = CONSTRAINT_NAME;
    -- The statement itself stands in the context.
    RETURN concat_ws('|', SQLSTATE, message, detail, hint, name, array_length(string_to_array(context, E'\n'), 1));
END
$$;
CREATE FUNCTION pg_temp.count(statement text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    rows bigint;
BEGIN
    EXECUTE statement;
    GET DIAGNOSTICS rows = ROW_COUNT;
    RETURN rows;
END
$$;

-- What is there before there are tenants.
INSERT INTO domain (name) VALUES ('a.example'), ('b.example'), ('c.example');
INSERT INTO trust_store (name) VALUES ('secret-customer');
INSERT INTO cn_mapping (cn, identity) VALUES ('0000000000A1', 'anna@a.example'), ('0000000000A2', 'a.example'),
    ('0000000000B1', 'bert@b.example'), ('0000000000B2', 'b.example'), ('0000000000F1', 'foreign.example');
INSERT INTO user_group (name) VALUES ('staff'), ('hidden');
INSERT INTO user_group_member (group_name, identity) VALUES ('hidden', 'bert@b.example'), ('hidden', 'anna@a.example'), ('staff', 'anna@a.example');
INSERT INTO rights_rule (who_kind, who, effect) VALUES ('user', 'anna@a.example', 'deny');
CREATE ROLE anton LOGIN;
CREATE ROLE berta LOGIN;
CREATE ROLE twice LOGIN;
CREATE ROLE nobody_yet LOGIN;
CREATE ROLE operator LOGIN IN ROLE holdline_admin;
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;

SELECT is(pg_temp.refusal($$SELECT tenant_grant('anton', 'a.example')$$), '55000', 'no tenant while row security is off');
SELECT tenants_enable() AS forget \gset
SELECT ok(rolbypassrls, 'mapperd sees every row') FROM pg_roles WHERE rolname = 'holdline_mapperd';
SELECT is(pg_temp.refusal($$SELECT tenant_grant('operator', 'a.example')$$), '0LP01', 'who has every domain is no tenant');
SELECT is(pg_temp.refusal($$SELECT tenant_grant('holdline_mapperd', 'a.example')$$), '0LP01', 'nor is mapperd');
SELECT isnt(pg_temp.refusal($$SELECT tenant_grant('anton', 'foreign.example')$$), 'accepted', 'nor of a domain that is not ours');
SELECT tenant_grant('anton', 'A.example.'), tenant_grant('berta', 'b.example') AS forget \gset
UPDATE tenant SET groups = '{staff}', may_allow_domains = '{pbx.example}', may_allow_numbers = '{+49}';

-- Every table that a tenant may write has a policy, and what has none gives nothing.
SELECT ok(relrowsecurity AND EXISTS (SELECT FROM pg_policy WHERE polrelid = c.oid AND polname = 'tenant'), format('row security stands before %s', relname))
FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND has_any_column_privilege('holdline_tenant', c.oid, 'select, insert, update');
SELECT ok(coalesce('security_invoker=true' = ANY (reloptions), false), format('view %s asks as who looks', relname))
FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind = 'v' AND has_any_column_privilege('holdline_tenant', c.oid, 'select')
    AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype = 'e');
SELECT ok(NOT prosecdef, format('function %s runs as who calls', proname)) FROM pg_proc p
WHERE pronamespace = 'public'::regnamespace AND has_function_privilege('holdline_tenant', p.oid, 'execute')
    AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND deptype = 'e');
SELECT ok(NOT has_table_privilege('holdline_tenant', c.oid, 'truncate, references, trigger'), format('no TRUNCATE, REFERENCES or TRIGGER on %s', relname))
FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v') AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype = 'e');
SELECT ok(NOT has_sequence_privilege('holdline_tenant', c.oid, 'usage, select, update'), format('no sequence %s', relname))
FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind = 'S' AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype = 'e');

SET SESSION AUTHORIZATION anton;

-- It sees its domain and nothing else.
SELECT is((SELECT string_agg(name, ' ') FROM domain), 'a.example', 'domains');
SELECT is((SELECT string_agg(name, ' ') FROM trust_store), 'device', 'trust stores');
SELECT is((SELECT string_agg(identity, ' ' ORDER BY cn) FROM cn_mapping), 'anna@a.example a.example', 'mappings');
SELECT is((SELECT string_agg(identity, ' ') FROM sip_user), 'anna@a.example', 'users');
SELECT is((SELECT string_agg(name, ' ') FROM user_group), 'staff', 'groups');
SELECT is((SELECT string_agg(group_name || ':' || identity, ' ') FROM user_group_member), 'staff:anna@a.example', 'members');
SELECT is((SELECT count(*) FROM rights_rule), 0::bigint, 'rules of the operator are not seen');
SELECT is((SELECT string_agg(domain, ' ') FROM tenant), 'a.example', 'tenants');
SELECT is((SELECT string_agg(role::text, ' ') FROM tenant_role), 'anton', 'roles of tenants');
SELECT is((SELECT string_agg(concat_ws(':', table_name, identity, name), ' ' ORDER BY id) FROM audit WHERE operation = 'insert' AND table_name <> 'tenant'),
    'cn_mapping:anna@a.example cn_mapping:a.example sip_user:anna@a.example user_group_member:anna@a.example:staff', 'audit');
SELECT is((SELECT count(*) FROM audit WHERE audit::text ~ 'b\.example|secret|hidden|foreign'), 0::bigint, 'the audit tells of no other');
SELECT is(device_cn('00:00:00:00:00:a1'), '0000000000A1', 'functions for people work');

-- It provisions.
INSERT INTO cn_mapping (cn, identity) VALUES ('00:00:00:00:00:a3', 'SIP:Adam@A.Example'), ('0000000000A4', 'a.example');
INSERT INTO cn_mapping (cn, identity, user_identity) VALUES ('0000000000A5', 'abel@a.example', 'abel@a.example');
SELECT is((SELECT string_agg(identity, ' ' ORDER BY identity) FROM sip_user), 'Adam@a.example abel@a.example anna@a.example', 'users are made');
INSERT INTO sip_user (identity) VALUES ('agnes@a.example');
UPDATE sip_user SET display_name = 'Agnes' WHERE identity = 'agnes@a.example';
INSERT INTO user_group_member (group_name, identity) VALUES ('staff', 'agnes@a.example');
DELETE FROM user_group_member WHERE identity = 'agnes@a.example';
SELECT is(retire_device('00:00:00:00:00:a4'), 1::bigint, 'a device is retired');
CREATE TEMP TABLE list (cn text, identity text);
COPY list FROM STDIN;
00:00:00:00:00:a6	ava@a.example
00:00:00:00:00:a7	axel@a.example
\.
INSERT INTO cn_mapping (cn, identity) SELECT cn, identity FROM list;
SELECT is((SELECT count(*) FROM cn_mapping WHERE cn IN ('0000000000A6', '0000000000A7')), 2::bigint, 'a load by INSERT and SELECT');
DELETE FROM sip_user WHERE identity = 'axel@a.example';
SELECT is((SELECT count(*) FROM cn_mapping WHERE cn = '0000000000A7'), 0::bigint, 'a user goes with its mappings');
SELECT is((SELECT who FROM audit WHERE identity = 'agnes@a.example' AND operation = 'insert' LIMIT 1), 'anton', 'and the audit tells it');

-- What it may not write: no row of another's, by any way, whether it is there or not.
SELECT is(pg_temp.refusal(statement), '42501', format('refused: %s', statement)) FROM (VALUES
    ($$INSERT INTO cn_mapping (cn, identity) VALUES ('0000000000B9', 'bert@b.example')$$),
    ($$INSERT INTO cn_mapping (cn, identity) VALUES ('0000000000A1', 'b.example')$$),
    ($$INSERT INTO cn_mapping (cn, identity) VALUES ('0000000000A1', 'x@foreign.example')$$),
    ($$INSERT INTO cn_mapping (cn, identity) VALUES ('0000000000A1', 'sub.a.example')$$),
    ($$INSERT INTO cn_mapping (cn, identity) VALUES ('0000000000A1', 'a.example@b.example')$$),
    ($$INSERT INTO cn_mapping (cn, identity) VALUES ('0000000000A1', 'x%40a.example@b.example')$$),
    ($$INSERT INTO cn_mapping (cn, identity, user_identity) VALUES ('0000000000A1', 'x@b.example', 'x@b.example')$$),
    ($$INSERT INTO cn_mapping (trust_store, cn, identity) VALUES ('corp', 'A', 'anna@a.example')$$),
    ($$INSERT INTO cn_mapping (trust_store, cn, identity) VALUES ('secret-customer', 'A', 'anna@a.example')$$),
    ($$INSERT INTO cn_mapping (trust_store, cn, identity) VALUES ('nowhere', 'A', 'anna@a.example')$$),
    ($$UPDATE cn_mapping SET identity = 'bert@b.example' WHERE cn = '0000000000A1'$$),
    ($$UPDATE cn_mapping SET trust_store = 'corp' WHERE cn = '0000000000A1'$$),
    ($$INSERT INTO sip_user (identity) VALUES ('x@b.example')$$),
    ($$INSERT INTO sip_user (identity) VALUES ('bert@b.example') ON CONFLICT (identity) DO UPDATE SET state = 'disabled'$$),
    ($$INSERT INTO sip_user (identity) VALUES ('bert@b.example') ON CONFLICT DO NOTHING$$),
    ($$UPDATE sip_user SET identity = 'x@b.example' WHERE identity = 'agnes@a.example'$$),
    ($$INSERT INTO user_group_member (group_name, identity) VALUES ('hidden', 'agnes@a.example')$$),
    ($$INSERT INTO user_group_member (group_name, identity) VALUES ('nowhere', 'agnes@a.example')$$),
    ($$INSERT INTO user_group_member (group_name, identity) VALUES ('staff', 'bert@b.example')$$),
    ($$INSERT INTO domain (name) VALUES ('d.example')$$),
    ($$UPDATE domain SET state = 'disabled'$$),
    ($$DELETE FROM domain$$),
    ($$INSERT INTO trust_store (name) VALUES ('mine')$$),
    ($$UPDATE trust_store SET state = 'disabled'$$),
    ($$INSERT INTO user_group (name) VALUES ('mine')$$),
    ($$DELETE FROM user_group$$),
    ($$UPDATE tenant SET may_allow_ours = true$$),
    ($$INSERT INTO tenant (domain) VALUES ('b.example')$$),
    ($$DELETE FROM tenant$$),
    ($$INSERT INTO tenant_role (role, domain) VALUES ('anton', 'b.example')$$),
    ($$DELETE FROM tenant_role$$),
    ($$SELECT tenant_grant('anton', 'b.example')$$),
    ($$SELECT tenant_revoke('berta', 'b.example')$$),
    ($$SELECT tenants_enable()$$),
    ($$SELECT tenant_of_session()$$),
    ($$DELETE FROM sip_user WHERE identity = 'anna@a.example'$$),
    ($$DELETE FROM audit$$),
    ($$INSERT INTO audit (who) VALUES ('x')$$),
    ($$SELECT audit_prune(now())$$),
    ($$SELECT FROM binding$$),
    ($$SELECT FROM change_log$$),
    ($$SELECT FROM change_log_floor$$),
    ($$SELECT FROM mapperd$$),
    ($$SELECT mapperd_enrol('x')$$),
    ($$SELECT bind_remove('bert@b.example', NULL, 9999999999999, 1)$$),
    ($$SELECT bindings_end_of_users('{bert@b.example}')$$),
    ($$TRUNCATE cn_mapping$$),
    ($$COPY (SELECT 1) TO PROGRAM 'true'$$),
    ($$SET ROLE holdline_admin$$),
    ($$SET ROLE berta$$),
    ($$SET ROLE postgres$$),
    ($$GRANT holdline_admin TO anton$$),
    ($$GRANT berta TO anton$$),
    ($$CREATE ROLE mine IN ROLE berta$$),
    ($$ALTER ROLE anton BYPASSRLS$$),
    ($$ALTER TABLE cn_mapping DISABLE ROW LEVEL SECURITY$$),
    ($$DROP POLICY tenant ON cn_mapping$$),
    ($$CREATE POLICY mine ON cn_mapping USING (true)$$),
    ($$CREATE TRIGGER t BEFORE INSERT ON cn_mapping FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()$$),
    ($$SET session_replication_role = replica$$),
    ($$CREATE TABLE public.mine ()$$),
    ($$CREATE FUNCTION public.identity_canonical(varchar) RETURNS text LANGUAGE sql AS 'SELECT ''bert@b.example'''$$),
    ($$CREATE OR REPLACE FUNCTION tenant_domains() RETURNS text[] LANGUAGE sql AS 'SELECT ''{b.example}''::text[]'$$)
) AS s (statement);
SELECT is(pg_temp.count(statement), 0::bigint, format('touches nothing: %s', statement)) FROM (VALUES
    ($$UPDATE cn_mapping SET created_at = now() WHERE identity LIKE '%b.example'$$),
    ($$DELETE FROM cn_mapping WHERE identity LIKE '%b.example' OR cn LIKE '%F1'$$),
    ($$UPDATE sip_user SET state = 'disabled' WHERE identity = 'bert@b.example'$$),
    ($$DELETE FROM sip_user WHERE domain <> 'a.example'$$),
    ($$DELETE FROM user_group_member WHERE group_name = 'hidden'$$),
    ($$DELETE FROM rights_rule$$),
    ($$UPDATE rights_rule SET effect = 'allow'$$)
) AS s (statement);
SET row_security = off;
SELECT is(pg_temp.refusal('SELECT FROM cn_mapping'), '42501', 'row_security = off is an error, never a look');
RESET row_security;

-- What is another's and what is not there look the same, to the last word.
SELECT is(pg_temp.told(format(s, there)), pg_temp.told(format(s, nowhere)), format('no telling %s from %s by: %s', there, nowhere, s)) FROM (VALUES
    ($$INSERT INTO sip_user (identity) VALUES ('x@%s.example')$$, 'b', 'q'),
    ($$INSERT INTO sip_user (identity) VALUES ('%s@b.example')$$, 'bert', 'nobody'),
    ($$INSERT INTO cn_mapping (cn, identity) VALUES ('0000000000A1', '%s.example')$$, 'b', 'q'),
    ($$INSERT INTO cn_mapping (cn, identity) VALUES ('0000000000B1', '%s@b.example')$$, 'bert', 'nobody'),
    ($$INSERT INTO cn_mapping (trust_store, cn, identity) VALUES ('%s', 'A', 'anna@a.example')$$, 'secret-customer', 'nowhere'),
    ($$INSERT INTO cn_mapping (trust_store, cn, identity) VALUES ('%s', '0000000000A1', 'anna@a.example')$$, 'corp', 'nowhere'),
    ($$INSERT INTO cn_mapping (trust_store, cn, identity, user_identity) VALUES ('%s', '0000000000A1', 'anna@a.example', 'anna@a.example')$$, 'corp', 'nowhere'),
    ($$INSERT INTO user_group_member (group_name, identity) VALUES ('%s', 'agnes@a.example')$$, 'hidden', 'nowhere'),
    ($$INSERT INTO user_group_member (group_name, identity) VALUES ('staff', '%s@b.example')$$, 'bert', 'nobody'),
    ($$INSERT INTO rights_rule (who_kind, who, effect) VALUES ('user', '%s@b.example', 'deny')$$, 'bert', 'nobody'),
    ($$INSERT INTO rights_rule (who_kind, who, effect) VALUES ('domain', '%s.example', 'deny')$$, 'b', 'q'),
    ($$INSERT INTO rights_rule (who_kind, who, effect) VALUES ('group', '%s', 'deny')$$, 'hidden', 'nowhere'),
    ($$INSERT INTO rights_rule (who_kind, who, trust_store, effect) VALUES ('domain', 'a.example', '%s', 'deny')$$, 'secret-customer', 'nowhere'),
    ($$INSERT INTO rights_rule (tenant, who_kind, who, effect) VALUES ('%1$s.example', 'domain', '%1$s.example', 'deny')$$, 'b', 'c')
) AS s (s, there, nowhere);
SELECT is(replace(pg_temp.told($$SELECT retire_device('0000000000B1')$$), 'B1', '??'), replace(pg_temp.told($$SELECT retire_device('0000000000BF')$$), 'BF', '??'),
    'nor by retire_device');
SELECT is(regexp_replace(pg_temp.told($$SELECT device_cn('A', 'corp')$$), 'corp', '?'), regexp_replace(pg_temp.told($$SELECT device_cn('A', 'nowhere')$$), 'nowhere', '?'),
    'nor by device_cn');
-- A leaky function in WHERE sees only what the policy lets through.
CREATE FUNCTION pg_temp.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN RAISE EXCEPTION USING MESSAGE = 'leaked ' || $1; END $$;
SELECT matches(pg_temp.told($$SELECT FROM cn_mapping WHERE pg_temp.leak(identity)$$), 'leaked [^|]*a\.example', 'a leaky function sees own rows only');
SELECT doesnt_match(pg_temp.told($$SELECT FROM cn_mapping WHERE identity LIKE '%b.example' OR pg_temp.leak(identity)$$), 'b\.example', 'and not another''s');
-- Statistics tell nothing of rows.
SELECT is((SELECT count(*) FROM pg_stats WHERE tablename = 'cn_mapping'), 0::bigint, 'no statistics');
-- A search path of its own leads nothing astray.
CREATE TEMP TABLE tenant_role (role regrole, domain text);
INSERT INTO pg_temp.tenant_role VALUES ('anton', 'b.example');
SET LOCAL search_path = pg_temp, public, pg_catalog;
SELECT is((SELECT count(*) FROM public.cn_mapping WHERE identity LIKE '%b.example'), 0::bigint, 'a search path of its own');
RESET search_path;
DROP TABLE pg_temp.tenant_role;

-- Another's device: its own identities may be put on it; nothing of the other is seen or goes.
INSERT INTO cn_mapping (cn, identity) VALUES ('0000000000B1', 'agnes@a.example');
SELECT is((SELECT count(*) FROM cn_mapping WHERE cn = '0000000000B1'), 1::bigint, 'of a shared device it sees its own part');
SELECT is(retire_device('0000000000B1'), 1::bigint, 'and takes away its own part');

-- Devices: label and site are the tenant's, the state is the operator's.
INSERT INTO device (cn, identities, label) VALUES ('00:00:00:00:00:a9', '{agnes@a.example}', 'Door');
UPDATE device SET site = 'Hall' WHERE cn = '0000000000A9';
SELECT is((SELECT concat_ws(' ', identities, state, label, site, domain) FROM device WHERE cn = '0000000000A9'),
    '{agnes@a.example} known Door Hall a.example', 'a device by the view');
SELECT is(pg_temp.told($$INSERT INTO device (cn, identities) VALUES ('0000000000A9', '{agnes@a.example}')$$),
    pg_temp.told($$INSERT INTO device (cn, identities) VALUES ('00:00:00:00:00:a9', '{}')$$), 'which is there once, by any spelling');
SELECT is((SELECT count(*) FROM device WHERE cn LIKE '0000000000B%' OR cn LIKE '%F1'), 0::bigint, 'the view shows no other');
INSERT INTO device (cn, label, site) VALUES ('0000000000AA', 'stock', 'cellar');
SELECT is(replace_device('0000000000A9', '0000000000AA'), 1::bigint, 'a device is replaced');
SELECT is((SELECT string_agg(concat_ws(' ', cn, label, site), ',') FROM tenant_device), '0000000000AA Door Hall', 'and its label moves');
INSERT INTO device (cn, label) VALUES ('0000000000AC', 'stock');
UPDATE device SET identities = '{agnes@a.example}' WHERE cn = '0000000000AC';
SELECT is(retire_device('0000000000AC'), 1::bigint, 'a device is retired by the view''s name');
INSERT INTO device (cn, label) VALUES ('0000000000AC', 'stock');
DELETE FROM device WHERE cn = '0000000000AC';
SELECT is((SELECT count(*) FROM tenant_device WHERE cn = '0000000000AC'), 0::bigint, 'with what was written of it');
SELECT is(pg_temp.refusal(statement), '42501', format('refused: %s', statement)) FROM (VALUES
    ($$INSERT INTO device_info (cn) VALUES ('0000000000AB')$$),
    ($$UPDATE device_info SET state = 'disabled'$$),
    ($$DELETE FROM device_info$$),
    ($$UPDATE device SET state = 'disabled' WHERE cn = '0000000000AA'$$),
    ($$INSERT INTO device (cn, identities, state) VALUES ('0000000000AB', '{agnes@a.example}', 'disabled')$$),
    ($$INSERT INTO device (cn, identities) VALUES ('0000000000AB', '{bert@b.example}')$$),
    ($$INSERT INTO device (cn, domain) VALUES ('0000000000AB', 'b.example')$$),
    ($$UPDATE device SET domain = 'b.example' WHERE cn = '0000000000AA'$$),
    ($$INSERT INTO tenant_device (cn, domain) VALUES ('0000000000B1', 'b.example')$$),
    ($$INSERT INTO tenant_device (cn, domain) VALUES ('0000000000B1', 'B.Example.')$$),
    ($$INSERT INTO tenant_device (cn, domain) VALUES ('0000000000B1', 'q.example')$$),
    ($$INSERT INTO tenant_device (trust_store, cn) VALUES ('secret-customer', 'x')$$),
    ($$INSERT INTO tenant_device (trust_store, cn) VALUES ('secret-customer', '0000000000A1')$$),
    ($$INSERT INTO tenant_device (trust_store, cn) VALUES ('nowhere', 'x')$$),
    ($$UPDATE tenant_device SET domain = 'b.example'$$)
) AS s (statement);

-- Two tenants have the same device: each writes, sees its own, and is told nothing of the other.
INSERT INTO cn_mapping (cn, identity) VALUES ('0000000000B1', 'agnes@a.example');
UPDATE device SET label = 'Agnes', site = 'A' WHERE cn = '0000000000B1';
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION berta;
SELECT is((SELECT concat_ws(' ', identities, state, label, site, domain) FROM device WHERE cn = '0000000000B1'), '{bert@b.example} known', 'what another wrote is not seen');
SELECT is(pg_temp.told(statement), 'accepted', 'nor does it refuse: ' || statement) FROM (VALUES
    ($$UPDATE device SET label = 'Bert', site = 'B' WHERE cn = '0000000000B1'$$),
    ($$INSERT INTO device (cn, label) VALUES ('0000000000AA', 'mine too')$$),
    ($$INSERT INTO tenant_device (cn, label) VALUES ('0000000000A2', 'mine as well')$$)
) AS s (statement);
SELECT is((SELECT string_agg(concat_ws(' ', cn, label, site, domain), ',' ORDER BY cn) FROM tenant_device),
    '0000000000A2 mine as well b.example,0000000000AA mine too b.example,0000000000B1 Bert B b.example', 'each has rows of its own');
SELECT is((SELECT count(*) FROM audit WHERE table_name = 'tenant_device' AND domain IS DISTINCT FROM 'b.example'), 0::bigint, 'the audit tells of no other''s');
SELECT is((SELECT count(*) FROM audit WHERE table_name = 'tenant_device'), 3::bigint, 'and of its own');
SELECT is(pg_temp.count($$DELETE FROM device WHERE cn IN ('0000000000AA', '0000000000A2')$$), 2::bigint, 'it deletes its own');
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION operator;
SELECT is((SELECT concat_ws(' ', identities, state, label, site, domain) FROM device WHERE cn = '0000000000B1'), '{agnes@a.example,bert@b.example} known',
    'the operator''s view shows no tenant''s label');
UPDATE device SET label = 'Desk 4' WHERE cn = '0000000000B1';
SELECT is((SELECT string_agg(concat_ws(' ', cn, label, domain), ',') FROM device_info), '0000000000B1 Desk 4', 'its own is in device_info');
SELECT is((SELECT string_agg(concat_ws(' ', label, domain), ',' ORDER BY domain) FROM tenant_device WHERE cn = '0000000000B1'), 'Agnes a.example,Bert b.example',
    'and the tables show it what tenants have');
INSERT INTO tenant_device (trust_store, cn, domain) VALUES ('secret-customer', '00:00:00:00:00:b1', 'b.example');
SELECT is(pg_temp.refusal($$UPDATE trust_store SET cn_form = CASE cn_form WHEN 'mac' THEN 'exact' ELSE 'mac' END WHERE name = 'secret-customer'$$), '23514',
    'how CNs are read stays while a tenant has a device');
DELETE FROM tenant_device WHERE trust_store = 'secret-customer';
SELECT is(replace_device('0000000000B1', '0000000000B3'), 2::bigint, 'the operator replaces a device of both');
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION anton;
SELECT is((SELECT concat_ws(' ', identities, state, label, site, domain) FROM device WHERE cn = '0000000000B3'), '{agnes@a.example} known Agnes A a.example',
    'which a tenant sees with its own label');
SELECT is((SELECT count(*) FROM device_info), 0::bigint, 'and nothing that the operator wrote');
SELECT is(retire_device('0000000000B3'), 1::bigint, 'it gives its part up');
RESET SESSION AUTHORIZATION;
SELECT is((SELECT string_agg(concat_ws(' ', cn, label, domain), ',') FROM tenant_device WHERE cn LIKE '%B_'), '0000000000B3 Bert b.example', 'the other''s stays');
SELECT is((SELECT string_agg(cn || label, ',') FROM device_info), '0000000000B3Desk 4', 'and the operator''s');
SET SESSION AUTHORIZATION operator;
SELECT is(replace_device('0000000000B3', '0000000000B1'), 1::bigint, 'back');
DELETE FROM device_info WHERE cn = '0000000000B1';
-- Of a disabled device a tenant is told where the operator names its domain.
UPDATE device SET state = 'disabled' WHERE cn = '0000000000A1';
INSERT INTO device_info (cn, state, domain) VALUES ('0000000000AA', 'disabled', 'a.example');
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION anton;
SELECT is((SELECT string_agg(cn || state, ' ' ORDER BY cn) FROM device WHERE cn IN ('0000000000A1', '0000000000AA')), '0000000000A1known 0000000000AAdisabled',
    'it sees what the operator disabled and names as its own');
UPDATE device SET label = 'Gate' WHERE cn = '0000000000AA';
SELECT is((SELECT concat_ws(' ', state, label) FROM device WHERE cn = '0000000000AA'), 'disabled Gate', 'may label it');
SELECT is(pg_temp.refusal($$UPDATE device SET state = 'known' WHERE cn = '0000000000AA'$$), '42501', 'and cannot give it back');
DELETE FROM device WHERE cn = '0000000000AA';
SELECT is((SELECT state FROM device WHERE cn = '0000000000AA'), 'disabled', 'nor by deleting it');

-- Passwords of its users, which it does not read back.
SELECT set_credential('agnes@a.example', NULL, 'geheim') AS forget \gset
SELECT is((SELECT string_agg(identity || ' ' || username, ',') FROM credential), 'agnes@a.example agnes', 'it sets passwords');
SELECT is(pg_temp.refusal(statement), '42501', format('refused: %s', statement)) FROM (VALUES
    ($$SELECT set_credential('bert@b.example', NULL, 'geheim')$$),
    ($$INSERT INTO credential (identity, ha1_md5) VALUES ('bert@b.example', md5('x'))$$),
    ($$INSERT INTO credential (identity, ha1_md5) VALUES ('nobody@b.example', md5('x'))$$),
    ($$SELECT ha1_md5 FROM credential$$)
) AS s (statement);
SELECT is(pg_temp.told($$INSERT INTO credential (identity, ha1_md5) VALUES ('bert@b.example', md5('x'))$$),
    pg_temp.told($$INSERT INTO credential (identity, ha1_md5) VALUES ('nobody@b.example', md5('x'))$$), 'a credential tells not who is there');

-- Rules: behind the operator's, for its own callers, to what it may.
INSERT INTO rights_rule (who_kind, who, target_kind, target, effect) VALUES ('domain', 'a.example', 'number', '+4930', 'allow'),
    ('user', 'agnes@a.example', 'domain', 'pbx.example', 'allow'), ('domain', 'a.example', 'user', 'anna@a.example', 'allow'),
    ('user', 'agnes@a.example', 'any', NULL, 'deny');
SELECT is((SELECT string_agg(DISTINCT tenant || ' ' || position, ',') FROM rights_rule), 'a.example 1000100', 'rules of a tenant say so, and stand behind');
SELECT is(pg_temp.refusal('INSERT INTO rights_rule ' || statement), refusal, format('rule %s', statement)) FROM (VALUES
    ($$(effect) VALUES ('deny')$$, '42501'),
    ($$(who_kind, who, effect) VALUES ('domain', 'b.example', 'deny')$$, '42501'),
    ($$(who_kind, who, effect) VALUES ('user', 'bert@b.example', 'deny')$$, '42501'),
    ($$(who_kind, who, effect) VALUES ('group', 'staff', 'deny')$$, '42501'),
    ($$(who_kind, who, effect) VALUES ('domain', 'a.example', 'allow')$$, '42501'),
    ($$(who_kind, who, target_kind, effect) VALUES ('domain', 'a.example', 'ours', 'allow')$$, '42501'),
    ($$(who_kind, who, target_kind, target, effect) VALUES ('domain', 'a.example', 'domain', 'b.example', 'allow')$$, '42501'),
    ($$(who_kind, who, target_kind, target, effect) VALUES ('domain', 'a.example', 'user', 'bert@b.example', 'allow')$$, '42501'),
    ($$(who_kind, who, target_kind, target, effect) VALUES ('domain', 'a.example', 'number', '+1', 'allow')$$, '42501'),
    ($$(who_kind, who, target_kind, target, effect) VALUES ('domain', 'a.example', 'number', '+4', 'allow')$$, '42501'),
    ($$(who_kind, who, position, effect) VALUES ('domain', 'a.example', 1, 'deny')$$, '23514'),
    ($$(who_kind, who, tenant, position, effect) VALUES ('domain', 'a.example', NULL, 1, 'deny')$$, '42501'),
    ($$(who_kind, who, tenant, effect) VALUES ('domain', 'a.example', 'b.example', 'deny')$$, '42501')
) AS s (statement, refusal);
SELECT is(pg_temp.refusal(statement), '42501', statement) FROM (VALUES
    ($$UPDATE rights_rule SET target_kind = 'any', target = NULL WHERE target_kind = 'number'$$),
    ($$UPDATE rights_rule SET tenant = NULL, position = 5$$),
    ($$UPDATE rights_rule SET effect = 'allow' WHERE effect = 'deny'$$)
) AS s (statement);
SELECT is(pg_temp.refusal($$UPDATE rights_rule SET position = 5$$), '23514', 'it cannot move before the operator''s');
RESET SESSION AUTHORIZATION;

-- The operator: sees all; less for a tenant is less at once.
SET SESSION AUTHORIZATION operator;
SELECT is((SELECT count(*) FROM rights_rule WHERE tenant = 'a.example'), 4::bigint, 'the operator sees the rules of tenants');
SELECT is((SELECT count(*) FROM cn_mapping WHERE identity LIKE '%b.example'), 2::bigint, 'and all mappings; what was another''s stands');
SELECT is((SELECT count(*) FROM sip_user WHERE identity = 'bert@b.example' AND state = 'enabled'), 1::bigint, 'and its users');
SELECT is(pg_temp.refusal($$INSERT INTO rights_rule (tenant, position, who_kind, who, effect) VALUES ('a.example', 1000000, 'domain', 'b.example', 'deny')$$),
    '42501', 'a rule of a tenant is bounded whoever writes it');
SELECT is(pg_temp.refusal($$INSERT INTO rights_rule (position, effect) VALUES (1000000, 'deny')$$), '23514', 'what stands behind is a tenant''s');
INSERT INTO rights_rule (effect) VALUES ('deny') RETURNING tenant IS NULL AND position = 100 AS own \gset
SELECT ok(:'own', 'a rule of the operator''s stands where it always stood');
UPDATE tenant SET may_allow_numbers = '{}' WHERE domain = 'a.example';
SELECT is((SELECT count(*) FROM rights_rule WHERE tenant = 'a.example' AND target_kind = 'number'), 0::bigint, 'less for a tenant is less at once');
SELECT is((SELECT count(*) FROM rights_rule WHERE tenant = 'a.example'), 3::bigint, 'the others stay');
DELETE FROM tenant WHERE domain = 'a.example';
SELECT is((SELECT count(*) FROM rights_rule WHERE tenant = 'a.example'), 0::bigint, 'rules go with the tenant');
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION anton;
SELECT is((SELECT count(*) FROM cn_mapping), 0::bigint, 'without its domain it sees nothing');
SELECT is((SELECT count(*) FROM audit), 0::bigint, 'nor in the audit');
RESET SESSION AUTHORIZATION;

-- Who inherits from a tenant's role, and who has two.
GRANT berta TO nobody_yet;
SELECT tenant_grant('anton', 'a.example'), tenant_grant('twice', 'a.example'), tenant_grant('twice', 'b.example') AS forget \gset
SET SESSION AUTHORIZATION nobody_yet;
SELECT is((SELECT string_agg(name, ' ') FROM domain), 'b.example', 'who inherits from a tenant sees what it sees');
SELECT is(pg_temp.refusal($$INSERT INTO sip_user (identity) VALUES ('x@a.example')$$), '42501', 'and no more');
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION twice;
SELECT is((SELECT string_agg(name, ' ' ORDER BY name) FROM domain), 'a.example b.example', 'one role may have two domains');
INSERT INTO tenant_device (cn, domain, label) VALUES ('0000000000B1', 'a.example', 'A');
UPDATE device SET site = 'S' WHERE cn = '0000000000B1';
SELECT is((SELECT string_agg(concat_ws(' ', label, site, domain), ',') FROM device WHERE cn = '0000000000B1'), 'A S a.example', 'and sees a device of both once');
SELECT is((SELECT string_agg(concat_ws(' ', label, site, domain), ',' ORDER BY domain) FROM tenant_device), 'A S a.example,Bert B b.example', 'of which it writes one row');
RESET SESSION AUTHORIZATION;
SELECT tenant_revoke('berta', 'b.example') AS forget \gset
SET SESSION AUTHORIZATION berta;
SELECT is(pg_temp.refusal('SELECT FROM cn_mapping'), '42501', 'a revoked role has nothing at all');
RESET SESSION AUTHORIZATION;
SELECT is(pg_temp.refusal($$SELECT tenant_revoke('berta', 'b.example')$$), 'P0002', 'and is not revoked twice');

-- mapperd reads everything, and a mistake is an error.
SET SESSION AUTHORIZATION holdline_mapperd;
SET row_security = off;
SELECT is((SELECT count(DISTINCT substr(identity, strpos(identity, '@') + 1)) FROM cn_mapping), 3::bigint, 'mapperd sees every domain');
RESET SESSION AUTHORIZATION;
ALTER ROLE holdline_mapperd NOBYPASSRLS;
SET SESSION AUTHORIZATION holdline_mapperd;
SELECT is(pg_temp.refusal('SELECT FROM cn_mapping'), '42501', 'without BYPASSRLS it gets an error and no part');
RESET SESSION AUTHORIZATION;

SELECT * FROM finish();
ROLLBACK;
