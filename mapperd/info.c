/* SPDX-License-Identifier: Apache-2.0 */
/* INFO in Redis' text format. What Redis has too has its name, so that its tools read it; what
 * would not be true here (a version, a role, memory of a data set) is left out. */
#include "mapperd/server.h"

#include "common/clock.h"
#include "mapperd/feed_state.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

static void number(struct buffer *out, const char *key, uint64_t value)
{
    buffer_add_format(out, "%s:%" PRIu64 "\r\n", key, value);
}

static void write_server(const struct server *server, struct buffer *out)
{
    buffer_add_text(out, "program:holdline-mapperd\r\n");
    buffer_add_format(out, "name:%s\r\n", server->options->name);
    number(out, "mapperd_id", atomic_load(&feed_statistics(server->feed)->mapperd_id));
    number(out, "process_id", (uint64_t)getpid());
    number(out, "tcp_port", 0); /* a unix socket alone */
    number(out, "uptime_in_seconds", (clock_mono_ms() - server->started_mono_ms) / 1000);
    number(out, "uptime_in_days", (clock_mono_ms() - server->started_mono_ms) / 86400000);
    number(out, "ready", gate_open(&server->gate) && server->reader.store != NULL);
}

static void write_sync(const struct server *server, struct buffer *out)
{
    const struct feed_statistics *s = feed_statistics(server->feed);
    uint64_t age_ms = server_age_ms(server);
    bool refilling = atomic_load(&s->refilling);
    enum feed_state state = (enum feed_state)atomic_load(&s->state);
    buffer_add_format(out, "state:%s\r\n",
                      refilling && server->reader.store != NULL ? "resyncing"
                                                                : feed_state_text(state));
    number(out, "database", atomic_load(&s->database));
    buffer_add_format(out, "source:%s\r\n",
                      !atomic_load(&s->database) ? "none"
                      : atomic_load(&s->standby) ? "standby"
                                                 : "primary");
    number(out, "behind", atomic_load(&s->behind));
    number(out, "database_bindings", atomic_load(&s->bindings));
    number(out, "epoch", server->published.epoch);
    number(out, "serial", server->published.serial);
    if (age_ms == UINT64_MAX)
        buffer_add_text(out, "age_ms:unknown\r\n");
    else
        number(out, "age_ms", age_ms);
    number(out, "age_alarm", server->staleness.alarmed);
    number(out, "stale", server_stale(server));
    number(out, "keys_waiting", atomic_load(&s->keys_waiting));
    number(out, "polls", atomic_load(&s->polls));
    number(out, "log_rows", atomic_load(&s->rows));
    number(out, "log_pruned", atomic_load(&s->log_pruned));
    number(out, "keys_read", atomic_load(&s->keys_read));
    number(out, "rows_skipped", atomic_load(&s->rows_skipped));
    number(out, "commits", atomic_load(&s->commits));
    number(out, "fills", atomic_load(&s->fills));
    number(out, "fill_rows", atomic_load(&s->fill_rows));
    uint64_t compared_mono_ms = atomic_load(&s->compare_round_mono_ms);
    number(out, "compare_rounds", atomic_load(&s->compare_rounds));
    if (compared_mono_ms == 0)
        buffer_add_text(out, "compare_age_s:unknown\r\n");
    else
        number(out, "compare_age_s", (clock_mono_ms() - compared_mono_ms) / 1000);
    number(out, "tables_unfollowed", atomic_load(&s->tables_unfollowed));
    number(out, "compare_ranges", atomic_load(&s->compare_ranges));
    number(out, "compare_named", atomic_load(&s->compare_named));
    number(out, "bindings_confirmed", atomic_load(&s->bound));
    number(out, "bindings_unconfirmed", atomic_load(&s->unconfirmed));
    const struct journal *journal = feed_journal(server->feed);
    number(out, "journal_entries", atomic_load(&journal->entry_count));
    number(out, "journal_bytes", atomic_load(&journal->byte_count));
    number(out, "journal_damaged", atomic_load(&journal->damaged));
    number(out, "bindings_journalled", atomic_load(&s->journalled));
    number(out, "bindings_replayed", atomic_load(&s->journal_replayed));
    number(out, "bindings_purged", atomic_load(&s->bindings_purged));
    number(out, "bindings_dropped", atomic_load(&s->journal_dropped));
}

/* Private memory, and all that is resident: the difference is what the kernel keeps of the map and
 * of the program's files, which it takes back when it needs it. /proc does not block. */
static void write_memory(const struct server *server, struct buffer *out)
{
    unsigned long long resident = 0, shared = 0;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    FILE *file = fopen("/proc/self/statm", "re");
    bool known = file != NULL && fscanf(file, "%*u %llu %llu", &resident, &shared) == 2;

    (void)server;
    if (file != NULL)
        fclose(file);
    if (!known || shared > resident)
        return;
    number(out, "used_memory", (resident - shared) * page);
    number(out, "used_memory_rss", resident * page);
    number(out, "maxmemory", 0);
    buffer_add_text(out, "maxmemory_policy:noeviction\r\n");
}

static void write_persistence(const struct server *server, struct buffer *out)
{
    bool ready = gate_open(&server->gate) && server->reader.store != NULL;

    number(out, "loading", !ready);
}

static void write_keys(const struct server *server, struct buffer *out)
{
    struct store_usage usage = { 0 };
    if (server->reader.store != NULL && store_usage(server->reader.store, &usage) != ERROR_NONE)
        return;
    number(out, "generation",
           server->reader.store != NULL ? store_generation(server->reader.store) : 0);
    number(out, "map_bytes", usage.map_bytes);
    number(out, "map_used_bytes", usage.used_bytes);
    number(out, "longest_write_us", usage.longest_write_us);
    number(out, "writes", usage.writes);
    number(out, "stores", usage.entries[STORE_TRUST]);
    number(out, "domains", usage.entries[STORE_DOMAIN]);
    number(out, "devices", usage.entries[STORE_PEER]);
    number(out, "users", usage.entries[STORE_USER]);
    number(out, "credentials", usage.entries[STORE_CREDENTIAL]);
    number(out, "blocked_certificates", usage.entries[STORE_BLOCKED]);
    number(out, "rule_blocks", usage.entries[STORE_RULES]);
    number(out, "bindings", usage.entries[STORE_BINDING]);
    number(out, "queued_keys", usage.entries[STORE_QUEUE]);
    /* For Redis' tools: what can be asked for; a registration is what expires. */
    buffer_add_format(out, "db0:keys=%" PRIu64 ",expires=%" PRIu64 ",avg_ttl=0\r\n",
                      usage.entries[STORE_PEER] + usage.entries[STORE_USER] +
                          usage.entries[STORE_BINDING],
                      usage.entries[STORE_BINDING]);
}

static void write_clients(const struct server *server, struct buffer *out)
{
    number(out, "connected_clients", server->client_count);
    number(out, "maxclients", (uint64_t)server->options->max_clients);
    number(out, "blocked_clients", 0); /* no command waits for another client */
    number(out, "subscribers", server->subscriber_count);
    number(out, "subscribers_closed", server->counts.subscribers_closed);
}

static void write_stats(const struct server *server, struct buffer *out)
{
    number(out, "total_connections_received", server->counts.connections);
    number(out, "rejected_connections", server->counts.refused_connections);
    number(out, "total_commands_processed", server->counts.commands);
    number(out, "instantaneous_ops_per_sec",
           rate_per_s(&server->commands_rate, server->counts.commands, clock_mono_ms()));
    number(out, "malformed", server->counts.malformed);
    number(out, "denied", server->counts.denied);
    number(out, "answered_loading", server->counts.loading);
    number(out, "answered_stale", server->counts.stale);
    number(out, "lookups", server->counts.lookups);
    number(out, "keyspace_hits", server->counts.known);
    number(out, "keyspace_misses", server->counts.unknown);
    number(out, "publications", server->counts.published);
    number(out, "standstills", server->counts.standstills);
    number(out, "reports", server->counts.reports);
    number(out, "reports_dropped", server->counts.reports_dropped);
    number(out, "unmapped_written", atomic_load(&feed_statistics(server->feed)->reports_written));
    number(out, "unmapped_failed", atomic_load(&feed_statistics(server->feed)->reports_failed));
}

void info_write(struct server *server, struct buffer *out, struct slice section)
{
    static const struct {
        const char *name;
        void (*write)(const struct server *server, struct buffer *out);
    } SECTIONS[] = {
        { "Server", write_server }, { "Clients", write_clients },
        { "Memory", write_memory }, { "Persistence", write_persistence },
        { "Sync", write_sync },     { "Stats", write_stats },
        { "Keyspace", write_keys },
    };
    bool all = section.size == 0 || slice_equal_nocase(section, SLICE("all")) ||
               slice_equal_nocase(section, SLICE("default")) ||
               slice_equal_nocase(section, SLICE("everything"));
    buffer_reset(&server->text);
    for (size_t i = 0; i < sizeof(SECTIONS) / sizeof(SECTIONS[0]); i++) {
        if (!all && !slice_equal_nocase(section, slice_of(SECTIONS[i].name)))
            continue;
        if (buffer_size(&server->text) > 0)
            buffer_add_text(&server->text, "\r\n");
        buffer_add_format(&server->text, "# %s\r\n", SECTIONS[i].name);
        SECTIONS[i].write(server, &server->text);
    }
    out->failed |= server->text.failed;
    resp_add_bulk(out, buffer_slice(&server->text));
}
