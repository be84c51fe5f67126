-- Deploy holdline:mapperd to pg
BEGIN;
SET LOCAL search_path = public;

CREATE TABLE mapperd (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    counter bigint NOT NULL DEFAULT 0,
    position_xmin xid8,
    seen_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT mapperd_name_must_be_1_to_64_of_letters_digits_dot_hyphen CHECK (
        name ~ '^[A-Za-z0-9_.-]{1,64}$'),
    CONSTRAINT mapperd_counter_must_not_be_negative CHECK (counter >= 0)
);

COMMENT ON TABLE mapperd IS 'The mapperds that follow this database. Each keeps its own row.';
COMMENT ON COLUMN mapperd.id IS
    'Small number that stands in the versions of bindings (binding.version_by).';
COMMENT ON COLUMN mapperd.name IS 'Name from the mapperd''s configuration.';
COMMENT ON COLUMN mapperd.counter IS
    'Raised about once a second on the primary and read back where the mapperd reads: the proof of '
    'how current that is.';
COMMENT ON COLUMN mapperd.position_xmin IS
    'xmin of the snapshot up to which the mapperd has applied the change log; NULL before its '
    'first fill. Its rows of the log from here on are still needed.';
COMMENT ON COLUMN mapperd.seen_at IS 'When the mapperd last wrote its row.';
COMMENT ON COLUMN mapperd.created_at IS 'First contact.';
COMMENT ON INDEX mapperd_name_key IS 'A mapperd finds its row when it connects.';

-- INSERT ... ON CONFLICT would use up a number at every start.
CREATE FUNCTION mapperd_enrol(name text) RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    own integer;
BEGIN
    SELECT m.id INTO own FROM mapperd m WHERE m.name = $1;
    IF NOT FOUND THEN
        INSERT INTO mapperd AS m (name) VALUES ($1) ON CONFLICT DO NOTHING;
        SELECT m.id INTO STRICT own FROM mapperd m WHERE m.name = $1;
    END IF;
    RETURN own;
END
$$;

COMMENT ON FUNCTION mapperd_enrol(text) IS
    'The id of the mapperd of this name, made at first contact.';

REVOKE ALL ON FUNCTION mapperd_enrol(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION mapperd_enrol(text) TO holdline_mapperd;
GRANT SELECT ON mapperd TO holdline_mapperd, holdline_admin;
GRANT INSERT (name), UPDATE (counter, position_xmin, seen_at) ON mapperd TO holdline_mapperd;

COMMIT;
