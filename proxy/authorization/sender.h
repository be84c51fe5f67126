/* SPDX-License-Identifier: Apache-2.0 */
/* What the peer that sends a request holds: mapperd's entries, the names of its certificate, what
 * the configuration lets a trusted peer or a route assert. A part of enforce.c; valid once PEER is
 * answered. One thread: the worker's. */
#ifndef HOLDLINE_AUTHORIZATION_SENDER_H
#define HOLDLINE_AUTHORIZATION_SENDER_H

#include "proxy/authorization/enforce.h"

/* NONE: mapperd has not said. */
enum peer_state sender_state(const struct authorization *a);
/* Nothing that it holds counts, by whatever name. */
bool sender_is_shut_out(enum peer_state state);

/* What a trusted peer's word alone admits From by, which is of a foreign domain or not; empty:
 * nothing. */
struct slice sender_asserted_entry(const struct authorization *a, bool foreign);

/* All that it holds, in one array: mapperd's entries, then the certificate's names, then what a
 * trusted peer's word is enough for. Sets entries and entry_count. *made is to be freed
 * (mem_free()), NULL is harmless. False: no memory. */
bool sender_entries(const struct authorization *a, struct policy_peer *out, struct slice **made);

#endif
