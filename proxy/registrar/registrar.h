/* SPDX-License-Identifier: Apache-2.0 */
/* The registrar (RFC 3261 10.3, RFC 5626): a REGISTER that is permitted becomes bindings, stored by
 * mapperd on the primary before the 200 goes out. A refresh that the stored expiry covers needs
 * neither write nor question: the stored one runs ahead of what was granted. One a worker, its
 * thread only. */
#ifndef HOLDLINE_REGISTRAR_REGISTRAR_H
#define HOLDLINE_REGISTRAR_REGISTRAR_H

#include "common/buffer.h"
#include "common/identity.h"
#include "common/reason.h"
#include "proxy/authorization/ask.h"
#include "proxy/authorization/peer.h"
#include "proxy/delivery/endpoint.h"
#include "proxy/sip/message.h"

struct net;
struct registrar;
struct registrar_job;

/* Old contacts of the same phone that one REGISTER may take away. */
#define BINDINGS_REPLACED_MAX 8

/* `removed`: bindings of this AoR (its tag_user()) were taken away, perhaps another connection's,
 * whose next refresh must be a write: to be told to the registrars of all workers by
 * registrar_changed(), since bindings are never published. Never NULL. */
struct registrar_user {
    void *owner;
    void (*removed)(void *owner, uint64_t tag);
};

/* `base`, `net`, `ask` outlive it. NULL without memory. */
struct registrar *registrar_new(struct worker_base *base, struct net *net, struct ask *ask,
                                const struct registrar_user *user) MUST_CHECK;
void registrar_free(struct registrar *registrar);

/* Whether a message of mapperd may concern what was stored: what rests on the tag is written again
 * at its next refresh. */
void registrar_changed(struct registrar *registrar, uint64_t tag);

/* A permitted REGISTER. */
struct registrar_input {
    struct endpoint *endpoint;
    const struct message *message; /* kept by the owner until the job has ended */
    const struct identity *aor;    /* canonical To */
    const struct answer *held;     /* PEER of the device, as it was when this was permitted */
    const struct answer *located;  /* LOCATE of the AoR; NULL for a refresh */
    /* Who sends it: has the right to register for the AoR if it is another (third_party). What it
     * holds is what the bindings stand on then. */
    const struct identity *from;
    bool third_party;
    /* Whose password alone admitted it, the holder's: the bindings' ground. NULL: the certificate.
     */
    const struct identity *password_user;
    char device_key[DEVICE_KEY_MAX + 1];
};

/* How a REGISTER ended. */
struct registrar_result {
    enum reason reason;   /* ALLOWED: 200 */
    const char *detail;   /* our own words on it, or NULL */
    struct slice headers; /* lines for the response, each with CRLF; valid during the call */
};

typedef void registrar_done(void *owner, const struct registrar_result *result);

/* Whether this REGISTER only repeats what `from` has registered on this connection and the stored
 * expiry covers: then LOCATE is not needed. */
bool registrar_is_refresh(const struct registrar *registrar, const struct endpoint *endpoint,
                          const struct message *message, const struct identity *from,
                          const struct identity *aor);

/* Calls `done` once: now, and *out is NULL, or later from the run queue unless
 * registrar_job_abandon() comes first. */
void registrar_begin(struct registrar *registrar, const struct registrar_input *input,
                     registrar_done *done, void *owner, struct registrar_job **out);
/* Nobody waits any more; writes that are sent take their course. NULL is harmless. */
void registrar_job_abandon(struct registrar_job *job);

/* The connection has closed. */
void registrar_endpoint_gone(struct registrar *registrar, struct endpoint *endpoint);

#endif
