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
 * Who registers for another (RFC 3261 10.2) needs a right: it is asked for before a foreign To is
 * refused, and nothing of To's user shows in the refusal.
 *
 * A route that may begin requests may do so for From within its may_assert, by the rules as anyone;
 * who is not ours has the rules of the group `foreign`.
 *
 * A number at a domain of ours that no user has, if a route takes it, leaves as that number: then
 * it is no user of ours for the rules, and needs one about numbers. Once decided it stays so,
 * whoever registers meanwhile: what may be sent to a user is not sent to the route.
 *
 * Who has proved nothing, where the listener lets him in, has the rules of the group `anonymous`:
 * for them RIGHTS of anonymous.invalid is asked, once From's domain is known not to be ours.
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
 * Who sends a REFER must himself be permitted to send INVITE to its Refer-To, in a dialog too: else
 * whoever may call more would call for him (referral.h).
 *
 * Passwords: where decide() asks for one and the request has credentials, CREDENTIAL of From is
 * asked, then of the user whom their name means, if that is another: he will not be permitted From,
 * but is told so. Nothing of the target is asked before the password is proved.
 *
 * In a dialog: device and entry of the token's side must be the peer's now, and the user of From
 * not disabled; of an anonymous From (RFC 3323) that is the entry. Nor the entry's user where that
 * is another: a third party, which has registered the device that was called. Another device is
 * refused; a device that has lost that entry is decided as if the request were new. A side that was
 * admitted by a password must have proved it on this connection, since when it must not have
 * changed, or prove it now; so must, where a listener asks for both, one that was admitted by its
 * certificate.
 *
 * How long it waits is the request's matter: its deadline calls authorize_end(). */
#ifndef HOLDLINE_AUTHORIZATION_ENFORCE_H
#define HOLDLINE_AUTHORIZATION_ENFORCE_H

#include "proxy/authorization/ask.h"
#include "proxy/authorization/dialog_token.h"
#include "proxy/authorization/digest.h"
#include "proxy/authorization/ground.h"
#include "proxy/authorization/peer.h"

/* Whom a REFER asks its receiver to call (RFC 3515). As target, number, want_locate below. */
struct authorize_referral {
    const struct identity *target;
    struct number_plan plan;
    const struct identity *number;
    struct number_plan number_plan;
    bool want_locate;
};

/* What the decision is about. Everything it points to outlives the authorization. */
struct authorize_facts {
    struct slice method;
    const struct identity *from;
    const struct identity *to;       /* of a REGISTER, else NULL */
    const struct identity *referrer; /* Referred-By of a REFER, if it has one; else NULL */
    const struct authorize_referral *referral; /* of a REFER that has the other call somebody */
    const struct identity *target; /* what the request will reach; without user part: a domain */
    struct number_plan plan;       /* by which rules read the target as a number */
    /* Where it goes instead when LOCATE says that no user of ours is, or is registered as, the
     * target; NULL: nowhere. For rights it is a number without domain, which is nobody's. */
    const struct identity *number;
    struct number_plan number_plan;
    bool want_locate; /* look for bindings of the target (REGISTER: of To) */
    /* In a dialog: the sender's side of its token, and the keys its hashes were made with; else
     * NULL. target is then the other side's URI. */
    const struct dialog_side *side;
    const struct token_keys *keys;
    /* How the listener admits, without password and user; digest NONE: passwords are not spoken of
     * (routes). */
    struct policy_admission admission;
    const struct digest_credentials *credentials; /* for our realm; NULL: none */
    struct digest_request hashed;                 /* what they are about */
    struct slice call_id;                         /* for the log */
};

enum authorization_state { AUTHORIZATION_IDLE = 0, AUTHORIZATION_WAITING, AUTHORIZATION_DECIDED };

enum authorization_slot {
    AUTHORIZATION_PEER,
    AUTHORIZATION_CREDENTIAL,
    AUTHORIZATION_FROM,
    AUTHORIZATION_TO,
    AUTHORIZATION_TARGET,
    AUTHORIZATION_ANONYMOUS,
    AUTHORIZATION_REFERRED,
    AUTHORIZATION_LOCATE,
    AUTHORIZATION_SLOTS
};

/* How far the credentials of a request were looked at (authenticate.h). */
enum password_stage {
    PASSWORD_STAGE_NEW = 0,
    PASSWORD_STAGE_FROM,  /* CREDENTIAL of From is, or is to be, asked */
    PASSWORD_STAGE_NAMED, /* of the user that their name means */
    PASSWORD_STAGE_DONE
};

/* In a dialog: whether the peer is the token's side. */
enum standing {
    STANDING_NONE = 0,
    STANDING_HELD,
    STANDING_NOT_HELD, /* the side's device, but the entry is not held: as a new request */
    STANDING_OTHER,    /* another device */
    STANDING_UNPROVED  /* a password has to be proved first */
};

struct authorization {
    enum authorization_state state;
    /* When DECIDED: */
    struct decision decision;     /* entry points to the text below */
    struct identity hidden;       /* in a dialog: who is behind an anonymous From; else size 0 */
    struct identity third_party;  /* in a dialog: who registered the device for From; else size 0 */
    char entry[IDENTITY_MAX + 1]; /* the peer's entry that admitted it */
    bool call_counted;            /* for its rule's calls a minute */
    bool to_ourselves;            /* the target is one of our domains, without user part */
    bool leaves_as_number;        /* facts.number is what it reaches; never changes once chosen */
    enum user_state target_state; /* FOREIGN: its domain is not ours */
    uint64_t device; /* of an ALLOW: keyed hash of the sender's device key; 0: not known yet */
    const struct identity *password_user; /* whose password admitted it alone; NULL: it didn't */
    struct ground ground;        /* of an ALLOW, to be asked when it is written; else all zero */
    const struct answer *locate; /* with want_locate and ALLOW; until authorize_end() or _again() */
    /* Set before authorize_begin(): from the run queue, once after each WAITING. */
    void (*done)(struct authorization *authorization);
    void *owner;
    /* enforce.c's own and its parts' (authenticate, questions, sender, standing, decision_line): */
    struct worker_base *base;
    struct ask *ask;
    struct peer *peer;
    struct authorize_facts facts;
    struct policy_admission admission; /* the facts', with what came of the credentials */
    enum password_stage stage;
    struct identity asked; /* whose CREDENTIAL the slot is about */
    uint32_t nonce_number;
    bool nonce_spent; /* this request has spent its count: it is not a replay of itself */
    enum standing standing;
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

/* When DECIDED with ALLOW: the device key of the sender, as bindings have it. out gets
 * DEVICE_KEY_MAX + 1 octets; empty: not known yet. */
void authorize_device_key(const struct authorization *authorization, char out[DEVICE_KEY_MAX + 1]);

/* Leaves all lookups, gives everything back; harmless when IDLE. decision.entry and locate are void
 * then, ground and the numbers stay. */
void authorize_end(struct authorization *authorization);

#endif
