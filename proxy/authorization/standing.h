/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the sender of a request in a dialog is the side that its token names. A part of
 * enforce.c; the passwords of it are authenticate_standing()'s. One thread: the worker's.
 *
 *   device of the token   its entry         password               standing
 *   another               -                 -                      refused
 *   shut out              -                 -                      refused
 *   the peer's            held              not asked for          HELD
 *   the peer's            held              proved / not yet       HELD / UNPROVED
 *   the peer's            not held          -                      NOT_HELD
 *   a user's, no certif.  -                 proved / not yet       HELD / UNPROVED */
#ifndef HOLDLINE_AUTHORIZATION_STANDING_H
#define HOLDLINE_AUTHORIZATION_STANDING_H

#include "proxy/authorization/enforce.h"

/* In a dialog: sets a->hidden, who is behind an anonymous From, and a->third_party. Before PEER is
 * answered, nobody. */
void standing_look_behind(struct authorization *a);

/* In a dialog, PEER being answered: sets a->standing. What it gives is a denial's reason;
 * REASON_NONE: see a->standing, and NONE there means that it waits. */
enum reason standing_look(struct authorization *a);

/* The device holds what the dialog's side was admitted by, a trusted peer's word aside. Valid once
 * PEER is answered. */
bool standing_entry_held(const struct authorization *a);

/* As a new request: not in a dialog, or in one by an entry that is not held any more. */
bool standing_is_full_check(const struct authorization *a);

#endif
