/* SPDX-License-Identifier: Apache-2.0 */
/* What the replies share: reply.c (PEER, CREDENTIAL, EXPLAIN), rights.c, locate.c. All of one turn
 * read the same snapshot, whose bytes slices point into. Loop thread. */
#ifndef HOLDLINE_MAPPERD_REPLY_INTERNAL_H
#define HOLDLINE_MAPPERD_REPLY_INTERNAL_H

#include "common/identity.h"
#include "mapperd/record.h"
#include "mapperd/server.h"

void reply_add_loading(struct buffer *out);
/* A record that does not read: whatever it was, it is no answer. */
bool reply_damaged(struct server *server, enum error e);

/* NOT_FOUND: there is none. */
enum error reply_get_trust(struct server *server, struct slice store,
                           struct record_store *record) MUST_CHECK;
enum error reply_get_peer(struct server *server, struct slice store, struct slice cn,
                          struct record_peer *peer) MUST_CHECK;
enum error reply_get_credentials(struct server *server, struct slice identity,
                                 struct record_peer *credentials) MUST_CHECK;

/* What is known of an identity: its domain, its user. */
struct user_answer {
    struct slice state;   /* as the wire says it */
    bool ours, permitted; /* permitted: rules apply, bindings may be given */
    struct identity identity;
    struct record_user user; /* foreign: the group of who is not ours */
    bool user_row;
};

enum error user_find(struct server *server, struct slice text,
                     struct user_answer *answer) MUST_CHECK;

#define RULE_SOURCES_MAX (RECORD_GROUPS_MAX + 3)

/* The blocks that bear on a user, each in order; the merge takes the lowest head. */
struct rule_sources {
    struct slice rest[RULE_SOURCES_MAX];
    struct record_rule heads[RULE_SOURCES_MAX];
    size_t count;
};

enum error rules_collect(struct server *server, const struct user_answer *answer,
                         struct rule_sources *sources) MUST_CHECK;
/* The next rule of all; NOT_FOUND at the end. */
enum error rules_next(struct rule_sources *sources, struct record_rule *rule) MUST_CHECK;

#define DENY_THE_REST SLICE("0 deny * * * - - -") /* one left out might be the one that denies */

/* How many of the rules an answer has; `cut`: DENY_THE_REST follows them. */
struct rule_extent {
    size_t count, bytes;
    bool cut;
};

/* Reads every block through. */
enum error rules_measure(const struct rule_sources *sources, struct rule_extent *extent) MUST_CHECK;

#endif
