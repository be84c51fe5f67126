/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/crl_watch.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "proxy/config.h"
#include "proxy/file_mark.h"
#include "proxy/tls/revocation.h"

#include <ev.h>

#define LOOK_S 0.25

struct watched {
    const struct config_crl_store *options;
    struct file_mark *marks;  /* one a file */
    struct revocations *list; /* the last good reading; a reference */
    bool faulty, expired;
};

struct crl_watch {
    struct ev_loop *loop;
    ev_timer look;
    struct crl_watch_user user;
    const struct config *config; /* held */
    struct watched *stores;
    size_t count;
};

static void log_store(enum log_level level, const char *event, const struct watched *w,
                      const char *file, const char *detail)
{
    struct log_line line;
    log_begin(&line, level, event);
    log_word(&line, "store", w->options->name);
    if (file)
        log_text(&line, "file", slice_of(file));
    if (detail)
        log_text(&line, "detail", slice_of(detail));
    log_number(&line, "revoked", (long long)revocations_count(w->list));
    log_end(&line);
}

static bool has_changed(struct watched *w)
{
    bool changed = false;
    for (size_t i = 0; i < w->options->file_count; i++)
        changed |= file_mark_changes(&w->marks[i], w->options->files[i]);
    return changed;
}

/* True: another reading is in force. */
static bool read_again(struct watched *w)
{
    struct revocations *list;
    const char *file, *why;
    enum error e = config_read_crls(w->options, &list, &file, &why);
    w->faulty = e != ERROR_NONE;
    if (w->faulty) {
        log_store(LOG_ERROR, "crl-faulty", w, file, why);
        return false;
    }
    revocations_drop(w->list);
    w->list = list;
    w->expired = false;
    log_store(LOG_NOTICE, "crl-read", w, NULL, NULL);
    return true;
}

static void look_for_expiry(struct watched *w)
{
    bool expired = revocations_next_update_unix_s(w->list) <= clock_unix_s();
    if (expired && !w->expired)
        log_store(LOG_ERROR, "crl-expired", w, NULL,
                  w->options->rules.crl_expired_accepted
                      ? "nextUpdate is over: it is used on, as crl_expired says"
                      : "nextUpdate is over: certificates of its authority are refused");
    w->expired = expired;
}

static void publish(struct crl_watch *watch)
{
    struct revocation_set *set;
    enum error e = revocation_set_new(&set);
    for (size_t i = 0; e == ERROR_NONE && i < watch->count; i++)
        e = revocation_set_put(set, watch->stores[i].options->name, watch->stores[i].list);
    if (e == ERROR_NONE)
        watch->user.changed(watch->user.owner, set);
    else
        log_write(LOG_ERROR, "crl-faulty", "out of memory");
    revocation_set_drop(set);
}

static void on_look(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct crl_watch *watch = timer->data;
    bool changed = false;
    (void)loop, (void)events;
    for (size_t i = 0; i < watch->count; i++) {
        struct watched *w = &watch->stores[i];
        if (has_changed(w))
            changed |= read_again(w);
        look_for_expiry(w);
    }
    if (changed)
        publish(watch);
}

enum error crl_watch_new(struct ev_loop *loop, const struct crl_watch_user *user,
                         struct crl_watch **out)
{
    struct crl_watch *watch = mem_zero(1, sizeof(*watch));
    *out = watch;
    if (!watch)
        return ERROR_MEMORY;
    watch->loop = loop;
    watch->user = *user;
    ev_timer_init(&watch->look, on_look, LOOK_S, LOOK_S);
    watch->look.data = watch;
    return ERROR_NONE;
}

static void forget(struct crl_watch *watch)
{
    ev_timer_stop(watch->loop, &watch->look);
    for (size_t i = 0; i < watch->count; i++) {
        revocations_drop(watch->stores[i].list);
        mem_free(watch->stores[i].marks);
    }
    mem_free(watch->stores);
    watch->stores = NULL;
    watch->count = 0;
    config_drop(watch->config);
    watch->config = NULL;
}

/* The first look reads everything again: what changed since the configuration was read is not
 * missed. Without memory the new files are not watched, which is said. */
void crl_watch_use(struct crl_watch *watch, const struct config *config)
{
    const struct config *held = config_hold(config);
    forget(watch);
    watch->config = held;
    watch->stores = mem_zero(config->crl_store_count + 1, sizeof(watch->stores[0]));
    for (size_t i = 0; watch->stores && i < config->crl_store_count; i++) {
        const struct config_crl_store *options = &config->crl_stores[i];
        struct file_mark *marks = mem_zero(options->file_count, sizeof(*marks));
        if (!marks)
            break;
        watch->stores[watch->count++] = (struct watched){ .options = options,
                                                          .marks = marks,
                                                          .list = revocations_hold(options->list) };
    }
    if (watch->count < config->crl_store_count)
        log_write(LOG_ERROR, "crl-faulty", "out of memory: CRL files are not watched");
    watch->user.changed(watch->user.owner, config->revocations);
    if (watch->count)
        ev_timer_again(watch->loop, &watch->look);
}

void crl_watch_get_figures(const struct crl_watch *watch, struct crl_figures *figures)
{
    *figures = (struct crl_figures){ .stores = (unsigned)watch->count };
    for (size_t i = 0; i < watch->count; i++) {
        figures->expired += watch->stores[i].expired;
        figures->faulty += watch->stores[i].faulty;
        figures->revoked += revocations_count(watch->stores[i].list);
    }
}

void crl_watch_free(struct crl_watch *watch)
{
    if (!watch)
        return;
    forget(watch);
    mem_free(watch);
}
