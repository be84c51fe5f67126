/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of a staged list that only the database knows to be wrong. */
#include "mapctl/import_load_internal.h"

#include <stdio.h>

/* What the database would refuse as a whole is named line by line here. A line that has one such
 * identity is taken out with all of its identities. $1 is not asked for. */
#define TAKE_OUT(wrong)                                                            \
    "DELETE FROM pg_temp.import_list l WHERE $1::text IS NOT NULL AND l.line IN (" \
    "SELECT l.line FROM pg_temp.import_list l WHERE " wrong ")"                    \
    " RETURNING l.line, l.identity, " wrong

/* The trigger of cn_mapping refuses a domain of one word that is not ours. */
static const char WORDS[] =
    TAKE_OUT("strpos(l.identity, '@') = 0 AND strpos(l.identity, '.') = 0"
             " AND NOT EXISTS (SELECT FROM public.domain d WHERE d.name = l.identity)");
/* Row security refuses what is not in the tenant's domains, and those are the only ones it sees. */
static const char OTHERS[] =
    TAKE_OUT("NOT EXISTS (SELECT FROM public.domain d"
             " WHERE d.name = substr(l.identity, strpos(l.identity, '@') + 1))");
static const char DOMAINS[] = "SELECT string_agg(d.name, ', ' ORDER BY d.name) FROM public.domain d"
                              " WHERE $1::text IS NOT NULL";

/* `what` is made of the shown identity and of `of`. */
static bool take_out(struct load *load, const char *statement, const char *format, const char *of,
                     load_complaint *complaint, void *context, uint64_t *count)
{
    PGresult *result = load_run(load, statement, NULL, NULL);

    for (int i = 0; result != NULL && i < PQntuples(result); i++) {
        char what[LIST_WHY_MAX], shown[LIST_SHOWN_MAX];
        const char *identity = PQgetvalue(result, i, 1);
        if (*PQgetvalue(result, i, 2) != 't')
            continue; /* another identity of such a line */
        snprintf(what, sizeof(what), format, list_shown(slice_of(identity), shown),
                 of ? of : identity);
        complaint(context, load_number_at(result, i, 0), what);
        (*count)++;
    }
    PQclear(result);
    return result != NULL;
}

static bool check_tenant(struct load *load, load_complaint *complaint, void *context,
                         uint64_t *count)
{
    PGresult *domains = load->tenant ? load_run(load, DOMAINS, NULL, NULL) : NULL;
    bool good = !load->tenant || domains != NULL;

    if (domains != NULL)
        good = take_out(load, OTHERS,
                        "%s is in a domain that is not yours; write identities of %.300s",
                        PQgetvalue(domains, 0, 0), complaint, context, count);
    PQclear(domains);
    return good;
}

bool load_check(struct load *load, load_complaint *complaint, void *context, uint64_t *count)
{
    *count = 0;
    if (!check_tenant(load, complaint, context, count))
        return false;
    if (load->has_words &&
        !take_out(load, WORDS,
                  "%s has no domain; write user@domain, such as %.64s@example.org; a whole domain "
                  "of one word must be in table domain first",
                  NULL, complaint, context, count))
        return false;
    if (*count > 0)
        load->cn_repeated = load->identity_repeated = true; /* what is left is counted by SQL */
    return true;
}
