/* SPDX-License-Identifier: Apache-2.0 */
/* A client's connection: reading many commands at once, answering them into one buffer with one
 * write, and the bounds. */
#include "mapperd/server.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

#include <assert.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define AHEAD_MAX WARM_KEYS_MAX

static bool listed(const struct options_ids *ids, uint32_t id)
{
    for (size_t i = 0; i < ids->count; i++)
        if (ids->ids[i] == id)
            return true;
    return false;
}

struct peer_groups {
    gid_t ids[256];
    size_t count;
};

/* The peer's groups as the kernel noted them when it connected. */
static void read_groups(int descriptor, gid_t primary, struct peer_groups *groups)
{
    socklen_t size = sizeof(groups->ids) - sizeof(groups->ids[0]);
    groups->ids[0] = primary;
    groups->count = 1;
#ifdef SO_PEERGROUPS
    if (getsockopt(descriptor, SOL_SOCKET, SO_PEERGROUPS, groups->ids + 1, &size) == 0)
        groups->count += size / sizeof(groups->ids[0]);
#else
    (void)descriptor;
    (void)size;
#endif
}

/* Empty lists of groups stand for the group of the socket. */
static bool group_listed(const struct options_ids *ids, uint32_t standard,
                         const struct peer_groups *groups)
{
    for (size_t i = 0; i < groups->count; i++)
        if (ids->count > 0 ? listed(ids, groups->ids[i]) : groups->ids[i] == standard)
            return true;
    return false;
}

unsigned client_permissions(const struct server *server, int descriptor, uint32_t *uid)
{
    struct ucred peer;
    struct peer_groups groups;
    socklen_t size = sizeof(peer);
    const struct options *o = server_live(server);
    unsigned permissions = PERMISSION_NONE;
    if (getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || size != sizeof(peer))
        return PERMISSION_NONE;
    *uid = peer.uid;
    if (peer.uid == 0 || peer.uid == geteuid())
        return PERMISSION_READ | PERMISSION_REGISTER | PERMISSION_CREDENTIAL;
    read_groups(descriptor, peer.gid, &groups);
    if (listed(&o->read_uids, peer.uid) || group_listed(&o->read_gids, server->socket_gid, &groups))
        permissions |= PERMISSION_READ;
    if (listed(&o->register_uids, peer.uid) ||
        group_listed(&o->register_gids, server->socket_gid, &groups))
        permissions |= PERMISSION_REGISTER;
    if (listed(&o->credential_uids, peer.uid) ||
        (o->credential_gids.count > 0 && group_listed(&o->credential_gids, 0, &groups)))
        permissions |= PERMISSION_CREDENTIAL;
    return permissions;
}

struct client *client_find(struct server *server, struct client_reference reference)
{
    if (reference.slot >= server->slot_count)
        return NULL;
    struct client *client = server->clients[reference.slot];
    return client != NULL && client->generation == reference.generation ? client : NULL;
}

static void unlink_pending(struct server *server, struct pending *p)
{
    if (p->before != NULL)
        p->before->behind = p->behind;
    else
        server->pending_first = p->behind;
    if (p->behind != NULL)
        p->behind->before = p->before;
    else
        server->pending_last = p->before;
}

static void free_pending(struct client *client, struct pending *p)
{
    client->held_bytes -= buffer_size(&p->after);
    client->pending_count--;
    unlink_pending(client->server, p);
    buffer_free(&p->after);
    buffer_free(&p->why);
    mem_free(p);
}

static void forget_flush(struct client *client)
{
    if (client->at_flush == NULL)
        return;
    *client->at_flush = client->next_flush;
    if (client->next_flush != NULL)
        client->next_flush->at_flush = client->at_flush;
    client->at_flush = NULL;
}

void client_close(struct client *client)
{
    struct server *server = client->server;
    struct pending *p;
    for (int i = 0; i < CHANNEL_COUNT; i++)
        subscriber_remove(client, (enum channel)i);
    forget_flush(client);
    while ((p = client->pending_first) != NULL) {
        client->pending_first = p->next;
        free_pending(client, p);
    }
    ev_io_stop(server->loop, &client->read);
    ev_io_stop(server->loop, &client->write);
    close(client->descriptor);
    buffer_free(&client->in);
    buffer_free(&client->out);
    server->clients[client->slot] = NULL;
    server->free_slots[server->free_count++] = client->slot;
    server->client_count--;
    mem_free(client);
}

static size_t waiting_bytes(const struct client *client)
{
    return buffer_size(&client->out) + client->held_bytes;
}

/* Below the bound that closes, so that a client which only asks is slowed down and never closed. */
static size_t soft_bound(const struct client *client)
{
    size_t half = (size_t)client->server->options->output_max / 2;
    return half < CLIENT_OUTPUT_SOFT ? half : CLIENT_OUTPUT_SOFT;
}

struct buffer *client_out(struct client *client)
{
    return client->pending_last != NULL ? &client->pending_last->after : &client->out;
}

/* Reads on only while the client takes its answers; a lookup that nobody reads is not worth its
 * memory. */
static void watch(struct client *client)
{
    struct ev_loop *loop = client->server->loop;
    bool room = waiting_bytes(client) < soft_bound(client) &&
                buffer_size(&client->in) < CLIENT_INPUT_MAX &&
                client->pending_count < CLIENT_PENDING_MAX && !client->closing;
    if (room)
        ev_io_start(loop, &client->read);
    else
        ev_io_stop(loop, &client->read);
    if (buffer_size(&client->out) > 0)
        ev_io_start(loop, &client->write);
    else
        ev_io_stop(loop, &client->write);
}

/* False: the client is gone. */
static bool write_out(struct client *client)
{
    while (buffer_size(&client->out) > 0) {
        struct slice s = buffer_slice(&client->out);
        ssize_t size = send(client->descriptor, s.data, s.size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return true;
        if (size < 0) {
            client_close(client);
            return false;
        }
        buffer_consume(&client->out, (size_t)size);
    }
    buffer_reset(&client->out);
    if (client->closing && client->pending_count == 0) {
        client_close(client);
        return false;
    }
    return true;
}

/* At the end of the turn, so that a reader of many connections is woken once. */
static void flush_later(struct client *client)
{
    struct server *server = client->server;
    if (client->at_flush != NULL)
        return;
    client->next_flush = server->flush;
    client->at_flush = &server->flush;
    if (server->flush != NULL)
        server->flush->at_flush = &client->next_flush;
    server->flush = client;
}

/* The thread stood still after these answers were made: they are older than they may be. They are
 * taken back, and made again once the gate opens; where that can't be done, the client is closed.
 * False: closed. */
static bool take_back(struct client *client)
{
    if (client->answered == 0)
        return true;
    if (client->committed || client->out.failed) {
        client_close(client);
        return false;
    }
    client->out.to = client->out.from + client->out_mark;
    client->answered = 0;
    return true;
}

static void flush(struct client *client)
{
    struct server *server = client->server;
    server_look(server);
    if (server->stood_in_turn && !take_back(client))
        return;
    buffer_consume(&client->in, client->answered);
    client->answered = 0;
    client->committed = false;
    if (client->out.failed || waiting_bytes(client) > server->options->output_max) {
        log_write(LOG_WARNING, "client-closed", "it does not read its answers, uid %u",
                  client->uid);
        server->counts.subscribers_closed += subscriber_channels(client) > 0;
        client_close(client);
        return;
    }
    if (!write_out(client))
        return;
    watch(client);
    /* What was left behind for the output's bound: no event would come for it. */
    if (client->stopped && buffer_size(&client->out) == 0)
        ev_feed_event(server->loop, &client->write, EV_WRITE);
}

void client_add_message(struct client *client, enum channel channel, struct slice payload)
{
    resp_add_array(&client->out, 3);
    resp_add_bulk(&client->out, SLICE("message"));
    resp_add_bulk_text(&client->out, channel_text(channel));
    resp_add_bulk(&client->out, payload);
    client->committed |= client->answered > 0;
    flush_later(client);
}

/* Commands read ahead, of one client or several, so that what their lookups touch is fetched for
 * all of them at once. Filled and emptied within answer_ready(). */
struct ahead {
    struct client *client;
    size_t from, used; /* place in the client's input, from its front */
    enum error error;  /* of reading it */
    struct resp_command command;
};

/* One command; its answer can be taken back as long as nothing but answers of this turn stand in
 * `out` behind the mark. */
static void run(struct client *client, const struct resp_command *command)
{
    struct pending *last = client->pending_last;
    size_t held = last != NULL ? buffer_size(&last->after) : 0;
    if (client->answered == 0)
        client->out_mark = buffer_size(&client->out);
    client->committed |= last != NULL;
    client->server->counts.commands++;
    command_run(client, command);
    if (last != NULL) {
        client->held_bytes += buffer_size(&last->after) - held;
        client->out.failed |= last->after.failed;
    }
}

/* Whether the client may be answered now. False: `stopped` is for the output's bound, after which
 * no event comes by itself; else the gate says when. */
static bool may_go_on(struct client *client)
{
    struct server *server = client->server;
    if (client->closing || client->out.failed)
        return false;
    client->stopped =
        waiting_bytes(client) >= soft_bound(client) || client->pending_count >= CLIENT_PENDING_MAX;
    return !client->stopped && !gate_waits(&server->gate, server->now_mono_ms);
}

static void answer_one(const struct ahead *item)
{
    struct client *client = item->client;
    /* The client was stopped at one before it: this one is read again then. */
    if (item->from != client->answered || !may_go_on(client))
        return;
    if (item->error != ERROR_NONE) {
        client->server->counts.malformed++;
        resp_add_failure(client_out(client), item->error == ERROR_TOO_LARGE
                                                 ? "ERR command too large"
                                                 : "ERR protocol error");
        client->closing = client->committed = true;
        client->answered = buffer_size(&client->in);
        return;
    }
    if (item->command.count > 0)
        run(client, &item->command);
    client->answered += item->used;
}

static void answer_ahead(struct server *server, struct ahead *ahead, size_t *count)
{
    struct record_key keys[AHEAD_MAX];
    struct slice slices[AHEAD_MAX];
    size_t found = 0;
    for (size_t i = 0; i < *count; i++) {
        if (ahead[i].error == ERROR_NONE &&
            command_peer_key(ahead[i].client, &ahead[i].command, &keys[found])) {
            slices[found] = record_key_slice(&keys[found]);
            found++;
        }
    }
    /* One lookup alone has nothing to wait side by side with. */
    if (found > 1)
        store_look_ahead(&server->reader, slices, found);
    for (size_t i = 0; i < *count; i++)
        answer_one(&ahead[i]);
    store_forget_ahead(&server->reader);
    *count = 0;
}

/* Reads the client's next command into `item`. False: none is complete. */
static bool read_ahead(struct client *client, size_t from, struct ahead *item)
{
    struct slice rest = buffer_slice(&client->in);
    if (rest.size <= from)
        return false;
    rest.data += from;
    rest.size -= from;
    item->client = client;
    item->from = from;
    item->error = resp_read_command(rest, &item->command, &item->used);
    return item->error != ERROR_INCOMPLETE;
}

/* Answers what is complete in the input of every client that has some. */
static void answer_ready(struct server *server)
{
    struct ahead ahead[AHEAD_MAX];
    size_t count = 0;
    for (struct client *client = server->flush; client != NULL; client = client->next_flush) {
        if (!client->ready)
            continue;
        client->ready = client->stopped = false;
        size_t from = client->answered;
        while (!client->closing && read_ahead(client, from, &ahead[count])) {
            from += ahead[count].used;
            bool last = ahead[count].error != ERROR_NONE;
            if (++count == AHEAD_MAX) {
                answer_ahead(server, ahead, &count);
                if (client->answered != from)
                    break; /* stopped */
            }
            if (last)
                break;
        }
    }
    answer_ahead(server, ahead, &count);
}

void client_flush_all(struct server *server)
{
    struct client *client;
    if (server->flush == NULL)
        return;
    server_look(server);
    answer_ready(server);
    while ((client = server->flush) != NULL) {
        forget_flush(client);
        flush(client);
    }
}

void client_process(struct client *client)
{
    client->ready = true;
    flush_later(client);
}

static void on_readable(struct ev_loop *loop, ev_io *w, int events)
{
    struct client *client = w->data;
    size_t space = CLIENT_INPUT_MAX - buffer_size(&client->in);
    (void)loop;
    (void)events;
    if (space == 0) { /* commands wait for the gate */
        watch(client);
        return;
    }
    char *at = buffer_reserve(&client->in, space < 16384 ? space : 16384);
    if (at == NULL) {
        client_close(client);
        return;
    }
    ssize_t size = recv(client->descriptor, at, space < 16384 ? space : 16384, MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (size <= 0) {
        client_close(client);
        return;
    }
    buffer_commit(&client->in, (size_t)size);
    client_process(client);
}

static void on_writable(struct ev_loop *loop, ev_io *w, int events)
{
    (void)loop;
    (void)events;
    client_process(w->data);
}

static bool grow_slots(struct server *server)
{
    size_t old = server->slot_count, count = old == 0 ? 64 : old * 2;
    void *clients = mem_grow(server->clients, count * sizeof(*server->clients));
    if (clients == NULL)
        return false;
    server->clients = clients;
    void *generations = mem_grow(server->generations, count * sizeof(*server->generations));
    if (generations == NULL)
        return false;
    server->generations = generations;
    void *slots = mem_grow(server->free_slots, count * sizeof(*server->free_slots));
    if (slots == NULL)
        return false;
    server->free_slots = slots;
    for (size_t i = count; i-- > old;) {
        server->clients[i] = NULL;
        server->generations[i] = 0;
        server->free_slots[server->free_count++] = (uint32_t)i;
    }
    server->slot_count = count;
    return true;
}

/* In Redis' words, which its clients know; whether they are read is the peer's affair. */
static void refuse(int descriptor)
{
    static const char WHY[] = "-ERR max number of clients reached\r\n";

    (void)send(descriptor, WHY, sizeof(WHY) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    close(descriptor);
}

void client_accept(struct server *server, int descriptor)
{
    struct client *client = NULL;
    if (server->client_count < server->options->max_clients &&
        (server->free_count > 0 || grow_slots(server)))
        client = mem_zero(1, sizeof(*client));
    if (client == NULL) {
        server->counts.refused_connections++;
        refuse(descriptor);
        return;
    }
    client->server = server;
    client->slot = server->free_slots[--server->free_count];
    client->generation = ++server->generations[client->slot];
    client->descriptor = descriptor;
    client->permissions = client_permissions(server, descriptor, &client->uid);
    buffer_init(&client->in, CLIENT_INPUT_MAX);
    buffer_init(&client->out, (size_t)server->options->output_max);
    ev_io_init(&client->read, on_readable, descriptor, EV_READ);
    ev_io_init(&client->write, on_writable, descriptor, EV_WRITE);
    client->read.data = client->write.data = client;
    server->clients[client->slot] = client;
    server->client_count++;
    server->counts.connections++;
    ev_io_start(server->loop, &client->read);
}

struct pending *client_add_pending(struct client *client)
{
    struct server *server = client->server;
    struct pending *p = mem_zero(1, sizeof(*p));
    if (p == NULL)
        return NULL;
    buffer_init(&p->after, 0);
    buffer_init(&p->why, 0);
    p->client = (struct client_reference){ client->slot, client->generation };
    p->request = ++server->next_request;
    p->due_mono_ms = clock_mono_ms() + server->options->bind_confirm_ms + JOURNAL_PATIENCE_MS;
    if (client->pending_last != NULL)
        client->pending_last->next = p;
    else
        client->pending_first = p;
    client->pending_last = p;
    client->pending_count++;
    client->committed = true;
    p->before = server->pending_last;
    if (server->pending_last != NULL)
        server->pending_last->behind = p;
    else
        server->pending_first = p;
    server->pending_last = p;
    if (!ev_is_active(&server->deadline)) {
        uint64_t wait_ms = server->options->bind_confirm_ms + JOURNAL_PATIENCE_MS;
        ev_timer_set(&server->deadline, (double)wait_ms / 1000., 0.);
        ev_timer_start(server->loop, &server->deadline);
    }
    return p;
}

/* The reply of `p`, then what waited behind it; replies of those before it must have gone out. */
static void add_answer(struct client *client, struct pending *p)
{
    struct server *server = client->server;
    struct buffer *out = &client->out;
    switch (p->outcome) {
    case BIND_DONE:
        if (server_snapshot(server)) {
            resp_add_array(out, 3);
            reply_add_head(server, out);
            resp_add_bulk(out, SLICE("OK"));
            break;
        }
        resp_add_failure(out, "LOADING the binding is stored, the mapping data are not there yet");
        break;
    case BIND_REFUSED:
        buffer_add_text(out, "-ERR ");
        buffer_add(out, buffer_slice(&p->why));
        buffer_add_text(out, "\r\n");
        break;
    case BIND_UNCONFIRMED:
    case BIND_NONE:
        resp_add_failure(out, "UNCONFIRMED neither the primary nor the journal has it for sure");
        break;
    }
    buffer_add(out, buffer_slice(&p->after));
}

static void answer_front(struct client *client)
{
    bool any = false;
    for (struct pending *p; (p = client->pending_first) != NULL && p->outcome != BIND_NONE;) {
        any = client->committed = true;
        add_answer(client, p);
        client->pending_first = p->next;
        if (p->next == NULL)
            client->pending_last = NULL;
        free_pending(client, p);
    }
    if (any)
        client_process(client);
}

static struct pending *find_pending(struct client *client, uint64_t request)
{
    for (struct pending *p = client->pending_first; p != NULL; p = p->next)
        if (p->request == request)
            return p;
    return NULL;
}

void client_answer_pending(struct server *server, struct client_reference reference,
                           uint64_t request, enum bind_outcome outcome, struct slice why)
{
    struct client *client = client_find(server, reference);
    struct pending *p = client != NULL ? find_pending(client, request) : NULL;
    if (p == NULL || p->outcome != BIND_NONE)
        return; /* it has gone, or its deadline has answered */
    p->outcome = outcome;
    for (size_t i = 0; i < why.size; i++)
        buffer_add_char(&p->why, why.data[i] >= ' ' && why.data[i] < 0x7f ? why.data[i] : '?');
    answer_front(client);
}

/* All have the same patience, so the first of the list is due first. */
void client_expire_pending(struct server *server)
{
    uint64_t now_mono_ms = clock_mono_ms();
    struct pending *p;
    /* A client's are in the same order as the list, so that answering one takes it off. */
    while ((p = server->pending_first) != NULL && p->due_mono_ms <= now_mono_ms)
        client_answer_pending(server, p->client, p->request, BIND_UNCONFIRMED, SLICE(""));
    if (server->pending_first != NULL) {
        uint64_t due = server->pending_first->due_mono_ms;
        double wait = due > now_mono_ms ? (double)(due - now_mono_ms) / 1000. : 0.001;
        ev_timer_set(&server->deadline, wait, 0.);
        ev_timer_start(server->loop, &server->deadline);
    }
}
