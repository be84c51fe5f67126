/* SPDX-License-Identifier: Apache-2.0 */
/* Looks at the files of OCSP responses for our own certificates several times a second, reads what
 * has changed and hands it on. A file that cannot be used leaves the last good one in force as long
 * as that lasts; that, and a response whose nextUpdate is over, is an alarm: a log line once, and a
 * figure in INFO as long as it lasts. A certificate without response is shown without one. Main's
 * thread and loop: the workers never wait for a file. */
#ifndef HOLDLINE_PROXY_STAPLE_WATCH_H
#define HOLDLINE_PROXY_STAPLE_WATCH_H

#include "common/error.h"

struct config;
struct ev_loop;
struct staple_watch;
struct staples;

/* For INFO. */
struct staple_figures {
    unsigned good;    /* certificates with a response that is in force */
    unsigned expired; /* whose last good response is over */
    unsigned faulty;  /* whose file could not be used */
};

struct staple_watch_user {
    void *owner;
    /* From now on this set counts. Whoever keeps it takes a reference. */
    void (*changed)(void *owner, struct staples *set);
};

enum error staple_watch_new(struct ev_loop *loop, const struct staple_watch_user *user,
                            struct staple_watch **out) MUST_CHECK;
/* At start and after a reload: reads the configuration's files, calls changed() and watches them.
 * Holds the configuration. */
void staple_watch_use(struct staple_watch *watch, const struct config *config);
void staple_watch_get_figures(const struct staple_watch *watch, struct staple_figures *figures);
void staple_watch_free(struct staple_watch *watch); /* NULL is harmless */

#endif
