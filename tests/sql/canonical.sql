-- SPDX-License-Identifier: Apache-2.0
-- Every line of tests/corpus gives in SQL what it says; the unit tests of common/identity read the
-- same files. psql runs in the root of the tree.
\set QUIET on
BEGIN;
SELECT no_plan();

CREATE TEMP TABLE line (number bigserial, text text);
CREATE TEMP TABLE corpus (place text, kind text, input text, expected text, prefixes text[]);

-- The octets of a corpus field, or NULL where SQL cannot hold them as text: NUL or bad UTF-8.
CREATE FUNCTION pg_temp.field(value text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    octets bytea := '';
    piece text;
BEGIN
    FOR piece IN SELECT m[1] FROM regexp_matches(value, '(\\x[0-9a-fA-F]{2}|\\\\|[^\\]+)', 'g') AS m LOOP
        octets := octets || CASE WHEN piece ~ '^\\x' THEN decode(substr(piece, 3), 'hex')
                                 WHEN piece = '\\' THEN '\x5c'::bytea
                                 ELSE convert_to(piece, 'UTF8') END;
    END LOOP;
    RETURN convert_from(octets, 'UTF8');
EXCEPTION WHEN character_not_in_repertoire OR untranslatable_character THEN
    RETURN NULL;
END
$$;

-- The canonical form, or ! where it is refused; a refusal without a hint is a fault.
CREATE FUNCTION pg_temp.form(kind text, input text, prefixes text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    hint text;
BEGIN
    RETURN CASE kind
        WHEN 'text' THEN identity_canonical(input)
        WHEN 'number' THEN number_canonical(input)
        ELSE cn_canonical(kind, prefixes, input)
    END;
EXCEPTION WHEN check_violation THEN
    GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
    RETURN CASE WHEN hint = '' THEN 'no hint' ELSE '!' END;
END
$$;

CREATE FUNCTION pg_temp.take(file text) RETURNS void LANGUAGE sql AS $$
    INSERT INTO corpus
    SELECT file || ':' || number, part[1], pg_temp.field(part[2]), pg_temp.field(part[3]),
           coalesce(string_to_array(pg_temp.field(part[4]), '|'), '{}')
    FROM (SELECT row_number() OVER (ORDER BY number) AS number, text, string_to_array(text, E'\t') AS part FROM line) l
    WHERE text <> '' AND text NOT LIKE '#%';
    DELETE FROM line;
$$;

\copy line (text) FROM 'tests/corpus/identity.tsv' WITH (FORMAT csv, DELIMITER E'\x01', QUOTE E'\x02', NULL E'\x03')
SELECT pg_temp.take('identity.tsv');
\copy line (text) FROM 'tests/corpus/mac.tsv' WITH (FORMAT csv, DELIMITER E'\x01', QUOTE E'\x02', NULL E'\x03')
SELECT pg_temp.take('mac.tsv');

SELECT cmp_ok((SELECT count(*) FROM corpus WHERE kind = 'text'), '>', 200::bigint, 'the corpus of identities is there');
SELECT cmp_ok((SELECT count(*) FROM corpus WHERE kind = 'mac'), '>', 60::bigint, 'the corpus of MAC addresses is there');
SELECT is(pg_temp.form(kind, input, prefixes), expected, format('%s: %s %s', place, kind, to_json(left(input, 60))))
FROM corpus WHERE input IS NOT NULL;

-- What is canonical stays as it is.
SELECT is(pg_temp.form(kind, expected, '{}'), expected, format('%s: %s is its own canonical form', place, left(expected, 60)))
FROM corpus WHERE expected <> '!';

SELECT is(identity_canonical(NULL), NULL, 'no identity, no form');
SELECT is(cn_canonical('mac', '{}', NULL), NULL, 'no CN, no form');
SELECT throws_ok($$SELECT cn_canonical('serial', '{}', 'x')$$, '23514', '"serial" is not a form of CNs');
SELECT throws_ok($$SELECT cn_canonical(NULL, '{}', 'x')$$, '23514', NULL, 'a CN without form is refused');
SELECT throws_ok(format('SELECT cn_canonical(''exact'', ''{}'', %L)', repeat('x', 65)), '23514', NULL,
                 'a CN of 65 characters is refused');

SELECT * FROM finish();
ROLLBACK;
