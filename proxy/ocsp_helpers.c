/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/ocsp_helpers.h"

#include "common/mem.h"

#include <assert.h>
#include <errno.h>
#include <ev.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct helper {
    struct ocsp_helpers *all;
    pthread_t thread;
    bool started;
    sem_t wake;                                    /* with an errand, or for the end */
    _Atomic(struct ocsp_errand *) errand, outcome; /* letters: whose they are is who took them */
    const char *url;                               /* main's: what it is asked; NULL: it is free */
};

struct ocsp_helpers {
    struct ev_loop *loop;
    struct ocsp_helpers_user user;
    ev_async outcome;
    int stop_fd; /* readable: stop */
    struct helper list[OCSP_HELPERS];
};

/* ---- The helper's thread ---- */

static void *run(void *argument)
{
    struct helper *helper = argument;
    struct ocsp_helpers *all = helper->all;
    struct ocsp_errand *errand;
    do {
        while (sem_wait(&helper->wake) != 0 && errno == EINTR)
            ;
        errand = atomic_exchange(&helper->errand, NULL);
        if (!errand)
            continue;
        errand->error = ocsp_ask(errand->question, errand->timeout_ms, all->stop_fd,
                                 &errand->answer, &errand->why);
        atomic_store(&helper->outcome, errand);
        ev_async_send(all->loop, &all->outcome);
    } while (errand);
    return NULL;
}

/* ---- Main's thread ---- */

static void on_outcome(struct ev_loop *loop, ev_async *watcher, int events)
{
    struct ocsp_helpers *helpers = watcher->data;
    (void)loop, (void)events;
    for (size_t i = 0; i < OCSP_HELPERS; i++) {
        struct ocsp_errand *errand = atomic_exchange(&helpers->list[i].outcome, NULL);
        if (!errand)
            continue;
        helpers->list[i].url = NULL;
        helpers->user.done(helpers->user.owner, errand);
        mem_free(errand);
    }
}

static enum error start(struct ocsp_helpers *helpers, struct helper *helper)
{
    helper->all = helpers;
    if (sem_init(&helper->wake, 0, 0) != 0)
        return ERROR_SYSTEM;
    if (pthread_create(&helper->thread, NULL, run, helper) != 0) {
        sem_destroy(&helper->wake);
        return ERROR_SYSTEM;
    }
    helper->started = true;
    return ERROR_NONE;
}

enum error ocsp_helpers_new(struct ev_loop *loop, const struct ocsp_helpers_user *user,
                            struct ocsp_helpers **out)
{
    struct ocsp_helpers *helpers = mem_zero(1, sizeof(*helpers));
    enum error e = ERROR_NONE;
    sigset_t all, before;
    *out = NULL;
    if (!helpers)
        return ERROR_MEMORY;
    helpers->loop = loop;
    helpers->user = *user;
    ev_async_init(&helpers->outcome, on_outcome);
    helpers->outcome.data = helpers;
    ev_async_start(loop, &helpers->outcome);
    helpers->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (helpers->stop_fd < 0)
        e = ERROR_SYSTEM;
    sigfillset(&all); /* signals are main's, whose threads inherit what it blocks */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (size_t i = 0; e == ERROR_NONE && i < OCSP_HELPERS; i++)
        e = start(helpers, &helpers->list[i]);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (e != ERROR_NONE)
        ocsp_helpers_free(helpers);
    else
        *out = helpers;
    return e;
}

static struct helper *find_free(const struct ocsp_helpers *helpers, const char *url)
{
    const struct helper *found = NULL;
    size_t same = 0;
    for (size_t i = 0; i < OCSP_HELPERS; i++) {
        const struct helper *helper = &helpers->list[i];
        if (!helper->url)
            found = helper;
        else if (strcmp(helper->url, url) == 0)
            same++;
    }
    return same < OCSP_HELPERS_EACH ? (struct helper *)found : NULL;
}

bool ocsp_helpers_are_free(const struct ocsp_helpers *helpers)
{
    for (size_t i = 0; i < OCSP_HELPERS; i++)
        if (!helpers->list[i].url)
            return true;
    return false;
}

bool ocsp_helpers_ask(struct ocsp_helpers *helpers, struct ocsp_question *question,
                      unsigned timeout_ms)
{
    struct helper *helper = find_free(helpers, question->url);
    struct ocsp_errand *errand = helper ? mem_zero(1, sizeof(*errand)) : NULL;
    if (!errand)
        return false;
    *errand = (struct ocsp_errand){ .question = question, .timeout_ms = timeout_ms };
    helper->url = question->url; /* the errand comes back before it is freed */
    atomic_store(&helper->errand, errand);
    sem_post(&helper->wake);
    return true;
}

static void end(struct helper *helper)
{
    struct ocsp_errand *left;
    if (!helper->started)
        return;
    sem_post(&helper->wake);
    pthread_join(helper->thread, NULL);
    sem_destroy(&helper->wake);
    left = atomic_exchange(&helper->outcome, NULL);
    if (left)
        mem_free(left->question);
    mem_free(left);
}

void ocsp_helpers_free(struct ocsp_helpers *helpers)
{
    uint64_t one = 1;
    if (!helpers)
        return;
    if (helpers->stop_fd >= 0 && write(helpers->stop_fd, &one, sizeof(one)) < 0)
        assert(errno == EAGAIN);
    for (size_t i = 0; i < OCSP_HELPERS; i++)
        end(&helpers->list[i]);
    ev_async_stop(helpers->loop, &helpers->outcome);
    if (helpers->stop_fd >= 0)
        close(helpers->stop_fd);
    mem_free(helpers);
}
