/* SPDX-License-Identifier: Apache-2.0 */
/* Which statements are kept, so that a later connect can find out whether the server still has
 * them: all of the last minute, the last hundred whatever their age, and never without bound. */
#include "common/clock.h"
#include "mapperd/feed_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define MINUTE_MS ((int64_t)60000)

struct fixture {
    char path[64];
    struct folder folder;
    struct feed *feed;
    uint64_t next_xid;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    f->feed = calloc(1, sizeof(*f->feed));
    f->next_xid = 1;
    strcpy(f->path, "/tmp/holdline-poll-XXXXXX");
    *state = f;
    return mkdtemp(f->path) != NULL &&
                   folder_open(&f->folder, f->path, (size_t)64 << 20) == ERROR_NONE &&
                   folder_create(&f->folder, &f->feed->store) == ERROR_NONE
               ? 0
               : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    char command[128];
    folder_close_store(&f->folder, f->feed->store, true);
    folder_close(&f->folder);
    snprintf(command, sizeof(command), "rm -rf %s", f->path);
    int status = system(command);
    free(f->feed);
    free(f);
    return status;
}

/* Statements that were applied so long ago; less than 0: the clock has gone back since. */
static void remember(struct fixture *f, size_t count, int64_t ago_ms)
{
    struct store_writer writer;
    assert_int_equal(store_begin(f->feed->store, &writer), ERROR_NONE);
    for (size_t i = 0; i < count; i++)
        poll_remember(&writer, f->next_xid++, i, clock_unix_ms() - (uint64_t)ago_ms);
    assert_int_equal(store_commit(&writer), ERROR_NONE);
    f->feed->recent_count += count;
}

/* The lowest that is left of them, after as many seconds as it takes. */
static uint64_t lowest_left(struct fixture *f, size_t count)
{
    struct store_writer writer;
    struct store_walk walk;
    struct slice key, value;
    uint64_t lowest = 0;
    size_t left = 0, before;
    do {
        before = f->feed->recent_count;
        poll_trim_recent(f->feed);
    } while (f->feed->recent_count != before);
    assert_int_equal(store_begin(f->feed->store, &writer), ERROR_NONE);
    store_walk_writer(&writer, STORE_RECENT, SLICE(""), &walk);
    for (; store_walk_next(&walk, &key, &value); left++)
        if (left == 0)
            lowest = record_u64_at(key.data);
    store_walk_end(&walk);
    store_abort(&writer);
    assert_int_equal(left, count);
    assert_int_equal(f->feed->recent_count, count);
    return lowest;
}

static void test_a_hundred_are_kept_however_old(void **state)
{
    struct fixture *f = *state;
    remember(f, 99, 10 * MINUTE_MS);
    assert_int_equal(lowest_left(f, 99), 1);
    remember(f, 600, 10 * MINUTE_MS);
    assert_int_equal(lowest_left(f, 100), 600);
}

static void test_all_of_the_last_minute_are_kept(void **state)
{
    struct fixture *f = *state;
    remember(f, 300, MINUTE_MS + 5000);
    remember(f, 700, MINUTE_MS - 30000);
    assert_int_equal(lowest_left(f, 700), 301);
    remember(f, 50, -10 * MINUTE_MS);
    assert_int_equal(lowest_left(f, 750), 301);
}

static void test_T41_there_is_a_bound_whatever_the_clock_says(void **state)
{
    struct fixture *f = *state;
    remember(f, RECENT_MOST + 500, -10 * MINUTE_MS);
    assert_int_equal(lowest_left(f, RECENT_MOST), 501);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_a_hundred_are_kept_however_old),
        T(test_all_of_the_last_minute_are_kept),
        T(test_T41_there_is_a_bound_whatever_the_clock_says),
    };
#undef T
    return cmocka_run_group_tests(tests, NULL, NULL);
}
