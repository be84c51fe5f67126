/* SPDX-License-Identifier: Apache-2.0 */
/* Keys are read again, a batch at a time: one statement a kind, all sent at once, each
 * key whole in one snapshot. The connection is one and in order, so a later batch is always read in
 * a later snapshot. What came is written, taken off the queue and counted in one transaction; then
 * it is published. The few keys of a poll that finds nothing waiting need no queue: they are read
 * before its position moves, which moves in that transaction. */
#include "common/log.h"
#include "common/mem.h"
#include "mapperd/feed_internal.h"
#include "mapperd/kill_point.h"
#include "mapperd/sql_array.h"
#include "mapperd/statements.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

void reread_reset(struct reread *reread)
{
    reread->running = reread->of_poll = false;
    reread->step_count = reread->step = 0;
    buffer_reset(&reread->puts);
    buffer_reset(&reread->changes);
}

static const struct database_statement *statement_of(enum key_kind kind)
{
    switch (kind) {
    case KEY_PEER:
        return &STATEMENT_READ_PEER;
    case KEY_CREDENTIAL:
        return &STATEMENT_READ_CREDENTIAL;
    case KEY_CERTIFICATE:
        return &STATEMENT_READ_BLOCKED;
    case KEY_USER:
        return &STATEMENT_READ_USER;
    case KEY_DOMAIN:
        return &STATEMENT_READ_DOMAIN;
    case KEY_STORE:
        return &STATEMENT_READ_TRUST;
    case KEY_RULES: /* stands for the rule blocks of domains and groups too */
        return &STATEMENT_READ_RULES;
    case KEY_BINDING:
        return &STATEMENT_READ_BINDING;
    case KEY_GROUP:
    case KEY_NONE:
        break;
    }
    return NULL;
}

static struct slice rules_kind(enum key_kind kind)
{
    return kind == KEY_DOMAIN  ? SLICE("domain")
           : kind == KEY_GROUP ? SLICE("group")
                               : SLICE("everyone");
}

static bool belongs(const struct key *key, enum key_kind step)
{
    if (step == KEY_RULES)
        return key->kind == KEY_RULES || key->kind == KEY_GROUP || key->kind == KEY_DOMAIN;
    return key->kind == step;
}

/* Adds the statement of one kind to the pipeline, when the batch has keys of it. */
static enum error add_step(struct feed *feed, enum key_kind step)
{
    struct reread *reread = &feed->reread;
    struct buffer first, second;
    size_t count = 0;
    for (size_t i = 0; i < reread->batch.count; i++)
        count += belongs(&reread->batch.keys[i], step);
    if (count == 0)
        return ERROR_NONE;
    buffer_init(&first, 0);
    buffer_init(&second, 0);
    sql_array_start(&first, SQL_ARRAY_TEXT);
    sql_array_start(&second, SQL_ARRAY_TEXT);
    for (size_t i = 0; i < reread->batch.count; i++) {
        const struct key *key = &reread->batch.keys[i];
        if (!belongs(key, step))
            continue;
        if (step == KEY_RULES) {
            sql_array_add_text(&first, rules_kind(key->kind));
            sql_array_add_text(&second, key->kind == KEY_RULES ? SLICE("") : key->words[0]);
        } else {
            sql_array_add_text(&first, key->words[0]);
            sql_array_add_text(&second, key->words[1]);
        }
    }
    sql_array_end(&first, count);
    sql_array_end(&second, count);
    struct database_parameters p = { .count = 0 };
    database_add_binary(&p, buffer_slice(&first));
    if (step == KEY_RULES || step == KEY_PEER || step == KEY_CERTIFICATE)
        database_add_binary(&p, buffer_slice(&second));
    enum error e = first.failed || second.failed
                       ? ERROR_MEMORY
                       : database_pipeline_add(&feed->keys, statement_of(step), &p);
    if (e == ERROR_NONE)
        reread->steps[reread->step_count++] = step;
    buffer_free(&first);
    buffer_free(&second);
    return e;
}

static enum error read_front(struct feed *feed)
{
    struct store_writer writer;
    enum error e = store_begin(feed->store, &writer);
    if (e != ERROR_NONE)
        return e;
    e = key_queue_front(&writer, &feed->reread.batch);
    store_abort(&writer);
    return e;
}

static void send_batch(struct feed *feed)
{
    static const enum key_kind STEPS[] = {
        KEY_STORE, KEY_DOMAIN,     KEY_RULES,       KEY_USER,
        KEY_PEER,  KEY_CREDENTIAL, KEY_CERTIFICATE, KEY_BINDING
    };
    struct reread *reread = &feed->reread;
    enum error e = ERROR_NONE;
    for (size_t i = 0; e == ERROR_NONE && i < sizeof(STEPS) / sizeof(STEPS[0]); i++)
        e = add_step(feed, STEPS[i]);
    if (e == ERROR_NONE)
        e = database_pipeline_add(&feed->keys, &STATEMENT_LSN, NULL);
    reread->steps[reread->step_count++] = KEY_NONE;
    if (e == ERROR_NONE)
        e = database_sync(&feed->keys, FEED_READ_S);
    reread->running = true;
    if (e != ERROR_NONE)
        feed_raise(feed, FEED_EVENT_LOST);
}

bool reread_poll(struct feed *feed, struct poll *poll)
{
    struct key_batch *batch = &feed->reread.batch;
    if (feed->queue_may_hold || feed->store == NULL || feed->keys.state != DATABASE_IDLE ||
        poll->memory.failed || poll->count > sizeof(batch->keys) / sizeof(batch->keys[0]))
        return false;
    for (size_t i = 0; i < poll->count; i++)
        if (poll->keys[i].large)
            return false;
    reread_reset(&feed->reread);
    memcpy(batch->keys, poll->keys, poll->count * sizeof(batch->keys[0]));
    batch->count = poll->count;
    feed->reread.of_poll = true;
    send_batch(feed);
    return true;
}

bool reread_send(struct feed *feed)
{
    struct reread *reread = &feed->reread;
    if (!feed->queue_may_hold)
        return false;
    enum error e = read_front(feed);
    if (e != ERROR_NONE) {
        feed_store_failed(feed, e, "queue");
        return true;
    }
    if (reread->batch.count == 0) {
        feed->queue_may_hold = false;
        atomic_store(&feed->statistics.keys_waiting, 0);
        return false;
    }
    reread_reset(reread);
    send_batch(feed);
    return true;
}

/* puts: table, outcome, key and value sizes, key, value; a binding's version lies in its value. */
struct put_head {
    uint8_t table, outcome;
    uint16_t key_size;
    uint32_t value_size;
};

static void remember(struct reread *reread, enum store_table table, enum rows_outcome outcome)
{
    struct slice key = record_key_slice(&reread->record.key);
    struct slice value = outcome == ROWS_PRESENT ? buffer_slice(&reread->record.value) : SLICE("");
    struct put_head head = { (uint8_t)table, (uint8_t)outcome, (uint16_t)key.size,
                             (uint32_t)value.size };
    if (reread->record.value.failed)
        reread->puts.failed = true;
    buffer_add(&reread->puts, (struct slice){ (const char *)&head, sizeof(head) });
    buffer_add(&reread->puts, key);
    buffer_add(&reread->puts, value);
}

static void take_rows(struct reread *reread, const PGresult *result, enum store_table table,
                      row_reader read)
{
    for (int row = 0; row < PQntuples(result); row++) {
        enum rows_outcome outcome = read(result, row, &reread->record);
        /* A row that can't be read takes away what stood under its key, if there is such a key. */
        if (outcome == ROWS_SKIP && !reread->record.key.failed && reread->record.key.size > 0 &&
            table != STORE_BINDING)
            outcome = ROWS_ABSENT;
        if (outcome != ROWS_SKIP)
            remember(reread, table, outcome);
    }
}

static void take_step(struct feed *feed, const PGresult *result)
{
    struct reread *reread = &feed->reread;
    uint64_t lsn;
    switch (reread->steps[reread->step]) {
    case KEY_STORE:
        take_rows(reread, result, STORE_TRUST, rows_trust);
        break;
    case KEY_DOMAIN:
        take_rows(reread, result, STORE_DOMAIN, rows_domain);
        break;
    case KEY_RULES:
        take_rows(reread, result, STORE_RULES, rows_rules);
        break;
    case KEY_USER:
        take_rows(reread, result, STORE_USER, rows_user);
        break;
    case KEY_PEER:
        take_rows(reread, result, STORE_PEER, rows_peer);
        break;
    case KEY_CREDENTIAL:
        take_rows(reread, result, STORE_CREDENTIAL, rows_credential);
        break;
    case KEY_CERTIFICATE:
        take_rows(reread, result, STORE_BLOCKED, rows_blocked);
        break;
    case KEY_BINDING:
        take_rows(reread, result, STORE_BINDING, rows_binding);
        break;
    case KEY_NONE:
        if (PQntuples(result) == 1 && database_u64(result, 0, 0, &lsn) == ERROR_NONE)
            feed_raise_lsn(feed, lsn);
        break;
    case KEY_GROUP:
        break;
    }
}

static bool next_put(struct slice *rest, struct put_head *head, struct slice *key,
                     struct slice *value)
{
    if (rest->size < sizeof(*head))
        return false;
    memcpy(head, rest->data, sizeof(*head));
    *key = (struct slice){ rest->data + sizeof(*head), head->key_size };
    *value = (struct slice){ key->data + key->size, head->value_size };
    size_t size = sizeof(*head) + key->size + value->size;
    rest->data += size;
    rest->size -= size;
    return true;
}

static void write_put(struct feed *feed, struct store_writer *writer, const struct put_head *head,
                      struct slice key, struct slice value)
{
    struct record_binding binding;
    bool newer;
    if (writer->store == feed->fill.store && !fill_covers(&feed->fill, head->table, key))
        return;
    if (head->outcome == ROWS_ABSENT) {
        if (head->table != STORE_BINDING)
            store_delete(writer, head->table, key);
        return;
    }
    if (head->table != STORE_BINDING) {
        store_put(writer, head->table, key, value);
        return;
    }
    if (record_binding_read(value, &binding) != ERROR_NONE)
        return;
    if (binding.version.unix_ms > feed->meta.version_seen_ms)
        feed->meta.version_seen_ms = binding.version.unix_ms;
    enum error e = rows_put_binding(writer, key, value, binding.version, &newer);
    if (e != ERROR_NONE && writer->error == ERROR_NONE)
        writer->error = e;
}

static void write_store(struct feed *feed, struct store_writer *writer)
{
    struct reread *reread = &feed->reread;
    struct slice rest = buffer_slice(&reread->puts), key, value;
    struct put_head head;
    while (next_put(&rest, &head, &key, &value))
        write_put(feed, writer, &head, key, value);
}

static const char *kind_word(enum key_kind kind)
{
    switch (kind) {
    case KEY_PEER:
        return "peer";
    case KEY_USER:
    case KEY_CREDENTIAL: /* bears on the user's lookups alone */
        return "user";
    case KEY_CERTIFICATE:
        return "certificate";
    case KEY_GROUP:
        return "group";
    case KEY_DOMAIN:
        return "domain";
    case KEY_STORE:
        return "store";
    case KEY_RULES:
        return "rules";
    case KEY_BINDING:
    case KEY_NONE:
        break;
    }
    return NULL;
}

/* EPOCH SERIAL kind words, one line each. A line feed in a hostile key would forge a line: such a
 * key was never answered, so no message is owed for it. */
static void add_change(struct feed *feed, const struct key *key)
{
    struct buffer *out = &feed->reread.changes;
    const char *word = kind_word(key->kind);
    if (word == NULL)
        return;
    for (size_t w = 0; w < key_kind_words(key->kind); w++)
        if (memchr(key->words[w].data, '\n', key->words[w].size) != NULL)
            return;
    feed->meta.serial.serial++;
    buffer_add_u64(out, feed->meta.serial.epoch);
    buffer_add_char(out, ' ');
    buffer_add_u64(out, feed->meta.serial.serial);
    buffer_add_char(out, ' ');
    buffer_add_text(out, word);
    for (size_t w = 0; w < key_kind_words(key->kind); w++) {
        buffer_add_char(out, ' ');
        buffer_add(out, key->words[w]);
    }
    buffer_add_char(out, '\n');
}

static enum error apply(struct feed *feed)
{
    struct reread *reread = &feed->reread;
    struct store_writer writer;
    enum error e;
    if (reread->puts.failed)
        return ERROR_MEMORY;
    /* The new generation first: should the program end between the two, it is thrown away and the
     * queue still has the keys. */
    if (feed->fill.store != NULL && feed->fill.store != feed->store) {
        e = store_begin(feed->fill.store, &writer);
        if (e != ERROR_NONE)
            return e;
        write_store(feed, &writer);
        e = store_commit(&writer);
        if (e != ERROR_NONE)
            return e;
        kill_point("apply-fresh");
    }
    e = store_begin(feed->store, &writer);
    if (e != ERROR_NONE)
        return e;
    write_store(feed, &writer);
    for (size_t i = 0; i < reread->batch.count; i++) {
        if (!reread->of_poll)
            key_queue_remove(&writer, &reread->batch.keys[i]);
        add_change(feed, &reread->batch.keys[i]);
    }
    if (reread->of_poll && (e = poll_write(feed, &writer, &feed->poll, true)) != ERROR_NONE) {
        store_abort(&writer);
        return e;
    }
    meta_write(&writer, &feed->meta);
    kill_point("apply-written");
    e = store_commit(&writer);
    kill_point("apply-done");
    /* It is done, so it must be told, if not by its names. */
    feed->overflowed |= e == ERROR_NONE && reread->changes.failed;
    return e;
}

static void finish(struct feed *feed)
{
    struct reread *reread = &feed->reread;
    enum error e = apply(feed);
    reread->running = false;
    if (e != ERROR_NONE) {
        feed_store_failed(feed, e, "apply");
        return;
    }
    atomic_fetch_add(&feed->statistics.keys_read, reread->batch.count);
    atomic_fetch_add(&feed->statistics.commits, 1);
    atomic_store(&feed->statistics.rows_skipped,
                 atomic_load(&feed->statistics.rows_skipped) + reread->record.skipped);
    reread->record.skipped = 0;
    unsigned long long waiting = atomic_load(&feed->statistics.keys_waiting);
    if (!reread->of_poll)
        atomic_store(&feed->statistics.keys_waiting,
                     waiting > reread->batch.count ? waiting - reread->batch.count : 0);
    if (feed->served && (feed->overflowed || buffer_size(&reread->changes) > 0))
        feed_tell_changes(feed, &reread->changes);
    if (reread->of_poll) {
        poll_applied(feed);
        return;
    }
    feed_settle(feed);
    feed_work(feed);
}

void reread_result(struct feed *feed, const PGresult *result)
{
    struct reread *reread = &feed->reread;
    if (result == NULL) {
        reread->step++; /* a statement's end */
        return;
    }
    if (PQresultStatus(result) == PGRES_PIPELINE_SYNC) {
        finish(feed);
        return;
    }
    if (reread->step < reread->step_count)
        take_step(feed, result);
}
