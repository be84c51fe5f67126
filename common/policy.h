/* SPDX-License-Identifier: Apache-2.0 */
/* decide(): may this peer send this request? A pure function of what was looked up; the proxy,
 * mapctl check and the tests call the same one. Zero is never yes: whatever is missing or unknown
 * denies. */
#ifndef HOLDLINE_COMMON_POLICY_H
#define HOLDLINE_COMMON_POLICY_H

#include "common/identity.h"
#include "common/reason.h"
#include "common/slice.h"

#include <stdint.h>

enum effect { EFFECT_NONE = 0, EFFECT_ALLOW, EFFECT_DENY, EFFECT_CHALLENGE };

enum peer_state { PEER_NONE = 0, PEER_KNOWN, PEER_UNKNOWN, PEER_DISABLED };
enum user_state { USER_NONE = 0, USER_FOREIGN, USER_UNKNOWN, USER_KNOWN, USER_DISABLED };

/* What PEER answered, or what a certificate, route or trusted-peer entry grants. Slices are the
 * caller's. */
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
    TARGET_NUMBER
};
struct policy_rule {
    uint64_t id;
    enum effect effect;
    struct slice store;   /* "*" = any */
    struct slice methods; /* comma list, "*" = any */
    enum target_kind target_kind;
    struct slice target;
    uint64_t from_unix_s, until_unix_s; /* 0 and UINT64_MAX when open */
    uint32_t per_minute;                /* 0 = unlimited */
};

/* The text of docs/protocol.md, RIGHTS. ERROR_MALFORMED makes the whole answer unusable. */
enum error policy_rule_parse(struct slice text, struct policy_rule *rule) MUST_CHECK;

struct policy_rights {
    enum user_state state;
    const struct policy_rule *rules;
    size_t rule_count;
};

struct policy_request {
    struct slice method;
    const struct identity *from;
    const struct identity *to; /* of a REGISTER, else NULL */
    bool to_ourselves; /* Request-URI is one of our domains without user part: identity needed, no
                          right */
    const struct identity *target; /* what the request will reach; NULL with to_ourselves */
    enum user_state
        target_state; /* of RIGHTS or LOCATE for the target: tells whether its domain is ours */
    uint64_t now_unix_s;
};

struct decision {
    enum effect effect;
    enum reason reason;
    struct slice entry; /* the peer's entry that covers From (for the dialog token), points into the
                           peer's */
    uint64_t rule_id;   /* the rule that decided; 0 = none */
    uint64_t edge_unix_s; /* the next moment at which a validity window could change the outcome;
                             UINT64_MAX = never */
};

/* Order: device state, From, To of REGISTER, user state, rules. */
struct decision decide(const struct policy_peer *peer, const struct policy_request *request,
                       const struct policy_rights *rights);

#endif
