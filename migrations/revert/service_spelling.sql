-- Revert holdline:service_spelling from pg
BEGIN;
SET LOCAL search_path = public;

CREATE OR REPLACE FUNCTION service_canonical(service text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    name text := regexp_replace(lower(btrim(service) COLLATE "C"), '^urn:service:', '');
BEGIN
    IF name !~ '^[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63}){0,7}$' COLLATE "C" THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation',
            MESSAGE = format('%s is not a service', shown(service)),
            HINT = 'Write it as in RFC 5031: sos, sos.fire or urn:service:sos.police.';
    END IF;
    RETURN name;
END
$$;

ALTER TABLE rights_rule DROP CONSTRAINT rights_rule_target_must_be_of_its_kind;
ALTER TABLE rights_rule
    ADD CONSTRAINT rights_rule_target_must_be_of_its_kind CHECK (
        CASE target_kind
            WHEN 'user' THEN target ~ '^([A-Za-z0-9_.!~*''()&=+$,;?/-]|%[0-9A-F]{2})+@[a-z0-9.-]+$'
            WHEN 'domain' THEN target ~ '^[a-z0-9.-]+$'
            WHEN 'number' THEN target ~ '^\+?[0-9]{1,32}$'
            WHEN 'service' THEN target ~ '^[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63}){0,7}$'
            ELSE true
        END AND octet_length(target) <= 254);

COMMIT;
