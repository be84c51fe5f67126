/* SPDX-License-Identifier: Apache-2.0 */
/* SQL. Names are qualified, so that no search_path decides what is read; all values are bound. */
#include "mapperd/statements.h"

/* A floor that came with a restored dump says nothing. */
#define FLOOR                                               \
    "coalesce((SELECT f.xid FROM public.change_log_floor f" \
    " WHERE f.system_id = $4::int8 AND f.database_oid = $5::oid), '0'::xid8)"

/* Names one server process: after a failover two servers may be of one system, and both think that
 * they lead. */
#define STARTED "(extract(epoch FROM pg_postmaster_start_time()) * 1000000)::int8"

/* Behind everything that is visible to a snapshot taken before. On a standby a commit is visible a
 * moment before its record counts as replayed, see history.h. */
#define LSN                                                       \
    "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()" \
    " ELSE pg_current_wal_insert_lsn() END"

/* Settings of the session come with the first question. Plans: a range is read in the order of its
 * index, never sorted; and what is prepared is planned once, whatever the parameters, so that it
 * must be right for a table that was still small then: it has one way to each row, by its index,
 * which a LATERAL with OFFSET sees to. row_security off: a mistake raises an error and never hides
 * rows. */
const struct database_statement STATEMENT_HELLO = {
    "hello",
    "SELECT (SELECT c.system_identifier FROM pg_control_system() c),"
    " (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()),"
    " pg_is_in_recovery(), pg_current_snapshot()::text, " STARTED ", coalesce(" LSN ", '0/0'),"
    " concat(pg_snapshot_xmin(pg_current_snapshot()), ':',"
    "  pg_snapshot_xmin(pg_current_snapshot()), ':'),"
    " set_config('enable_seqscan', 'off', false), set_config('enable_bitmapscan', 'off', false),"
    " set_config('enable_sort', 'off', false), set_config('jit', 'off', false),"
    " set_config('plan_cache_mode', 'force_generic_plan', false),"
    " set_config('row_security', 'off', false), set_config('client_encoding', 'UTF8', false),"
    " set_config('default_transaction_isolation', 'read committed', false)"
};

/* The log is read again from the newest statement on (see rewind_position()), so that must not lie
 * below the floor either. Marks see to it that there is one. What is
 * missing although its transaction has ended here, or is there with something else, was never one
 * of this history. */
const struct database_statement STATEMENT_HISTORY = {
    "history",
    "SELECT coalesce(pg_snapshot_xmin($1::pg_snapshot) >= f.floor"
    "  AND coalesce(($2::xid8[])[cardinality($2::xid8[])], '0') >= f.floor, false),"
    " coalesce(pg_snapshot_xmax($1::pg_snapshot) <= pg_snapshot_xmax(f.now), false),"
    " c.missing, c.contradicted"
    " FROM (SELECT " FLOOR " AS floor, pg_current_snapshot() AS now) f, LATERAL ("
    "  SELECT count(*) AS missing, count(*) FILTER (WHERE k.xid < pg_snapshot_xmin(f.now)"
    "   OR EXISTS (SELECT FROM public.change_log o WHERE o.xid = k.xid"
    "    AND o.system_id = $4::int8 AND o.database_oid = $5::oid)) AS contradicted"
    "  FROM unnest($2::xid8[], $3::int8[]) AS k(xid, stamp) WHERE k.xid >= f.floor"
    "   AND NOT EXISTS (SELECT FROM public.change_log l"
    "    WHERE l.xid = k.xid AND l.stamp = k.stamp)) c"
};

const struct database_statement STATEMENT_RECENT = {
    "recent", "SELECT DISTINCT l.xid, l.stamp FROM public.change_log l"
              " WHERE l.system_id = $1::int8 AND l.database_oid = $2::oid"
              " ORDER BY l.xid DESC, l.stamp LIMIT 1000"
};

/* On a standby the position is M:P, M a number below which every transaction has ended but those of
 * P. It moves to M', not above xmax, and P' of what is in progress still: asked after the snapshot
 * that gave xmax, so that whatever is not in P' is visible to the next statement. Below xmin
 * nothing is in progress. Bounded: 2 million numbers at a time (the rest is left to the next poll),
 * and 4,000 of them kept (with more, as many savepoints of one transaction have, M' stops there,
 * and what lies above is read again). */
const struct database_statement STATEMENT_PENDING = {
    "pending",
    "WITH s AS MATERIALIZED (SELECT pg_snapshot_xmax(n.now)::text::int8 AS top,"
    "  greatest(pg_snapshot_xmax($1::pg_snapshot), pg_snapshot_xmin(n.now))::text::int8 AS low"
    "  FROM (SELECT pg_current_snapshot() AS now) n),"
    " r AS MATERIALIZED (SELECT s.top, s.low,"
    "  greatest(s.low, least(s.top, s.low + 2000000)) AS next FROM s),"
    " p AS MATERIALIZED (SELECT q.x FROM r, LATERAL ("
    "   SELECT i::text::int8 AS x FROM pg_snapshot_xip($1::pg_snapshot) i"
    "   UNION ALL SELECT generate_series(r.low, r.next - 1)) q"
    "  WHERE pg_xact_status(q.x::text::xid8) = 'in progress' ORDER BY q.x LIMIT 4001),"
    " c AS (SELECT min(p.x) AS low, CASE WHEN count(*) > 4000 THEN max(p.x) END AS high FROM p),"
    " e AS (SELECT coalesce(c.high, r.next) AS next, c.low FROM r, c)"
    " SELECT pg_is_in_recovery(), concat(coalesce(e.low, e.next), ':', e.next, ':',"
    "  (SELECT string_agg(p.x::text, ',' ORDER BY p.x) FROM p WHERE p.x < e.next)),"
    " r.next < r.top FROM r, e"
};

/* The snapshot and the rows come from one statement, so from one snapshot. A transaction is new
 * when it was not yet begun, or still running, in the last one: its cost does not grow with what
 * stays open. What still runs has no visible row, and is not even looked at, however many it has
 * written: it lies at or above xmax until another that began later has ended, then it is in the
 * list. $6 is the position that a standby's poll will lead to, as the snapshot of a standby does
 * not say what runs. $5 bounds what is read, for a position that was bounded. */
#define POLL                                                                                       \
    "SELECT s.snapshot::text, s.lsn, c.counter, l.xid, l.stamp, l.kind, l.key"                     \
    " FROM (SELECT pg_current_snapshot() AS snapshot, " LSN " AS lsn) s"                           \
    " LEFT JOIN public.mapperd c ON c.id = $4::int4"                                               \
    " LEFT JOIN LATERAL ("                                                                         \
    "  SELECT n.xid, n.stamp, n.kind, n.key FROM public.change_log n"                              \
    "  WHERE n.xid >= pg_snapshot_xmax($1::pg_snapshot)"                                           \
    "   AND n.xid < coalesce($5::xid8, pg_snapshot_xmax(pg_current_snapshot()))"                   \
    "   AND n.system_id = $2::int8 AND n.database_oid = $3::oid"                                   \
    "  UNION ALL"                                                                                  \
    "  SELECT o.xid, o.stamp, o.kind, o.key FROM public.change_log o"                              \
    "  WHERE o.xid = ANY (ARRAY(SELECT x FROM pg_snapshot_xip($1::pg_snapshot) x"                  \
    "   WHERE pg_visible_in_snapshot(x, coalesce($6::text::pg_snapshot, pg_current_snapshot()))))" \
    "   AND o.system_id = $2::int8 AND o.database_oid = $3::oid) l ON true"

const struct database_statement STATEMENT_POLL = { "poll", POLL };

/* As many as a poll keeps in memory, see POLL_ROWS. */
const struct database_statement STATEMENT_PEEK = { "peek", POLL " LIMIT 1000" };

/* Behind a batch of reads: what they saw lies below. */
const struct database_statement STATEMENT_LSN = { "lsn", "SELECT " LSN };

/* Tables by name, what belongs to them, and their log triggers, each with what changes when
 * somebody has had a hand on it: xmin of the catalogue's row tells a trigger that was off for a
 * moment. A table whose TRUNCATE is not logged gets another file by it. */
#define FOLLOWED                                                             \
    "'{trust_store,domain,sip_user,cn_mapping,user_group,user_group_member," \
    "rights_rule,binding,device_info,credential,blocked_certificate,"        \
    "change_log}'"

const struct database_statement STATEMENT_STRUCTURE = {
    "structure",
    "WITH RECURSIVE followed AS ("
    "  SELECT c.oid, c.relname::text AS name FROM pg_class c"
    "  WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY (" FOLLOWED "::name[])"
    "  UNION SELECT i.inhrelid, '-' FROM pg_inherits i JOIN followed f ON i.inhparent = f.oid),"
    " triggers AS (SELECT t.tgrelid, t.tgname, t.tgenabled, t.tgfoid, t.xmin FROM pg_trigger t"
    "  WHERE t.tgrelid IN (SELECT f.oid FROM followed f) AND t.tgname LIKE 'log\\_%'),"
    " parts AS ("
    "  SELECT format('t %s %s', f.oid, f.name) AS what FROM followed f"
    "  UNION ALL SELECT format('i %s %s %s', i.inhrelid, i.inhparent, i.xmin) FROM pg_inherits i"
    "   WHERE i.inhparent IN (SELECT f.oid FROM followed f)"
    "  UNION ALL SELECT format('g %s %s %s %s %s', t.tgrelid, t.tgname, t.tgenabled, t.tgfoid,"
    "    t.xmin) FROM triggers t"
    "  UNION ALL SELECT format('f %s %s', c.oid, c.relfilenode) FROM followed f"
    "   JOIN pg_class c ON c.oid = f.oid WHERE f.name <> 'change_log' AND NOT EXISTS ("
    "    SELECT FROM triggers t WHERE t.tgrelid = f.oid AND t.tgname = 'log_truncate'"
    "     AND t.tgenabled = 'A'))"
    " SELECT md5(string_agg(p.what, ' ' ORDER BY p.what)),"
    "  (SELECT count(*) FROM followed f WHERE f.name <> 'change_log' AND 3 <> (SELECT count(*)"
    "    FROM triggers t WHERE t.tgrelid = f.oid AND t.tgenabled IN ('O', 'A')"
    "     AND t.tgname IN ('log_insert', 'log_update', 'log_delete')))"
    " FROM parts p"
};

const struct database_statement STATEMENT_LISTEN = { "listen", "LISTEN holdline_change" };

/* A table by ranges: `limit` rows each for the fill, few for the comparison, whose ranges stand
 * before keys that are to be read again. */
#define TEXT(number)    #number
#define LIMITED(number) " LIMIT " TEXT(number)
#define RANGES(table, name, limit, before, after)                                              \
    const struct database_statement STATEMENT_FILL_##table = { "fill-" name,                   \
                                                               before LIMITED(limit) after };  \
    const struct database_statement STATEMENT_COMPARE_##table = { "compare-" name,             \
                                                                  before LIMITED(COMPARE_ROWS) \
                                                                      after };

#define TRUST_COLUMNS "s.cn_form, s.cn_prefixes, s.state"

const struct database_statement STATEMENT_READ_TRUST = {
    "read-trust",
    "SELECT k.name, " TRUST_COLUMNS " FROM unnest($1::text[]) AS k(name)"
    " LEFT JOIN LATERAL (SELECT * FROM public.trust_store t WHERE t.name = k.name OFFSET 0) s"
    " ON true"
};

RANGES(TRUST, "trust", 1000,
       "SELECT s.name, " TRUST_COLUMNS " FROM public.trust_store s"
       " WHERE s.name > $1::text ORDER BY s.name",
       "")

const struct database_statement STATEMENT_READ_DOMAIN = {
    "read-domain",
    "SELECT k.name, d.state FROM unnest($1::text[]) AS k(name)"
    " LEFT JOIN LATERAL (SELECT * FROM public.domain t WHERE t.name = k.name OFFSET 0) d"
    " ON true"
};

RANGES(DOMAIN, "domain", 5000,
       "SELECT d.name, d.state FROM public.domain d WHERE d.name > $1::text ORDER BY d.name", "")

/* Position first, for the merge; then the text of RIGHTS. What lies outside of time counts as open
 * or long over. */
#define SECONDS(column)                                                                      \
    "coalesce(CASE WHEN isfinite(" column ") THEN greatest(floor(extract(epoch FROM " column \
    ")), 0)::int8::text END, '-')"
#define RULES_ORDER                                                                    \
    "r.position, CASE r.target_kind WHEN 'number' THEN -coalesce(length(r.target), 0)" \
    " ELSE 0 END, r.id"
#define RULES                                                                                      \
    "array_agg(r.position || ' ' || r.id || ' ' || r.effect || ' ' ||"                             \
    " coalesce(r.trust_store, '*') || ' ' ||"                                                      \
    " coalesce(array_to_string(r.methods, ','), '*') || ' ' ||"                                    \
    " CASE r.target_kind WHEN 'any' THEN '*' WHEN 'ours' THEN 'ours'"                              \
    " ELSE r.target_kind || ':' || coalesce(r.target, '') END || ' ' ||" SECONDS(                  \
        "r.valid_from") " || ' ' ||" SECONDS("r.valid_until") " || ' ' || "                        \
                                                              "coalesce(r.calls_per_minute::text," \
                                                              " '-') ORDER BY " RULES_ORDER ")"

const struct database_statement STATEMENT_READ_RULES = {
    "read-rules",
    "SELECT k.kind, k.who, CASE WHEN k.kind = 'everyone'"
    " THEN (SELECT " RULES " FROM public.rights_rule r WHERE r.who_kind = 'everyone')"
    " ELSE (SELECT " RULES " FROM public.rights_rule r WHERE r.who_kind = k.kind AND r.who = k.who)"
    " END FROM unnest($1::text[], $2::text[]) AS k(kind, who)"
};

RANGES(RULES, "rules", 1000,
       "SELECT g.kind, g.who, " RULES " FROM (SELECT DISTINCT q.who_kind COLLATE \"C\" AS kind,"
       "  coalesce(q.who, '') AS who FROM public.rights_rule q"
       "  WHERE q.who_kind IN ('domain', 'everyone', 'group')"
       "   AND (q.who_kind COLLATE \"C\", coalesce(q.who, '')) > ($1::text, $2::text)"
       "  ORDER BY 1, 2",
       ") g JOIN public.rights_rule r ON r.who_kind = g.kind AND coalesce(r.who, '') = g.who"
       " GROUP BY g.kind, g.who ORDER BY g.kind, g.who")

#define USER_GROUPS                                         \
    "(SELECT array_agg(m.group_name ORDER BY m.group_name)" \
    " FROM public.user_group_member m WHERE m.identity = u.identity)"
#define USER_RULES                                \
    "(SELECT " RULES " FROM public.rights_rule r" \
    "  WHERE r.who_kind = 'user' AND r.who = u.identity)"
#define USER_COLUMNS "u.state, " USER_GROUPS ", " USER_RULES

const struct database_statement STATEMENT_READ_USER = {
    "read-user",
    "SELECT k.identity, " USER_COLUMNS " FROM unnest($1::text[]) AS k(identity)"
    " LEFT JOIN LATERAL (SELECT * FROM public.sip_user t WHERE t.identity = k.identity OFFSET 0)"
    " u ON true"
};

/* Most users have neither groups nor rules of their own: they are looked for only from the first
 * user behind the range's begin that has some. */
RANGES(USER, "user", FILL_ROWS,
       "SELECT u.identity, u.state,"
       " CASE WHEN u.identity >= (SELECT min(n.identity) FROM public.user_group_member n"
       "  WHERE n.identity > $1::text) THEN " USER_GROUPS " END,"
       " CASE WHEN u.identity >= (SELECT min(n.who) FROM public.rights_rule n"
       "  WHERE n.who_kind = 'user' AND n.who > $1::text) THEN " USER_RULES " END"
       " FROM public.sip_user u"
       " WHERE u.identity > $1::text ORDER BY u.identity",
       "")

const struct database_statement STATEMENT_READ_PEER = {
    "read-peer", "SELECT k.store, k.cn, (SELECT array_agg(m.identity ORDER BY m.identity)"
                 " FROM public.cn_mapping m WHERE m.trust_store = k.store AND m.cn = k.cn),"
                 " (SELECT i.state FROM public.device_info i"
                 "  WHERE i.trust_store = k.store AND i.cn = k.cn)"
                 " FROM unnest($1::text[], $2::text[]) AS k(store, cn)"
};

/* Devices of either table, merged from their primary keys: both come in key order, and each gives
 * no more than is sent. One row an identity and one for a device's own row; a device's rows come
 * together, and those of the last may be cut off by the limit. No aggregate: it would cost more
 * than all the rest. */
#define PEER_ROWS(limit)                                                                         \
    "SELECT d.trust_store, d.cn, d.identity, d.state FROM ("                                     \
    " (SELECT m.trust_store, m.cn, m.identity, NULL::text AS state FROM public.cn_mapping m"     \
    "  WHERE (m.trust_store, m.cn) > ($1::text, $2::text)"                                       \
    "  ORDER BY m.trust_store, m.cn, m.identity" LIMITED(                                        \
        limit) ")"                                                                               \
               " UNION ALL (SELECT i.trust_store, i.cn, NULL, i.state FROM public.device_info i" \
               "  WHERE (i.trust_store, i.cn) > ($1::text, $2::text)"                            \
               "  ORDER BY i.trust_store, i.cn" LIMITED(                                         \
                   limit) ")) d"                                                                 \
                          " ORDER BY d.trust_store, d.cn" LIMITED(limit)

const struct database_statement STATEMENT_FILL_PEER = { "fill-peer", PEER_ROWS(FILL_ROWS) };
const struct database_statement STATEMENT_COMPARE_PEER = { "compare-peer",
                                                           PEER_ROWS(COMPARE_ROWS) };

/* Four arrays in one order, one element a realm. */
#define CREDENTIAL_COLUMNS                                                         \
    "array_agg(c.realm ORDER BY c.realm), array_agg(c.username ORDER BY c.realm)," \
    " array_agg(coalesce(c.ha1_sha256, '') ORDER BY c.realm),"                     \
    " array_agg(coalesce(c.ha1_md5, '') ORDER BY c.realm)"

const struct database_statement STATEMENT_READ_CREDENTIAL = {
    "read-credential", "SELECT k.identity, v.* FROM unnest($1::text[]) AS k(identity)"
                       " CROSS JOIN LATERAL (SELECT " CREDENTIAL_COLUMNS " FROM public.credential c"
                       "  WHERE c.identity = k.identity) v"
};

RANGES(CREDENTIAL, "credential", 2000,
       "SELECT c.identity, " CREDENTIAL_COLUMNS " FROM public.credential c"
       " WHERE c.identity > $1::text GROUP BY c.identity ORDER BY c.identity",
       "")

const struct database_statement STATEMENT_READ_BLOCKED = {
    "read-blocked", "SELECT k.store, k.sha256, (SELECT true FROM public.blocked_certificate b"
                    "  WHERE b.trust_store = k.store AND b.sha256 = k.sha256)"
                    " FROM unnest($1::text[], $2::text[]) AS k(store, sha256)"
};

RANGES(BLOCKED, "blocked", FILL_ROWS,
       "SELECT b.trust_store, b.sha256, true FROM public.blocked_certificate b"
       " WHERE (b.trust_store, b.sha256) > ($1::text, $2::text)"
       " ORDER BY b.trust_store, b.sha256",
       "")

#define BINDING_COLUMNS                                                                     \
    "b.device_key, b.instance_key, b.store, b.cn, b.ground, b.entry, b.instance, b.reg_id," \
    " b.contact, CASE WHEN isfinite(b.expires_at)"                                          \
    " THEN greatest(floor(extract(epoch FROM b.expires_at)), 0)::int8 ELSE 0 END,"          \
    " b.q, b.call_id, b.cseq, b.flow, b.path, b.version_ms, b.version_by, b.removed,"       \
    " b.registered_by"

const struct database_statement STATEMENT_READ_BINDING = {
    "read-binding",
    "SELECT k.aor, " BINDING_COLUMNS " FROM unnest($1::text[]) AS k(aor)"
    " LEFT JOIN LATERAL (SELECT * FROM public.binding t WHERE t.aor = k.aor OFFSET 0) b"
    " ON true ORDER BY k.aor"
};

/* The same, each once however often it is named. */
const struct database_statement STATEMENT_STANDING_BINDINGS = {
    "standing-bindings",
    "SELECT b.aor, " BINDING_COLUMNS " FROM public.binding b WHERE b.aor = ANY ($1::text[])"
};

const struct database_statement STATEMENT_FILL_BINDING = {
    "fill-binding", "SELECT b.aor, " BINDING_COLUMNS " FROM public.binding b"
                    " WHERE (b.aor, b.device_key, b.instance_key) > ($1::text, $2::text, $3::text)"
                    " ORDER BY b.aor, b.device_key, b.instance_key LIMIT 2000"
};

/* By whole addresses of record, since the store has each one's bindings in another order. */
const struct database_statement STATEMENT_COMPARE_BINDING = {
    "compare-binding",
    "SELECT b.aor, " BINDING_COLUMNS " FROM public.binding b"
    " WHERE b.aor IN (SELECT DISTINCT a.aor FROM public.binding a"
    "  WHERE a.aor > $1::text ORDER BY a.aor" LIMITED(COMPARE_ROWS) ")"
                                                                    " ORDER BY b.aor"
};

const struct database_statement *const STATEMENTS_OF_LOG[] = { &STATEMENT_PENDING, &STATEMENT_POLL,
                                                               NULL };
const struct database_statement *const STATEMENTS_OF_KEYS[] = {
    &STATEMENT_READ_TRUST,   &STATEMENT_READ_DOMAIN,
    &STATEMENT_READ_RULES,   &STATEMENT_READ_USER,
    &STATEMENT_READ_PEER,    &STATEMENT_READ_CREDENTIAL,
    &STATEMENT_READ_BLOCKED, &STATEMENT_READ_BINDING,
    &STATEMENT_PENDING,      &STATEMENT_PEEK,
    &STATEMENT_LSN,          &STATEMENT_FILL_USER,
    &STATEMENT_FILL_PEER,    NULL
};

const struct database_statement STATEMENT_ENROL = {
    "enrol", "SELECT public.mapperd_enrol($1::text), (SELECT c.system_identifier"
             " FROM pg_control_system() c), (SELECT d.oid FROM pg_database d"
             " WHERE d.datname = current_database()), pg_is_in_recovery(), " STARTED
             ", set_config('lock_timeout', $2::text, false),"
             " set_config('enable_seqscan', 'off', false), set_config('jit', 'off', false),"
             " set_config('plan_cache_mode', 'force_generic_plan', false)"
};

const struct database_statement STATEMENT_COUNTER = {
    "counter", "UPDATE public.mapperd SET counter = $2::int8,"
               " position_xmin = pg_snapshot_xmin($3::pg_snapshot), seen_at = clock_timestamp()"
               " WHERE id = $1::int4 RETURNING 1"
};

const struct database_statement STATEMENT_PRUNE = {
    "prune", "SELECT public.change_log_prune(make_interval(secs => $1::int8), $2::int4)"
};

const struct database_statement STATEMENT_PURGE_BINDINGS = {
    "purge-bindings", "SELECT p.aor, p.device_key, p.instance_key, p.purged"
                      " FROM public.binding_purge($1, $2, $3, $4::int4) p"
};

/* The higher version stays, so that a late arrival changes nothing. */
#define NEWER "WHERE (excluded.version_ms, excluded.version_by) > (b.version_ms, b.version_by)"

/* Many at once, of different bindings. In the order of their keys, so that two mapperds that write
 * the same ones do not wait for each other in a circle. */
const struct database_statement STATEMENT_BIND = {
    "bind",
    "INSERT INTO public.binding AS b (aor, device_key, instance_key, store, cn, ground, entry,"
    " instance, contact, call_id, flow, path, registered_by, reg_id, expires_at, q, cseq,"
    " version_ms, version_by, removed)"
    " SELECT k.aor, k.device_key, k.instance_key, k.store, k.cn, k.ground, k.entry, k.instance,"
    " k.contact, k.call_id, k.flow, k.path, nullif(k.registered_by, ''), k.reg_id::int4,"
    " to_timestamp(k.expires), k.q::int4, k.cseq, k.version_ms, $19::int4, false"
    " FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],"
    " $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[],"
    " $14::int8[], $15::int8[], $16::int8[], $17::int8[], $18::int8[])"
    " AS k(aor, device_key, instance_key, store, cn, ground, entry, instance, contact, call_id,"
    " flow, path, registered_by, reg_id, expires, q, cseq, version_ms)"
    " ORDER BY k.aor COLLATE \"C\", k.device_key COLLATE \"C\", k.instance_key COLLATE \"C\""
    " ON CONFLICT (aor, device_key, instance_key) DO UPDATE SET store = excluded.store,"
    " cn = excluded.cn, ground = excluded.ground, entry = excluded.entry,"
    " instance = excluded.instance, reg_id = excluded.reg_id, contact = excluded.contact,"
    " expires_at = excluded.expires_at, q = excluded.q, call_id = excluded.call_id,"
    " cseq = excluded.cseq, flow = excluded.flow, path = excluded.path,"
    " registered_by = excluded.registered_by,"
    " version_ms = excluded.version_ms, version_by = excluded.version_by, removed = false " NEWER
    " RETURNING b.version_ms"
};

/* Also where there is no row: a BIND of lower version that is still on its way must find the
 * tombstone. */
const struct database_statement STATEMENT_UNBIND_ONE = {
    "unbind-one",
    "INSERT INTO public.binding AS b (aor, device_key, instance_key, store, cn, ground, "
    "entry,"
    " instance, reg_id, contact, expires_at, call_id, cseq, flow, version_ms, version_by, removed)"
    " VALUES ($1, $2, $3, '', '', 'mapping', '', $4, $5::int8, $6, now() + interval '1 day', '-', "
    "0,"
    " '', $7::int8, $8::int4, true)"
    " ON CONFLICT (aor, device_key, instance_key) DO UPDATE SET removed = true,"
    " expires_at = greatest(b.expires_at, excluded.expires_at),"
    " version_ms = excluded.version_ms, version_by = excluded.version_by " NEWER
    " RETURNING b.aor, " BINDING_COLUMNS
};

#define REMOVE                                                                         \
    "UPDATE public.binding AS b SET removed = true,"                                   \
    " expires_at = greatest(b.expires_at, now() + interval '1 day'),"                  \
    " version_ms = $2::int8, version_by = $3::int4 WHERE b.aor = $1 AND NOT b.removed" \
    " AND ($2::int8, $3::int4) > (b.version_ms, b.version_by)"

const struct database_statement STATEMENT_UNBIND_DEVICE = {
    "unbind-device", REMOVE " AND b.device_key = $4 RETURNING b.aor, " BINDING_COLUMNS
};

const struct database_statement STATEMENT_UNBIND_ALL = { "unbind-all", REMOVE
                                                         " RETURNING b.aor, " BINDING_COLUMNS };

const struct database_statement *const STATEMENTS_OF_BINDINGS[] = {
    &STATEMENT_BIND,       &STATEMENT_UNBIND_ONE,        &STATEMENT_UNBIND_DEVICE,
    &STATEMENT_UNBIND_ALL, &STATEMENT_STANDING_BINDINGS, &STATEMENT_LSN,
    &STATEMENT_COUNTER,    &STATEMENT_PURGE_BINDINGS,    NULL
};

/* Behind a lock or a slow disk a table waits its turn here, and the next in mapperd. */
const struct database_statement STATEMENT_REPORT_SETTINGS = {
    "report-settings",
    "SELECT set_config('lock_timeout', '1000', false), set_config('statement_timeout', '4000', "
    "false),"
    " set_config('client_encoding', 'UTF8', false), set_config('jit', 'off', false)"
};

const struct database_statement STATEMENT_REPORT = {
    "report", "SELECT public.report_unmapped($1::text[], $2::text[], $3::int8[], $4::int8[],"
              " $5::int8[], $6::text[], $7::text[], $8::text[])"
};

const struct database_statement STATEMENT_TIDY = { "tidy", "SELECT public.tidy_unmapped()" };
