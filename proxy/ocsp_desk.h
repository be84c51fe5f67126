/* SPDX-License-Identifier: Apache-2.0 */
/* The one desk at which OCSP responders are asked about peers' certificates: it keeps the last
 * signed word about each, asks once however many wait, asks again before a word is over as long as
 * a connection holds the certificate, and tells the workers. Main's thread and loop; questions and
 * words are letters, the asking is done by helpers (ocsp_helpers.h).
 *
 *   a worker holds a certificate      | the desk
 *   ----------------------------------+---------------------------------------------------------
 *   a word is kept, in force          | tells it; asks too if it is time to
 *   it is being asked about, or waits | tells when that is over
 *   the last asking failed, less than | tells what is kept, which is no good in force
 *     RETRY_MS ago; nobody to ask; no |
 *     room for a further question     |
 *   else                              | asks, before all that is only asked again
 *
 * An asking ends with a word that counts (status_take()) or without. Either is told to all that
 * hold the certificate, `revoked` to every worker. It is asked again after half of the time that is
 * left, at most ocsp_refresh; after a failure, or `unknown`, after RETRY_MS to RETRY_MAX_MS, each
 * time later. What nobody holds is not asked about, and gives its place when there are KEPT_MAX
 * more than connections; what connections hold always has a place. */
#ifndef HOLDLINE_PROXY_OCSP_DESK_H
#define HOLDLINE_PROXY_OCSP_DESK_H

#include "common/error.h"
#include "proxy/tls/statuses.h"

struct config;
struct ev_loop;
struct ocsp_desk;

/* For INFO. */
struct ocsp_figures {
    unsigned kept;                             /* certificates with a word that is in force */
    unsigned asked;                            /* being asked about, or waiting for it */
    unsigned long long good, revoked, unknown; /* answers that counted */
    unsigned long long unanswered;             /* askings without one */
};

struct ocsp_desk_user {
    void *owner;
    unsigned workers;
    /* False: no room; it is told again. */
    bool (*tell)(void *owner, unsigned worker, const struct status_word *word);
    /* After workers were told that a certificate is revoked: what was decided before counts no
     * more. */
    void (*revoked)(void *owner);
};

enum error ocsp_desk_new(struct ev_loop *loop, const struct ocsp_desk_user *user,
                         const struct config *config, struct ocsp_desk **out) MUST_CHECK;
/* After a reload. */
void ocsp_desk_use(struct ocsp_desk *desk, const struct config *config);
/* Any thread. False: no room; the letter stays the caller's. */
bool ocsp_desk_wish(struct ocsp_desk *desk, struct status_wish *wish);
void ocsp_desk_get_figures(const struct ocsp_desk *desk, struct ocsp_figures *figures);
/* When no other thread knows it any more. */
void ocsp_desk_free(struct ocsp_desk *desk); /* NULL is harmless */

#endif
