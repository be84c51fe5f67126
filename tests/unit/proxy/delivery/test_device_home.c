/* SPDX-License-Identifier: Apache-2.0 */
/* The newest connection of a device, and letters between workers. */
#include "proxy/delivery/device_home.h"
#include "proxy/delivery/mail.h"

#include "common/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct flow flow(uint32_t n)
{
    return (struct flow){ .worker = 1, .slot = n, .generation = 7 };
}

static void test_the_newest_connection_is_found_first(void **state)
{
    struct device_home *home = device_home_new();
    struct flow found;

    (void)state;
    assert_non_null(home);
    assert_false(device_home_newest(home, 42, (struct flow){ 0 }, &found));
    device_home_opened(home, 42, flow(1));
    device_home_opened(home, 42, flow(2));
    device_home_opened(home, 43, flow(3));
    assert_true(device_home_newest(home, 42, (struct flow){ 0 }, &found));
    assert_int_equal(found.slot, 2);
    assert_true(device_home_newest(home, 42, flow(2), &found));
    assert_int_equal(found.slot, 1);
    device_home_closed(home, 42, flow(2));
    assert_true(device_home_newest(home, 42, (struct flow){ 0 }, &found));
    assert_int_equal(found.slot, 1);
    device_home_closed(home, 42, flow(9)); /* unknown: nothing happens */
    device_home_closed(home, 42, flow(1));
    assert_false(device_home_newest(home, 42, (struct flow){ 0 }, &found));
    device_home_free(home);
}

static void test_a_device_with_many_connections_keeps_the_newest(void **state)
{
    struct device_home *home = device_home_new();
    struct flow found;

    (void)state;
    for (uint32_t i = 1; i <= DEVICE_FLOWS_MAX + 5; i++)
        device_home_opened(home, 1, flow(i));
    assert_true(device_home_newest(home, 1, (struct flow){ 0 }, &found));
    assert_int_equal(found.slot, DEVICE_FLOWS_MAX + 5);
    for (uint32_t i = DEVICE_FLOWS_MAX + 5; i > 5; i--)
        device_home_closed(home, 1, flow(i));
    assert_false(device_home_newest(home, 1, (struct flow){ 0 }, &found));
    device_home_free(home);
}

static void test_without_memory_a_connection_stays_unknown(void **state)
{
    struct device_home *home = device_home_new();
    struct flow found;

    (void)state;
    for (unsigned n = 1; n < 6; n++) {
        mem_fail_nth_for_tests(n);
        device_home_opened(home, n, flow(n));
        mem_fail_nth_for_tests(0);
        if (device_home_newest(home, n, (struct flow){ 0 }, &found))
            device_home_closed(home, n, flow(n));
    }
    device_home_free(home);
}

static unsigned woken;

static void wake(void *owner)
{
    (void)owner;
    woken++;
}

static void test_a_letter_owns_its_bytes_and_wakes_once(void **state)
{
    struct post_office *office = post_office_new(2);
    struct queue_batch batch = { 0 };
    char text[] = "hello";
    struct letter *letter;

    (void)state;
    assert_non_null(office);
    woken = 0;
    post_office_listen(office, 0, wake, NULL);
    post_office_listen(office, 1, wake, NULL);
    for (int i = 0; i < 2; i++) {
        letter = letter_new(MAIL_RESPONSE, 0, slice_of(text));
        assert_non_null(letter);
        assert_int_equal(post_office_send(office, 1, letter), ERROR_NONE);
    }
    text[0] = 'J';
    assert_int_equal(woken, 1);
    post_office_take(office, 0, &batch);
    assert_int_equal(batch.count, 0);
    post_office_take(office, 1, &batch);
    assert_int_equal(batch.count, 2);
    for (size_t i = 0; i < batch.count; i++) {
        letter = batch.items[i];
        assert_true(slice_equal(letter->bytes, SLICE("hello")));
        letter_free(letter);
    }
    queue_batch_free(&batch);
    letter = letter_new(MAIL_CLOSE, 0, SLICE(""));
    assert_int_equal(post_office_send(office, 0, letter), ERROR_NONE);
    post_office_free(office); /* what still waits goes with it */
}

static void test_a_full_box_is_the_senders_problem(void **state)
{
    struct post_office *office = post_office_new(1);

    (void)state;
    post_office_listen(office, 0, wake, NULL);
    for (size_t i = 0; i < MAIL_BOX_MAX; i++)
        assert_int_equal(post_office_send(office, 0, letter_new(MAIL_CLOSE, 0, SLICE(""))),
                         ERROR_NONE);
    assert_int_equal(post_office_send(office, 0, letter_new(MAIL_CLOSE, 0, SLICE(""))),
                     ERROR_TOO_LARGE);
    post_office_free(office);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_newest_connection_is_found_first),
        cmocka_unit_test(test_a_device_with_many_connections_keeps_the_newest),
        cmocka_unit_test(test_without_memory_a_connection_stays_unknown),
        cmocka_unit_test(test_a_letter_owns_its_bytes_and_wakes_once),
        cmocka_unit_test(test_a_full_box_is_the_senders_problem),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
