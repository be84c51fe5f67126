/* SPDX-License-Identifier: Apache-2.0 */
/* The brake on guessing passwords. */
#include "proxy/authorization/brake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define ALICE SLICE("alice")
#define BOB   SLICE("bob")

static struct brake *brake;
static struct address here, there;

static void read_address(struct address *out, const char *text)
{
    assert_int_equal(address_from_text(out, slice_of(text)), ERROR_NONE);
}

static int set_up(void **state)
{
    (void)state;
    read_address(&here, "192.0.2.1:1000");
    read_address(&there, "192.0.2.2:1000");
    return brake_new(3, 6, &brake) == ERROR_NONE ? 0 : -1; /* one more each 10 s */
}

static int tear_down(void **state)
{
    (void)state;
    brake_free(brake);
    return 0;
}

static unsigned guess(const struct address *source, struct slice user, unsigned times, uint64_t now)
{
    unsigned looked_at = 0;

    for (unsigned i = 0; i < times; i++) {
        if (!brake_is_open(brake, source, user, now))
            continue;
        looked_at++;
        brake_wrong(brake, source, user, now);
    }
    return looked_at;
}

static void test_T31_so_many_wrong_ones_and_then_one_a_time(void **state)
{
    (void)state;
    assert_int_equal(guess(&here, ALICE, 10, 1000), 3);
    assert_int_equal(guess(&here, ALICE, 10, 1000 + 9999), 0);
    assert_int_equal(guess(&here, ALICE, 10, 1000 + 10000), 1);
    assert_int_equal(guess(&here, ALICE, 10, 1000 + 10001), 0);
    assert_int_equal(guess(&here, ALICE, 10, 1000 + 60000), 3);
}

static void test_others_are_not_braked(void **state)
{
    struct address port;

    (void)state;
    read_address(&port, "192.0.2.1:2000");
    assert_int_equal(guess(&here, ALICE, 10, 1000), 3);
    assert_false(brake_is_open(brake, &port, ALICE, 1000)); /* a port is no other address */
    assert_true(brake_is_open(brake, &here, BOB, 1000));
    assert_true(brake_is_open(brake, &there, ALICE, 1000));
}

static void test_a_right_password_clears_its_user_alone(void **state)
{
    char user[16];
    unsigned looked_at = 0;

    (void)state;
    assert_int_equal(guess(&here, ALICE, 2, 1000), 2);
    brake_right(brake, &here, ALICE);
    assert_int_equal(guess(&here, ALICE, 10, 1000), 3);
    /* One good password doesn't buy guesses at all the others. */
    for (unsigned i = 0; i < 100; i++) {
        snprintf(user, sizeof(user), "user%u", i);
        brake_right(brake, &here, BOB);
        looked_at += guess(&here, slice_of(user), 1, 1000);
    }
    assert_int_equal(looked_at, 3 * BRAKE_SOURCE_FACTOR - 5);
    assert_true(brake_is_open(brake, &there, ALICE, 1000));
}

static void test_an_ipv6_network_is_one_address(void **state)
{
    struct address a, b, other, mapped;

    (void)state;
    read_address(&a, "[2001:db8:1:2::1]:1");
    read_address(&b, "[2001:db8:1:2:ffff::9]:1");
    read_address(&other, "[2001:db8:1:3::1]:1");
    read_address(&mapped, "[::ffff:192.0.2.1]:1");
    assert_int_equal(guess(&a, ALICE, 3, 1000), 3);
    assert_false(brake_is_open(brake, &b, ALICE, 1000));
    assert_true(brake_is_open(brake, &other, ALICE, 1000));
    assert_int_equal(guess(&mapped, ALICE, 3, 1000), 3);
    assert_false(brake_is_open(brake, &here, ALICE, 1000));
}

static void test_T35_the_table_is_bounded_and_the_newest_stay(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2 * BRAKE_ENTRIES_MAX; i++) {
        struct address source = here;

        source.v4.sin_addr.s_addr = htonl(0x0a000000 + i);
        brake_wrong(brake, &source, ALICE, 1000);
    }
    assert_int_equal(guess(&here, ALICE, 10, 1000), 3);
    assert_false(brake_is_open(brake, &here, ALICE, 1000));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_T31_so_many_wrong_ones_and_then_one_a_time),
        TEST(test_others_are_not_braked),
        TEST(test_a_right_password_clears_its_user_alone),
        TEST(test_an_ipv6_network_is_one_address),
        TEST(test_T35_the_table_is_bounded_and_the_newest_stay),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
