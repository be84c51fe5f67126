-- Deploy holdline:log_in_order to pg
-- mapperd reads the keys of a large statement in the order in which they were logged. DISTINCT and UNION
-- give them in the order of a hash, so that every key that is read again lies on another page of
-- LMDB: 400 pages a write of 512 keys, and a disk that nobody else got through to. In the order of
-- the keys they are a dozen.
BEGIN;
SET LOCAL search_path = public;

CREATE OR REPLACE FUNCTION change_log_cn_mapping() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
SET work_mem = '64MB'
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, 'peer', ARRAY[k.trust_store, k.cn]
        FROM change_log_origin() w, (
            SELECT DISTINCT r.trust_store, r.cn FROM new_rows r ORDER BY 1, 2) k;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, 'peer', ARRAY[k.trust_store, k.cn]
        FROM change_log_origin() w, (
            SELECT DISTINCT r.trust_store, r.cn FROM old_rows r ORDER BY 1, 2) k;
    ELSE
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, 'peer', ARRAY[k.trust_store, k.cn]
        FROM change_log_origin() w, (
            SELECT r.trust_store, r.cn FROM old_rows r
            UNION
            SELECT r.trust_store, r.cn FROM new_rows r ORDER BY 1, 2) k;
    END IF;
    IF FOUND THEN
        PERFORM change_log_hint();
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION change_log_sip_user() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
SET work_mem = '64MB'
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, 'user', ARRAY[r.identity]
        FROM change_log_origin() w, new_rows r ORDER BY r.identity;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, 'user', ARRAY[r.identity]
        FROM change_log_origin() w, old_rows r ORDER BY r.identity;
    ELSE
        INSERT INTO change_log (stamp, system_id, database_oid, kind, key)
        SELECT w.stamp, w.system_id, w.database_oid, 'user', ARRAY[k.identity]
        FROM change_log_origin() w, (
            SELECT r.identity FROM old_rows r
            UNION
            SELECT r.identity FROM new_rows r ORDER BY 1) k;
    END IF;
    IF FOUND THEN
        PERFORM change_log_hint();
    END IF;
    RETURN NULL;
END
$$;

COMMIT;
