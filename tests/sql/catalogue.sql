-- SPDX-License-Identifier: Apache-2.0
-- What must hold of every table, column, index and function, also of those to come.
\set QUIET on
BEGIN;
SELECT no_plan();

CREATE TEMP VIEW ours AS SELECT oid, relname, relkind FROM pg_class c WHERE relnamespace = 'public'::regnamespace
    AND relkind IN ('r', 'p', 'v') AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype = 'e');
CREATE TEMP VIEW function AS SELECT p.oid, proname, prorettype, prosecdef, proconfig, proacl FROM pg_proc p WHERE pronamespace = 'public'::regnamespace
    AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND deptype = 'e');

SELECT isnt(obj_description(oid, 'pg_class'), NULL, format('table %s says what it is for', relname)) FROM ours;
SELECT isnt(col_description(attrelid, attnum), NULL, format('column %s.%s says what it is', relname, attname))
FROM ours JOIN pg_attribute ON attrelid = ours.oid AND attnum > 0 AND NOT attisdropped;
SELECT isnt(obj_description(indexrelid, 'pg_class'), NULL, format('index %s says which query uses it', indexrelid::regclass))
FROM ours JOIN pg_index ON indrelid = ours.oid;
SELECT isnt(obj_description(oid, 'pg_proc'), NULL, format('function %s says what it does', proname)) FROM function;

SELECT ok(coalesce('search_path=pg_catalog, public, pg_temp' = ANY (proconfig), false), format('function %s has a fixed search_path', proname)) FROM function;
-- On a table it does what who writes may not; on a view it does what who writes may.
SELECT ok(prosecdef <> on_view, format('trigger function %s is SECURITY %s', proname, CASE WHEN on_view THEN 'INVOKER' ELSE 'DEFINER' END))
FROM function, LATERAL (SELECT EXISTS (SELECT FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid WHERE tgfoid = function.oid AND relkind = 'v') AS on_view) v
WHERE prorettype = 'trigger'::regtype;
SELECT ok('security_invoker=true' = ANY (reloptions), format('view %s reads as who asks', c.relname)) FROM ours JOIN pg_class c ON c.oid = ours.oid WHERE c.relkind = 'v';
SELECT ok(NOT EXISTS (SELECT FROM aclexplode(coalesce(proacl, acldefault('f', 10))) WHERE grantee = 0), format('function %s is not everybody''s', proname)) FROM function;

-- Keys are compared octet by octet, as LMDB does, so that a fill by ranges comes in LMDB's order.
SELECT is(collname, 'C'::name, format('%s.%s is in octet order', indexrelid::regclass, attname))
FROM ours JOIN pg_index i ON indrelid = ours.oid AND indisprimary
CROSS JOIN LATERAL unnest(indkey::smallint[], indcollation::oid[]) AS k (attnum, collation_oid)
JOIN pg_attribute a ON attrelid = ours.oid AND a.attnum = k.attnum
JOIN pg_collation c ON c.oid = k.collation_oid WHERE k.collation_oid <> 0;

-- Every foreign key has an index that finds the rows that refer.
SELECT ok(EXISTS (SELECT FROM pg_index WHERE indrelid = conrelid AND indkey[0] = conkey[1]), format('%s finds its rows by an index', conname))
FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace;

-- Every table of provisioning is logged, for each kind of statement.
SELECT is((SELECT string_agg(tgname, ' ' ORDER BY tgname) FROM pg_trigger WHERE tgrelid = ours.oid AND tgname LIKE 'log\_%'
    AND tgenabled = CASE tgname WHEN 'log_truncate' THEN 'A' WHEN 'log_replicated' THEN 'R' ELSE 'O' END),
    'log_delete log_insert log_replicated log_truncate log_update', format('every statement on %s is logged', relname))
FROM ours WHERE relkind = 'r' AND relname NOT IN ('audit', 'change_log', 'change_log_floor', 'change_log_position', 'mapperd',
    'tenant', 'tenant_device', 'tenant_role', 'unmapped_device');

-- Every table of provisioning is audited, for each kind of statement: a new one needs audit_follow().
-- Where log_insert does what audit_insert would, it says so in its function.
SELECT is((SELECT string_agg(name, ' ' ORDER BY name) FROM pg_trigger, LATERAL (SELECT CASE WHEN tgname <> 'log_insert' THEN tgname::text
        WHEN (SELECT prosrc FROM pg_proc p WHERE p.oid = tgfoid) LIKE '%INSERT INTO audit (%' THEN 'audit_insert' END) n (name)
    WHERE tgrelid = ours.oid AND name LIKE 'audit\_%' AND tgenabled = 'O'),
    'audit_delete audit_insert audit_truncate audit_update', format('every statement on %s is audited', relname))
FROM ours WHERE relkind = 'r' AND relname NOT IN ('audit', 'binding', 'change_log', 'change_log_floor', 'change_log_position', 'mapperd',
    'unmapped_device');

-- Every policy says what it is for; where tenants have one the operator has one too.
SELECT isnt(obj_description(oid, 'pg_policy'), NULL, format('policy %s on %s says what it is for', polname, polrelid::regclass)) FROM pg_policy;
SELECT set_eq($$SELECT polrelid FROM pg_policy WHERE polname = 'tenant'$$, $$SELECT polrelid FROM pg_policy WHERE polname = 'operator'$$,
    'policies of tenants and operator stand on the same tables');

SELECT * FROM finish();
ROLLBACK;
