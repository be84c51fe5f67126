-- Deploy holdline:roles to pg
-- Roles belong to the cluster: another database may have made them already, perhaps with a password
-- or memberships of its own. What is there is left as it is.
BEGIN;

DO $$
BEGIN
    IF current_setting('server_encoding') <> 'UTF8' THEN
        RAISE EXCEPTION USING
            MESSAGE = format('the database has encoding %s; Holdline needs UTF8',
                             current_setting('server_encoding')),
            HINT = 'Create it with: createdb --encoding=UTF8 --template=template0 NAME';
    END IF;
    IF to_regrole('holdline_mapperd') IS NULL THEN
        CREATE ROLE holdline_mapperd LOGIN;
        COMMENT ON ROLE holdline_mapperd IS
            'Holdline: the mapping service reads mapping data and writes bindings';
    END IF;
    IF to_regrole('holdline_admin') IS NULL THEN
        CREATE ROLE holdline_admin NOLOGIN;
        COMMENT ON ROLE holdline_admin IS
            'Holdline: may provision; grant it to the people and programs that do';
    END IF;
END
$$;

GRANT USAGE ON SCHEMA public TO holdline_mapperd, holdline_admin;

COMMIT;
