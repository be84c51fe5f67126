/* SPDX-License-Identifier: Apache-2.0 */
/* A few threads that ask OCSP responders, one question each at a time: all that blocks in it, names
 * too, blocks them alone. Main's thread hands out questions and takes the outcomes in. Of the
 * threads one responder has OCSP_HELPERS_EACH at most, so that one that hangs leaves some to the
 * others. */
#ifndef HOLDLINE_PROXY_OCSP_HELPERS_H
#define HOLDLINE_PROXY_OCSP_HELPERS_H

#include "common/error.h"
#include "proxy/tls/ocsp_question.h"

#define OCSP_HELPERS      8
#define OCSP_HELPERS_EACH 6

struct ev_loop;
struct ocsp_helpers;

/* A letter: goes to a helper and comes back. */
struct ocsp_errand {
    struct ocsp_question *question; /* the errand's */
    unsigned timeout_ms;
    enum error error;
    struct ocsp_answer answer;
    const char *why; /* static */
};

struct ocsp_helpers_user {
    void *owner;
    /* The errand is over; its question is the user's from here on. */
    void (*done)(void *owner, struct ocsp_errand *errand);
};

/* Starts the threads. ERROR_SYSTEM, ERROR_MEMORY. */
enum error ocsp_helpers_new(struct ev_loop *loop, const struct ocsp_helpers_user *user,
                            struct ocsp_helpers **out) MUST_CHECK;
/* Whether one has nothing to do. */
bool ocsp_helpers_are_free(const struct ocsp_helpers *helpers);
/* Takes the question; false: there is no helper for its responder now, or no memory, and it stays
 * the caller's. */
bool ocsp_helpers_ask(struct ocsp_helpers *helpers, struct ocsp_question *question,
                      unsigned timeout_ms) MUST_CHECK;
/* Stops what is asked, all but a look-up of a name, and waits for the threads. */
void ocsp_helpers_free(struct ocsp_helpers *helpers); /* NULL is harmless */

#endif
