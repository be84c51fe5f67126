/* SPDX-License-Identifier: Apache-2.0 */
/* What a staged list changes, and where it is at odds with itself or with what there is. */
#include "mapctl/import_load_internal.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- Changes ---- */

#define NOT_THERE                                        \
    " WHERE NOT EXISTS (SELECT FROM public.cn_mapping m" \
    " WHERE m.trust_store = $1 AND m.cn = l.cn AND m.identity = l.identity)"
/* In the order of identities: of the indexes that a mapping fills with its user, its log and its
 * audit, three have the identity first and two the CN. A device's mappings stay together, so that
 * it is logged once. */
static const char ADD[] = "INSERT INTO pg_temp.import_add SELECT n.line, n.cn, n.identity FROM ("
                          "  SELECT min(l.line) AS line, l.cn, l.identity,"
                          "   min(l.identity) OVER (PARTITION BY l.cn) AS first"
                          "  FROM pg_temp.import_list l" NOT_THERE " GROUP BY l.cn, l.identity) n"
                          " ORDER BY n.first, n.cn, n.identity";
/* The same where each device has one mapping. */
static const char ADD_ONE_EACH[] =
    "INSERT INTO pg_temp.import_add SELECT l.line, l.cn, l.identity"
    " FROM pg_temp.import_list l" NOT_THERE " ORDER BY l.identity, l.cn";
static const char REMOVE[] =
    "INSERT INTO pg_temp.import_remove SELECT m.cn, m.identity FROM public.cn_mapping m"
    " WHERE m.trust_store = $1 AND NOT EXISTS (SELECT FROM pg_temp.import_list l"
    " WHERE l.cn = m.cn AND l.identity = m.identity)";

/* What the list has, each once. */
static const char LISTED[] =
    "SELECT (SELECT count(*) FROM (SELECT DISTINCT cn FROM pg_temp.import_list) d),"
    " (SELECT count(*) FROM (SELECT DISTINCT cn, identity FROM pg_temp.import_list) m),"
    " (SELECT count(*) FROM pg_temp.import_list) WHERE $1::text IS NOT NULL";
/* Devices that get a mapping; of these, those that have one; and the size of it all. */
static const char ADDED[] =
    "WITH added AS MATERIALIZED (SELECT DISTINCT cn FROM pg_temp.import_add)"
    " SELECT (SELECT count(*) FROM added), (SELECT count(*) FROM added a WHERE EXISTS ("
    "  SELECT FROM public.cn_mapping m WHERE m.trust_store = $1 AND m.cn = a.cn)),"
    " pg_relation_size('pg_temp.import_add') / current_setting('block_size')::bigint";
/* The same where each device has one mapping. */
static const char ADDED_ONE_EACH[] =
    "SELECT (SELECT count(*) FROM pg_temp.import_add),"
    " (SELECT count(*) FROM pg_temp.import_add a WHERE EXISTS ("
    "  SELECT FROM public.cn_mapping m WHERE m.trust_store = $1 AND m.cn = a.cn)),"
    " pg_relation_size('pg_temp.import_add') / current_setting('block_size')::bigint";
/* Devices that lose mappings: all of them; only some, and get none. */
static const char REMOVED[] =
    "WITH removed AS MATERIALIZED (SELECT DISTINCT cn FROM pg_temp.import_remove)"
    " SELECT count(*) FILTER (WHERE NOT listed), count(*) FILTER (WHERE listed AND NOT added)"
    " FROM (SELECT EXISTS (SELECT FROM pg_temp.import_list l WHERE l.cn = r.cn) AS listed,"
    "  EXISTS (SELECT FROM pg_temp.import_add a WHERE a.cn = r.cn) AS added FROM removed r) d"
    " WHERE $1::text IS NOT NULL";

/* Labels and sites that change. A CN on several lines has what the last of them says. An empty cell
 * leaves what is there, but with --replace ($2 = 1) takes it away. */
#define READ_PLACES(table, shown)                                                      \
    "INSERT INTO pg_temp.import_place SELECT n.cn, n.label, n.site FROM ("             \
    "  SELECT l.cn, CASE WHEN l.label <> '' THEN l.label"                              \
    "    WHEN l.label IS NULL OR $2 = '0' THEN i.label END AS label,"                  \
    "   CASE WHEN l.site <> '' THEN l.site"                                            \
    "    WHEN l.site IS NULL OR $2 = '0' THEN i.site END AS site,"                     \
    "   i.label AS old_label, i.site AS old_site"                                      \
    "  FROM (SELECT DISTINCT ON (cn) cn, label, site FROM pg_temp.import_list"         \
    "   WHERE label IS NOT NULL OR site IS NOT NULL ORDER BY cn, line DESC) l"         \
    "  LEFT JOIN public." table " i ON i.trust_store = $1 AND i.cn = l.cn" shown ") n" \
    " WHERE (n.label, n.site) IS DISTINCT FROM (n.old_label, n.old_site) ORDER BY n.cn"
static const char PLACES[] = READ_PLACES("device_info", "");
static const char PLACES_OWN[] = READ_PLACES("tenant_device", LOAD_FIRST_OWN);
static const char PLACE_PAGES[] =
    "SELECT pg_relation_size('pg_temp.import_place') / current_setting('block_size')::bigint"
    " WHERE $1::text IS NOT NULL";

/* Runs a statement and gives how many rows it wrote. */
static bool run_counted(struct load *load, const char *statement, const char *second,
                        uint64_t *count)
{
    PGresult *result = load_run(load, statement, second, NULL);

    if (result == NULL)
        return false;
    *count = strtoull(PQcmdTuples(result), NULL, 10);
    PQclear(result);
    return true;
}

static bool one_each(const struct load *load)
{
    return !load->cn_repeated && load->devices == load->mappings;
}

static bool count_listed(struct load *load, struct load_summary *summary)
{
    PGresult *counts;

    summary->devices_listed = load->devices;
    summary->mappings_listed = summary->rows = load->mappings;
    if (!load->cn_repeated && !load->identity_repeated)
        return true;
    counts = load_run(load, LISTED, NULL, NULL);
    if (counts == NULL)
        return false;
    summary->devices_listed = load_number_at(counts, 0, 0);
    summary->mappings_listed = load_number_at(counts, 0, 1);
    summary->rows = load_number_at(counts, 0, 2);
    PQclear(counts);
    return true;
}

static bool count_changes(struct load *load, struct load_summary *summary)
{
    const char *count = one_each(load) ? ADDED_ONE_EACH : ADDED;
    PGresult *added = load_run(load, count, NULL, NULL);
    PGresult *removed = added ? load_run(load, REMOVED, NULL, NULL) : NULL;

    if (removed != NULL) {
        uint64_t had_some = load_number_at(added, 0, 1);
        load->pages = load_number_at(added, 0, 2);
        summary->devices_added = load_number_at(added, 0, 0) - had_some;
        summary->devices_changed = had_some + load_number_at(removed, 0, 1);
        summary->devices_removed = load_number_at(removed, 0, 0);
        summary->devices_unchanged =
            summary->devices_listed - summary->devices_added - summary->devices_changed;
        summary->mappings_unchanged = summary->mappings_listed - summary->mappings_added;
    }
    PQclear(added);
    PQclear(removed);
    return removed != NULL;
}

static bool compare_places(struct load *load, bool replace, struct load_summary *summary)
{
    PGresult *result;

    if (!load->has_label && !load->has_site)
        return true;
    if (!run_counted(load, load->tenant ? PLACES_OWN : PLACES, replace ? "1" : "0",
                     &summary->places_changed))
        return false;
    result = load_run(load, PLACE_PAGES, NULL, NULL);
    if (result != NULL)
        load->place_pages = load_number_at(result, 0, 0);
    PQclear(result);
    return result != NULL;
}

bool load_compare(struct load *load, bool replace, struct load_summary *summary)
{
    *summary = (struct load_summary){ .rows = 0 };
    return compare_places(load, replace, summary) &&
           run_counted(load, one_each(load) ? ADD_ONE_EACH : ADD, NULL, &summary->mappings_added) &&
           (!replace || run_counted(load, REMOVE, NULL, &summary->mappings_removed)) &&
           load_run_plain(load, "ANALYZE pg_temp.import_add; ANALYZE pg_temp.import_remove") &&
           count_listed(load, summary) && count_changes(load, summary);
}

/* ---- Conflicts ---- */

/* Each query gives line, three texts, and how many there are in all; $2 is 1 with --replace, $3 how
 * many are wanted. */
static const char CN_HAS_OTHERS[] =
    "SELECT a.line, a.cn, min(m.identity), '', count(*) OVER ()"
    " FROM pg_temp.import_add a JOIN public.cn_mapping m ON m.trust_store = $1 AND m.cn = a.cn"
    " WHERE $2 = '0' AND NOT EXISTS (SELECT FROM pg_temp.import_list l"
    "  WHERE l.cn = m.cn AND l.identity = m.identity)"
    " GROUP BY a.line, a.cn ORDER BY a.line LIMIT $3::bigint";

/* Whole domains are there to be shared and are no conflict. Two joins, because one index has the
 * mappings to users of ours and another the rest. */
static const char IDENTITY_OF_ANOTHER[] =
    "SELECT line, identity, min(cn), min(trust_store), count(*) OVER () FROM ("
    "  SELECT a.line, a.identity, m.cn, m.trust_store FROM pg_temp.import_add a"
    "  JOIN public.cn_mapping m ON m.user_identity = a.identity"
    "   AND (m.trust_store <> $1 OR m.cn <> a.cn)"
    "  UNION ALL SELECT a.line, a.identity, m.cn, m.trust_store FROM pg_temp.import_add a"
    "  JOIN public.cn_mapping m ON m.identity = a.identity AND m.user_identity IS NULL"
    "   AND (m.trust_store <> $1 OR m.cn <> a.cn)"
    "  WHERE strpos(a.identity, '@') > 0) h"
    " WHERE $2 = '0' OR h.trust_store <> $1 OR NOT EXISTS (SELECT FROM pg_temp.import_remove r"
    "  WHERE r.cn = h.cn AND r.identity = h.identity)"
    " GROUP BY line, identity ORDER BY line LIMIT $3::bigint";

static const char MAPPING_REPEATED[] =
    "SELECT max(line), cn, identity, min(line), count(*) OVER () FROM pg_temp.import_list"
    " WHERE $1 <> $2 GROUP BY cn, identity HAVING count(*) > 1 ORDER BY 1 LIMIT $3::bigint";

static const char CN_REPEATED[] =
    "SELECT max(line), cn, min(line), '', count(*) OVER () FROM pg_temp.import_list"
    " WHERE $1 <> $2 GROUP BY cn HAVING min(line) < max(line) AND min(identity) < max(identity)"
    " ORDER BY 1 LIMIT $3::bigint";

static const char IDENTITY_REPEATED[] =
    "SELECT max(line), identity, min(cn), max(cn), count(*) OVER () FROM pg_temp.import_list"
    " WHERE $1 <> $2 AND strpos(identity, '@') > 0 GROUP BY identity HAVING min(cn) < max(cn)"
    " ORDER BY 1 LIMIT $3::bigint";

static const struct {
    const char *query, *format; /* of the three texts */
} CONFLICTS[LOAD_CONFLICTS] = {
    [LOAD_CN_HAS_OTHERS] = { CN_HAS_OTHERS,
                             "%s is mapped to %s already, which the list does not have: it keeps "
                             "that too%s" },
    [LOAD_IDENTITY_OF_ANOTHER] = { IDENTITY_OF_ANOTHER,
                                   "%s is an identity of %s in store %s already: both have it" },
    [LOAD_MAPPING_REPEATED] = { MAPPING_REPEATED,
                                "%s with %s is on line %s as well: it counts once" },
    [LOAD_CN_REPEATED] = { CN_REPEATED,
                           "%s is on line %s as well: it gets the identities of both lines%s" },
    [LOAD_IDENTITY_REPEATED] = { IDENTITY_REPEATED, "%s is given to %s and to %s: both get it" },
};

static bool report(struct load *load, enum load_conflict kind, const char *replace,
                   const char *each, load_complaint *complaint, void *context, uint64_t *count)
{
    PGresult *result = load_run(load, CONFLICTS[kind].query, replace, each);

    for (int i = 0; result != NULL && i < PQntuples(result); i++) {
        char what[LIST_WHY_MAX];
        /* Canonical values have no control characters. */
        snprintf(what, sizeof(what), CONFLICTS[kind].format, PQgetvalue(result, i, 1),
                 PQgetvalue(result, i, 2), PQgetvalue(result, i, 3));
        complaint(context, load_number_at(result, i, 0), what);
        *count = load_number_at(result, i, 4);
    }
    PQclear(result);
    return result != NULL;
}

static bool may_be(const struct load *load, enum load_conflict kind, bool replace,
                   const struct load_summary *summary)
{
    switch (kind) {
    case LOAD_CN_HAS_OTHERS:
        return !replace && summary->devices_changed > 0;
    case LOAD_IDENTITY_OF_ANOTHER:
        return summary->mappings_added > 0;
    case LOAD_MAPPING_REPEATED:
        return summary->rows != summary->mappings_listed;
    case LOAD_CN_REPEATED:
        return load->cn_repeated;
    case LOAD_IDENTITY_REPEATED:
        return load->identity_repeated;
    case LOAD_CONFLICTS:
        break;
    }
    return false;
}

bool load_conflicts(struct load *load, bool replace, const struct load_summary *summary,
                    unsigned each, load_complaint *complaint, void *context,
                    uint64_t counts[LOAD_CONFLICTS])
{
    char limit[16];

    snprintf(limit, sizeof(limit), "%u", each);
    for (enum load_conflict kind = 0; kind < LOAD_CONFLICTS; kind++) {
        counts[kind] = 0;
        if (may_be(load, kind, replace, summary) &&
            !report(load, kind, replace ? "1" : "0", limit, complaint, context, &counts[kind]))
            return false;
    }
    return true;
}
