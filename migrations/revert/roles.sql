-- Revert holdline:roles from pg
-- The roles stay: they belong to the cluster, and another database may need them. DROP ROLE by hand
-- when none does.
BEGIN;

REVOKE USAGE ON SCHEMA public FROM holdline_mapperd, holdline_admin;

COMMIT;
