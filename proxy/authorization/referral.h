/* SPDX-License-Identifier: Apache-2.0 */
/* REFER (RFC 3515): it asks another to call somebody. Who receives it calls in his own name and by
 * his own rights, so without more anybody could have calls made that he may not make: by a phone
 * that may, in a call or outside of one (toll fraud). So who sends it needs the right to send
 * INVITE to Refer-To, whatever method that names. Nobody who is not ours needs it for his own
 * domain: what is called there is no more than he could call himself. Calls that come of it count
 * for who makes them. A part of enforce.c. One thread: the worker's.
 *
 * Whose rights: those of From; of a third party that has registered the device for From its own,
 * since registering for somebody is no right to call as he does; of who has proved nothing those of
 * `anonymous`. */
#ifndef HOLDLINE_AUTHORIZATION_REFERRAL_H
#define HOLDLINE_AUTHORIZATION_REFERRAL_H

#include "proxy/authorization/enforce.h"

/* `decision` is that about the REFER itself. What is not an ALLOW, or is about no REFER, stays. Of
 * a denial the reason is REFER_TO_NOT_PERMITTED where rights are the reason. `from` are the rights
 * of From, NULL when they are not known. */
struct decision referral_check(const struct authorization *a, const struct policy_request *request,
                               const struct policy_rights *from, struct decision decision);

#endif
