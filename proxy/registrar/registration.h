/* SPDX-License-Identifier: Apache-2.0 */
/* What a connection has registered, so that a mere refresh is known without a question: the same
 * contact of the same AoR, nothing that it rests on changed since, and the stored expiry covers it.
 * One a worker, its thread only. */
#ifndef HOLDLINE_REGISTRAR_REGISTRATION_H
#define HOLDLINE_REGISTRAR_REGISTRATION_H

#include "common/identity.h"
#include "proxy/delivery/endpoint.h"
#include "proxy/registrar/wanted.h"
#include "proxy/worker_base.h"

/* The changes that messages of mapperd told: by tag in so many slots; two tags that share one only
 * cost a write more. */
#define CHANGE_SLOTS 65536
struct change_notes {
    uint64_t count; /* messages so far */
    uint64_t all;   /* the newest that means all */
    uint64_t *slots;
};
enum error change_notes_init(struct change_notes *notes) MUST_CHECK; /* ERROR_MEMORY */
void change_notes_free(struct change_notes *notes);
void change_notes_add(struct change_notes *notes, uint64_t tag);

/* One thing that this connection has registered; in its endpoint's list. */
struct registration {
    struct registration *next, *prev;
    struct identity aor;
    char *from;       /* who has registered it; NULL: the AoR itself */
    bool third_party; /* by its own standing, not the AoR's */
    char *key;        /* contact URI, instance, reg-id and q as one text */
    uint64_t stored_unix_s;
    uint64_t noted; /* notes->count when it was stored */
    uint64_t tags[4];
    char *call_id;
    uint32_t cseq;
};

struct registration_input {
    struct endpoint *endpoint;
    const struct message *message;
    const struct identity *from, *aor;
    bool third_party;
    const struct wanted *wanted;
    uint64_t stored_unix_s, noted, aor_tag;
    unsigned max; /* registrations of one connection */
};
/* Without memory the next refresh is a write: harmless. */
void registration_remember(const struct registration_input *input);
/* `wanted` NULL: all of the AoR. */
void registration_forget(struct endpoint *endpoint, const struct identity *aor,
                         const struct wanted *wanted);
void registrations_free(struct endpoint *endpoint);

/* Out of order within one Call-ID (RFC 3261 10.3 step 7). */
bool registration_is_older(struct slice call_id, uint32_t cseq, struct slice than_call_id,
                           uint32_t than_cseq);

/* What this REGISTER refreshes, and its contact; NULL: it is none, or no longer covered. */
struct registration *registration_refreshed(const struct change_notes *notes,
                                            const struct worker_base *base,
                                            const struct endpoint *endpoint,
                                            const struct message *m, const struct identity *from,
                                            const struct identity *aor, struct wanted *wanted);

#endif
