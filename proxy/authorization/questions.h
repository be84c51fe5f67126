/* SPDX-License-Identifier: Apache-2.0 */
/* What mapperd must say before a request can be decided, and the asking of it. A part of enforce.c,
 * which says when. One thread: the worker's.
 *
 *   slot         asked of                       when
 *   PEER         the device's certificate       always, if it has one
 *   CREDENTIAL   -                              authenticate.c asks
 *   FROM         who speaks                     its domain may be ours
 *   TO           To of a REGISTER               it is another than From and not located
 *                the third party, in a dialog   it has registered the device for From
 *   TARGET       the target's domain            as a new request, and the target is not located
 *   ANONYMOUS    anonymous.invalid              From may come from who has proved nothing
 *   LOCATE       To of a REGISTER, or target    bindings are wanted, and it has a user part */
#ifndef HOLDLINE_AUTHORIZATION_QUESTIONS_H
#define HOLDLINE_AUTHORIZATION_QUESTIONS_H

#include "proxy/authorization/enforce.h"

/* A number, and an IPv6 address, is nobody's domain: not ours without a question. */
bool questions_may_be_ours(const struct identity *identity);
bool questions_is_ours(enum user_state state);

/* Who speaks: From, but in a dialog of an anonymous one who is behind it. */
const struct identity *questions_speaker(const struct authorization *a);
bool questions_is_hidden(const struct authorization *a); /* somebody is behind From */

/* From's domain is known, and is not ours. */
bool questions_is_foreign(const struct authorization *a);

/* The answer to LOCATE is about it. */
bool questions_is_located(const struct authorize_facts *facts, const struct identity *identity);

/* Starts what is needed of first to last and neither known nor asked; an answer that was outdated
 * since is asked again. False: it can't be asked. */
bool questions_ask(struct authorization *a, enum authorization_slot first,
                   enum authorization_slot last);
bool questions_wait(const struct authorization *a);          /* for at least one answer */
bool questions_peer_answered(const struct authorization *a); /* or there is none to ask */

/* Of the slot's user; NONE: not answered. */
enum user_state questions_rights_state(const struct authorization *a, enum authorization_slot slot);

/* Whatever is asked or answered is given back. */
void questions_leave(struct authorization *a);

#endif
