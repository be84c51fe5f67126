/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share: the objects behind request.h, and which file does what.
 *
 *   receive.c   a message from a connection: which transaction, or a new request
 *   request.c   the states of a request, and what each event does to it
 *   dialog.c    requests inside a dialog, and ACK: the token
 *   password.c  credentials, challenges
 *   session_timer.c  Session-Expires, on the way there and back
 *   register.c  requests to ourselves
 *   privacy.c   what a request that leaves says of its sender
 *   forward.c   from a permitted request to branches, and the bytes that leave
 *   branch.c    one branch: its client transaction, timer C, CANCEL
 *   failover.c  the next server of a route, when one fails
 *   respond.c   responses upstream: ours, and those of branches
 *   change.c    what a change of permission does to requests under way */
#ifndef HOLDLINE_REQUEST_INTERNAL_H
#define HOLDLINE_REQUEST_INTERNAL_H

#include "common/buffer.h"
#include "common/hash.h"
#include "common/log.h"
#include "common/reason.h"
#include "common/timer.h"
#include "proxy/authorization/dialog_token.h"
#include "proxy/authorization/enforce.h"
#include "proxy/authorization/peer.h"
#include "proxy/config.h"
#include "proxy/delivery/delivery.h"
#include "proxy/delivery/endpoint.h"
#include "proxy/net/connection.h"
#include "proxy/net/net.h"
#include "proxy/registrar/registrar.h"
#include "proxy/request/load.h"
#include "proxy/request/request.h"
#include "proxy/request/request_layer.h"
#include "proxy/request/session_timer.h"
#include "proxy/route/next_hop.h"
#include "proxy/route/target.h"
#include "proxy/sip/edit.h"
#include "proxy/sip/message.h"
#include "proxy/sip/response.h"
#include "proxy/transaction/client.h"
#include "proxy/transaction/server.h"
#include "proxy/worker_base.h"

/* Branches of one request: RFC 3261 sets no bound; contacts_max bounds the bindings, this what one
 * request may cost. */
#define BRANCHES_MAX 32
/* Octets that one request may put together besides its text: edits, tokens, responses. */
#define REQUEST_ARENA_MAX 65536

enum branch_state {
    BRANCH_NONE = 0,
    BRANCH_TRYING,     /* sent, nothing came back */
    BRANCH_PROCEEDING, /* a provisional response came */
    BRANCH_CANCELLING, /* CANCEL was sent, its final response is awaited */
    BRANCH_OUTDATED,   /* came back unsent: the request is being decided again */
    BRANCH_DONE,       /* final, failed or given up */
    BRANCH_STATE_COUNT
};

/* Where one branch goes. */
struct branch_target {
    struct flow flow;                 /* generation 0: not known, or a route */
    uint64_t device;                  /* keyed hash of the device key */
    const struct config_route *route; /* else NULL */
    unsigned server;                  /* of the route: which of its servers */
    unsigned tried;                   /* a bit for each that has failed before */
    struct slice contact;   /* Request-URI of the binding; data == NULL: the request's own */
    struct identity needed; /* what another connection must hold: the AoR, or the third party that
                               registered the binding; size 0: nothing */
    uint64_t entry_hash;    /* of the identity entry that grounds the binding, for the token */
};

struct branch {
    struct request *request;
    struct branch *next, *prev;
    enum branch_state state;
    struct branch_target target;
    struct client_transaction *client; /* NULL before it is sent and after it has ended */
    struct timer timer;                /* timer C; once cancelled the wait for its end */
    bool cancel_wanted; /* CANCEL goes out with the first provisional response (9.1) */
    char id[TRANSACTION_BRANCH_MAX + 1];
    unsigned moves;    /* how often it was written anew for another listener */
    bool connecting;   /* waits until the next hop's connection is open */
    bool rang;         /* a provisional response but 100 came: somebody beyond the next hop */
    bool lost;         /* the connection it was written to has closed; nothing came since */
    bool probe_due;    /* the timer is for looking whether the device is back */
    UT_hash_handle hh; /* layer->branches, by id */
};

struct request {
    struct request_layer *layer;
    struct request *next, *prev; /* in layer->requests */
    struct request *endpoint_next, *endpoint_prev;
    enum request_state state;
    struct endpoint *endpoint; /* it arrived there; NULL once that is gone */
    struct flow flow;          /* the same, as a name that outlives it */
    uint64_t device;           /* of the sender, once known */
    struct message message;    /* owns its text */
    char source[64];           /* address it came from, for Via */
    uint16_t source_port;
    struct server_transaction *server; /* NULL for ACK, and once it has ended */
    struct request_target target;
    struct identity from, to;
    struct identity speaker;  /* who it is for rights: From, or who is behind an anonymous one */
    struct identity referrer; /* Referred-By of a REFER; size 0: none */
    struct authorize_referral *referral;    /* of a REFER, of the arena; NULL: nobody is called */
    bool of_trusted;                        /* its peer is in our trust domain (RFC 3325) */
    enum transport incoming;                /* that it came over */
    const char *reached;                    /* where: connection_advertised(), of the arena */
    struct policy_admission admission;      /* how its listener admits */
    struct slice realm;                     /* of challenges; empty: no passwords there */
    struct digest_credentials *credentials; /* for that realm; NULL: none. Of the arena */
    struct authorization authorization;
    bool in_dialog; /* it has a token of ours that fits */
    struct dialog_token token;
    enum dialog_party sender; /* whose request it is by its names */
    struct timer deadline;    /* parked or storing */
    struct timer trying;      /* 100 for a non-INVITE (RFC 4320) */
    struct timer again;       /* to decide again what the writing worker finds outdated */
    unsigned pauses;          /* how often that had to wait */
    struct branch *branches;
    unsigned branch_count;
    uint64_t group;       /* one delivery a connection */
    unsigned best_status; /* best final response of the branches so far; 0 = none */
    struct buffer best;
    bool cancelled;   /* by the caller, or because its permission is gone */
    bool sender_lost; /* it may be nobody any more: what has not left will not */
    bool answered_2xx;
    enum reason failure;         /* of branches that never got an answer; 0 = none */
    struct session_plan session; /* of an INVITE or UPDATE; session_timer.h */
    struct registrar_job *job;   /* a REGISTER that is being stored */
    struct task settle, death;
    bool parked_counted;
    struct device_load *load; /* of its device, while it is parked */
};

struct request_layer {
    struct worker_base *base;
    struct net *net;
    struct delivery *delivery;
    struct ask *ask;
    const struct token_keys *keys;
    struct registrar *registrar;
    struct server_table servers;
    struct client_table clients;
    struct next_hops *next_hops;
    struct request *requests;
    size_t count;
    struct branch *branches; /* uthash by id: letters name a branch so */
    struct message incoming; /* the message that is being read; its table is used again */
    struct own_names names;  /* by which we are meant */
    struct buffer out;       /* where a message is put together before it leaves */
    uint64_t next_group;
    uint64_t edge_unix_s;      /* no ringing call has one before that; UINT64_MAX: none has any */
    atomic_uint *parked_total; /* of all workers */
    struct device_load *loads;
    struct log_limit limit; /* against floods of lines about refused messages */
    char to_tag[17];        /* on To of our own responses */
    bool stopping;
};

#define REQUEST_ALLOWED_METHODS                                                              \
    "INVITE, ACK, BYE, CANCEL, REGISTER, OPTIONS, MESSAGE, INFO, PRACK, UPDATE, SUBSCRIBE, " \
    "NOTIFY, REFER, PUBLISH"

/* Option tags of what we do where we are the server ourselves (RFC 5626). */
#define REQUEST_SUPPORTED "outbound"

/* request.c */
struct request *request_new(struct request_layer *layer, struct endpoint *endpoint,
                            const struct message *message) MUST_CHECK;
void request_become(struct request *request, enum request_state state);
void request_refuse(struct request *request, enum reason reason, const char *detail);
void request_free(struct request *request);
void request_end(struct request *request); /* DONE without a word: ACK, owner gone */
void request_authorize(struct request *request);
void request_settle_soon(struct request *request);
void request_cancel(struct request *request, enum reason why);
void request_recheck(struct request *request);
void request_peer_gone(struct request *request);
bool request_is_open(const struct request *request); /* neither DONE nor REFUSED */
bool request_is_invite(const struct request *request);
void request_drop_interest(struct request *request); /* detaches all transactions */

/* dialog.c */
enum reason dialog_open_token(struct request *request);
enum error dialog_make_token(const struct branch *branch,
                             char out[DIALOG_TOKEN_SIZE + 1]) MUST_CHECK;
/* Which server of the route that side of the dialog is at; where that is not known any more, the
 * best one. */
unsigned dialog_server(const struct request_layer *layer, const struct config_route *route,
                       const struct dialog_side *side);
bool dialog_is_formed_by(enum method method);

/* password.c */
bool password_may_be_asked(const struct endpoint *endpoint);
enum reason password_read(struct request *request);
void password_challenge(struct request *request, enum reason reason);
void password_strip(struct edit_list *edits, const struct request *request);

/* privacy.c */
/* False: Privacy has critical, and asks for more than we do (RFC 3323 5): not id, not history, and
 * the next hop is none that does it. */
bool privacy_can_be_given(const struct request *request);
/* Who an anonymous sender says that he is: P-Preferred-Identity, of a trusted peer the first
 * P-Asserted-Identity. To be permitted like any From. */
bool privacy_read_preferred(const struct request *request, struct identity *out);
void privacy_edit(struct edit_list *edits, const struct branch *branch);
/* What a callee says of itself goes upstream from a trusted route alone. */
void privacy_edit_response(struct edit_list *edits, const struct branch *branch,
                           const struct message *response);

/* register.c */
void request_answer_ourselves(struct request *request);

/* forward.c */
/* In a dialog: the route on its other side; NULL: it is a device. */
const struct config_route *forward_dialog_route(const struct request *request);
const struct config_route *forward_route_of_device(const struct request_layer *layer,
                                                   uint64_t device);
void request_forward(struct request *request);
void forward_outdated(struct request *request);
void forward_new(struct request *request); /* branches that were added meanwhile */
void forward_moved(struct branch *branch, struct flow flow);
void forward_end_lost(struct request *request);
enum delivery_outcome forward_probe(const struct branch *branch) MUST_CHECK;
void forward_recheck_if_outdated(struct request *request);

/* branch.c */
struct branch *branch_new(struct request *request, const struct branch_target *target) MUST_CHECK;
void branch_free(struct branch *branch);
struct branch *branch_find(struct request_layer *layer, const char *id);
void branch_become(struct branch *branch, enum branch_state state);
void branch_fail(struct branch *branch, enum reason reason);
void branch_give_up(struct branch *branch); /* without a word: another takes its place */
void branch_cancel(struct branch *branch);
void branch_not_sent(struct branch *branch, enum delivery_outcome outcome);
void branch_moved(struct branch *branch, struct flow flow);
bool branch_is_pending(const struct branch *branch);
enum error branch_begin(struct branch *branch) MUST_CHECK;
enum error branch_started(struct branch *branch, struct slice bytes) MUST_CHECK;

/* failover.c */
/* What one server of a route has not done another may (RFC 3261 16.7, RFC 3263 4.3): the branch is
 * over and a new one goes to the next. False: it is as it was; there is no other, it is no route or
 * in a dialog, or nobody waits any more. What a server has decided is none of its failures. */
bool failover_unreached(struct branch *branch) MUST_CHECK; /* no connection, or lost before any
                                                              response but 100 */
bool failover_unanswered(struct branch *branch) MUST_CHECK;
bool failover_unavailable(struct branch *branch,
                          const struct message *response) MUST_CHECK; /* 503 */

/* respond.c */
bool respond_wants_retry(enum reason reason);
void log_refusal(const struct message *message, enum reason reason, const char *detail);
void respond(struct request *request, enum reason reason, const char *detail);
void respond_with(struct request *request, enum reason reason, const char *detail,
                  struct slice more);
void respond_as(struct request *request, unsigned status, enum reason reason, const char *detail,
                struct slice more);
void respond_status(struct request *request, unsigned status, struct slice headers);
void respond_stateless(struct request_layer *layer, struct connection *c,
                       const struct message *message, unsigned status, const char *warning,
                       struct slice headers);
void respond_forward(const struct branch *branch, const struct message *response);
void respond_success(const struct branch *branch, const struct message *response);
void respond_keep_best(const struct branch *branch, const struct message *response);
void respond_best(struct request *request);

#endif
