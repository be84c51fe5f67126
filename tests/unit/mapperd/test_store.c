/* SPDX-License-Identifier: Apache-2.0 */
/* Generations on disk, what they know of themselves, the queue of keys, and LOOKUPs that fail
 * closed. */
#include "common/mem.h"
#include "mapperd/key_queue.h"
#include "mapperd/meta.h"
#include "mapperd/store.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define MAP_SIZE ((size_t)64 << 20)

struct fixture {
    char path[64];
    struct folder folder;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    strcpy(f->path, "/tmp/holdline-store-XXXXXX");
    if (mkdtemp(f->path) == NULL || folder_open(&f->folder, f->path, MAP_SIZE) != ERROR_NONE)
        return -1;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    char command[128];
    folder_close(&f->folder);
    snprintf(command, sizeof(command), "rm -rf %s", f->path);
    int status = system(command);
    free(f);
    return status;
}

static struct store *new_store(struct fixture *f, uint64_t serial)
{
    struct store *store;
    struct store_writer writer;
    struct meta meta;
    meta_init(&meta);
    meta.serial = (struct store_serial){ 77, serial };
    meta.queue_next = 1;
    assert_int_equal(meta_set_position(&meta, SLICE("10:20:11,15")), ERROR_NONE);
    assert_int_equal(folder_create(&f->folder, &store), ERROR_NONE);
    assert_int_equal(store_begin(store, &writer), ERROR_NONE);
    meta_write(&writer, &meta);
    meta_write_position(&writer, &meta);
    store_put(&writer, STORE_PEER,
              SLICE("device\0"
                    "A"),
              SLICE("value"));
    assert_int_equal(store_commit(&writer), ERROR_NONE);
    meta_free(&meta);
    return store;
}

static void test_a_generation_is_current_only_after_it_was_installed(void **state)
{
    struct fixture *f = *state;
    struct store *store, *again;
    assert_int_equal(folder_open_current(&f->folder, &again), ERROR_NOT_FOUND);
    store = new_store(f, 5);
    folder_close_store(&f->folder, store, false);
    assert_int_equal(folder_open_current(&f->folder, &again), ERROR_NOT_FOUND);
    store = new_store(f, 6);
    assert_int_equal(folder_install(&f->folder, store), ERROR_NONE);
    folder_close_store(&f->folder, store, false);
    assert_int_equal(folder_open_current(&f->folder, &again), ERROR_NONE);
    struct store_reader reader;
    struct slice value;
    assert_int_equal(store_reader_open(again, &reader), ERROR_NONE);
    assert_int_equal(store_reader_renew(&reader), ERROR_NONE);
    assert_int_equal(reader.serial.serial, 6);
    assert_int_equal(store_get(&reader, STORE_PEER,
                               SLICE("device\0"
                                     "A"),
                               &value),
                     ERROR_NONE);
    assert_true(slice_equal(value, SLICE("value")));
    assert_int_equal(store_get(&reader, STORE_PEER,
                               SLICE("device\0"
                                     "B"),
                               &value),
                     ERROR_NOT_FOUND);
    assert_int_equal(store_get(&reader, STORE_PEER, SLICE(""), &value), ERROR_NOT_FOUND);
    store_reader_close(&reader);
    folder_close_store(&f->folder, again, false);
}

static void test_a_second_opening_of_the_folder_is_refused(void **state)
{
    struct fixture *f = *state;
    struct folder second;
    assert_int_equal(folder_open(&second, f->path, MAP_SIZE), ERROR_CLOSED);
}

static void test_a_snapshot_stays_as_it_was_until_it_is_renewed(void **state)
{
    struct fixture *f = *state;
    struct store *store = new_store(f, 5);
    struct store_reader reader;
    struct store_writer writer;
    struct slice value;
    assert_int_equal(store_reader_open(store, &reader), ERROR_NONE);
    assert_int_equal(store_reader_renew(&reader), ERROR_NONE);
    assert_int_equal(store_begin(store, &writer), ERROR_NONE);
    store_delete(&writer, STORE_PEER,
                 SLICE("device\0"
                       "A"));
    assert_int_equal(store_commit(&writer), ERROR_NONE);
    assert_int_equal(store_get(&reader, STORE_PEER,
                               SLICE("device\0"
                                     "A"),
                               &value),
                     ERROR_NONE);
    assert_int_equal(store_reader_renew(&reader), ERROR_NONE);
    assert_int_equal(store_get(&reader, STORE_PEER,
                               SLICE("device\0"
                                     "A"),
                               &value),
                     ERROR_NOT_FOUND);
    store_reader_close(&reader);
    folder_close_store(&f->folder, store, true);
}

/* The tree of an older snapshot still lies in the map, with what has been deleted since. */
static void test_what_is_looked_up_ahead_is_of_this_snapshot(void **state)
{
    struct fixture *f = *state;
    struct store *store = new_store(f, 5);
    struct store_reader reader;
    struct store_writer writer;
    const struct slice keys[] = { SLICE("device\0"
                                        "A"),
                                  SLICE("device\0"
                                        "B") };
    struct slice value;
    assert_int_equal(store_reader_open(store, &reader), ERROR_NONE);
    for (unsigned again = 0; again < 2; again++) {
        assert_int_equal(store_reader_renew(&reader), ERROR_NONE);
        store_look_ahead(&reader, keys, 2);
        assert_int_equal(store_get(&reader, STORE_PEER, keys[0], &value), ERROR_NONE);
        store_look_ahead(&reader, keys, 2);
        assert_int_equal(store_begin(store, &writer), ERROR_NONE);
        store_delete(&writer, STORE_PEER, keys[0]);
        store_put(&writer, STORE_PEER, keys[1], SLICE("other"));
        assert_int_equal(store_commit(&writer), ERROR_NONE);
        assert_int_equal(store_reader_renew(&reader), ERROR_NONE);
        if (again == 0)
            store_look_ahead(&reader, keys, 2);
        assert_int_equal(store_get(&reader, STORE_PEER, keys[0], &value), ERROR_NOT_FOUND);
        assert_int_equal(store_get(&reader, STORE_PEER, keys[1], &value), ERROR_NONE);
        assert_int_equal(store_begin(store, &writer), ERROR_NONE);
        store_put(&writer, STORE_PEER, keys[0], SLICE("value"));
        assert_int_equal(store_commit(&writer), ERROR_NONE);
    }
    store_reader_close(&reader);
    folder_close_store(&f->folder, store, true);
}

static void test_an_error_inside_keeps_nothing(void **state)
{
    struct fixture *f = *state;
    struct store *store = new_store(f, 5);
    struct store_writer writer;
    struct store_reader reader;
    struct slice value;
    char key[600] = { 'k' };
    assert_int_equal(store_begin(store, &writer), ERROR_NONE);
    store_put(&writer, STORE_PEER,
              SLICE("device\0"
                    "B"),
              SLICE("x"));
    store_put(&writer, STORE_PEER, (struct slice){ key, sizeof(key) }, SLICE("x"));
    assert_int_equal(store_commit(&writer), ERROR_TOO_LARGE);
    assert_int_equal(store_reader_open(store, &reader), ERROR_NONE);
    assert_int_equal(store_reader_renew(&reader), ERROR_NONE);
    assert_int_equal(store_get(&reader, STORE_PEER,
                               SLICE("device\0"
                                     "B"),
                               &value),
                     ERROR_NOT_FOUND);
    store_reader_close(&reader);
    folder_close_store(&f->folder, store, true);
}

/* Every byte of the file changed, one at a time: the record never reads as another value. */
static void test_a_changed_byte_is_found_or_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct store *store = new_store(f, 5), *again;
    char path[128];
    uint64_t generation = store_generation(store);
    assert_int_equal(folder_install(&f->folder, store), ERROR_NONE);
    folder_close_store(&f->folder, store, false);
    snprintf(path, sizeof(path), "%s/gen-%llu/data.mdb", f->path, (unsigned long long)generation);
    int file = open(path, O_RDWR);
    assert_true(file >= 0);
    struct stat info;
    assert_int_equal(fstat(file, &info), 0);
    /* Where the value stands: LMDB's own bookkeeping is not ours to break. */
    char *content = malloc((size_t)info.st_size);
    assert_int_equal(pread(file, content, (size_t)info.st_size, 0), info.st_size);
    char *at = memmem(content, (size_t)info.st_size, "value", 5);
    assert_non_null(at);
    for (int i = -4; i < 5; i++) {
        off_t where = at - content + i;
        char changed = (char)(content[where] ^ 4);
        assert_int_equal(pwrite(file, &changed, 1, where), 1);
        assert_int_equal(folder_open_current(&f->folder, &again), ERROR_NONE);
        struct store_reader reader;
        struct slice value;
        assert_int_equal(store_reader_open(again, &reader), ERROR_NONE);
        assert_int_equal(store_reader_renew(&reader), ERROR_NONE);
        assert_int_equal(store_get(&reader, STORE_PEER,
                                   SLICE("device\0"
                                         "A"),
                                   &value),
                         ERROR_LIBRARY);
        store_reader_close(&reader);
        folder_close_store(&f->folder, again, false);
        assert_int_equal(pwrite(file, content + where, 1, where), 1);
    }
    free(content);
    close(file);
}

static void test_a_truncated_file_is_not_opened(void **state)
{
    struct fixture *f = *state;
    struct store *store = new_store(f, 5), *again;
    char path[128];
    struct stat info;
    snprintf(path, sizeof(path), "%s/gen-%llu/data.mdb", f->path,
             (unsigned long long)store_generation(store));
    assert_int_equal(folder_install(&f->folder, store), ERROR_NONE);
    folder_close_store(&f->folder, store, false);
    assert_int_equal(stat(path, &info), 0);
    for (off_t size = info.st_size - 4096; size >= 0; size -= 4096) {
        assert_int_equal(truncate(path, size), 0);
        assert_int_equal(folder_open_current(&f->folder, &again), ERROR_MALFORMED);
    }
}

static void test_a_position_goes_back_to_a_transaction_and_never_forward(void **state)
{
    static const struct {
        const char *from;
        uint64_t xmax;
        const char *to;
    } CASES[] = {
        { "10:20:11,15", 30, "10:20:11,15" },
        { "10:20:11,15", 20, "10:20:11,15" },
        { "10:20:11,15", 16, "10:16:11,15" },
        { "10:20:11,15", 15, "10:15:11" },
        { "10:20:11,15", 11, "10:11:" },
        { "10:20:11,15", 5, "5:5:" },
        { "20:20:", 1, "1:1:" },
    };
    struct meta meta;
    struct buffer out;
    (void)state;
    meta_init(&meta);
    buffer_init(&out, 0);
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        buffer_reset(&out);
        assert_int_equal(meta_set_position(&meta, slice_of(CASES[i].from)), ERROR_NONE);
        assert_int_equal(meta_rewound_position(&meta, CASES[i].xmax, &out), ERROR_NONE);
        assert_true(slice_equal(buffer_slice(&out), slice_of(CASES[i].to)));
    }
    buffer_reset(&out);
    assert_int_equal(meta_rewound_position(&meta, 0, &out), ERROR_MALFORMED);
    assert_int_equal(meta_position_xmax(SLICE("10:20:11,15")), 20);
    assert_int_equal(meta_position_xmax(SLICE("20:18446744073709551615:")), UINT64_MAX);
    assert_int_equal(meta_position_xmax(SLICE("20:x:")), 0);
    assert_int_equal(meta_position_xmax(SLICE("")), 0);
    buffer_free(&out);
    meta_free(&meta);
}

static void test_meta_reads_back_and_positions_are_checked(void **state)
{
    struct fixture *f = *state;
    struct store *store = new_store(f, 9);
    struct store_writer writer;
    struct meta meta;
    meta_init(&meta);
    assert_int_equal(store_begin(store, &writer), ERROR_NONE);
    assert_int_equal(meta_read(&writer, &meta), ERROR_NONE);
    assert_int_equal(meta.serial.serial, 9);
    assert_string_equal(meta.position, "10:20:11,15");
    store_delete(&writer, STORE_META, SLICE("position"));
    assert_int_equal(meta_read(&writer, &meta), ERROR_MALFORMED);
    store_abort(&writer);
    const char *good[] = { "1:1:", "10:20:", "10:20:10", "1:18446744073709551615:2,3,4" };
    const char *bad[] = { "",      ":",       "1",       "1:2",  "1:2:3,", "1:2:,",
                          "a:2:3", "1:2:3:4", "1,2:3:4", "1::2", " 1:2:",  "1:2:'" };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_int_equal(meta_set_position(&meta, slice_of(good[i])), ERROR_NONE);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(meta_set_position(&meta, slice_of(bad[i])), ERROR_MALFORMED);
    meta_free(&meta);
    folder_close_store(&f->folder, store, true);
}

static void test_age_is_unknown_after_another_boot_or_a_clock_gone_back(void **state)
{
    struct meta_proof proof = {
        .present = true, .written_unix_ms = 1000000, .written_boot_ms = 5000, .boot_id = "boot-one"
    };
    (void)state;
    assert_int_equal(meta_proof_age_ms(&proof, "boot-one", 1000700, 5700), 700);
    assert_true(meta_proof_age_ms(&proof, "boot-two", 1000700, 5700) == UINT64_MAX);
    assert_true(meta_proof_age_ms(&proof, "", 1000700, 5700) == UINT64_MAX);
    assert_true(meta_proof_age_ms(&proof, "boot-one", 999999, 5700) == UINT64_MAX);
    assert_true(meta_proof_age_ms(&proof, "boot-one", 1000700, 4000) == UINT64_MAX);
    proof.present = false;
    assert_true(meta_proof_age_ms(&proof, "boot-one", 1000700, 5700) == UINT64_MAX);
}

static void put_key(struct store_writer *writer, uint64_t number, bool large, const char *cn)
{
    struct key key = { .kind = KEY_PEER,
                       .words = { SLICE("device"), slice_of(cn) },
                       .number = number,
                       .large = large };
    assert_int_equal(key_queue_put(writer, &key), ERROR_NONE);
}

static void test_the_queue_gives_small_transactions_first_and_tells_what_is_left(void **state)
{
    struct fixture *f = *state;
    struct store *store = new_store(f, 1);
    struct store_writer writer;
    struct key_batch *batch = calloc(1, sizeof(*batch));
    bool holds;
    buffer_init(&batch->memory, 0);
    assert_int_equal(store_begin(store, &writer), ERROR_NONE);
    put_key(&writer, 1, true, "large-1");
    put_key(&writer, 2, true, "large-2");
    put_key(&writer, 300, false, "small-300");
    put_key(&writer, 4, false, "small-4");
    assert_int_equal(key_queue_front(&writer, batch), ERROR_NONE);
    assert_int_equal(batch->count, 4);
    const char *order[] = { "small-4", "small-300", "large-1", "large-2" };
    for (size_t i = 0; i < 4; i++) {
        assert_true(slice_equal(batch->keys[i].words[1], slice_of(order[i])));
        assert_true(slice_equal(batch->keys[i].words[0], SLICE("device")));
    }
    assert_int_equal(key_queue_holds(&writer, 0, &holds), ERROR_NONE);
    assert_false(holds);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(key_queue_holds(&writer, i < 3 ? 2 : 1, &holds), ERROR_NONE);
        assert_true(holds);
        key_queue_remove(&writer, &batch->keys[i]);
    }
    assert_int_equal(key_queue_holds(&writer, 1, &holds), ERROR_NONE);
    assert_false(holds); /* large-2 is left */
    assert_int_equal(key_queue_holds(&writer, 2, &holds), ERROR_NONE);
    assert_true(holds);
    key_queue_remove(&writer, &batch->keys[3]);
    assert_int_equal(key_queue_front(&writer, batch), ERROR_NONE);
    assert_int_equal(batch->count, 0);
    struct key bad = { .kind = KEY_USER, .words = { SLICE("") } };
    assert_int_equal(key_queue_put(&writer, &bad), ERROR_TOO_LARGE);
    store_abort(&writer);
    buffer_free(&batch->memory);
    free(batch);
    folder_close_store(&f->folder, store, true);
}

static void test_the_queue_is_copied_whole(void **state)
{
    struct fixture *f = *state;
    struct store *one = new_store(f, 1), *two = new_store(f, 1);
    struct store_writer from, to;
    struct key_batch *batch = calloc(1, sizeof(*batch));
    buffer_init(&batch->memory, 0);
    assert_int_equal(store_begin(one, &from), ERROR_NONE);
    for (uint64_t i = 1; i <= 100; i++)
        put_key(&from, i, i % 2 == 0, "x");
    assert_int_equal(store_begin(two, &to), ERROR_NONE);
    assert_int_equal(key_queue_copy(&from, &to), ERROR_NONE);
    assert_int_equal(key_queue_front(&to, batch), ERROR_NONE);
    assert_int_equal(batch->count, 100);
    assert_int_equal(batch->keys[0].number, 1);
    assert_int_equal(batch->keys[50].number, 2);
    store_abort(&from);
    store_abort(&to);
    buffer_free(&batch->memory);
    free(batch);
    folder_close_store(&f->folder, one, true);
    folder_close_store(&f->folder, two, true);
}

/* Each allocation of ours fails once: an error and no leak, and the folder is usable afterwards. */
static void test_the_nth_allocation_fails(void **state)
{
    struct fixture *f = *state;
    for (unsigned n = 1; n < 50; n++) {
        struct store *store = NULL;
        struct store_writer writer;
        struct meta meta;
        meta_init(&meta);
        mem_fail_nth_for_tests(n);
        enum error e = folder_create(&f->folder, &store);
        if (e == ERROR_NONE) {
            e = meta_set_position(&meta, SLICE("1:2:"));
            if (e == ERROR_NONE)
                e = store_begin(store, &writer);
            if (e == ERROR_NONE) {
                meta_write(&writer, &meta);
                meta_write_position(&writer, &meta);
                e = store_commit(&writer);
            }
        }
        mem_fail_nth_for_tests(0);
        if (store != NULL)
            folder_close_store(&f->folder, store, true);
        meta_free(&meta);
        if (e == ERROR_NONE)
            return;
        assert_int_equal(e, ERROR_MEMORY);
    }
    fail();
}

/* The feed merges what it reads in byte order with what the store holds. */
static void test_keys_are_in_byte_order_whatever_their_octets_and_lengths(void **state)
{
    static const char octets[] = { '\0', 'A', '\x7f', '\x80', '\xff' };
    struct fixture *f = *state;
    struct store *store = new_store(f, 1);
    struct store_writer writer;
    struct store_reader reader;
    struct store_walk walk;
    struct slice key, value, last = SLICE("");
    char text[40], last_text[40];
    size_t count = 0;
    unsigned seed = 1;
    assert_int_equal(store_begin(store, &writer), ERROR_NONE);
    for (unsigned i = 0; i < 3000; i++) {
        size_t size = 1 + i % sizeof(text);
        for (size_t at = 0; at < size; at++) /* long common beginnings, one octet that differs */
            text[at] = at + 3 < size ? 'p' : octets[(unsigned)rand_r(&seed) % sizeof(octets)];
        store_put(&writer, STORE_USER, (struct slice){ text, size }, (struct slice){ text, size });
    }
    assert_int_equal(store_commit(&writer), ERROR_NONE);
    assert_int_equal(store_reader_open(store, &reader), ERROR_NONE);
    assert_int_equal(store_reader_renew(&reader), ERROR_NONE);
    store_walk_reader(&reader, STORE_USER, SLICE(""), &walk);
    for (; store_walk_next(&walk, &key, &value); count++) {
        assert_true(slice_compare(last, key) < 0);
        assert_true(slice_equal(key, value));
        memcpy(last_text, key.data, key.size);
        last = (struct slice){ last_text, key.size };
        assert_int_equal(store_get(&reader, STORE_USER, last, &value), ERROR_NONE);
    }
    assert_int_equal(walk.error, ERROR_NONE);
    assert_true(count > 1000);
    store_walk_end(&walk);
    store_reader_close(&reader);
    folder_close_store(&f->folder, store, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_keys_are_in_byte_order_whatever_their_octets_and_lengths, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_generation_is_current_only_after_it_was_installed,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_second_opening_of_the_folder_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_snapshot_stays_as_it_was_until_it_is_renewed, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_looked_up_ahead_is_of_this_snapshot, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_an_error_inside_keeps_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_changed_byte_is_found_or_changes_nothing, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_truncated_file_is_not_opened, set_up, tear_down),
        cmocka_unit_test(test_a_position_goes_back_to_a_transaction_and_never_forward),
        cmocka_unit_test_setup_teardown(test_meta_reads_back_and_positions_are_checked, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_age_is_unknown_after_another_boot_or_a_clock_gone_back,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_the_queue_gives_small_transactions_first_and_tells_what_is_left, set_up,
            tear_down),
        cmocka_unit_test_setup_teardown(test_the_queue_is_copied_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_nth_allocation_fails, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
