/* SPDX-License-Identifier: Apache-2.0 */
/* What one worker knows of its peers' certificates by OCSP: a word for each certificate that a
 * connection holds, and the last ones of those that nobody holds any more, for session tickets. One
 * thread: the worker's. The words come from main's desk (proxy/ocsp_desk.h), which is told by
 * letters which certificates are held here; a letter that finds no room is sent again later, and
 * until then the question counts as one without answer: nothing ever waits for room.
 *
 *   entry               holders   desk knows   what it says
 *   ---------------------------------------------------------------------------------------------
 *   asked               some      held         `over` is false until the desk's first word
 *   told                some      held         every further word of the desk
 *   unsent              some      not yet      `over`: no answer can be had now
 *   kept                none      not held     the last word, as long as that is in force; no more
 *                                              words but `revoked`
 *
 * Holders are heard from told() alone, which must not change the table but for its own holder. */
#ifndef HOLDLINE_TLS_STATUSES_H
#define HOLDLINE_TLS_STATUSES_H

#include "proxy/tls/certificate_status.h"
#include "proxy/tls/ocsp_question.h"

#define STATUSES_KEPT_MAX 16384 /* that nobody holds; the oldest go */

struct statuses;
struct status_entry;

/* To the desk. Owned by who has it; free with status_wish_free(). */
struct status_wish {
    struct status_key key;
    unsigned worker;
    bool held;                      /* false: by nobody here any more */
    struct ocsp_question *question; /* NULL: the desk has it, or none can be made */
};
void status_wish_free(struct status_wish *wish);

/* From the desk: what it knows, and that there is no more at present. */
struct status_word {
    struct status_key key;
    struct certificate_status known;
};

/* In its owner, zeroed at first. */
struct status_holder {
    struct status_entry *entry; /* NULL: holds nothing */
    struct status_holder *prev, *next;
};

struct statuses_user {
    void *owner;
    /* False: no room; the letter stays the caller's. NULL: there is no desk. */
    bool (*wish)(void *owner, struct status_wish *wish);
    /* There is another word about the certificate. */
    void (*told)(void *owner, struct status_holder *holder);
};

enum error statuses_new(unsigned worker, const struct statuses_user *user,
                        struct statuses **out) MUST_CHECK;
/* Nothing is held any more. */
void statuses_free(struct statuses *statuses);

/* Holds, and lets the desk ask if need be. `question` is the table's from here on, also on error;
 * NULL: none can be made. ERROR_MEMORY: nothing is held. */
enum error statuses_hold(struct statuses *statuses, const struct status_key *key,
                         struct ocsp_question *question, struct status_holder *holder) MUST_CHECK;
void statuses_release(struct statuses *statuses, struct status_holder *holder);

/* What is known, and whether no more is awaited. */
const struct certificate_status *status_known(const struct status_holder *holder, bool *over);

/* A word has come. */
void statuses_told(struct statuses *statuses, const struct status_word *word);
/* Sends what found no room; to be called a few times a second. */
void statuses_retry(struct statuses *statuses);

/* Whether a `good` that is in force is kept: what a session may be resumed by. NULL: not. */
bool statuses_good(const struct statuses *statuses, const struct status_key *key,
                   uint64_t now_unix_s);

#endif
