/* SPDX-License-Identifier: Apache-2.0 */
/* Tells mapperd what this worker has denied (REPORT), for unmapped_device and mapctl watch. Nothing
 * ever waits for it: denials are gathered for DENIALS_GATHER_MS, the same ones counted, and sent on
 * a connection of their own, which the first denial opens. What finds no room, or no connection
 * when its time comes, is dropped and counted. One thread: the worker's. */
#ifndef HOLDLINE_AUTHORIZATION_DENIALS_H
#define HOLDLINE_AUTHORIZATION_DENIALS_H

#include "common/error.h"
#include "common/reason.h"
#include "common/slice.h"
#include "proxy/worker_base.h"

#define DENIALS_GATHER_MS 200
#define DENIALS_MAX       64              /* different ones gathered at once */
#define DENIALS_UNREAD    ((size_t)65536) /* octets that mapperd may leave unread */

struct denials;

/* Bounded by the certificate's and the schema's bounds; a longer text is left out. */
struct denial {
    struct slice store, cn; /* empty: no certificate */
    struct slice from;      /* canonical; empty: not known */
    struct slice address;   /* without port */
    enum reason reason;
};

/* Connects to nobody yet. ERROR_MEMORY, ERROR_TOO_LARGE (path). */
enum error denials_new(struct worker_base *base, const char *socket_path,
                       struct denials **out) MUST_CHECK;
void denials_free(struct denials *denials); /* NULL is harmless */

/* NULL is harmless: nothing is told then. */
void denials_add(struct denials *denials, const struct denial *denial);

#endif
