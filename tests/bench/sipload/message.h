/* SPDX-License-Identifier: Apache-2.0 */
/* As much of SIP as a phone needs to answer. Its own small parser, so that it shares no fault with
 * the target's. */
#ifndef HOLDLINE_BENCH_SIPLOAD_MESSAGE_H
#define HOLDLINE_BENCH_SIPLOAD_MESSAGE_H

#include "text.h"

#define MSG_MAX  32768 /* a longer message from the target is a protocol error */
#define MAX_HOPS 24    /* Via and Record-Route values kept of a message */

struct msg {
    bool request;
    unsigned status;
    struct str method, uri;
    struct str via[MAX_HOPS], rr[MAX_HOPS]; /* whole header values */
    unsigned nvia, nrr;
    struct str from, to, call_id, cseq, contact;
    size_t body;
};

/* Bytes the first message in [p, p+n) takes; 0: not complete yet; -1: not SIP. */
ssize_t parse_msg(const char *p, size_t n, struct msg *m);
/* The URI inside a name-addr or addr-spec. */
struct str uri_of(struct str v);
bool has_tag(struct str v);
/* Splits Record-Route headers into single values: a comma counts only outside <> and quotes. */
unsigned split_routes(const struct msg *m, struct str *out);
bool is(struct str s, const char *text);

#endif
