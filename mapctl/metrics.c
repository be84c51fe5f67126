/* SPDX-License-Identifier: Apache-2.0 */
/* The table of metrics, and how a field of INFO becomes samples. */
#include "mapctl/metrics.h"

#include "mapctl/info.h"

#include <ctype.h>
#include <stdio.h>

/* A program that says more than this says it in vain. */
#define FIELDS_MAX      4096
#define OTHERS_MAX      256
#define METRIC_NAME_MAX 80

enum metric_kind {
    METRIC_VALUE = 1, /* the number */
    METRIC_SECONDS,   /* the number, of milliseconds; `unknown` is infinite: no bound holds it */
    METRIC_FROM_US,   /* seconds too, of microseconds */
    METRIC_TEXT,      /* 1, the text as the label */
    METRIC_UP,        /* 1 when the text is `up`, else 0 */
    METRIC_HIDDEN,    /* shown in another way, or no matter of a monitor's */
};

/* A '*' in `field` stands for what becomes the label. */
struct metric {
    const char *field, *name, *type;
    enum metric_kind kind;
    const char *label, *help;
};

#define GAUGE   "gauge"
#define COUNTER "counter"

static const struct metric MAPPERD[] = {
    { "program", NULL, NULL, METRIC_HIDDEN, NULL, NULL },
    { "name", "info", GAUGE, METRIC_TEXT, "name", "The name of this mapperd; always 1." },
    { "state", "feed_state", GAUGE, METRIC_TEXT, "state", "State of the feed; always 1." },
    { "mapperd_id", NULL, NULL, METRIC_HIDDEN, NULL, NULL },
    { "process_id", NULL, NULL, METRIC_HIDDEN, NULL, NULL },
    { "tcp_port", NULL, NULL, METRIC_HIDDEN, NULL, NULL },
    { "uptime_in_days", NULL, NULL, METRIC_HIDDEN, NULL, NULL },
    { "blocked_clients", NULL, NULL, METRIC_HIDDEN, NULL, NULL },
    { "maxmemory", NULL, NULL, METRIC_HIDDEN, NULL, NULL },
    { "instantaneous_ops_per_sec", NULL, NULL, METRIC_HIDDEN, NULL, NULL }, /* rate() of commands */
    { "loading", NULL, NULL, METRIC_HIDDEN, NULL, NULL },
    { "uptime_in_seconds", "uptime_seconds", GAUGE, METRIC_VALUE, NULL, "Time since the start." },
    { "ready", "ready", GAUGE, METRIC_VALUE, NULL, "1 when it answers lookups." },
    { "database", "database_connected", GAUGE, METRIC_VALUE, NULL,
      "1 when the feed is connected to PostgreSQL." },
    { "source", "source", GAUGE, METRIC_TEXT, "source",
      "Whether it reads from a primary or a standby; always 1." },
    { "behind", "source_behind", GAUGE, METRIC_VALUE, NULL,
      "1 when the server that it reads from lacks what was applied already." },
    { "database_bindings", "database_bindings_connected", GAUGE, METRIC_VALUE, NULL,
      "1 when registrations can be written to the primary." },
    { "epoch", "epoch", GAUGE, METRIC_VALUE, NULL,
      "Names the line of serials; changes at a fill." },
    { "serial", "serial", GAUGE, METRIC_VALUE, NULL, "Changes that are applied and published." },
    { "age_ms", "data_age_seconds", GAUGE, METRIC_SECONDS, NULL,
      "How old the data may be; infinite when it is not known." },
    { "age_alarm", "data_age_alarm", GAUGE, METRIC_VALUE, NULL,
      "1 when the data are older than staleness_alarm_ms; should be 0." },
    { "stale", "stale", GAUGE, METRIC_VALUE, NULL,
      "1 when they are older than staleness_bound_ms, and lookups are refused." },
    { "tables_unfollowed", "tables_unfollowed", GAUGE, METRIC_VALUE, NULL,
      "Tables whose changes no trigger logs; should be 0." },
    { "keys_waiting", "keys_waiting", GAUGE, METRIC_VALUE, NULL,
      "Changed keys that are not read again yet." },
    { "polls", "polls_total", COUNTER, METRIC_VALUE, NULL, "Looks at the change log." },
    { "log_rows", "log_rows_total", COUNTER, METRIC_VALUE, NULL, "Rows of the change log read." },
    { "log_pruned", "log_rows_pruned_total", COUNTER, METRIC_VALUE, NULL,
      "Rows of the change log deleted since nobody needs them." },
    { "keys_read", "keys_read_total", COUNTER, METRIC_VALUE, NULL, "Changed keys read again." },
    { "rows_skipped", "rows_skipped_total", COUNTER, METRIC_VALUE, NULL,
      "Rows that could not be taken; should be 0." },
    { "commits", "store_commits_total", COUNTER, METRIC_VALUE, NULL,
      "Applied batches of changes." },
    { "fills", "fills_total", COUNTER, METRIC_VALUE, NULL, "Copies made afresh." },
    { "fill_rows", "fill_rows_total", COUNTER, METRIC_VALUE, NULL, "Rows read for them." },
    { "bindings_confirmed", "bindings_confirmed_total", COUNTER, METRIC_VALUE, NULL,
      "Registrations that the primary has confirmed." },
    { "bindings_unconfirmed", "bindings_unconfirmed_total", COUNTER, METRIC_VALUE, NULL,
      "Registrations that it has not confirmed in time; should be 0." },
    { "bindings_purged", "bindings_purged_total", COUNTER, METRIC_VALUE, NULL,
      "Tombstones and expired registrations deleted." },
    { "journal_entries", "journal_entries", GAUGE, METRIC_VALUE, NULL,
      "Registrations in the journal that the primary does not have yet." },
    { "journal_bytes", "journal_bytes", GAUGE, METRIC_VALUE, NULL, "Size of the journal." },
    { "journal_damaged", "journal_damaged", GAUGE, METRIC_VALUE, NULL,
      "Not 0 when the journal could not be read; should be 0." },
    { "bindings_journalled", "bindings_journalled_total", COUNTER, METRIC_VALUE, NULL,
      "Registrations written to the journal." },
    { "bindings_replayed", "bindings_replayed_total", COUNTER, METRIC_VALUE, NULL,
      "Registrations brought from the journal to the primary." },
    { "bindings_dropped", "bindings_dropped_total", COUNTER, METRIC_VALUE, NULL,
      "Registrations of the journal that nobody needs any more." },
    { "generation", "store_generation", GAUGE, METRIC_VALUE, NULL, "Number of the store." },
    { "map_bytes", "map_size_bytes", GAUGE, METRIC_VALUE, NULL, "Bound of the data in LMDB." },
    { "map_used_bytes", "map_used_bytes", GAUGE, METRIC_VALUE, NULL, "Data in LMDB." },
    { "longest_write_us", "store_longest_write_seconds", GAUGE, METRIC_FROM_US, NULL,
      "Longest transaction of LMDB since the store was opened." },
    { "writes", "store_writes_total", COUNTER, METRIC_VALUE, NULL,
      "Transactions of LMDB committed since the store was opened." },
    { "stores", "trust_stores", GAUGE, METRIC_VALUE, NULL, "Trust stores in the copy." },
    { "domains", "domains", GAUGE, METRIC_VALUE, NULL, "Domains in the copy." },
    { "devices", "devices", GAUGE, METRIC_VALUE, NULL, "Devices in the copy." },
    { "users", "users", GAUGE, METRIC_VALUE, NULL, "Users in the copy." },
    { "rule_blocks", "rule_blocks", GAUGE, METRIC_VALUE, NULL, "Blocks of rules in the copy." },
    { "credentials", "credentials", GAUGE, METRIC_VALUE, NULL,
      "Users with a password in the copy." },
    { "blocked_certificates", "blocked_certificates", GAUGE, METRIC_VALUE, NULL,
      "Blocked certificates in the copy." },
    { "bindings", "bindings", GAUGE, METRIC_VALUE, NULL, "Registrations in the copy." },
    { "queued_keys", "queued_keys", GAUGE, METRIC_VALUE, NULL, "Keys in the durable queue." },
    { "connected_clients", "clients", GAUGE, METRIC_VALUE, NULL, "Clients that are connected." },
    { "maxclients", "clients_max", GAUGE, METRIC_VALUE, NULL, "Clients that may be connected." },
    { "subscribers", "subscribers", GAUGE, METRIC_VALUE, NULL, "Clients that hear of changes." },
    { "total_connections_received", "connections_total", COUNTER, METRIC_VALUE, NULL,
      "Connections accepted." },
    { "rejected_connections", "connections_refused_total", COUNTER, METRIC_VALUE, NULL,
      "Connections refused, since there were too many." },
    { "subscribers_closed", "subscribers_closed_total", COUNTER, METRIC_VALUE, NULL,
      "Subscribers closed, since they did not read." },
    { "total_commands_processed", "commands_total", COUNTER, METRIC_VALUE, NULL,
      "Commands of all clients." },
    { "malformed", "malformed_total", COUNTER, METRIC_VALUE, NULL, "Commands that are no RESP." },
    { "denied", "denied_total", COUNTER, METRIC_VALUE, NULL,
      "Commands of clients that may not give them." },
    { "answered_loading", "answered_loading_total", COUNTER, METRIC_VALUE, NULL,
      "Lookups refused, since nothing is known yet." },
    { "answered_stale", "answered_stale_total", COUNTER, METRIC_VALUE, NULL,
      "Lookups refused, since the data is too old." },
    { "lookups", "lookups_total", COUNTER, METRIC_VALUE, NULL, "Lookups answered." },
    { "keyspace_hits", "lookups_known_total", COUNTER, METRIC_VALUE, NULL,
      "Lookups of what is known." },
    { "keyspace_misses", "lookups_unknown_total", COUNTER, METRIC_VALUE, NULL,
      "Lookups of what is not." },
    { "publications", "publications_total", COUNTER, METRIC_VALUE, NULL, "Changes published." },
    { "standstills", "standstills_total", COUNTER, METRIC_VALUE, NULL,
      "Times that the process stood still for more than 250 ms; should be 0." },
    { "reports", "reports_total", COUNTER, METRIC_VALUE, NULL,
      "Denials that proxies have told it." },
    { "reports_dropped", "reports_dropped_total", COUNTER, METRIC_VALUE, NULL,
      "Unknown devices that found no room on the way to the database; should be 0." },
    { "unmapped_written", "unmapped_written_total", COUNTER, METRIC_VALUE, NULL,
      "Unknown devices written to the database." },
    { "unmapped_failed", "unmapped_failed_total", COUNTER, METRIC_VALUE, NULL,
      "Unknown devices that the database refused; should be 0." },
    { "used_memory", "private_memory_bytes", GAUGE, METRIC_VALUE, NULL,
      "Memory of the process besides the map." },
    { "used_memory_rss", "resident_memory_bytes", GAUGE, METRIC_VALUE, NULL,
      "Memory of the process with what is resident of the map." },
    { "compare_rounds", "compare_rounds_total", COUNTER, METRIC_VALUE, NULL,
      "Rounds of comparing the copy with the tables." },
    { "compare_age_s", "compare_age_seconds", GAUGE, METRIC_VALUE, NULL,
      "Time since the last whole round." },
    { "compare_ranges", "compare_ranges_total", COUNTER, METRIC_VALUE, NULL,
      "Ranges of keys compared." },
    { "compare_named", "compare_differences_total", COUNTER, METRIC_VALUE, NULL,
      "Keys that differed and were read again; should be 0." },
    { NULL, NULL, NULL, METRIC_HIDDEN, NULL, NULL },
};

static const struct metric PROXY[] = {
    { "name", "info", GAUGE, METRIC_TEXT, "name", "The name of this proxy; always 1." },
    { "pid", NULL, NULL, METRIC_HIDDEN, NULL, NULL },
    { "uptime_s", "uptime_seconds", GAUGE, METRIC_VALUE, NULL, "Time since the start." },
    { "ready", "ready", GAUGE, METRIC_VALUE, NULL,
      "1 when every worker listens and has its link to mapperd." },
    { "workers", "workers", GAUGE, METRIC_VALUE, NULL, "Worker threads." },
    { "listener.*.address", NULL, NULL, METRIC_HIDDEN, NULL, NULL },
    { "connections", "connections", GAUGE, METRIC_VALUE, NULL, "Connections that are open." },
    { "parked", "parked_requests", GAUGE, METRIC_VALUE, NULL, "Requests that wait for mapperd." },
    { "parked_total", "parked_requests_total", COUNTER, METRIC_VALUE, NULL,
      "Requests that had to wait for mapperd." },
    { "requests", "requests_total", COUNTER, METRIC_VALUE, NULL, "Requests received." },
    { "responses", "responses_total", COUNTER, METRIC_VALUE, NULL, "Responses received." },
    { "forwarded", "forwarded_total", COUNTER, METRIC_VALUE, NULL, "Requests passed on." },
    { "malformed", "malformed_total", COUNTER, METRIC_VALUE, NULL, "Messages that are no SIP." },
    { "dropped", "dropped_total", COUNTER, METRIC_VALUE, NULL, "Messages let fall." },
    { "handshakes", "tls_handshakes_total", COUNTER, METRIC_VALUE, NULL,
      "TLS handshakes of clients that succeeded." },
    { "handshakes_resumed", "tls_handshakes_resumed_total", COUNTER, METRIC_VALUE, NULL,
      "Those of them that resumed a session." },
    { "worker.*.mapperd", "mapperd_link_up", GAUGE, METRIC_UP, "worker",
      "1 when this worker's link to mapperd is up." },
    { "worker.*.mapperd_age_ms", "mapperd_data_age_seconds", GAUGE, METRIC_SECONDS, "worker",
      "How old mapperd's data may be, as this worker hears." },
    { "cached", "cached_answers", GAUGE, METRIC_VALUE, NULL, "Answers kept by the workers." },
    { "lookups_waiting", "lookups_waiting", GAUGE, METRIC_VALUE, NULL, "Lookups under way." },
    { "denials_dropped", "denials_dropped_total", COUNTER, METRIC_VALUE, NULL,
      "Denials that mapperd was not told." },
    { "crl_stores", "crl_stores", GAUGE, METRIC_VALUE, NULL,
      "Trust stores with revocation lists." },
    { "crl_revoked", "crl_revoked_certificates", GAUGE, METRIC_VALUE, NULL,
      "Certificates that these lists name." },
    { "crl_expired", "crl_stores_expired", GAUGE, METRIC_VALUE, NULL,
      "Trust stores with a revocation list whose nextUpdate is over." },
    { "crl_faulty", "crl_stores_faulty", GAUGE, METRIC_VALUE, NULL,
      "Trust stores with a file of revocation lists that could not be used." },
    { "ocsp_stapled", "ocsp_stapled_certificates", GAUGE, METRIC_VALUE, NULL,
      "Certificates of ours that are shown with an OCSP response." },
    { "ocsp_expired", "ocsp_expired_certificates", GAUGE, METRIC_VALUE, NULL,
      "Certificates of ours whose OCSP response is over." },
    { "ocsp_faulty", "ocsp_faulty_files", GAUGE, METRIC_VALUE, NULL,
      "Files of OCSP responses that could not be used." },
    { "ocsp_kept", "ocsp_client_statuses", GAUGE, METRIC_VALUE, NULL,
      "Peers' certificates whose OCSP status is known and in force." },
    { "ocsp_asking", "ocsp_questions", GAUGE, METRIC_VALUE, NULL,
      "Questions to OCSP responders that are under way or wait for it." },
    { "ocsp_waiting", "ocsp_waiting_connections", GAUGE, METRIC_VALUE, NULL,
      "Connections that wait for their certificate's OCSP status." },
    { "ocsp_good", "ocsp_good_total", COUNTER, METRIC_VALUE, NULL,
      "Answers of OCSP responders that a certificate is good." },
    { "ocsp_revoked", "ocsp_revoked_total", COUNTER, METRIC_VALUE, NULL,
      "Answers of OCSP responders that a certificate is revoked." },
    { "ocsp_unknown", "ocsp_unknown_total", COUNTER, METRIC_VALUE, NULL,
      "Answers of OCSP responders that a certificate is not known." },
    { "ocsp_unanswered", "ocsp_unanswered_total", COUNTER, METRIC_VALUE, NULL,
      "Questions to OCSP responders without an answer that counts." },
    { "ocsp_passed", "ocsp_passed_total", COUNTER, METRIC_VALUE, NULL,
      "Connections let in without the OCSP answer that was asked for." },
    { "ocsp_refused", "ocsp_refused_total", COUNTER, METRIC_VALUE, NULL,
      "Connections refused or ended by OCSP." },
    { "reason.*", "reasons_total", COUNTER, METRIC_VALUE, "reason",
      "How often each reason was given; docs/reasons.md has them." },
    { NULL, NULL, NULL, METRIC_HIDDEN, NULL, NULL },
};

struct writer {
    struct buffer *out;
    const char *program;
    const struct metric *table;
    struct slice info;
};

/* ---- Fields ---- */

/* Whether `field` is one of the row's; then what '*' stands for. */
static bool matches(const struct metric *metric, struct slice field, struct slice *label)
{
    const char *star = strchr(metric->field, '*');
    size_t head = star ? (size_t)(star - metric->field) : 0;
    size_t tail = star ? strlen(star + 1) : 0;

    if (star == NULL)
        return slice_equal(field, slice_of(metric->field));
    if (field.size <= head + tail || memcmp(field.data, metric->field, head) != 0 ||
        memcmp(field.data + field.size - tail, star + 1, tail) != 0)
        return false;
    *label = (struct slice){ field.data + head, field.size - head - tail };
    return memchr(label->data, '.', label->size) == NULL;
}

/* Digits, perhaps with a sign and a fraction. */
static bool is_number(struct slice s)
{
    size_t digits = 0, dots = 0;

    if (s.size > 1 && *s.data == '-') {
        s.data++;
        s.size--;
    }
    for (size_t i = 0; i < s.size; i++) {
        digits += isdigit((unsigned char)s.data[i]) != 0;
        dots += s.data[i] == '.' && i > 0 && i + 1 < s.size;
    }
    return s.size > 0 && s.size <= 24 && dots <= 1 && digits + dots == s.size;
}

/* Whether a field of that name stands before this one already: of two the first counts. */
static bool repeated(struct slice info, struct slice field)
{
    struct slice key, value;

    while (info_next(&info, &key, &value) && key.data != field.data) {
        if (slice_equal(key, field))
            return true;
    }
    return false;
}

/* ---- Samples ---- */

static void write_head(const struct writer *w, const char *name, const char *type, const char *help)
{
    if (help != NULL)
        buffer_add_format(w->out, "# HELP holdline_%s_%s %s\n", w->program, name, help);
    buffer_add_format(w->out, "# TYPE holdline_%s_%s %s\n", w->program, name, type);
}

static void write_label(const struct writer *w, const char *label, struct slice value)
{
    buffer_add_format(w->out, "{%s=\"", label);
    for (size_t i = 0; i < value.size; i++) {
        char c = value.data[i];
        if (c == '"' || c == '\\')
            buffer_add_char(w->out, '\\');
        buffer_add_char(w->out, c >= 0x20 && c < 0x7f ? c : '?');
    }
    buffer_add_text(w->out, "\"}");
}

/* The value as it is written; false: it is none. */
static bool value_text(enum metric_kind kind, struct slice value, char text[40])
{
    unsigned long long number;

    switch (kind) {
    case METRIC_VALUE:
        if (is_number(value))
            snprintf(text, 40, "%.*s", (int)value.size, value.data);
        return is_number(value);
    case METRIC_SECONDS:
        if (slice_equal(value, SLICE("unknown")))
            snprintf(text, 40, "+Inf");
        else if (slice_to_u64(value, UINT64_MAX, &number))
            snprintf(text, 40, "%llu.%03llu", number / 1000, number % 1000);
        else
            return false;
        return true;
    case METRIC_FROM_US:
        if (!slice_to_u64(value, UINT64_MAX, &number))
            return false;
        snprintf(text, 40, "%llu.%06llu", number / 1000000, number % 1000000);
        return true;
    case METRIC_TEXT:
        snprintf(text, 40, "1");
        return true;
    case METRIC_UP:
        snprintf(text, 40, "%d", slice_equal(value, SLICE("up")));
        return true;
    case METRIC_HIDDEN:
        break;
    }
    return false;
}

/* All samples of one metric, which must stand together. */
static void write_metric(const struct writer *w, const struct metric *metric)
{
    struct slice rest = w->info, key, value, label;
    bool begun = false;
    char text[40];

    for (size_t i = 0; i < FIELDS_MAX && info_next(&rest, &key, &value); i++) {
        label = value;
        if (!matches(metric, key, &label) || !value_text(metric->kind, value, text) ||
            repeated(w->info, key))
            continue;
        if (!begun)
            write_head(w, metric->name, metric->type, metric->help);
        begun = true;
        buffer_add_format(w->out, "holdline_%s_%s", w->program, metric->name);
        if (metric->label != NULL)
            write_label(w, metric->label, label);
        buffer_add_format(w->out, " %s\n", text);
    }
}

/* ---- Fields that are not in the table ---- */

static bool is_known(const struct metric *table, struct slice field)
{
    struct slice label;

    for (; table->field != NULL; table++) {
        if (matches(table, field, &label))
            return true;
    }
    return false;
}

/* Makes a metric's name of a field's; false: it can't be one. */
static bool make_name(char name[METRIC_NAME_MAX], struct slice field, bool *is_ms)
{
    if (field.size == 0 || field.size > METRIC_NAME_MAX - 16)
        return false;
    for (size_t i = 0; i < field.size; i++) {
        unsigned char c = (unsigned char)field.data[i];
        if (c >= 0x80 || (!isalnum(c) && c != '_' && c != '.' && c != '-'))
            return false;
        name[i] = (char)(isalnum(c) ? tolower(c) : '_');
    }
    *is_ms = field.size > 3 && memcmp(name + field.size - 3, "_ms", 3) == 0;
    strcpy(name + field.size - (*is_ms ? 3 : 0), *is_ms ? "_seconds" : "");
    return true;
}

/* Whether the table or an earlier field has that name. */
static bool is_taken(const struct writer *w, const char *name, struct slice field)
{
    struct slice rest = w->info, key, value;
    char other[METRIC_NAME_MAX];
    bool is_ms;

    if (strcmp(name, "up") == 0)
        return true;
    for (const struct metric *m = w->table; m->field != NULL; m++) {
        if (m->name != NULL && strcmp(m->name, name) == 0)
            return true;
    }
    while (info_next(&rest, &key, &value) && key.data != field.data) {
        if (make_name(other, key, &is_ms) && strcmp(other, name) == 0)
            return true;
    }
    return false;
}

static void write_others(const struct writer *w)
{
    struct slice rest = w->info, key, value;
    size_t others = 0;
    char name[METRIC_NAME_MAX], text[40];
    bool is_ms;

    for (size_t i = 0; i < FIELDS_MAX && others < OTHERS_MAX && info_next(&rest, &key, &value);
         i++) {
        if (is_known(w->table, key) || !make_name(name, key, &is_ms) ||
            !value_text(is_ms ? METRIC_SECONDS : METRIC_VALUE, value, text) ||
            is_taken(w, name, key))
            continue;
        others++;
        write_head(w, name, "untyped", NULL);
        buffer_add_format(w->out, "holdline_%s_%s %s\n", w->program, name, text);
    }
}

void metrics_write(struct buffer *out, enum metrics_source source, bool up, struct slice info)
{
    struct writer w = { .out = out,
                        .program = source == METRICS_PROXY ? "proxy" : "mapperd",
                        .table = source == METRICS_PROXY ? PROXY : MAPPERD,
                        .info = info };

    write_head(&w, "up", GAUGE, "1 when it has answered in time.");
    buffer_add_format(out, "holdline_%s_up %d\n", w.program, up);
    if (!up)
        return;
    for (const struct metric *metric = w.table; metric->field != NULL; metric++) {
        if (metric->kind != METRIC_HIDDEN)
            write_metric(&w, metric);
    }
    write_others(&w);
}
