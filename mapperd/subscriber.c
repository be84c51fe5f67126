/* SPDX-License-Identifier: Apache-2.0 */
/* SUBSCRIBE: who listens to which channel, what they are sent. */
#include "mapperd/server.h"

#include "common/clock.h"
#include "common/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const CHANNELS[CHANNEL_COUNT] = { "changed", "denials" };

bool channel_from_text(struct slice text, enum channel *channel)
{
    for (int i = 0; i < CHANNEL_COUNT; i++) {
        if (slice_equal(text, slice_of(CHANNELS[i]))) {
            *channel = (enum channel)i;
            return true;
        }
    }
    return false;
}

const char *channel_text(enum channel channel)
{
    return CHANNELS[channel];
}

void subscriber_add(struct client *client, enum channel channel)
{
    struct server *server = client->server;
    struct subscription *s = &client->subscriptions[channel];
    struct subscription **first = &server->subscribers[channel];
    if (s->active)
        return;
    *s = (struct subscription){ .client = client, .active = true, .next = *first, .at = first };
    if (*first != NULL)
        (*first)->at = &s->next;
    *first = s;
    server->subscriber_count++;
}

void subscriber_remove(struct client *client, enum channel channel)
{
    struct subscription *s = &client->subscriptions[channel];
    if (!s->active)
        return;
    s->active = false;
    *s->at = s->next;
    if (s->next != NULL)
        s->next->at = s->at;
    client->server->subscriber_count--;
}

unsigned subscriber_channels(const struct client *client)
{
    unsigned count = 0;
    for (int i = 0; i < CHANNEL_COUNT; i++)
        count += client->subscriptions[i].active;
    return count;
}

/* A subscriber whose queue is full has lost a message and must not believe that it has all: it is
 * closed when it is flushed, and what it knows falls with the connection. */
void subscriber_publish(struct server *server, enum channel channel, struct slice lines)
{
    for (struct subscription *s = server->subscribers[channel]; s != NULL; s = s->next) {
        struct slice rest = lines;
        while (rest.size > 0) {
            const char *end = memchr(rest.data, '\n', rest.size);
            size_t size = end != NULL ? (size_t)(end - rest.data) : rest.size;
            client_add_message(s->client, channel, (struct slice){ rest.data, size });
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
    client_add_message(client, CHANNEL_CHANGED, (struct slice){ text, (size_t)size });
}

/* No tick while the gate is shut: it would keep answers alive that nobody could renew. */
void subscriber_tick(struct client *client)
{
    if (gate_open(&client->server->gate))
        add_tick(client->server, client);
}

void subscriber_tick_all(struct server *server)
{
    for (struct subscription *s = server->subscribers[CHANNEL_CHANGED]; s != NULL; s = s->next)
        subscriber_tick(s->client);
}
