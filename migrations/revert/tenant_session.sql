-- Revert holdline:tenant_session from pg
BEGIN;
SET LOCAL search_path = public;

CREATE OR REPLACE FUNCTION tenant_of_session() RETURNS text[]
LANGUAGE sql STABLE
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT CASE WHEN pg_has_role(r.name, 'holdline_tenant', 'USAGE')
                     AND NOT pg_has_role(r.name, 'holdline_admin', 'USAGE')
                THEN ARRAY(SELECT t.domain::text FROM tenant_role t
                           WHERE pg_has_role(r.name, t.role, 'USAGE')) END
    FROM (SELECT CASE current_setting('role') WHEN 'none' THEN session_user::name
                 ELSE current_setting('role')::name END) r (name)
$$;

COMMIT;
