/* SPDX-License-Identifier: Apache-2.0 */
/* The queue between threads: bounds, order, closing, and several writers at once. */
#include "common/mem.h"
#include "common/queue.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void *item(uintptr_t n)
{
    return (void *)n; /* never dereferenced */
}

static void test_taken_in_order_and_bounded(void **state)
{
    struct queue queue;
    struct queue_batch batch = { 0 };
    bool was_empty;

    (void)state;
    assert_int_equal(queue_init(&queue, 40), ERROR_NONE);
    for (int round = 0; round < 5; round++) {
        for (uintptr_t i = 0; i < 40; i++) {
            assert_int_equal(queue_put(&queue, item(i + 1), &was_empty), ERROR_NONE);
            assert_int_equal(was_empty, i == 0);
        }
        assert_int_equal(queue_put(&queue, item(99), &was_empty), ERROR_TOO_LARGE);
        queue_take(&queue, &batch);
        assert_int_equal(batch.count, 40);
        for (uintptr_t i = 0; i < 40; i++)
            assert_ptr_equal(batch.items[i], item(i + 1));
        queue_take(&queue, &batch);
        assert_int_equal(batch.count, 0);
    }
    queue_close(&queue);
    assert_int_equal(queue_put(&queue, item(1), &was_empty), ERROR_CLOSED);
    queue_batch_free(&batch);
    queue_destroy(&queue);
}

static void test_what_was_put_before_closing_is_taken(void **state)
{
    struct queue queue;
    struct queue_batch batch = { 0 };
    bool was_empty;

    (void)state;
    assert_int_equal(queue_init(&queue, 4), ERROR_NONE);
    assert_int_equal(queue_put(&queue, item(1), &was_empty), ERROR_NONE);
    queue_close(&queue);
    queue_take(&queue, &batch);
    assert_int_equal(batch.count, 1);
    queue_batch_free(&batch);
    queue_destroy(&queue);
}

static void test_a_failed_allocation_leaves_the_item_with_its_owner(void **state)
{
    struct queue queue;
    struct queue_batch batch = { 0 };
    unsigned failures = 0;
    bool was_empty;

    (void)state;
    assert_int_equal(queue_init(&queue, 1000), ERROR_NONE);
    for (uintptr_t i = 0; i < 100; i++) {
        mem_fail_nth_for_tests(1);
        enum error error = queue_put(&queue, item(i), &was_empty);
        mem_fail_nth_for_tests(0);
        if (error != ERROR_NONE) {
            assert_int_equal(error, ERROR_MEMORY);
            failures++;
            assert_int_equal(queue_put(&queue, item(i), &was_empty), ERROR_NONE);
        }
    }
    assert_int_equal(failures, 4);
    queue_take(&queue, &batch);
    assert_int_equal(batch.count, 100);
    queue_batch_free(&batch);
    queue_destroy(&queue);
}

#define WRITERS    3
#define PER_WRITER 20000

static struct queue shared;

static void *write_items(void *argument)
{
    uintptr_t writer = (uintptr_t)argument;
    bool was_empty;

    for (uintptr_t i = 1; i <= PER_WRITER; i++) {
        while (queue_put(&shared, item(writer << 32 | i), &was_empty) == ERROR_TOO_LARGE)
            sched_yield();
    }
    return NULL;
}

static void test_writers_do_not_lose_or_reorder(void **state)
{
    pthread_t threads[WRITERS];
    uintptr_t next[WRITERS] = { 1, 1, 1 };
    struct queue_batch batch = { 0 };
    size_t taken = 0;

    (void)state;
    assert_int_equal(queue_init(&shared, 256), ERROR_NONE);
    for (uintptr_t i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_items, item(i)), 0);
    while (taken < WRITERS * PER_WRITER) {
        queue_take(&shared, &batch);
        for (size_t i = 0; i < batch.count; i++) {
            uintptr_t value = (uintptr_t)batch.items[i];
            assert_true((value >> 32) < WRITERS);
            assert_true((value & 0xffffffff) == next[value >> 32]++);
        }
        taken += batch.count;
        if (batch.count == 0)
            sched_yield();
    }
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    queue_take(&shared, &batch);
    assert_int_equal(batch.count, 0);
    queue_batch_free(&batch);
    queue_destroy(&shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_taken_in_order_and_bounded),
        cmocka_unit_test(test_what_was_put_before_closing_is_taken),
        cmocka_unit_test(test_a_failed_allocation_leaves_the_item_with_its_owner),
        cmocka_unit_test(test_writers_do_not_lose_or_reorder),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
