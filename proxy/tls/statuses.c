/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/tls/statuses.h"

#include "common/hash.h"
#include "common/mem.h"

#include <assert.h>
#include <utlist.h>

struct status_entry {
    struct status_key key;
    struct certificate_status known;
    bool over;      /* no more is awaited */
    bool told_held; /* what the desk knows */
    bool in_unsent;
    struct status_holder *holders;
    struct ocsp_question *question;   /* until the desk has it */
    struct status_entry *prev, *next; /* in `kept` */
    struct status_entry *prev_unsent, *next_unsent;
    UT_hash_handle hh;
};

struct statuses {
    unsigned worker;
    struct statuses_user user;
    struct status_entry *table;
    struct status_entry *kept; /* without holders, oldest first */
    size_t kept_count;
    struct status_entry *unsent;
};

void status_wish_free(struct status_wish *wish)
{
    if (wish)
        mem_free(wish->question);
    mem_free(wish);
}

enum error statuses_new(unsigned worker, const struct statuses_user *user, struct statuses **out)
{
    struct statuses *s = *out = mem_zero(1, sizeof(*s));
    if (!s)
        return ERROR_MEMORY;
    s->worker = worker;
    s->user = *user;
    return ERROR_NONE;
}

/* ---- Letters ---- */

static void unlist_unsent(struct statuses *s, struct status_entry *e)
{
    if (e->in_unsent)
        DL_DELETE2(s->unsent, e, prev_unsent, next_unsent);
    e->in_unsent = false;
}

static bool send(struct statuses *s, struct status_entry *e, bool held)
{
    struct status_wish *wish = s->user.wish ? mem_zero(1, sizeof(*wish)) : NULL;
    if (!wish)
        return false;
    *wish = (struct status_wish){ e->key, s->worker, held, e->question };
    if (!s->user.wish(s->user.owner, wish)) {
        mem_free(wish);
        return false;
    }
    e->question = NULL;
    e->told_held = held;
    return true;
}

/* Tells the desk whether it is held, if that is news or there is a question; or another time. */
static void tell_desk(struct statuses *s, struct status_entry *e)
{
    bool held = e->holders != NULL;
    if (held == e->told_held && !e->question) {
        unlist_unsent(s, e);
    } else if (send(s, e, held)) {
        unlist_unsent(s, e);
    } else if (!e->in_unsent) {
        DL_APPEND2(s->unsent, e, prev_unsent, next_unsent);
        e->in_unsent = true;
    }
}

void statuses_retry(struct statuses *statuses)
{
    struct status_entry *e, *next;
    for (e = statuses->unsent; e; e = next) {
        next = e->next_unsent;
        tell_desk(statuses, e);
        if (e->in_unsent)
            return; /* there is no room for the others either */
    }
}

/* ---- Entries ---- */

static void free_entry(struct statuses *s, struct status_entry *e)
{
    unlist_unsent(s, e);
    HASH_DEL(s->table, e);
    mem_free(e->question);
    mem_free(e);
}

static void unkeep(struct statuses *s, struct status_entry *e)
{
    DL_DELETE(s->kept, e);
    s->kept_count--;
}

static void keep(struct statuses *s, struct status_entry *e)
{
    DL_APPEND(s->kept, e);
    if (++s->kept_count <= STATUSES_KEPT_MAX)
        return;
    struct status_entry *oldest = s->kept;
    unkeep(s, oldest);
    free_entry(s, oldest); /* a letter of it that was not sent: the desk asks for it again */
}

static struct status_entry *find(const struct statuses *s, const struct status_key *key)
{
    struct status_entry *e;
    HASH_FIND(hh, s->table, key, sizeof(*key), e);
    return e;
}

static struct status_entry *add(struct statuses *s, const struct status_key *key)
{
    struct status_entry *e = mem_zero(1, sizeof(*e));
    if (!e)
        return NULL;
    e->key = *key;
    HASH_ADD(hh, s->table, key, sizeof(e->key), e);
    if (e->hh.tbl)
        return e;
    mem_free(e);
    return NULL;
}

enum error statuses_hold(struct statuses *statuses, const struct status_key *key,
                         struct ocsp_question *question, struct status_holder *holder)
{
    struct status_entry *e = find(statuses, key);
    assert(!holder->entry);
    if (!e)
        e = add(statuses, key);
    else if (!e->holders)
        unkeep(statuses, e);
    if (!e) {
        mem_free(question);
        return ERROR_MEMORY;
    }
    bool first = !e->holders;
    if (first || question) {
        mem_free(e->question);
        e->question = question;
    }
    if (first || (question && e->known.said == OCSP_STATUS_NONE))
        e->over = false;
    if (first)
        e->told_held = false; /* that it was let go may not have been sent: it is said anew */
    DL_APPEND(e->holders, holder);
    holder->entry = e;
    tell_desk(statuses, e);
    if (e->in_unsent)
        e->over = true;
    return ERROR_NONE;
}

void statuses_release(struct statuses *statuses, struct status_holder *holder)
{
    struct status_entry *e = holder->entry;
    if (!e)
        return;
    DL_DELETE(e->holders, holder);
    *holder = (struct status_holder){ .entry = NULL };
    if (e->holders)
        return;
    mem_free(e->question);
    e->question = NULL;
    tell_desk(statuses, e);
    keep(statuses, e);
}

const struct certificate_status *status_known(const struct status_holder *holder, bool *over)
{
    *over = holder->entry->over;
    return &holder->entry->known;
}

/* Of what is not held here the desk is told so again: the letter that said it was lost with its
 * entry. */
void statuses_told(struct statuses *statuses, const struct status_word *word)
{
    struct status_entry *e = find(statuses, &word->key);
    struct status_holder *holder, *next;
    if (!e || !e->holders) {
        if (e)
            e->known = word->known;
        struct status_entry unknown = { .key = word->key, .told_held = true };
        (void)send(statuses, e ? e : &unknown, false);
        return;
    }
    e->known = word->known;
    e->over = true;
    DL_FOREACH_SAFE(e->holders, holder, next)
    statuses->user.told(statuses->user.owner, holder);
}

bool statuses_good(const struct statuses *statuses, const struct status_key *key,
                   uint64_t now_unix_s)
{
    const struct status_entry *e = statuses ? find(statuses, key) : NULL;
    return e && e->known.said == OCSP_STATUS_GOOD && now_unix_s < e->known.until_unix_s;
}

void statuses_free(struct statuses *statuses)
{
    struct status_entry *e, *next;
    if (!statuses)
        return;
    HASH_ITER(hh, statuses->table, e, next)
    {
        assert(!e->holders);
        free_entry(statuses, e);
    }
    mem_free(statuses);
}
