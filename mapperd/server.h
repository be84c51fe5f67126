/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the loop thread share: the server, its clients, the snapshot they are answered
 * from. One thread. */
#ifndef HOLDLINE_MAPPERD_SERVER_H
#define HOLDLINE_MAPPERD_SERVER_H

#include "common/buffer.h"
#include "common/log.h"
#include "common/queue.h"
#include "common/resp.h"
#include "mapperd/feed.h"
#include "mapperd/gate.h"
#include "mapperd/journal.h"
#include "mapperd/options.h"
#include "mapperd/rate.h"
#include "mapperd/record.h"
#include "mapperd/report.h"
#include "mapperd/staleness.h"
#include "mapperd/store.h"

#include <ev.h>

#define CLIENT_INPUT_MAX \
    ((size_t)65536) /* read at once; a command is at most RESP_COMMAND_MAX of it */
#define CLIENT_OUTPUT_SOFT \
    ((size_t)262144)            /* beyond, nothing more is read from the client until it has read */
#define CLIENT_PENDING_MAX 4096 /* bindings of one client on their way */
#define TICK_S             0.5
/* Behind bind_confirm_ms, for the journal to become durable; then the outcome is unknown. */
#define JOURNAL_PATIENCE_MS 1000

enum permission {
    PERMISSION_NONE = 0,
    PERMISSION_READ = 1,
    PERMISSION_REGISTER = 2,
    PERMISSION_CREDENTIAL = 4
};

/* What can be subscribed. A client may have both. */
enum channel { CHANNEL_CHANGED, CHANNEL_DENIALS, CHANNEL_COUNT };

struct subscription {
    struct client *client;
    bool active;
    struct subscription *next, **at;
};

/* A BIND or UNBIND that is not answered yet, and what must not be sent before its answer. */
struct pending {
    struct pending *next;            /* of the client, in order */
    struct pending *before, *behind; /* of the server, by deadline */
    struct client_reference client;
    uint64_t request, due_mono_ms;
    enum bind_outcome outcome; /* BIND_NONE: not yet */
    struct buffer after, why;
};

struct client {
    struct server *server;
    uint32_t slot, generation;
    int descriptor;
    unsigned permissions;
    uint32_t uid;
    bool closing;
    bool ready;      /* its input is to be looked at when the turn ends */
    bool stopped;    /* for the output's bound, with input left */
    bool committed;  /* what was answered this turn can't be taken back */
    size_t answered; /* bytes of `in` answered this turn, not yet flushed */
    size_t out_mark; /* bytes of `out` before those answers */
    ev_io read, write;
    struct buffer in, out;
    struct pending *pending_first, *pending_last;
    size_t pending_count, held_bytes;
    struct subscription subscriptions[CHANNEL_COUNT];
    struct client *next_flush, **at_flush; /* at_flush NULL: nothing to flush */
};

/* A trust store's record, read once for a snapshot and not for each PEER. */
struct trust_cache {
    struct store_serial serial;
    uint64_t generation; /* of the store; 0: empty */
    char name[STORE_NAME_MAX];
    size_t name_size;
    enum record_state state;
    enum cn_form form;
    size_t prefix_count;
    struct slice prefixes[4]; /* into text; a store with more is not kept */
    char text[256];
};

struct server_counts {
    uint64_t connections, refused_connections, commands, malformed, denied, loading, stale;
    uint64_t lookups, known, unknown, published, subscribers_closed, standstills;
    uint64_t reports, reports_dropped;
};

struct server {
    const struct options *options;
    struct ev_loop *loop;
    struct feed *feed;
    int listener;
    uint32_t socket_gid;
    ev_io accept;
    ev_async woken;
    ev_prepare turn_end;
    ev_check turn_begin;
    ev_timer turning, ticking, deadline, accept_again, reporting;
    ev_signal terminate, interrupt, hangup;

    struct gate gate;
    struct store_reader reader;    /* reader.store NULL: none */
    struct journal_reader journal; /* of the same turn, taken before it */
    struct trust_cache trust;
    char head[64]; /* epoch and serial of the snapshot, as RESP */
    size_t head_size;
    struct store_serial head_serial;
    struct store_serial published; /* of the last message, or of the store at its begin */
    uint64_t proof_boot_ms;        /* UINT64_MAX: unknown */
    struct staleness staleness;
    uint64_t looked_boot_ms; /* the last look at CLOCK_BOOTTIME */
    bool stood_in_turn;
    uint64_t now_mono_ms, started_mono_ms;

    struct client **clients; /* by slot */
    uint32_t *generations, *free_slots;
    size_t slot_count, free_count, client_count, subscriber_count;
    struct subscription *subscribers[CHANNEL_COUNT];
    struct client *flush;
    struct pending *pending_first, *pending_last;
    uint64_t next_request;
    struct reports *reports; /* gathered for the database; NULL: none */
    bool reports_away;       /* the feed has a table and has not written it */
    struct log_limit denial_limit;
    struct queue_batch taken;
    struct buffer text;  /* scratch */
    struct buffer rules; /* scratch of LOCATE: struct policy_rule */
    struct server_counts counts;
    struct rate commands_rate;
    const char *config_path;
    struct options reloaded; /* file NULL: none; else what SIGHUP has read */
};

/* server.c */
enum error server_run(const struct options *options,
                      const char *config_path) MUST_CHECK; /* until SIGTERM */
/* A snapshot of this turn; false: the store is damaged or absent, nothing may be answered. */
bool server_snapshot(struct server *server);
void server_damaged(struct server *server);
/* Looks at the clock: two looks far apart mean that the thread was stopped between them. Then
 * nothing is answered before the database has been asked, and what was answered in this turn is not
 * sent. */
void server_look(struct server *server);
uint64_t server_age_ms(const struct server *server); /* UINT64_MAX: unknown */
bool server_stale(const struct server *server);      /* beyond staleness_bound_ms */

/* Options that SIGHUP can change. */
static inline const struct options *server_live(const struct server *server)
{
    return server->reloaded.file != NULL ? &server->reloaded : server->options;
}

/* client.c */
void client_accept(struct server *server, int descriptor);
void client_process(struct client *client);   /* what was read is answered when the turn ends */
void client_flush_all(struct server *server); /* at the end of a turn: answers and sends */
void client_add_message(struct client *client, enum channel channel, struct slice payload);
void client_close(struct client *client);
struct buffer *client_out(struct client *client); /* where the next reply belongs */
struct client *client_find(struct server *server, struct client_reference reference);
struct pending *client_add_pending(struct client *client);
void client_answer_pending(struct server *server, struct client_reference client, uint64_t request,
                           enum bind_outcome outcome, struct slice why);
void client_expire_pending(struct server *server);
unsigned client_permissions(const struct server *server, int descriptor, uint32_t *uid);

/* command.c */
void command_run(struct client *client, const struct resp_command *command);
/* The store's key that a PEER will ask for; false: it is another command, or asks for nothing. */
bool command_peer_key(struct client *client, const struct resp_command *command,
                      struct record_key *key);

/* reply.c, rights.c, locate.c; each appends one reply to `out` */
/* `chain`: SHA-256 of certificates, or of their issuers and serial numbers, each as
 * record_is_sha256() has it; one that is blocked blocks.
 */
void reply_peer(struct server *server, struct buffer *out, struct slice store, struct slice cn,
                const struct slice *chain, size_t chain_count);
bool reply_peer_key(struct server *server, struct slice store, struct slice cn,
                    struct record_key *key); /* false: there is no such key */
void reply_rights(struct server *server, struct buffer *out, struct slice identity);
void reply_locate(struct server *server, struct buffer *out, struct slice identity,
                  uint64_t now_unix_s);
void reply_credential(struct server *server, struct buffer *out, struct slice identity);
void reply_explain(struct server *server, struct buffer *out, const struct slice arguments[5]);
/* What is known of a device, and *cn becomes the canonical one if it has one, in `text`. */
enum device_standing { DEVICE_NOT_TOLD = 0, DEVICE_UNMAPPED, DEVICE_MAPPED };
enum device_standing reply_device(struct server *server, struct slice store, struct slice *cn,
                                  char text[CN_MAX_OCTETS + 1]);
void reply_add_head(const struct server *server, struct buffer *out);

/* subscriber.c */
bool channel_from_text(struct slice text, enum channel *channel);
const char *channel_text(enum channel channel);
void subscriber_add(struct client *client, enum channel channel);
void subscriber_remove(struct client *client, enum channel channel);
unsigned subscriber_channels(const struct client *client); /* how many it has */
void subscriber_publish(struct server *server, enum channel channel,
                        struct slice lines); /* one payload a line */
void subscriber_tick(struct client *client);
void subscriber_tick_all(struct server *server);

/* denial.c */
void denial_take(struct server *server, const struct report *report);
void denial_tick(struct server *server); /* twice a second */
void denial_send(struct server *server);
void denial_written(struct server *server); /* the feed has written what it was given */

/* info.c */
void info_write(struct server *server, struct buffer *out, struct slice section);

#endif
