/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/staple_watch.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "proxy/config.h"
#include "proxy/file_mark.h"
#include "proxy/tls/ocsp.h"

#include <ev.h>

#define LOOK_S 0.25

struct watched {
    const struct config_staple *options;
    struct file_mark mark;
    char *der; /* of the last good response; NULL: none */
    size_t size;
    struct ocsp_answer answer;
    bool faulty, expired;
};

struct staple_watch {
    struct ev_loop *loop;
    ev_timer look;
    struct staple_watch_user user;
    const struct config *config; /* held */
    struct watched *list;
    size_t count;
};

static void log_staple(enum log_level level, const char *event, const struct watched *w,
                       const char *detail)
{
    struct log_line line;
    log_begin(&line, level, event);
    log_word(&line, "listener", w->options->listener);
    log_text(&line, "file", slice_of(w->options->file));
    log_text(&line, "detail", slice_of(detail));
    log_end(&line);
}

/* NULL, or why the file cannot be used. */
static const char *read_file(struct watched *w)
{
    const char *why;
    struct ocsp_answer answer;
    struct slice der;
    if (config_read_staple(w->options, &der, &why) != ERROR_NONE)
        return why;
    if (ocsp_read(der, w->options->chain, 0, &answer, &why) == ERROR_NONE) {
        if (answer.status == OCSP_STATUS_REVOKED)
            why = "our certificate has been revoked";
        else if (answer.status != OCSP_STATUS_GOOD)
            why = "the responder does not know our certificate";
        else if (!answer.next_update_unix_s)
            why = "it has no nextUpdate";
        else if (answer.next_update_unix_s <= clock_unix_s())
            why = "its nextUpdate is over";
    }
    if (why) {
        mem_free((char *)der.data);
        return why;
    }
    mem_free(w->der);
    w->der = (char *)der.data;
    w->size = der.size;
    w->answer = answer;
    w->expired = false;
    return NULL;
}

/* True: another response is in force. */
static bool read_again(struct watched *w)
{
    const char *why = read_file(w);
    w->faulty = why != NULL;
    if (why)
        log_staple(LOG_ERROR, "ocsp-faulty", w, why);
    else
        log_staple(LOG_NOTICE, "ocsp-read", w, "stapled from now on");
    return !why;
}

static void look_for_expiry(struct watched *w)
{
    bool expired = w->der && w->answer.next_update_unix_s <= clock_unix_s();
    if (expired && !w->expired)
        log_staple(LOG_ERROR, "ocsp-expired", w, "nextUpdate is over: it is stapled no more");
    w->expired = expired;
}

static void publish(struct staple_watch *watch)
{
    struct staples *set;
    enum error e = staples_new(&set);
    for (size_t i = 0; e == ERROR_NONE && i < watch->count; i++) {
        const struct watched *w = &watch->list[i];
        if (w->der)
            e = staples_put(set, sk_X509_value(w->options->chain, 0),
                            (struct slice){ w->der, w->size }, &w->answer);
    }
    if (e == ERROR_NONE)
        watch->user.changed(watch->user.owner, set);
    else
        log_write(LOG_ERROR, "ocsp-faulty", "%s", error_text(e));
    staples_drop(set);
}

static bool look(struct staple_watch *watch)
{
    bool changed = false;
    for (size_t i = 0; i < watch->count; i++) {
        struct watched *w = &watch->list[i];
        if (file_mark_changes(&w->mark, w->options->file))
            changed |= read_again(w);
        look_for_expiry(w);
    }
    return changed;
}

static void on_look(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct staple_watch *watch = timer->data;
    (void)loop, (void)events;
    if (look(watch))
        publish(watch);
}

enum error staple_watch_new(struct ev_loop *loop, const struct staple_watch_user *user,
                            struct staple_watch **out)
{
    struct staple_watch *watch = mem_zero(1, sizeof(*watch));
    *out = watch;
    if (!watch)
        return ERROR_MEMORY;
    watch->loop = loop;
    watch->user = *user;
    ev_timer_init(&watch->look, on_look, LOOK_S, LOOK_S);
    watch->look.data = watch;
    return ERROR_NONE;
}

static void forget(struct staple_watch *watch)
{
    for (size_t i = 0; i < watch->count; i++)
        mem_free(watch->list[i].der);
    mem_free(watch->list);
    watch->list = NULL;
    watch->count = 0;
    config_drop(watch->config);
    watch->config = NULL;
}

/* The last good response of the same file for the same certificate stays, whatever is in the file
 * now. */
static void inherit(struct watched *to, struct staple_watch *from)
{
    for (size_t i = 0; i < from->count && !to->der; i++) {
        struct watched *old = &from->list[i];
        if (!old->der || strcmp(old->options->file, to->options->file) != 0 ||
            X509_cmp(sk_X509_value(old->options->chain, 0), sk_X509_value(to->options->chain, 0)) !=
                0)
            continue;
        to->der = old->der;
        to->size = old->size;
        to->answer = old->answer;
        to->expired = old->expired;
        old->der = NULL;
    }
}

/* Without memory nothing is stapled, which is said. */
void staple_watch_use(struct staple_watch *watch, const struct config *config)
{
    struct watched *list = mem_zero(config->staple_count + 1, sizeof(*list));
    size_t count = list ? config->staple_count : 0;
    if (!list)
        log_write(LOG_ERROR, "ocsp-faulty", "out of memory: nothing is stapled");
    for (size_t i = 0; i < count; i++) {
        list[i].options = &config->staples[i];
        inherit(&list[i], watch);
    }
    const struct config *held = config_hold(config);
    ev_timer_stop(watch->loop, &watch->look);
    forget(watch);
    watch->config = held;
    watch->list = list;
    watch->count = count;
    (void)look(watch);
    publish(watch);
    if (watch->count)
        ev_timer_again(watch->loop, &watch->look);
}

void staple_watch_get_figures(const struct staple_watch *watch, struct staple_figures *figures)
{
    *figures = (struct staple_figures){ .good = 0 };
    for (size_t i = 0; i < watch->count; i++) {
        figures->good += watch->list[i].der && !watch->list[i].expired;
        figures->expired += watch->list[i].expired;
        figures->faulty += watch->list[i].faulty;
    }
}

void staple_watch_free(struct staple_watch *watch)
{
    if (!watch)
        return;
    ev_timer_stop(watch->loop, &watch->look);
    forget(watch);
    mem_free(watch);
}
