/* SPDX-License-Identifier: Apache-2.0 */
/* Looks at the CRL files of the configuration several times a second, reads what has changed and
 * hands it on. A file that cannot be used leaves the last good reading in force; that, and a CRL
 * whose nextUpdate is over, is an alarm: a log line once, and a figure in INFO as long as it lasts.
 * Main's thread and loop: the workers never wait for a file. */
#ifndef HOLDLINE_PROXY_CRL_WATCH_H
#define HOLDLINE_PROXY_CRL_WATCH_H

#include "common/error.h"

struct config;
struct crl_watch;
struct ev_loop;
struct revocation_set;

/* For INFO. */
struct crl_figures {
    unsigned stores;  /* that have CRLs */
    unsigned expired; /* of them: a nextUpdate is over */
    unsigned faulty;  /* of them: a file could not be used, an older reading is in force */
    unsigned long long revoked; /* certificates listed */
};

struct crl_watch_user {
    void *owner;
    /* From now on this set counts. Whoever keeps it takes a reference. */
    void (*changed)(void *owner, struct revocation_set *set);
};

enum error crl_watch_new(struct ev_loop *loop, const struct crl_watch_user *user,
                         struct crl_watch **out) MUST_CHECK;
/* At start and after a reload: these files from here on; calls changed() with what the
 * configuration has read of them. Holds the configuration. */
void crl_watch_use(struct crl_watch *watch, const struct config *config);
void crl_watch_get_figures(const struct crl_watch *watch, struct crl_figures *figures);
void crl_watch_free(struct crl_watch *watch); /* NULL is harmless */

#endif
