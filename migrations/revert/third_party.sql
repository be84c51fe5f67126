-- Revert holdline:third_party from pg
BEGIN;
SET LOCAL search_path = public;

-- Without the column they would be the address of record's own.
UPDATE binding b
SET removed = true, version_by = 0, version_ms = binding_version_after(b.version_ms)
WHERE b.registered_by IS NOT NULL AND NOT b.removed;

CREATE OR REPLACE FUNCTION tenant_rule_fault(rule rights_rule) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    t tenant%ROWTYPE;
BEGIN
    SELECT * INTO t FROM tenant WHERE domain = rule.tenant;
    IF NOT FOUND THEN
        RETURN 'there is no such tenant';
    ELSIF NOT coalesce(rule.who_kind = 'domain' AND rule.who = t.domain
                       OR rule.who_kind = 'user'
                          AND split_part(rule.who, '@', 2) = t.domain, false) THEN
        RETURN 'it is not for the tenant''s domain or one of its users';
    ELSIF rule.trust_store <> ALL (t.trust_stores) THEN
        RETURN 'its trust store is none of the tenant''s';
    ELSIF rule.effect IS NOT DISTINCT FROM 'deny' THEN
        RETURN NULL;
    END IF;
    RETURN CASE
        WHEN coalesce(CASE rule.target_kind
            WHEN 'ours' THEN t.may_allow_ours
            WHEN 'domain' THEN rule.target = t.domain OR rule.target = ANY (t.may_allow_domains)
            WHEN 'user' THEN split_part(rule.target, '@', 2) = ANY (t.domain
                                                                     || t.may_allow_domains)
            WHEN 'number' THEN EXISTS (SELECT FROM unnest(t.may_allow_numbers) n
                                       WHERE starts_with(rule.target, n))
            ELSE false END, false) THEN NULL
        ELSE 'it allows a target that the operator does not let the tenant allow' END;
END
$$;

CREATE OR REPLACE FUNCTION binding_follow_credential() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    lost text[];
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        UPDATE binding b
        SET removed = true, version_by = 0, version_ms = binding_version_after(b.version_ms)
        WHERE b.ground = 'digest' AND NOT b.removed;
        RETURN NULL;
    END IF;
    IF TG_OP = 'DELETE' THEN
        lost := ARRAY(SELECT DISTINCT o.identity FROM old_rows o);
    ELSE
        lost := ARRAY(
            SELECT DISTINCT o.identity FROM old_rows o
            WHERE NOT EXISTS (
                SELECT FROM new_rows n
                WHERE n.identity = o.identity AND n.realm = o.realm AND n.username = o.username
                  AND (o.ha1_sha256 IS NULL OR n.ha1_sha256 = o.ha1_sha256)
                  AND (o.ha1_md5 IS NULL OR n.ha1_md5 = o.ha1_md5)));
    END IF;
    UPDATE binding b
    SET removed = true, version_by = 0, version_ms = binding_version_after(b.version_ms)
    WHERE b.aor = ANY (lost) AND b.ground = 'digest' AND NOT b.removed;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION binding_follow_mapping() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    UPDATE binding b
    SET removed = true, version_by = 0,
        version_ms = binding_version_after(b.version_ms)
    FROM (SELECT DISTINCT o.trust_store, o.cn FROM old_rows o) lost
    WHERE b.store = lost.trust_store AND b.cn = lost.cn AND b.ground = 'mapping' AND NOT b.removed
      AND NOT EXISTS (
          SELECT FROM cn_mapping m
          WHERE m.trust_store = b.store AND m.cn = b.cn
            AND m.identity IN (b.aor, split_part(b.aor, '@', 2)));
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION bindings_end_of_users(users text[]) RETURNS void
LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    UPDATE binding b
    SET removed = true, version_by = 0,
        version_ms = binding_version_after(b.version_ms)
    WHERE b.aor = ANY ($1) AND NOT b.removed
$$;

COMMENT ON FUNCTION bindings_end_of_users(text[]) IS
    'Turns every binding of these users into a tombstone.';

DROP FUNCTION bind_put(text, text, text, text, text, text, text, text, integer, text, bigint,
    integer, text, bigint, text, text, bigint, integer, boolean, text);
CREATE FUNCTION bind_put(
    aor text, device_key text, instance_key text, store text, cn text, ground text, entry text,
    instance text, reg_id integer, contact text, expires_unix_s bigint, q integer, call_id text,
    cseq bigint, flow text, path text, version_ms bigint, version_by integer,
    removed boolean DEFAULT false)
RETURNS boolean
LANGUAGE sql
SET search_path = pg_catalog, public, pg_temp
AS $$
    WITH put AS (
        INSERT INTO binding AS b (
            aor, device_key, instance_key, store, cn, ground, entry, instance, reg_id, contact,
            expires_at, q, call_id, cseq, flow, path, version_ms, version_by, removed)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
            to_timestamp($11), $12, $13, $14, $15, $16, $17, $18, $19)
        ON CONFLICT (aor, device_key, instance_key) DO UPDATE SET
            store = excluded.store, cn = excluded.cn, ground = excluded.ground,
            entry = excluded.entry, instance = excluded.instance, reg_id = excluded.reg_id,
            contact = excluded.contact, expires_at = excluded.expires_at, q = excluded.q,
            call_id = excluded.call_id, cseq = excluded.cseq, flow = excluded.flow,
            path = excluded.path, version_ms = excluded.version_ms,
            version_by = excluded.version_by, removed = excluded.removed
        WHERE (excluded.version_ms, excluded.version_by) > (b.version_ms, b.version_by)
        RETURNING 1)
    SELECT EXISTS (SELECT FROM put)
$$;

COMMENT ON FUNCTION bind_put(text, text, text, text, text, text, text, text, integer, text, bigint,
    integer, text, bigint, text, text, bigint, integer, boolean) IS
    'Writes a binding or, with removed, its tombstone. False: the row that stands has the same or '
    'a higher version and stays.';
REVOKE ALL ON FUNCTION bind_put(text, text, text, text, text, text, text, text, integer, text,
    bigint, integer, text, bigint, text, text, bigint, integer, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION bind_put(text, text, text, text, text, text, text, text, integer, text,
    bigint, integer, text, bigint, text, text, bigint, integer, boolean) TO holdline_mapperd;

ALTER TABLE binding DROP COLUMN registered_by;
COMMENT ON COLUMN binding.ground IS
    'Why the device held the address of record: mapping (while a mapping says so), name (of its '
    'certificate), digest.';

COMMIT;
