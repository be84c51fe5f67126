-- Deploy holdline:unmapped to pg
-- Devices that came with a good certificate and have no mapping: what is to be provisioned. mapperd
-- writes here in batches, from what the proxies report. Nothing that provisions ever waits for more
-- than one such batch, and mapperd waits for nobody that provisions: it passes over rows that are
-- locked.
BEGIN;
SET LOCAL search_path = public;

CREATE TABLE unmapped_device (
    trust_store text COLLATE "C" NOT NULL,
    cn text COLLATE "C" NOT NULL,
    first_seen timestamptz NOT NULL,
    last_seen timestamptz NOT NULL,
    count bigint NOT NULL,
    from_tried text NOT NULL,
    address text NOT NULL,
    reason text NOT NULL,
    PRIMARY KEY (trust_store, cn),
    CONSTRAINT unmapped_device_trust_store_must_be_1_to_32_octets CHECK (
        octet_length(trust_store) BETWEEN 1 AND 32),
    CONSTRAINT unmapped_device_cn_must_be_1_to_192_octets_without_controls CHECK (
        cn ~ '^[^\u0001-\u001f\u007f-\u009f]+$' COLLATE "C" AND octet_length(cn) <= 192),
    CONSTRAINT unmapped_device_count_must_be_positive CHECK (count > 0),
    CONSTRAINT unmapped_device_from_tried_must_be_at_most_254_octets CHECK (
        octet_length(from_tried) <= 254),
    CONSTRAINT unmapped_device_address_must_be_at_most_64_octets CHECK (
        octet_length(address) <= 64),
    CONSTRAINT unmapped_device_reason_must_be_a_name CHECK (reason ~ '^[a-z0-9-]{1,64}$')
);

COMMENT ON TABLE unmapped_device IS
    'Devices with a good certificate and no mapping that were refused. A row goes when its CN gets '
    'a mapping. At most holdline.unmapped_max rows (ALTER DATABASE ... SET, 10000 if it is not '
    'set): those not seen for longest go first. Written by mapperd.';
COMMENT ON COLUMN unmapped_device.trust_store IS
    'The trust store that its certificate belongs to.';
COMMENT ON COLUMN unmapped_device.cn IS
    'Common name of its certificate: canonical, or as it is where it has not the store''s form (it '
    'can have no mapping then).';
COMMENT ON COLUMN unmapped_device.first_seen IS 'When it was refused first.';
COMMENT ON COLUMN unmapped_device.last_seen IS 'When it was refused last.';
COMMENT ON COLUMN unmapped_device.count IS 'How many of its requests were refused; about.';
COMMENT ON COLUMN unmapped_device.from_tried IS
    'The identity in From of the last one: whom the phone is set up as. Its own claim.';
COMMENT ON COLUMN unmapped_device.address IS 'Address that the last one came from.';
COMMENT ON COLUMN unmapped_device.reason IS 'Why it was refused (docs/reasons.md).';

CREATE FUNCTION unmapped_max() RETURNS integer
LANGUAGE sql STABLE
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT CASE WHEN s.value ~ '^[0-9]{1,7}$' THEN s.value::integer ELSE 10000 END
    FROM (SELECT coalesce(current_setting('holdline.unmapped_max', true), '') AS value) s
$$;

COMMENT ON FUNCTION unmapped_max() IS
    'How many rows unmapped_device may have: the setting holdline.unmapped_max.';

CREATE FUNCTION unmapped_trim() RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, public, pg_temp
AS $$
    WITH surplus AS (
        SELECT o.trust_store, o.cn FROM unmapped_device o ORDER BY o.last_seen
        LIMIT greatest((SELECT count(*) FROM unmapped_device) - unmapped_max(), 0)
        FOR UPDATE SKIP LOCKED)
    DELETE FROM unmapped_device u USING surplus s
    WHERE u.trust_store = s.trust_store AND u.cn = s.cn
$$;

COMMENT ON FUNCTION unmapped_trim() IS
    'Deletes those of unmapped_device that were not seen for longest, down to unmapped_max().';

CREATE FUNCTION report_unmapped(stores text[], cns text[], firsts_ms bigint[], lasts_ms bigint[],
    counts bigint[], froms text[], addresses text[], reasons text[])
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    WITH seen AS (
        SELECT * FROM unnest($1, $2, $4, $5, $6, $7, $8)
            AS s (trust_store, cn, last_ms, times, from_tried, address, reason)),
    free AS (
        SELECT u.trust_store, u.cn FROM unmapped_device u
        WHERE (u.trust_store, u.cn) IN (SELECT s.trust_store, s.cn FROM seen s)
        FOR UPDATE SKIP LOCKED)
    UPDATE unmapped_device u
    SET last_seen = greatest(u.last_seen, to_timestamp(s.last_ms / 1000.0)),
        count = u.count + s.times, from_tried = s.from_tried, address = s.address,
        reason = s.reason
    FROM seen s JOIN free f ON f.trust_store = s.trust_store AND f.cn = s.cn
    WHERE u.trust_store = s.trust_store AND u.cn = s.cn;

    -- In order, so that two mapperds wait for each other and never deadlock. A row that is there
    -- and locked is on its way out: no ON CONFLICT may wait for that.
    INSERT INTO unmapped_device AS u
        (trust_store, cn, first_seen, last_seen, count, from_tried, address, reason)
    SELECT s.trust_store, s.cn, to_timestamp(s.first_ms / 1000.0),
        to_timestamp(s.last_ms / 1000.0), s.times, s.from_tried, s.address, s.reason
    FROM unnest($1, $2, $3, $4, $5, $6, $7, $8)
        AS s (trust_store, cn, first_ms, last_ms, times, from_tried, address, reason)
    WHERE NOT EXISTS (
            SELECT FROM unmapped_device o WHERE o.trust_store = s.trust_store AND o.cn = s.cn)
      AND NOT EXISTS (
            SELECT FROM cn_mapping m WHERE m.trust_store = s.trust_store AND m.cn = s.cn)
    ORDER BY s.trust_store, s.cn
    ON CONFLICT DO NOTHING;
    PERFORM unmapped_trim();
END
$$;

COMMENT ON FUNCTION report_unmapped(text[], text[], bigint[], bigint[], bigint[], text[], text[],
    text[]) IS
    'Notes devices that were refused because they have no mapping, each once in a call: trust '
    'store, CN, first and last time in milliseconds since 1970, how often, From, address, reason. '
    'What somebody has locked is passed over.';

CREATE FUNCTION tidy_unmapped() RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    WITH mapped AS (
        SELECT o.trust_store, o.cn FROM unmapped_device o
        WHERE EXISTS (
            SELECT FROM cn_mapping m WHERE m.trust_store = o.trust_store AND m.cn = o.cn)
        FOR UPDATE SKIP LOCKED)
    DELETE FROM unmapped_device u USING mapped m
    WHERE u.trust_store = m.trust_store AND u.cn = m.cn;
    PERFORM unmapped_trim();
END
$$;

COMMENT ON FUNCTION tidy_unmapped() IS
    'Deletes from unmapped_device what has a mapping by now: a device may be reported while the '
    'transaction that provisions it is still open. mapperd calls it once a minute.';

-- A plan that is kept for one row would be a slow one for a million, so a large load plans its own.
CREATE FUNCTION cn_mapping_forget_unmapped() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM unmapped_device) THEN
        RETURN NULL;
    END IF;
    IF (SELECT count(*) FROM (SELECT FROM new_rows LIMIT 101) few) <= 100 THEN
        WITH mapped AS (
            SELECT u.trust_store, u.cn FROM unmapped_device u
            WHERE (u.trust_store, u.cn) IN (SELECT n.trust_store, n.cn FROM new_rows n)
            ORDER BY u.trust_store, u.cn FOR UPDATE)
        DELETE FROM unmapped_device u USING mapped m
        WHERE u.trust_store = m.trust_store AND u.cn = m.cn;
    ELSE
        EXECUTE
            'WITH mapped AS ('
            'SELECT u.trust_store, u.cn FROM public.unmapped_device u '
            'WHERE (u.trust_store, u.cn) IN (SELECT n.trust_store, n.cn FROM new_rows n) '
            'ORDER BY u.trust_store, u.cn FOR UPDATE) '
            'DELETE FROM public.unmapped_device u USING mapped m '
            'WHERE u.trust_store = m.trust_store AND u.cn = m.cn';
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION cn_mapping_forget_unmapped() IS
    'Deletes from unmapped_device the devices that a statement gave mappings.';

CREATE TRIGGER forget_unmapped AFTER INSERT ON cn_mapping REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION cn_mapping_forget_unmapped();
CREATE TRIGGER forget_unmapped_of_update AFTER UPDATE ON cn_mapping
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION cn_mapping_forget_unmapped();

REVOKE ALL ON FUNCTION unmapped_max(), unmapped_trim(), tidy_unmapped(),
    cn_mapping_forget_unmapped(), report_unmapped(text[], text[], bigint[], bigint[], bigint[],
    text[], text[], text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION unmapped_max(), unmapped_trim(), tidy_unmapped(),
    report_unmapped(text[], text[], bigint[], bigint[], bigint[], text[], text[], text[])
    TO holdline_mapperd;
GRANT SELECT, INSERT, UPDATE, DELETE ON unmapped_device TO holdline_mapperd;
GRANT SELECT, DELETE ON unmapped_device TO holdline_admin;

COMMIT;
