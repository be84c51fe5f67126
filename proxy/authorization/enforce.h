/* SPDX-License-Identifier: Apache-2.0 */
/* May this peer send this request? Starts at once whatever must be looked up, waits without
 * blocking, decides with common/policy, and says what the decision rests on. Embedded in a request.
 * One thread: the worker's.
 *
 *   IDLE     nothing begun, or ended
 *   WAITING  at least one lookup is not answered
 *   DECIDED  decision, ground and answers are there
 *
 *   event     IDLE                  WAITING            DECIDED
 *   BEGIN     WAITING or DECIDED    -                  -
 *   ANSWERED  -                     WAITING, DECIDED   -
 *   FAILED    -                     DECIDED (denied)   -
 *   AGAIN     -                     -                  WAITING or DECIDED
 *   END       IDLE                  IDLE               IDLE
 *
 * What is asked: PEER of the device; RIGHTS of From; of a REGISTER, RIGHTS of To when it is
 * another; LOCATE when wanted; RIGHTS of the target's domain when LOCATE doesn't say whether it is
 * ours. All but LOCATE come from the cache as a rule. A device that doesn't hold From, known from
 * the cache, is refused without a further question.
 *
 * A route that may begin requests may do so for From within its may_assert, by the rules as anyone;
 * who is not ours has the rules of the group `foreign`.
 *
 * A trusted peer's word is enough for From of the domains that the configuration lists for it, if
 * they are not ours (config_trusted_peer_asserts()); all else of it is decided as anyone's.
 *
 * A call (INVITE, not in a dialog) under a rule with a bound counts when it is allowed, once,
 * however often it is decided again (call_rates.h): for its user; who has no row of his own is as
 * many as his device likes to name, so there the device counts.
 *
 * Referred-By of a REFER must be From, or an identity of the peer (F43).
 *
 * In a dialog: device and entry of the token's side must be the peer's now, and the user of From
 * not disabled; of an anonymous From (RFC 3323) that is the entry. Another device is refused; a
 * device that has lost that entry is decided as if the request were new.
 *
 * How long it waits is the request's matter: its deadline calls authorize_end(). */
#ifndef HOLDLINE_AUTHORIZATION_ENFORCE_H
#define HOLDLINE_AUTHORIZATION_ENFORCE_H

#include "proxy/authorization/ask.h"
#include "proxy/authorization/dialog_token.h"
#include "proxy/authorization/ground.h"
#include "proxy/authorization/peer.h"

/* What the decision is about. Everything it points to outlives the authorization. */
struct authorize_facts {
    struct slice method;
    const struct identity *from;
    const struct identity *to;       /* of a REGISTER, else NULL */
    const struct identity *referrer; /* Referred-By of a REFER, if it has one; else NULL */
    const struct identity *target;   /* what the request will reach; without user part: a domain */
    bool want_locate;                /* look for bindings of the target (REGISTER: of To) */
    /* In a dialog: the sender's side of its token, and the keys its hashes were made with; else
     * NULL. target is then the other side's URI. */
    const struct dialog_side *side;
    const struct token_keys *keys;
    struct slice call_id; /* for the log */
};

enum authorization_state { AUTHORIZATION_IDLE = 0, AUTHORIZATION_WAITING, AUTHORIZATION_DECIDED };

enum authorization_slot {
    AUTHORIZATION_PEER,
    AUTHORIZATION_FROM,
    AUTHORIZATION_TO,
    AUTHORIZATION_TARGET,
    AUTHORIZATION_LOCATE,
    AUTHORIZATION_SLOTS
};

struct authorization {
    enum authorization_state state;
    /* When DECIDED: */
    struct decision decision;     /* entry points to the text below */
    struct identity hidden;       /* in a dialog: who is behind an anonymous From; else size 0 */
    char entry[IDENTITY_MAX + 1]; /* the peer's entry that admitted it */
    bool call_counted;            /* for its rule's calls a minute */
    bool to_ourselves;            /* the target is one of our domains, without user part */
    enum user_state target_state; /* FOREIGN: its domain is not ours */
    struct ground ground;         /* of an ALLOW, to be asked when it is written; else all zero */
    const struct answer *locate; /* with want_locate and ALLOW; until authorize_end() or _again() */
    /* Set before authorize_begin(): from the run queue, once after each WAITING. */
    void (*done)(struct authorization *authorization);
    void *owner;
    /* enforce.c's own: */
    struct worker_base *base;
    struct ask *ask;
    struct peer *peer;
    struct authorize_facts facts;
    struct lookup_waiter waiters[AUTHORIZATION_SLOTS];
};

/* All zero but for done and owner: IDLE. Takes a reference of the peer. Gives the state it is in
 * afterwards: DECIDED (done() is not called) or WAITING. What can't even be asked (bounds, memory)
 * is DECIDED with a denial. One log line a decision. */
enum authorization_state authorize_begin(struct authorization *authorization,
                                         struct worker_base *base, struct ask *ask,
                                         struct peer *peer, const struct authorize_facts *facts);

/* From DECIDED: the ground doesn't hold any more. Answers that still hold are kept, but LOCATE,
 * which is asked anew. */
enum authorization_state authorize_again(struct authorization *authorization);

/* When DECIDED with ALLOW: PEER of the device, which the decision rests on; NULL for a route. Until
 * authorize_end() or _again(). */
const struct answer *authorize_peer(const struct authorization *authorization);

/* Leaves all lookups, gives everything back; harmless when IDLE. decision.entry and locate are void
 * then, ground and the numbers stay. */
void authorize_end(struct authorization *authorization);

#endif
