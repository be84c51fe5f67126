/* SPDX-License-Identifier: Apache-2.0 */
/* The journal: what stands in it, in which order it comes out, what it hides, its bound, and that
 * nothing of a damaged one is believed. */
#include "common/mem.h"
#include "mapperd/journal_thread.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define BYTES_MAX ((uint64_t)1 << 20)

struct fixture {
    char path[64];
    struct journal journal;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    strcpy(f->path, "/tmp/holdline-journal-XXXXXX");
    if (mkdtemp(f->path) == NULL || journal_open(&f->journal, f->path, BYTES_MAX) != ERROR_NONE)
        return -1;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    char command[128];
    journal_close(&f->journal);
    snprintf(command, sizeof(command), "rm -rf %s", f->path);
    int status = system(command);
    free(f);
    return status;
}

static struct journal_entry entry_of(enum bind_kind kind, const char *aor, const char *device,
                                     const char *contact, uint64_t version_ms)
{
    struct journal_entry entry = { .kind = kind };
    entry.binding = (struct record_binding){ .aor = slice_of(aor),
                                             .device_key = slice_of(device),
                                             .instance_key = slice_of(contact),
                                             .store = SLICE("device"),
                                             .cn = SLICE("A"),
                                             .entry = slice_of(aor),
                                             .instance = SLICE(""),
                                             .contact = slice_of(contact),
                                             .call_id = SLICE("c"),
                                             .flow = SLICE("f"),
                                             .path = SLICE(""),
                                             .ground = GROUND_MAPPING,
                                             .expires_unix_s = 2000000000,
                                             .version = { version_ms, 1 } };
    return entry;
}

static enum error put(struct journal_writer *writer, const struct journal_entry *entry)
{
    struct record_key key;
    struct buffer value;
    buffer_init(&value, 0);
    journal_entry_key(&key, entry);
    journal_entry_write(&value, entry);
    enum error e =
        journal_put(writer, record_key_slice(&key), buffer_slice(&value), entry->binding.version);
    buffer_free(&value);
    return e;
}

static void put_alone(struct fixture *f, struct journal_entry entry)
{
    struct journal_writer writer;
    assert_int_equal(journal_begin(&f->journal, &writer), ERROR_NONE);
    assert_int_equal(put(&writer, &entry), ERROR_NONE);
    assert_int_equal(journal_commit(&writer), ERROR_NONE);
}

static void remove_alone(struct fixture *f, struct journal_entry entry)
{
    struct journal_writer writer;
    struct record_key key;
    journal_entry_key(&key, &entry);
    assert_int_equal(journal_begin(&f->journal, &writer), ERROR_NONE);
    journal_remove(&writer, record_key_slice(&key), entry.binding.version);
    assert_int_equal(journal_commit(&writer), ERROR_NONE);
}

/* The versions in the order of the replay. */
static void assert_order(struct fixture *f, const uint64_t *versions, size_t count)
{
    struct journal_reader reader;
    struct record_version after = { 0, 0 };
    struct slice value;
    struct journal_entry entry;
    assert_int_equal(journal_reader_open(&f->journal, &reader), ERROR_NONE);
    assert_int_equal(journal_reader_renew(&reader), count > 0);
    for (size_t i = 0; i < count; i++) {
        assert_true(journal_next(&reader, after, &value));
        assert_int_equal(journal_entry_read(value, &entry), ERROR_NONE);
        assert_int_equal(entry.binding.version.unix_ms, versions[i]);
        after = entry.binding.version;
    }
    assert_false(journal_next(&reader, after, &value));
    journal_reader_close(&reader);
    assert_int_equal(atomic_load(&f->journal.entry_count), count);
    assert_int_equal(atomic_load(&f->journal.byte_count) > 0, count > 0);
}

static void reopen(struct fixture *f)
{
    journal_close(&f->journal);
    assert_int_equal(journal_open(&f->journal, f->path, BYTES_MAX), ERROR_NONE);
}

static void test_entries_come_out_in_the_order_of_their_versions_also_after_a_restart(void **state)
{
    struct fixture *f = *state;
    put_alone(f, entry_of(BIND_PUT, "b@x", "d1", "c:1", 30));
    put_alone(f, entry_of(BIND_REMOVE_ALL, "a@x", "*", "", 20));
    put_alone(f, entry_of(BIND_PUT, "a@x", "d1", "c:1", 10));
    put_alone(f, entry_of(BIND_REMOVE_DEVICE, "c@x", "d1", "", 40));
    const uint64_t versions[] = { 10, 20, 30, 40 };
    assert_order(f, versions, 4);
    uint64_t bytes = atomic_load(&f->journal.byte_count);
    reopen(f);
    assert_order(f, versions, 4);
    assert_int_equal(atomic_load(&f->journal.byte_count), bytes);
    assert_int_equal(f->journal.highest_unix_ms, 40);
}

static void test_of_one_binding_the_newest_stays_and_only_its_own_version_takes_it_off(void **state)
{
    struct fixture *f = *state;
    put_alone(f, entry_of(BIND_PUT, "a@x", "d1", "c:1", 10));
    uint64_t bytes = atomic_load(&f->journal.byte_count);
    put_alone(f, entry_of(BIND_REMOVE_ONE, "a@x", "d1", "c:1", 12));
    put_alone(f, entry_of(BIND_PUT, "a@x", "d1", "c:1", 11)); /* too late */
    const uint64_t newest[] = { 12 };
    assert_order(f, newest, 1);
    assert_int_equal(atomic_load(&f->journal.byte_count), bytes);
    remove_alone(f, entry_of(BIND_PUT, "a@x", "d1", "c:1", 10));
    assert_order(f, newest, 1);
    remove_alone(f, entry_of(BIND_REMOVE_ONE, "a@x", "d1", "c:1", 12));
    assert_order(f, NULL, 0);
    assert_int_equal(atomic_load(&f->journal.byte_count), 0);
}

static bool hides(struct journal_reader *reader, const char *aor, const char *device,
                  const char *contact, uint64_t version_ms)
{
    struct journal_entry entry = entry_of(BIND_PUT, aor, device, contact, version_ms);
    return journal_hides(reader, &entry.binding);
}

static void test_what_is_newer_in_the_journal_hides_and_what_is_older_does_not(void **state)
{
    struct fixture *f = *state;
    struct journal_reader reader;
    assert_int_equal(journal_reader_open(&f->journal, &reader), ERROR_NONE);
    assert_false(journal_reader_renew(&reader)); /* empty: nothing is hidden */
    assert_false(hides(&reader, "a@x", "d1", "c:1", 1));
    put_alone(f, entry_of(BIND_PUT, "a@x", "d1", "c:1", 10));
    put_alone(f, entry_of(BIND_REMOVE_DEVICE, "a@x", "d2", "", 20));
    put_alone(f, entry_of(BIND_REMOVE_ALL, "b@x", "*", "", 30));
    assert_true(journal_reader_renew(&reader));
    assert_true(hides(&reader, "a@x", "d1", "c:1", 9));
    assert_false(hides(&reader, "a@x", "d1", "c:1", 10)); /* itself */
    assert_false(hides(&reader, "a@x", "d1", "c:2", 9));
    assert_true(hides(&reader, "a@x", "d2", "c:7", 19));
    assert_false(hides(&reader, "a@x", "d2", "c:7", 21));
    assert_true(hides(&reader, "b@x", "d1", "c:1", 29));
    assert_false(hides(&reader, "b@x", "d1", "c:1", 31));
    assert_false(hides(&reader, "c@x", "d1", "c:1", 1));
    journal_reader_close(&reader);
}

static void test_a_walk_gives_the_bindings_of_one_aor_and_no_removals(void **state)
{
    struct fixture *f = *state;
    struct journal_reader reader;
    struct journal_walk walk;
    struct slice value;
    struct record_binding b;
    put_alone(f, entry_of(BIND_PUT, "a@x", "d1", "c:1", 10));
    put_alone(f, entry_of(BIND_PUT, "a@x", "d1", "c:2", 11));
    put_alone(f, entry_of(BIND_REMOVE_ONE, "a@x", "d1", "c:3", 12));
    put_alone(f, entry_of(BIND_REMOVE_ALL, "a@x", "*", "", 13));
    put_alone(f, entry_of(BIND_PUT, "a@xy", "d1", "c:1", 14));
    put_alone(f, entry_of(BIND_PUT, "a@", "d1", "c:1", 15));
    assert_int_equal(journal_reader_open(&f->journal, &reader), ERROR_NONE);
    assert_true(journal_reader_renew(&reader));
    unsigned count = 0;
    journal_walk_start(&reader, SLICE("a@x"), &walk);
    while (journal_walk_next(&walk, &value)) {
        assert_int_equal(record_binding_read(value, &b), ERROR_NONE);
        assert_true(slice_equal(b.aor, SLICE("a@x")) && !b.removed);
        count++;
    }
    journal_walk_end(&walk);
    journal_reader_close(&reader);
    assert_int_equal(count, 2);
}

static void test_T41_at_the_bound_one_more_is_refused_and_the_group_is_kept(void **state)
{
    struct fixture *f = *state;
    struct journal_writer writer;
    char contact[1001], aor[32];
    memset(contact, 'c', 1000);
    contact[1000] = '\0';
    assert_int_equal(journal_begin(&f->journal, &writer), ERROR_NONE);
    uint64_t i = 0;
    enum error e;
    do {
        snprintf(aor, sizeof(aor), "%06llu@x", (unsigned long long)i);
        struct journal_entry entry = entry_of(BIND_PUT, aor, "d1", contact, i + 1);
        e = put(&writer, &entry);
        i++;
    } while (e == ERROR_NONE);
    assert_int_equal(e, ERROR_TOO_LARGE);
    struct journal_entry smaller = entry_of(BIND_REMOVE_ONE, "000000@x", "d1", contact, 9999999);
    smaller.binding.contact = SLICE("c");
    struct journal_entry newer = entry_of(BIND_PUT, "000001@x", "d1", contact, 9999998);
    assert_int_equal(put(&writer, &newer), ERROR_NONE);   /* in the place of one as large */
    assert_int_equal(put(&writer, &smaller), ERROR_NONE); /* in the place of a larger one */
    assert_int_equal(journal_commit(&writer), ERROR_NONE);
    assert_true(i > 300 && atomic_load(&f->journal.entry_count) == i - 1);
    assert_true(atomic_load(&f->journal.byte_count) <= BYTES_MAX);
    reopen(f);
    assert_int_equal(atomic_load(&f->journal.entry_count), i - 1);
}

static void damage(struct fixture *f, const char *what)
{
    char path[128], command[256];
    snprintf(path, sizeof(path), "%s/journal/data.mdb", f->path);
    if (strcmp(what, "cut") == 0) {
        assert_int_equal(truncate(path, 8192), 0);
        return;
    }
    snprintf(command, sizeof(command), "sed -i 's/precious/attacker/g' %s", path);
    assert_int_equal(system(command), 0);
}

static void test_T52_a_damaged_journal_is_set_aside_and_a_new_one_begun(void **state)
{
    struct fixture *f = *state;
    static const char *const KINDS[] = { "cut", "changed" };
    for (size_t i = 0; i < 2; i++) {
        char path[128];
        for (uint64_t n = 0; n < 50; n++) {
            char aor[32];
            snprintf(aor, sizeof(aor), "%llu@x", (unsigned long long)n);
            put_alone(f, entry_of(BIND_PUT, aor, "d1", "precious", n + 1));
        }
        journal_close(&f->journal);
        damage(f, KINDS[i]);
        assert_int_equal(journal_open(&f->journal, f->path, BYTES_MAX), ERROR_NONE);
        assert_order(f, NULL, 0);
        snprintf(path, sizeof(path), "%s/journal.damaged/data.mdb", f->path);
        assert_int_equal(access(path, F_OK), 0);
        put_alone(f, entry_of(BIND_PUT, "a@x", "d1", "c:1", 7));
        reopen(f);
        const uint64_t versions[] = { 7 };
        assert_order(f, versions, 1);
    }
}

/* Each entry reads through, but the two tables do not agree, or an entry is not where it belongs.
 */
static void test_T52_a_journal_whose_tables_disagree_is_set_aside(void **state)
{
    struct fixture *f = *state;
    char path[128];
    snprintf(path, sizeof(path), "%s/journal.damaged/data.mdb", f->path);
    for (int kind = 0; kind < 2; kind++) {
        struct journal_writer writer;
        struct journal_entry entry = entry_of(BIND_PUT, "a@x", "d1", "c:1", 7);
        struct record_key key;
        struct buffer value;
        put_alone(f, entry);
        assert_int_equal(journal_begin(&f->journal, &writer), ERROR_NONE);
        if (kind == 0) {
            struct journal_entry elsewhere = entry_of(BIND_PUT, "b@x", "d1", "c:1", 8);
            buffer_init(&value, 0);
            journal_entry_key(&key, &entry);
            journal_entry_write(&value, &elsewhere);
            assert_int_equal(journal_put(&writer, record_key_slice(&key), buffer_slice(&value),
                                         elsewhere.binding.version),
                             ERROR_NONE);
            buffer_free(&value);
        } else {
            char version[16] = { 9 };
            MDB_val k = { sizeof(version), version }, v = { 1, version };
            assert_int_equal(mdb_put(writer.txn, f->journal.order, &k, &v, 0), 0);
        }
        assert_int_equal(journal_commit(&writer), ERROR_NONE);
        reopen(f);
        assert_order(f, NULL, 0);
        assert_int_equal(unlink(path), 0);
    }
}

static void test_an_entry_that_does_not_read_through_is_malformed(void **state)
{
    (void)state;
    struct buffer value;
    struct journal_entry entry = entry_of(BIND_REMOVE_ONE, "a@x", "d1", "c:1", 3), again;
    entry.binding.ground = GROUND_NONE;
    buffer_init(&value, 0);
    journal_entry_write(&value, &entry);
    struct slice s = buffer_slice(&value);
    assert_int_equal(journal_entry_read(s, &again), ERROR_NONE);
    assert_int_equal(again.kind, BIND_REMOVE_ONE);
    assert_true(again.binding.removed);
    for (size_t size = 0; size < s.size; size++)
        assert_int_equal(journal_entry_read((struct slice){ s.data, size }, &again),
                         ERROR_MALFORMED);
    value.data[value.from] = BIND_PUT; /* a removal can't become a binding */
    assert_int_equal(journal_entry_read(s, &again), ERROR_MALFORMED);
    value.data[value.from] = 0;
    assert_int_equal(journal_entry_read(s, &again), ERROR_MALFORMED);
    buffer_free(&value);
}

/* ---- The thread ---- */

struct waiting {
    pthread_mutex_t mutex;
    pthread_cond_t woken;
    unsigned wakes;
};

static void wake(void *context)
{
    struct waiting *w = context;
    pthread_mutex_lock(&w->mutex);
    w->wakes++;
    pthread_cond_signal(&w->woken);
    pthread_mutex_unlock(&w->mutex);
}

static void send(struct journal_thread *thread, bool remove, struct journal_entry entry)
{
    struct journal_message *m = journal_message_new();
    assert_non_null(m);
    m->remove = remove;
    m->version = entry.binding.version;
    m->request = entry.binding.version.unix_ms;
    journal_entry_key(&m->key, &entry);
    if (!remove)
        journal_entry_write(&m->value, &entry);
    assert_int_equal(journal_thread_send(thread, m), ERROR_NONE);
}

static void test_the_thread_does_all_in_order_and_says_what_is_durable(void **state)
{
    struct fixture *f = *state;
    struct waiting w = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0 };
    struct journal_thread *thread;
    struct queue_batch batch = { 0 };
    char aor[16];
    uint64_t taken = 0;
    assert_int_equal(journal_thread_start(&f->journal, wake, &w, &thread), ERROR_NONE);
    for (uint64_t i = 1; i <= 1000; i++) {
        snprintf(aor, sizeof(aor), "%llu@x", (unsigned long long)i);
        send(thread, false, entry_of(BIND_PUT, aor, "d1", "c:1", i));
        if (i > 3)
            send(thread, true, entry_of(BIND_PUT, aor, "d1", "c:1", i));
    }
    while (taken < 1997) {
        pthread_mutex_lock(&w.mutex);
        while (w.wakes == 0)
            pthread_cond_wait(&w.woken, &w.mutex);
        w.wakes = 0;
        pthread_mutex_unlock(&w.mutex);
        journal_thread_take(thread, &batch);
        for (size_t i = 0; i < batch.count; i++) {
            struct journal_message *m = batch.items[i];
            assert_int_equal(m->outcome, ERROR_NONE);
            journal_message_free(m);
        }
        taken += batch.count;
        batch.count = 0;
    }
    /* What is still in the queue when it is told to end is done as well. */
    send(thread, false, entry_of(BIND_PUT, "last@x", "d1", "c:1", 5000));
    journal_thread_stop(thread);
    queue_batch_free(&batch);
    reopen(f);
    const uint64_t left[] = { 1, 2, 3, 5000 };
    assert_order(f, left, 4);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_entries_come_out_in_the_order_of_their_versions_also_after_a_restart),
        T(test_of_one_binding_the_newest_stays_and_only_its_own_version_takes_it_off),
        T(test_what_is_newer_in_the_journal_hides_and_what_is_older_does_not),
        T(test_a_walk_gives_the_bindings_of_one_aor_and_no_removals),
        T(test_T41_at_the_bound_one_more_is_refused_and_the_group_is_kept),
        T(test_T52_a_damaged_journal_is_set_aside_and_a_new_one_begun),
        T(test_T52_a_journal_whose_tables_disagree_is_set_aside),
        T(test_an_entry_that_does_not_read_through_is_malformed),
        T(test_the_thread_does_all_in_order_and_says_what_is_durable),
    };
#undef T
    return cmocka_run_group_tests(tests, NULL, NULL);
}
