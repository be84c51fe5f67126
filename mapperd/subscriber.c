/* SPDX-License-Identifier: Apache-2.0 */
/* SUBSCRIBE changed: who listens, what they are sent. */
#include "mapperd/server.h"

#include "common/clock.h"
#include "common/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void subscriber_add(struct client *client)
{
    struct server *server = client->server;
    if (client->subscribed)
        return;
    client->subscribed = true;
    client->next_subscriber = server->subscribers;
    client->at_subscriber = &server->subscribers;
    if (server->subscribers != NULL)
        server->subscribers->at_subscriber = &client->next_subscriber;
    server->subscribers = client;
    server->subscriber_count++;
}

void subscriber_remove(struct client *client)
{
    if (!client->subscribed)
        return;
    client->subscribed = false;
    *client->at_subscriber = client->next_subscriber;
    if (client->next_subscriber != NULL)
        client->next_subscriber->at_subscriber = client->at_subscriber;
    client->server->subscriber_count--;
}

static void add_message(struct client *client, struct slice payload)
{
    resp_add_array(&client->out, 3);
    resp_add_bulk(&client->out, SLICE("message"));
    resp_add_bulk(&client->out, SLICE("changed"));
    resp_add_bulk(&client->out, payload);
}

/* A subscriber that lost a message must not believe it has all: it is closed, and what it knows
 * falls with the connection. */
static void send_or_close(struct client *client)
{
    if (client->out.failed) {
        client->server->counts.subscribers_closed++;
        log_write(LOG_WARNING, "subscriber-closed", "its queue is full, uid %u", client->uid);
        client_close(client);
        return;
    }
    client_flush(client);
}

void subscriber_publish(struct server *server, struct slice lines)
{
    struct client *next;
    for (struct client *c = server->subscribers; c != NULL; c = next) {
        struct slice rest = lines;
        next = c->next_subscriber;
        while (rest.size > 0) {
            const char *end = memchr(rest.data, '\n', rest.size);
            size_t size = end != NULL ? (size_t)(end - rest.data) : rest.size;
            add_message(c, (struct slice){ rest.data, size });
            size += end != NULL;
            rest.data += size;
            rest.size -= size;
        }
        send_or_close(c);
    }
    server->counts.published++;
}

/* The serial of a tick is that of the last message before it. */
static void add_tick(struct server *server, struct client *client)
{
    char text[80];
    uint64_t age_ms = server_age_ms(server);
    int size = snprintf(text, sizeof(text), "%" PRIu64 " %" PRIu64 " tick ",
                        server->published.epoch, server->published.serial);
    if (age_ms == UINT64_MAX)
        size += snprintf(text + size, sizeof(text) - (size_t)size, "-");
    else
        size += snprintf(text + size, sizeof(text) - (size_t)size, "%" PRIu64, age_ms);
    add_message(client, (struct slice){ text, (size_t)size });
}

/* Behind the confirmation, in the same buffer: who is in the middle of its commands is not flushed
 * here. */
void subscriber_first_tick(struct client *client)
{
    if (gate_open(&client->server->gate))
        add_tick(client->server, client);
}

/* No tick while the gate is shut: it would keep answers alive that nobody could renew. */
void subscriber_tick(struct server *server, struct client *client)
{
    if (!gate_open(&server->gate))
        return;
    add_tick(server, client);
    send_or_close(client);
}

void subscriber_tick_all(struct server *server)
{
    struct client *next;
    if (!gate_open(&server->gate))
        return;
    for (struct client *c = server->subscribers; c != NULL; c = next) {
        next = c->next_subscriber;
        subscriber_tick(server, c);
    }
}
