/* SPDX-License-Identifier: Apache-2.0 */
/* decide(): may this peer send this request, or has its sender to prove a password first? A pure
 * function of what was looked up; the proxy, mapctl check and the tests call the same one. Zero is
 * never yes: whatever is missing or unknown denies. */
#ifndef HOLDLINE_COMMON_POLICY_H
#define HOLDLINE_COMMON_POLICY_H

#include "common/admission.h"
#include "common/identity.h"
#include "common/number.h"
#include "common/reason.h"
#include "common/slice.h"

#include <stdbool.h>
#include <stdint.h>

enum effect { EFFECT_NONE = 0, EFFECT_ALLOW, EFFECT_DENY, EFFECT_CHALLENGE };

enum peer_state { PEER_NONE = 0, PEER_KNOWN, PEER_UNKNOWN, PEER_DISABLED, PEER_BLOCKED };
enum user_state { USER_NONE = 0, USER_FOREIGN, USER_UNKNOWN, USER_KNOWN, USER_DISABLED };

/* What PEER answered, or what a certificate, route or trusted-peer entry grants. Slices are the
 * caller's. An unknown device still has the names of its certificate. */
struct policy_peer {
    enum peer_state state;
    struct slice store;
    const struct slice *entries; /* canonical identities: PEER's, then the certificate's names */
    size_t entry_count;
};

/* One rule of a RIGHTS answer, parsed by policy_rule_parse(). Slices point into its text. */
enum target_kind {
    TARGET_NONE = 0,
    TARGET_ANY,
    TARGET_OURS,
    TARGET_USER,
    TARGET_DOMAIN,
    TARGET_NUMBER,
    TARGET_SERVICE /* of RFC 5031, and what is below it */
};
struct policy_rule {
    uint64_t id;
    enum effect effect;
    struct slice store;   /* "*" = any */
    struct slice methods; /* comma list, "*" = any */
    enum target_kind target_kind;
    struct slice target;                /* without its kind; empty for any and ours */
    uint64_t from_unix_s, until_unix_s; /* in force while from <= now < until */
    uint32_t per_minute; /* calls; 0 = unlimited; carried, counted where they are let through */
};

/* The text of docs/protocol.md, RIGHTS. ERROR_MALFORMED makes the whole answer unusable: a rule
 * that is skipped might have been the one that denies. */
enum error policy_rule_parse(struct slice text, struct policy_rule *rule) MUST_CHECK;

struct policy_rights {
    enum user_state state;
    const struct policy_rule *rules; /* in order of decision */
    size_t rule_count;
};

/* The first moment after `now` at which a rule begins or ceases to be in force, for what is cached
 * without knowing the request; UINT64_MAX = never. */
uint64_t policy_rights_edge_unix_s(const struct policy_rights *rights, uint64_t now_unix_s);

/* What came of the credentials in a request. NONE: there are none for our realm, or they were not
 * looked at yet: enforce.h looks when a challenge is the answer. */
enum password_outcome {
    PASSWORD_NONE = 0,
    PASSWORD_RIGHT,
    PASSWORD_WRONG,
    PASSWORD_STALE,    /* a nonce of another time or connection */
    PASSWORD_REPLAYED, /* a count that is spent */
    PASSWORD_BRAKED    /* too many wrong ones: not looked at any more */
};

/* How the peer's listener admits. */
struct policy_admission {
    enum digest_mode digest;
    enum third_parties third_parties;
    enum certificate_shown certificate;
    enum password_outcome password;
    struct slice user; /* canonical user@domain whose password was RIGHT */
};

struct policy_request {
    struct slice method;
    const struct identity *from;
    const struct identity *to; /* of a REGISTER, else NULL */
    enum user_state to_state;  /* of To; read only where a third party registers */
    /* Request-URI is one of our domains without user part: identity needed, no right. */
    bool to_ourselves;
    const struct identity *target; /* what the request will reach; NULL with to_ourselves */
    /* Of RIGHTS or LOCATE for the target: tells whether its domain is ours. Not read with
     * to_ourselves. */
    enum user_state target_state;
    struct number_plan plan; /* by which the target, and numbers in rules, are read */
    uint64_t now_unix_s;
    /* Of who has proved nothing; read for strangers and anonymous ones alone. NULL: not known. */
    const struct policy_rights *anonymous;
    /* NULL: no passwords, the peer's entries alone count (routes; mapctl check). */
    const struct policy_admission *admission;
    /* decide()'s own: the request is a third party's REGISTER, and target is its To. */
    bool third_party;
};

struct decision {
    enum effect effect;
    enum reason reason;
    /* What admitted it, for the dialog token: the peer's first entry that covers From, the user of
     * the password, or From of a stranger; points there. */
    struct slice entry;
    enum admission admission; /* ADMISSION_NONE without policy_request.admission */
    bool third_party;         /* an ALLOW of a REGISTER for another than who sends it */
    uint64_t rule_id;         /* the rule that decided; 0 = none */
    uint32_t per_minute;      /* its bound on calls; 0 = none. An ALLOW counts only if it is kept */
    /* The next moment at which a validity window could change the outcome; UINT64_MAX = never. */
    uint64_t edge_unix_s;
};

/* Whether one of the peer's entries covers the identity. */
bool policy_holds(const struct policy_peer *peer, const struct identity *identity);

/* What decide() says to who has to prove a password and has not: RIGHT denies with REASON_NONE. */
struct decision policy_without_password(enum password_outcome outcome);

/* A REGISTER whose To is no identity of the peer is a third party's (RFC 3261 10.2): to an address
 * of record of ours, by a user of ours, it is a right of From's user. Only a rule that names
 * REGISTER among its methods gives it; one of all methods can but take it. Rules about numbers read
 * To with the prefixes NUMBER_INTERNATIONAL alone, wherever this is asked: mapperd asks it of each
 * binding that a third party has made. Whatever refuses it is TO_NOT_PERMITTED, so that nothing is
 * learnt of To's user.
 *
 * Order: device state, From and what admits it (a challenge comes here, so that who proves nothing
 * learns nothing), To of REGISTER, user state, rules. rights: of From; its state decides also for
 * to_ourselves. For a stranger or anonymous one the rules of `anonymous` decide; where none of them
 * matches, a stranger may call our users, and an anonymous one nobody. What is missing (a NULL, an
 * identity of size 0, a state NONE) or no value of its enum denies with REASON_NONE; a rule of no
 * known effect denies, one of no known kind of target matches nothing. A rule `challenge` permits
 * who has proved the password of From, and is a challenge for others; where the listener takes no
 * passwords it denies.
 *
 * A rule about a number permits plain numbers alone. One that denies or challenges meets besides
 * what might be taken for such a number (number_may_begin()), unless a user of ours has that name;
 * what it meets so it denies. */
struct decision decide(const struct policy_peer *peer, const struct policy_request *request,
                       const struct policy_rights *rights);

/* May who was let in by `admission`, himself, send request->method to request->target? The rights
 * of who is known, or for a stranger and an anonymous one the rules of `anonymous`; nothing of the
 * peer but its store is read, nor who From is. */
struct decision decide_admitted(const struct policy_peer *peer,
                                const struct policy_request *request,
                                const struct policy_rights *rights, enum admission admission);

#endif
