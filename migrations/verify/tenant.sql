-- Verify holdline:tenant on pg
BEGIN;
SET LOCAL search_path = public;

SELECT domain, trust_stores, groups, may_allow_ours, may_allow_domains, may_allow_numbers
FROM tenant WHERE false;
SELECT role, domain FROM tenant_role WHERE false;
SELECT tenant FROM rights_rule WHERE false;
-- Who has a policy for tenants has one for the operator.
SELECT 1 / (count(*) FILTER (WHERE polname = 'tenant') >= 10
            AND count(*) FILTER (WHERE polname = 'tenant')
                = count(*) FILTER (WHERE polname = 'operator'))::integer FROM pg_policy;
SELECT 1 / (NOT has_table_privilege('holdline_tenant', 'change_log', 'select')
            AND NOT has_table_privilege('holdline_tenant', 'binding', 'select')
            AND NOT has_table_privilege('holdline_tenant', 'tenant', 'insert, update, delete')
            AND NOT has_table_privilege('holdline_tenant', 'cn_mapping', 'truncate'))::integer;

ROLLBACK;
