/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/ocsp_desk.h"

#include "common/clock.h"
#include "common/hash.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/queue.h"
#include "proxy/config.h"
#include "proxy/ocsp_helpers.h"

#include <ev.h>
#include <utlist.h>

#define KEPT_MAX     32768 /* certificates that nobody holds */
#define WAITING_MAX  4096  /* questions that wait for a helper, of those that somebody waits for */
#define WISHES_MAX   65536 /* letters of the workers that are not read yet */
#define HAND_OUT_MAX 1024  /* of what waits that are looked at each time */
#define LOOK_S       0.25
#define RETRY_MS     5000
#define RETRY_MAX_MS 300000
#define SOONEST_MS   1000 /* between two askings about one certificate */
#define LOG_BURST    1 /* lines a second about askings without answer: of one that is away, many */

enum asking { ASKING_NOT = 0, ASKING_FIRST, ASKING_AGAIN, ASKING_NOW };

struct desk_entry {
    struct status_key key;
    struct certificate_status known;
    struct ocsp_question *question; /* NULL: none yet; it may be on an errand as `key` says */
    uint64_t held;                  /* by these workers, a bit each */
    uint64_t untold;                /* these have not been told the last word */
    bool newly_revoked;             /* and not told to all */
    enum asking asking;             /* FIRST, AGAIN: in the list of that */
    uint64_t again_mono_ms;         /* when it is asked again if it is held */
    uint64_t failed_mono_ms;        /* when the last asking failed; 0: it did not */
    unsigned failures;              /* one after the other */
    struct desk_entry *prev, *next;
    struct desk_entry *prev_unheld, *next_unheld;
    UT_hash_handle hh;
};

struct ocsp_desk {
    struct ev_loop *loop;
    struct ocsp_desk_user user;
    struct ocsp_helpers *helpers; /* NULL: nothing is asked, no store wants it */
    uint64_t timeout_ms, refresh_ms;
    ev_async wished;
    ev_timer look;
    struct queue wishes;
    struct queue_batch batch;
    size_t room; /* in the table: for all that connections can hold, and KEPT_MAX */
    struct desk_entry *table;
    struct desk_entry *unheld;        /* by any worker, longest so first */
    struct desk_entry *first, *again; /* waiting for a helper, in their order */
    unsigned first_count, asked_count;
    unsigned long long good, revoked, unknown, unanswered;
    struct log_limit limit;
};

/* ---- Telling ---- */

static uint64_t all_workers(const struct ocsp_desk *desk)
{
    return desk->user.workers == 64 ? UINT64_MAX : (UINT64_C(1) << desk->user.workers) - 1;
}

static void tell(struct ocsp_desk *desk, struct desk_entry *e)
{
    const struct status_word word = { e->key, e->known };
    uint64_t before = e->untold;
    for (unsigned i = 0; i < desk->user.workers; i++) {
        uint64_t bit = UINT64_C(1) << i;
        if ((e->untold & bit) && desk->user.tell(desk->user.owner, i, &word))
            e->untold &= ~bit;
    }
    if (e->newly_revoked && e->untold != before)
        desk->user.revoked(desk->user.owner);
    e->newly_revoked &= e->untold != 0;
}

/* ---- Asking ---- */

static void wait_for_helper(struct ocsp_desk *desk, struct desk_entry *e, enum asking asking)
{
    e->asking = asking;
    desk->asked_count++;
    if (asking == ASKING_FIRST) {
        DL_APPEND(desk->first, e);
        desk->first_count++;
    } else {
        DL_APPEND(desk->again, e);
    }
}

static void wait_no_more(struct ocsp_desk *desk, struct desk_entry *e)
{
    if (e->asking == ASKING_FIRST) {
        DL_DELETE(desk->first, e);
        desk->first_count--;
    } else if (e->asking == ASKING_AGAIN) {
        DL_DELETE(desk->again, e);
    }
    e->asking = ASKING_NOT;
    desk->asked_count--;
}

/* Those behind many questions to a responder that has all the helpers it may have wait with them.
 */
static void hand_out(struct ocsp_desk *desk, struct desk_entry *list)
{
    struct desk_entry *e, *next;
    unsigned looked = 0;
    DL_FOREACH_SAFE(list, e, next)
    {
        if (++looked > HAND_OUT_MAX || !ocsp_helpers_are_free(desk->helpers))
            return;
        if (!e->held) {
            wait_no_more(desk, e);
        } else if (ocsp_helpers_ask(desk->helpers, e->question, (unsigned)desk->timeout_ms)) {
            wait_no_more(desk, e);
            e->question = NULL;
            e->asking = ASKING_NOW;
            desk->asked_count++;
        }
    }
}

static void hand_out_all(struct ocsp_desk *desk)
{
    hand_out(desk, desk->first);
    hand_out(desk, desk->again);
}

/* ---- The table ---- */

static void set_held(struct ocsp_desk *desk, struct desk_entry *e, uint64_t held)
{
    if (!e->held && held)
        DL_DELETE2(desk->unheld, e, prev_unheld, next_unheld);
    else if (e->held && !held)
        DL_APPEND2(desk->unheld, e, prev_unheld, next_unheld);
    e->held = held;
}

static void forget(struct ocsp_desk *desk, struct desk_entry *e)
{
    if (e->asking != ASKING_NOT)
        wait_no_more(desk, e);
    if (!e->held)
        DL_DELETE2(desk->unheld, e, prev_unheld, next_unheld);
    HASH_DEL(desk->table, e);
    mem_free(e->question);
    mem_free(e);
}

/* Who is revoked is remembered longest. */
static bool make_room(struct ocsp_desk *desk)
{
    struct desk_entry *e;
    for (int only_others = 1; only_others >= 0; only_others--)
        for (e = desk->unheld; e; e = e->next_unheld) {
            if (e->asking == ASKING_NOW || (only_others && e->known.said == OCSP_STATUS_REVOKED))
                continue;
            forget(desk, e);
            return true;
        }
    return false;
}

static struct desk_entry *add(struct ocsp_desk *desk, const struct status_key *key)
{
    if (HASH_COUNT(desk->table) >= desk->room && !make_room(desk))
        return NULL;
    struct desk_entry *e = mem_zero(1, sizeof(*e));
    if (!e)
        return NULL;
    e->key = *key;
    HASH_ADD(hh, desk->table, key, sizeof(e->key), e);
    if (!e->hh.tbl) {
        mem_free(e);
        return NULL;
    }
    DL_APPEND2(desk->unheld, e, prev_unheld, next_unheld);
    return e;
}

static struct desk_entry *find(const struct ocsp_desk *desk, const struct status_key *key)
{
    struct desk_entry *e;
    HASH_FIND(hh, desk->table, key, sizeof(*key), e);
    return e;
}

/* ---- Wishes ---- */

static bool may_ask(const struct ocsp_desk *desk, const struct desk_entry *e)
{
    uint64_t now_mono_ms = clock_mono_ms();
    return desk->helpers && e->question && desk->first_count < WAITING_MAX &&
           (!e->failed_mono_ms || now_mono_ms >= e->failed_mono_ms + RETRY_MS);
}

static void answer(struct ocsp_desk *desk, struct desk_entry *e, unsigned worker)
{
    bool in_force = clock_unix_s() < e->known.until_unix_s;
    if (in_force && e->asking == ASKING_NOT && clock_mono_ms() >= e->again_mono_ms &&
        may_ask(desk, e))
        wait_for_helper(desk, e, ASKING_AGAIN);
    if (!in_force && e->asking == ASKING_AGAIN && desk->first_count < WAITING_MAX) {
        wait_no_more(desk, e);
        wait_for_helper(desk, e, ASKING_FIRST);
    } else if (!in_force && e->asking == ASKING_NOT && may_ask(desk, e)) {
        wait_for_helper(desk, e, ASKING_FIRST);
    }
    if (in_force || e->asking == ASKING_NOT) {
        e->untold |= UINT64_C(1) << worker;
        tell(desk, e);
    }
}

static void hold(struct ocsp_desk *desk, struct status_wish *wish)
{
    struct desk_entry *e = find(desk, &wish->key);
    if (!e)
        e = add(desk, &wish->key);
    if (!e) { /* no room: there will be no answer */
        const struct status_word nothing = { .key = wish->key };
        (void)desk->user.tell(desk->user.owner, wish->worker, &nothing);
        return;
    }
    set_held(desk, e, e->held | UINT64_C(1) << wish->worker);
    if (wish->question) {
        mem_free(e->question);
        e->question = wish->question;
        wish->question = NULL;
    }
    answer(desk, e, wish->worker);
}

static void release(struct ocsp_desk *desk, const struct status_wish *wish)
{
    struct desk_entry *e = find(desk, &wish->key);
    if (!e)
        return;
    set_held(desk, e, e->held & ~(UINT64_C(1) << wish->worker));
    e->untold &= ~(UINT64_C(1) << wish->worker);
}

static void on_wished(struct ev_loop *loop, ev_async *watcher, int events)
{
    struct ocsp_desk *desk = watcher->data;
    (void)loop, (void)events;
    queue_take(&desk->wishes, &desk->batch);
    for (size_t i = 0; i < desk->batch.count; i++) {
        struct status_wish *wish = desk->batch.items[i];
        if (wish->held)
            hold(desk, wish);
        else
            release(desk, wish);
        status_wish_free(wish);
    }
    desk->batch.count = 0;
    hand_out_all(desk);
}

bool ocsp_desk_wish(struct ocsp_desk *desk, struct status_wish *wish)
{
    bool was_empty;
    if (queue_put(&desk->wishes, wish, &was_empty) != ERROR_NONE)
        return false;
    if (was_empty)
        ev_async_send(desk->loop, &desk->wished);
    return true;
}

/* ---- Outcomes ---- */

static void log_unanswered(struct ocsp_desk *desk, const struct ocsp_errand *errand)
{
    struct log_line line;
    unsigned suppressed;
    if (!log_limit_pass(&desk->limit, LOG_BURST, clock_mono_ms()))
        return;
    suppressed = log_limit_suppressed(&desk->limit);
    log_begin(&line, LOG_WARNING, "ocsp-no-answer");
    log_word(&line, "store", errand->question->key.store);
    log_text(&line, "responder", slice_of(errand->question->url));
    log_text(&line, "detail",
             slice_of(*errand->why ? errand->why : "it is over, or older than another"));
    if (suppressed)
        log_number(&line, "suppressed", suppressed);
    log_end(&line);
}

static void count(struct ocsp_desk *desk, enum ocsp_status said)
{
    switch (said) {
    case OCSP_STATUS_GOOD:
        desk->good++;
        break;
    case OCSP_STATUS_REVOKED:
        desk->revoked++;
        break;
    case OCSP_STATUS_UNKNOWN:
        desk->unknown++;
        break;
    case OCSP_STATUS_NONE:
        desk->unanswered++;
        break;
    }
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* What is left of a good is not slept through after a failure either. */
static uint64_t pause_ms(const struct ocsp_desk *desk, const struct desk_entry *e)
{
    uint64_t now_unix_s = clock_unix_s(), ms = desk->refresh_ms;
    uint64_t until_unix_s = e->known.said == OCSP_STATUS_GOOD ? e->known.until_unix_s : 0;
    if (e->failures)
        ms = least((uint64_t)RETRY_MS << least(e->failures - 1, 8), RETRY_MAX_MS);
    if (until_unix_s > now_unix_s)
        ms = least(ms, (until_unix_s - now_unix_s) * 1000 / 2);
    return ms > SOONEST_MS ? ms : SOONEST_MS;
}

static void on_done(void *owner, struct ocsp_errand *errand)
{
    struct ocsp_desk *desk = owner;
    struct desk_entry *e = find(desk, &errand->question->key); /* is kept until now */
    enum ocsp_status before = e->known.said;
    bool counts =
        errand->error == ERROR_NONE && status_take(&e->known, &errand->answer, clock_unix_s());
    count(desk, counts ? e->known.said : OCSP_STATUS_NONE);
    if (!counts)
        log_unanswered(desk, errand);
    wait_no_more(desk, e);
    if (e->question) /* a newer one has come */
        mem_free(errand->question);
    else
        e->question = errand->question;
    e->failures = counts && e->known.said != OCSP_STATUS_UNKNOWN ? 0 : e->failures + 1;
    e->failed_mono_ms = counts ? 0 : clock_mono_ms();
    e->again_mono_ms = clock_mono_ms() + pause_ms(desk, e);
    e->untold |= e->held;
    if (e->known.said == OCSP_STATUS_REVOKED && before != OCSP_STATUS_REVOKED) {
        e->newly_revoked = true;
        e->untold = all_workers(desk);
    }
    tell(desk, e);
    hand_out_all(desk);
}

static void on_look(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct ocsp_desk *desk = timer->data;
    struct desk_entry *e, *next;
    uint64_t now_mono_ms = clock_mono_ms();
    (void)loop, (void)events;
    HASH_ITER(hh, desk->table, e, next)
    {
        if (e->untold)
            tell(desk, e);
        if (e->held && e->asking == ASKING_NOT && e->question && desk->helpers &&
            now_mono_ms >= e->again_mono_ms)
            wait_for_helper(desk, e, ASKING_AGAIN);
    }
    hand_out_all(desk);
}

/* ---- Life ---- */

/* The helpers are there from the first configuration on that has them do something. */
void ocsp_desk_use(struct ocsp_desk *desk, const struct config *config)
{
    const struct ocsp_helpers_user user = { desk, on_done };
    desk->timeout_ms = config->ocsp.timeout_ms;
    desk->refresh_ms = config->ocsp.refresh_ms;
    if (desk->helpers || !config->ocsp.wanted)
        return;
    enum error e = ocsp_helpers_new(desk->loop, &user, &desk->helpers);
    if (e != ERROR_NONE)
        log_write(LOG_ERROR, "ocsp-helpers", "%s: no responder is asked", error_text(e));
    else
        ev_timer_again(desk->loop, &desk->look);
}

enum error ocsp_desk_new(struct ev_loop *loop, const struct ocsp_desk_user *user,
                         const struct config *config, struct ocsp_desk **out)
{
    struct ocsp_desk *desk = mem_zero(1, sizeof(*desk));
    *out = NULL;
    if (!desk)
        return ERROR_MEMORY;
    enum error e = queue_init(&desk->wishes, WISHES_MAX);
    if (e != ERROR_NONE) {
        mem_free(desk);
        return e;
    }
    desk->loop = loop;
    desk->user = *user;
    desk->room = (size_t)config->bounds.max_connections + KEPT_MAX;
    ev_async_init(&desk->wished, on_wished);
    ev_timer_init(&desk->look, on_look, LOOK_S, LOOK_S);
    desk->wished.data = desk->look.data = desk;
    ev_async_start(loop, &desk->wished);
    *out = desk;
    ocsp_desk_use(desk, config);
    return ERROR_NONE;
}

void ocsp_desk_get_figures(const struct ocsp_desk *desk, struct ocsp_figures *figures)
{
    uint64_t now_unix_s = clock_unix_s();
    *figures = (struct ocsp_figures){ .asked = desk->asked_count,
                                      .good = desk->good,
                                      .revoked = desk->revoked,
                                      .unknown = desk->unknown,
                                      .unanswered = desk->unanswered };
    for (const struct desk_entry *e = desk->table; e; e = e->hh.next)
        figures->kept += now_unix_s < e->known.until_unix_s;
}

void ocsp_desk_free(struct ocsp_desk *desk)
{
    struct desk_entry *e, *next;
    if (!desk)
        return;
    ocsp_helpers_free(desk->helpers);
    ev_async_stop(desk->loop, &desk->wished);
    ev_timer_stop(desk->loop, &desk->look);
    queue_take(&desk->wishes, &desk->batch);
    for (size_t i = 0; i < desk->batch.count; i++)
        status_wish_free(desk->batch.items[i]);
    queue_batch_free(&desk->batch);
    queue_destroy(&desk->wishes);
    HASH_ITER(hh, desk->table, e, next)
    forget(desk, e);
    mem_free(desk);
}
