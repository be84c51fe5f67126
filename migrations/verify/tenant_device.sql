-- Verify holdline:tenant_device on pg
BEGIN;
SET LOCAL search_path = public;

SELECT trust_store, cn, domain, label, site, created_at FROM tenant_device WHERE false;
SELECT 1 / (relrowsecurity)::integer FROM pg_class WHERE oid = 'tenant_device'::regclass;
SELECT 1 / (NOT has_table_privilege('holdline_tenant', 'device_info', 'insert, update, delete')
            AND NOT has_table_privilege('holdline_mapperd', 'tenant_device', 'select'))::integer;

ROLLBACK;
