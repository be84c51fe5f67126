/* SPDX-License-Identifier: Apache-2.0 */
/* Denials are gathered, counted, sent; what finds no room or nobody to read it is dropped. */
#include "common/mem.h"
#include "common/resp.h"
#include "proxy/authorization/denials.h"

#include <ev.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static struct worker_base base;
static struct counters counters;
static struct denials *denials;
static char folder[64], path[96];
static int listener, peer;
static struct buffer input;

static int setup(void **state)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    (void)state;
    memset(&base, 0, sizeof base);
    memset(&counters, 0, sizeof counters);
    snprintf(folder, sizeof folder, "/tmp/holdline-test-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/socket", folder);
    strcpy(address.sun_path, path);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 4), 0);
    peer = -1;
    buffer_init(&input, 0);
    base.loop = ev_loop_new(EVFLAG_AUTO);
    base.now_mono_ms = 1000000;
    base.counters = &counters;
    timers_init(&base.timers);
    run_queue_init(&base.run_queue);
    return denials_new(&base, path, &denials) == ERROR_NONE ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    denials_free(denials);
    timers_free(&base.timers);
    ev_loop_destroy(base.loop);
    if (peer >= 0)
        close(peer);
    if (listener >= 0)
        close(listener);
    buffer_free(&input);
    unlink(path);
    rmdir(folder);
    return 0;
}

static void turn(uint64_t ms)
{
    base.now_mono_ms += ms;
    timers_run(&base.timers, base.now_mono_ms);
    ev_run(base.loop, EVRUN_NOWAIT);
    if (peer < 0 && listener >= 0)
        peer = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

static void deny(const char *cn, const char *from, enum reason reason)
{
    struct denial denial = { .store = SLICE("device"),
                             .cn = slice_of(cn),
                             .from = slice_of(from),
                             .address = SLICE("192.0.2.1"),
                             .reason = reason };

    denials_add(denials, &denial);
}

/* How many REPORTs came; *last is the newest, in one line. */
static unsigned received(char *last, size_t size)
{
    char text[65536];
    unsigned count = 0;
    ssize_t got;
    struct resp_command command;
    size_t used;

    while (peer >= 0 && (got = recv(peer, text, sizeof text, MSG_DONTWAIT)) > 0)
        buffer_add(&input, (struct slice){ text, (size_t)got });
    for (; buffer_size(&input) &&
           resp_read_command(buffer_slice(&input), &command, &used) == ERROR_NONE;
         count++) {
        last[0] = '\0';
        for (size_t i = 0; i < command.count; i++)
            snprintf(last + strlen(last), size - strlen(last), "%s%.*s", i ? " " : "",
                     (int)command.args[i].size, command.args[i].data);
        buffer_consume(&input, used);
    }
    return count;
}

static unsigned long long dropped(void)
{
    return atomic_load(&counters.denials_dropped);
}

static void test_F32_the_same_denial_is_told_once_with_its_count(void **state)
{
    char last[1024] = "";

    (void)state;
    turn(1000);
    assert_int_equal(peer, -1); /* without a denial there is no connection */
    for (int i = 0; i < 5; i++)
        deny("0004F2000001", "a@example.org", REASON_DEVICE_UNKNOWN);
    turn(1);
    assert_int_equal(received(last, sizeof last), 0);
    turn(DENIALS_GATHER_MS);
    assert_int_equal(received(last, sizeof last), 1);
    assert_string_equal(last, "REPORT device 0004F2000001 a@example.org device-unknown "
                              "192.0.2.1 5");
    deny("0004F2000001", "b@example.org", REASON_DEVICE_UNKNOWN);
    deny("0004F2000001", "b@example.org", REASON_NO_RIGHT);
    deny("0004F2000002", "b@example.org", REASON_NO_RIGHT);
    turn(DENIALS_GATHER_MS);
    assert_int_equal(received(last, sizeof last), 3);
    assert_string_equal(last, "REPORT device 0004F2000002 b@example.org no-right 192.0.2.1 1");
    assert_int_equal(dropped(), 0);
}

static void test_T35_more_than_the_bound_is_dropped_and_counted(void **state)
{
    char last[1024], cn[16];

    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(cn, sizeof cn, "%012X", i);
        deny(cn, "a@example.org", REASON_DEVICE_UNKNOWN);
    }
    turn(1);
    turn(DENIALS_GATHER_MS);
    assert_int_equal(received(last, sizeof last), DENIALS_MAX);
    assert_int_equal(dropped(), 1000 - DENIALS_MAX);
}

static void test_T36_without_mapperd_they_are_dropped_and_the_next_ones_get_through(void **state)
{
    char last[1024];

    (void)state;
    unlink(path);
    deny("0004F2000001", "a@example.org", REASON_DEVICE_UNKNOWN);
    deny("0004F2000001", "a@example.org", REASON_DEVICE_UNKNOWN);
    for (int i = 0; i < 20; i++)
        turn(50);
    assert_int_equal(dropped(), 2);
    teardown(state);
    assert_int_equal(setup(state), 0);
    deny("0004F2000001", "a@example.org", REASON_DEVICE_UNKNOWN);
    turn(1);
    turn(DENIALS_GATHER_MS);
    assert_int_equal(received(last, sizeof last), 1);
}

static void test_T36_a_mapperd_that_does_not_read_is_not_written_to_for_ever(void **state)
{
    char cn[16];
    unsigned sent = 0;

    (void)state;
    for (; dropped() == 0 && sent < 100000; sent++) {
        snprintf(cn, sizeof cn, "%012X", sent);
        deny(cn, "a@example.org", REASON_DEVICE_UNKNOWN);
        if (sent % DENIALS_MAX == DENIALS_MAX - 1) {
            turn(1);
            turn(DENIALS_GATHER_MS);
        }
    }
    assert_true(dropped() > 0);
    assert_true(sent < 50000);
}

/* Answers of every kind, also none that mapperd would give, do no harm. */
static void test_answers_are_read_and_refusals_change_nothing(void **state)
{
    static const char *const answers[] = { "+OK\r\n", "-DENIED this user may not do that\r\n",
                                           ":1\r\n", "$3\r\nabc\r\n", "garbage\r\n" };
    char last[1024];

    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        deny("0004F2000001", "a@example.org", REASON_DEVICE_UNKNOWN);
        for (int n = 0; n < 100 && received(last, sizeof last) == 0; n++) {
            turn(50);
            if (n % 20 == 19)
                deny("0004F2000001", "a@example.org", REASON_DEVICE_UNKNOWN);
        }
        assert_non_null(strstr(last, "device-unknown"));
        assert_true(send(peer, answers[i], strlen(answers[i]), MSG_NOSIGNAL) > 0);
        turn(1);
    }
    close(peer);
    peer = -1;
    for (int n = 0; n < 100 && peer < 0; n++)
        turn(50);
    assert_true(peer >= 0); /* it came back */
}

static void test_without_memory_they_are_dropped(void **state)
{
    (void)state;
    for (unsigned nth = 1; nth < 4; nth++) {
        mem_fail_nth_for_tests(nth);
        deny("0004F2000001", "a@example.org", REASON_DEVICE_UNKNOWN);
        turn(1);
        turn(DENIALS_GATHER_MS);
        mem_fail_nth_for_tests(0);
    }
    denials_add(NULL, &(struct denial){ .reason = REASON_DEVICE_UNKNOWN });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(test_F32_the_same_denial_is_told_once_with_its_count),
        TEST(test_T35_more_than_the_bound_is_dropped_and_counted),
        TEST(test_T36_without_mapperd_they_are_dropped_and_the_next_ones_get_through),
        TEST(test_T36_a_mapperd_that_does_not_read_is_not_written_to_for_ever),
        TEST(test_answers_are_read_and_refusals_change_nothing),
        TEST(test_without_memory_they_are_dropped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
