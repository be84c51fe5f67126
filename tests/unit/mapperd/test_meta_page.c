/* SPDX-License-Identifier: Apache-2.0 */
/* The one write that makes a commit of LMDB's count, that of its meta page, fails: on a full or
 * broken disk, whole or in its middle, with the attempt to take it back or without. Nothing of that
 * commit is shown, then or after a start, the store as it was is not lost, and this process answers
 * no more from it. */
#include "mapperd/meta.h"
#include "mapperd/store.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#define META_END 8192 /* two pages */

/* How writes to the meta pages end; all others are as ever. */
static struct {
    int left; /* so many more fail; 0: none does */
    bool in_the_middle;
    int seen;
} fault;

/* In place of the C library's, for LMDB too. */
ssize_t pwrite(int file, const void *data, size_t size, off_t at)
{
    if (fault.left > 0 && at < META_END) {
        fault.left--;
        fault.seen++;
        if (!fault.in_the_middle) {
            errno = ENOSPC;
            return -1;
        }
        size /= 2;
    }
    return syscall(SYS_pwrite64, file, data, size, at);
}

struct fixture {
    char path[64];
    struct folder folder;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    fault.left = fault.seen = 0;
    strcpy(f->path, "/tmp/holdline-meta-XXXXXX");
    if (mkdtemp(f->path) == NULL ||
        folder_open(&f->folder, f->path, (size_t)64 << 20) != ERROR_NONE)
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

/* The serial is the store's; `value` is that of a device. */
static enum error write_once(struct store *store, uint64_t serial, const char *value)
{
    struct store_writer writer;
    struct meta meta;
    enum error e = store_begin(store, &writer);
    if (e != ERROR_NONE)
        return e;
    meta_init(&meta);
    meta.serial = (struct store_serial){ 77, serial };
    meta_write(&writer, &meta);
    store_put(&writer, STORE_PEER, SLICE("device"), slice_of(value));
    e = store_commit(&writer);
    meta_free(&meta);
    return e;
}

static void assert_holds(struct store *store, uint64_t serial, const char *value)
{
    struct store_reader reader;
    struct slice found;
    assert_int_equal(store_reader_open(store, &reader), ERROR_NONE);
    assert_int_equal(store_reader_renew(&reader), ERROR_NONE);
    assert_int_equal(reader.serial.serial, serial);
    assert_int_equal(store_get(&reader, STORE_PEER, SLICE("device"), &found), ERROR_NONE);
    assert_true(slice_equal(found, slice_of(value)));
    store_reader_close(&reader);
}

static void run(struct fixture *f, int failing, bool in_the_middle)
{
    struct store *store;
    struct store_reader before, after;
    assert_int_equal(folder_create(&f->folder, &store), ERROR_NONE);
    assert_int_equal(write_once(store, 1, "older"), ERROR_NONE);
    assert_int_equal(folder_install(&f->folder, store), ERROR_NONE);
    assert_int_equal(write_once(store, 2, "old"), ERROR_NONE);
    assert_int_equal(store_reader_open(store, &before), ERROR_NONE);
    assert_int_equal(store_reader_renew(&before), ERROR_NONE);
    fault.left = failing;
    fault.in_the_middle = in_the_middle;
    assert_int_equal(write_once(store, 3, "new"), ERROR_SYSTEM);
    assert_true(fault.seen > 0);
    fault.left = 0;
    /* Neither new nor old from this process: the feed fills another store. */
    assert_int_equal(store_reader_renew(&before), ERROR_LIBRARY);
    assert_int_equal(store_reader_open(store, &after), ERROR_LIBRARY);
    assert_int_equal(write_once(store, 4, "newest"), ERROR_LIBRARY);
    store_reader_close(&before);
    folder_close_store(&f->folder, store, false);
    /* The next one finds what had been written before. */
    assert_int_equal(folder_open_current(&f->folder, &store), ERROR_NONE);
    assert_holds(store, 2, "old");
    assert_int_equal(write_once(store, 5, "again"), ERROR_NONE);
    assert_holds(store, 5, "again");
    folder_close_store(&f->folder, store, false);
}

static void test_T41_a_meta_page_that_cannot_be_written_ends_the_store(void **state)
{
    run(*state, 1, false);
}

static void test_T41_a_meta_page_that_can_neither_be_written_nor_be_taken_back(void **state)
{
    run(*state, 2, false);
}

static void test_T52_a_meta_page_that_is_written_to_its_middle(void **state)
{
    run(*state, 1, true);
}

static void test_T52_a_meta_page_that_is_written_to_its_middle_and_not_taken_back(void **state)
{
    run(*state, 2, true);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_T41_a_meta_page_that_cannot_be_written_ends_the_store),
        T(test_T41_a_meta_page_that_can_neither_be_written_nor_be_taken_back),
        T(test_T52_a_meta_page_that_is_written_to_its_middle),
        T(test_T52_a_meta_page_that_is_written_to_its_middle_and_not_taken_back),
    };
#undef T
    return cmocka_run_group_tests(tests, NULL, NULL);
}
