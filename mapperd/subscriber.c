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

/* A subscriber whose queue is full has lost a message and must not believe that it has all: it is
 * closed when it is flushed, and what it knows falls with the connection. */
void subscriber_publish(struct server *server, struct slice lines)
{
    for (struct client *c = server->subscribers; c != NULL; c = c->next_subscriber) {
        struct slice rest = lines;
        while (rest.size > 0) {
            const char *end = memchr(rest.data, '\n', rest.size);
            size_t size = end != NULL ? (size_t)(end - rest.data) : rest.size;
            client_add_message(c, (struct slice){ rest.data, size });
            size += end != NULL;
            rest.data += size;
            rest.size -= size;
        }
    }
    server->counts.published++;
}

/* The serial of a tick is that of the last message before it. */
static void add_tick(struct server *server, struct client *client)
{
    char text[112];
    uint64_t age_ms = server_age_ms(server), bound_ms = server_live(server)->staleness_bound_ms;
    int size = snprintf(text, sizeof(text), "%" PRIu64 " %" PRIu64 " tick ",
                        server->published.epoch, server->published.serial);
    if (age_ms == UINT64_MAX)
        size += snprintf(text + size, sizeof(text) - (size_t)size, "-");
    else
        size += snprintf(text + size, sizeof(text) - (size_t)size, "%" PRIu64, age_ms);
    if (bound_ms != 0)
        size += snprintf(text + size, sizeof(text) - (size_t)size, " %" PRIu64, bound_ms);
    client_add_message(client, (struct slice){ text, (size_t)size });
}

/* No tick while the gate is shut: it would keep answers alive that nobody could renew. */
void subscriber_tick(struct client *client)
{
    if (gate_open(&client->server->gate))
        add_tick(client->server, client);
}

void subscriber_tick_all(struct server *server)
{
    for (struct client *c = server->subscribers; c != NULL; c = c->next_subscriber)
        subscriber_tick(c);
}
