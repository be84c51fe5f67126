/* SPDX-License-Identifier: Apache-2.0 */
/* Bindings that a standby lacks: what a new store gets of them, when they go, and that nothing of
 * another boot, another system or of a damaged file is believed. */
#include "mapperd/unreplayed.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define SYSTEM 7

struct fixture {
    char path[64];
    struct folder folder;
    struct store *store;
    struct unreplayed unreplayed;
};

static const char BOOT[] = "0e3b2a41-0000-4000-8000-000000000001";
static const char OTHER_BOOT[] = "0e3b2a41-0000-4000-8000-000000000002";

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    strcpy(f->path, "/tmp/holdline-unreplayed-XXXXXX");
    if (mkdtemp(f->path) == NULL ||
        folder_open(&f->folder, f->path, (size_t)64 << 20) != ERROR_NONE ||
        folder_create(&f->folder, &f->store) != ERROR_NONE)
        return -1;
    unreplayed_open(&f->unreplayed, f->path, BOOT);
    *state = f;
    return f->unreplayed.env != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    char command[128];
    unreplayed_close(&f->unreplayed);
    folder_close_store(&f->folder, f->store, true);
    folder_close(&f->folder);
    snprintf(command, sizeof(command), "rm -rf %s", f->path);
    int status = system(command);
    free(f);
    return status;
}

static void keep(struct fixture *f, const char *aor, uint64_t version_ms, const char *contact,
                 uint64_t lsn)
{
    struct record_binding b = { .aor = slice_of(aor),
                                .device_key = SLICE("device:A"),
                                .instance_key = SLICE("i"),
                                .store = SLICE("device"),
                                .cn = SLICE("A"),
                                .entry = slice_of(aor),
                                .instance = SLICE(""),
                                .contact = slice_of(contact),
                                .call_id = SLICE("c"),
                                .flow = SLICE("f"),
                                .path = SLICE(""),
                                .ground = GROUND_MAPPING,
                                .expires_unix_s = 1,
                                .version = { version_ms, 1 } };
    struct record_key key;
    struct buffer value;
    buffer_init(&value, 0);
    record_binding_key(&key, b.aor, b.device_key, b.instance_key);
    record_binding_write(&value, &b);
    unreplayed_begin(&f->unreplayed, SYSTEM, lsn);
    unreplayed_put(&f->unreplayed, record_key_slice(&key), buffer_slice(&value));
    unreplayed_end(&f->unreplayed);
    buffer_free(&value);
}

/* Lays over, and counts what the store has then. *contact of the last. */
static size_t laid_over(struct fixture *f, uint64_t system_id, char contact[64])
{
    struct store_writer writer;
    struct store_walk walk;
    struct slice key, value;
    struct record_binding binding;
    uint64_t highest = 0;
    size_t count = 0;
    contact[0] = '\0';
    assert_int_equal(store_begin(f->store, &writer), ERROR_NONE);
    assert_int_equal(unreplayed_lay_over(&f->unreplayed, system_id, &writer, &highest), ERROR_NONE);
    store_walk_writer(&writer, STORE_BINDING, SLICE(""), &walk);
    for (; store_walk_next(&walk, &key, &value); count++) {
        assert_int_equal(record_binding_read(value, &binding), ERROR_NONE);
        snprintf(contact, 64, "%.*s", (int)binding.contact.size, binding.contact.data);
        assert_true(highest >= binding.version.unix_ms);
    }
    assert_int_equal(walk.error, ERROR_NONE);
    store_walk_end(&walk);
    store_abort(&writer);
    return count;
}

static void reopen(struct fixture *f, const char *boot_id)
{
    unreplayed_close(&f->unreplayed);
    unreplayed_open(&f->unreplayed, f->path, boot_id);
}

static void test_what_was_kept_is_laid_over_also_after_a_restart_and_goes_when_passed(void **state)
{
    struct fixture *f = *state;
    char contact[64];
    assert_int_equal(laid_over(f, SYSTEM, contact), 0);
    keep(f, "a@x", 10, "c:old", 100);
    keep(f, "b@x", 11, "c:b", 200);
    keep(f, "a@x", 12, "c:new", 300);
    assert_int_equal(laid_over(f, SYSTEM, contact), 2);
    reopen(f, BOOT);
    assert_int_equal(laid_over(f, SYSTEM, contact), 2);
    unreplayed_pass(&f->unreplayed, 99);
    assert_int_equal(laid_over(f, SYSTEM, contact), 2);
    unreplayed_pass(&f->unreplayed, 200);
    assert_int_equal(laid_over(f, SYSTEM, contact), 1);
    assert_string_equal(contact, "c:new");
    unreplayed_pass(&f->unreplayed, 300);
    assert_int_equal(laid_over(f, SYSTEM, contact), 0);
    reopen(f, BOOT);
    assert_int_equal(laid_over(f, SYSTEM, contact), 0);
}

/* The position of an idle primary is the same before and after. */
static void test_what_is_kept_after_a_restart_replaces_nothing_of_before(void **state)
{
    struct fixture *f = *state;
    char contact[64];
    keep(f, "a@x", 10, "c:a", 100);
    reopen(f, BOOT);
    keep(f, "b@x", 11, "c:b", 100);
    assert_int_equal(laid_over(f, SYSTEM, contact), 2);
}

static void test_a_newer_version_in_the_store_stays_whatever_the_position_says(void **state)
{
    struct fixture *f = *state;
    char contact[64];
    keep(f, "a@x", 12, "c:new", 100);
    keep(f, "a@x", 10, "c:old", 300); /* a late arrival */
    assert_int_equal(laid_over(f, SYSTEM, contact), 1);
    assert_string_equal(contact, "c:new");
}

static void test_nothing_of_another_system_or_another_boot_is_believed(void **state)
{
    struct fixture *f = *state;
    char contact[64];
    keep(f, "a@x", 10, "c:1", 100);
    assert_int_equal(laid_over(f, SYSTEM + 1, contact), 0);
    reopen(f, OTHER_BOOT);
    assert_non_null(f->unreplayed.env);
    assert_int_equal(laid_over(f, SYSTEM, contact), 0);
    reopen(f, "");
    assert_null(f->unreplayed.env); /* nothing is kept, and nothing fails */
    keep(f, "a@x", 10, "c:1", 100);
    unreplayed_pass(&f->unreplayed, 100);
    assert_int_equal(laid_over(f, SYSTEM, contact), 0);
}

static void data_file(const struct fixture *f, char out[128])
{
    snprintf(out, 128, "%s/unreplayed/data.mdb", f->path);
}

static void test_T52_what_is_damaged_is_thrown_away_and_begun_anew(void **state)
{
    struct fixture *f = *state;
    char contact[64], path[128], page[4096], *found = NULL;
    data_file(f, path);
    keep(f, "a@x", 10, "c:findme", 100);
    unreplayed_close(&f->unreplayed);
    int file = open(path, O_RDWR);
    for (off_t at = 0; found == NULL; at += (off_t)sizeof(page)) {
        assert_int_equal(pread(file, page, sizeof(page), at), sizeof(page));
        found = memmem(page, sizeof(page), "findme", 6);
        if (found != NULL)
            assert_int_equal(pwrite(file, "FINDME", 6, at + (found - page)), 6);
    }
    close(file);
    unreplayed_open(&f->unreplayed, f->path, BOOT);
    assert_int_equal(laid_over(f, SYSTEM, contact), 0);
    keep(f, "a@x", 10, "c:1", 100);
    assert_int_equal(laid_over(f, SYSTEM, contact), 1);
    unreplayed_close(&f->unreplayed);
    assert_int_equal(truncate(path, 8192), 0);
    unreplayed_open(&f->unreplayed, f->path, BOOT);
    assert_int_equal(laid_over(f, SYSTEM, contact), 0);
    unreplayed_close(&f->unreplayed);
    file = open(path, O_RDWR | O_TRUNC);
    assert_int_equal(write(file, path, sizeof(path)), sizeof(path));
    close(file);
    unreplayed_open(&f->unreplayed, f->path, BOOT);
    keep(f, "a@x", 10, "c:1", 100);
    assert_int_equal(laid_over(f, SYSTEM, contact), 1);
}

static void test_T41_beyond_the_bound_the_oldest_go(void **state)
{
    struct fixture *f = *state;
    char aor[32], contact[64];
    struct record_key key;
    struct buffer value;
    struct record_binding b = { .aor = SLICE("a@x"),
                                .device_key = SLICE("d"),
                                .instance_key = SLICE("i"),
                                .store = SLICE("device"),
                                .cn = SLICE("A"),
                                .contact = SLICE("c:many"),
                                .ground = GROUND_MAPPING,
                                .version = { 5, 1 } };
    keep(f, "first@x", 10, "c:first", 100);
    unreplayed_begin(&f->unreplayed, SYSTEM, 200);
    for (int i = 0; i < UNREPLAYED_MOST; i++) {
        snprintf(aor, sizeof(aor), "u%d@x", i);
        b.aor = slice_of(aor);
        buffer_init(&value, 0);
        record_binding_key(&key, b.aor, b.device_key, b.instance_key);
        record_binding_write(&value, &b);
        unreplayed_put(&f->unreplayed, record_key_slice(&key), buffer_slice(&value));
        buffer_free(&value);
    }
    unreplayed_end(&f->unreplayed);
    assert_int_equal(f->unreplayed.oldest_lsn, 200);
    assert_int_equal(laid_over(f, SYSTEM, contact), UNREPLAYED_MOST);
    assert_string_equal(contact, "c:many");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_what_was_kept_is_laid_over_also_after_a_restart_and_goes_when_passed),
        T(test_what_is_kept_after_a_restart_replaces_nothing_of_before),
        T(test_a_newer_version_in_the_store_stays_whatever_the_position_says),
        T(test_nothing_of_another_system_or_another_boot_is_believed),
        T(test_T52_what_is_damaged_is_thrown_away_and_begun_anew),
        T(test_T41_beyond_the_bound_the_oldest_go),
    };
#undef T
    return cmocka_run_group_tests(tests, NULL, NULL);
}
