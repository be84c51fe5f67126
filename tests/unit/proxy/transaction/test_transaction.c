/* SPDX-License-Identifier: Apache-2.0 */
/* Branches of ours, and ids as they are read from messages. */
#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static void test_a_branch_says_its_worker(void **state)
{
    static const unsigned workers[] = { 0, 1, 9, 10, 63, 65535 };
    char branch[TRANSACTION_BRANCH_MAX + 1], other[TRANSACTION_BRANCH_MAX + 1];
    unsigned worker;

    (void)state;
    for (size_t i = 0; i < sizeof(workers) / sizeof(*workers); i++) {
        transaction_branch_make(branch, workers[i]);
        transaction_branch_make(other, workers[i]);
        assert_string_not_equal(branch, other);
        assert_true(transaction_branch_worker(slice_of(branch), 65536, &worker));
        assert_int_equal(worker, workers[i]);
        assert_false(transaction_branch_worker(slice_of(branch), workers[i], &worker));
    }
}

static void test_a_branch_of_another_form_is_nobodys(void **state)
{
    static const char *const branches[] = {
        "",
        "z9hG4bK",
        "z9hG4bK1",
        "z9hG4bK.aaaaaaaaaaaaaaaaaaaa",
        "z9hG4bK1aaaaaaaaaaaaaaaaaaaaa",
        "z9hG4bK01.aaaaaaaaaaaaaaaaaaaa",
        "z9hG4bK-1.aaaaaaaaaaaaaaaaaaaa",
        "z9hG4bK1.aaaaaaaaaaaaaaaaaaa",
        "z9hG4bK1.aaaaaaaaaaaaaaaaaaaaa",
        "z9hG4bK4294967297.aaaaaaaaaaaaaaaaaaaa",
        "z9hG4bK18446744073709551617.aaaaaaaaaaaaaaaaaaaa",
        "x9hG4bK1.aaaaaaaaaaaaaaaaaaaa",
    };
    unsigned worker = 77;

    (void)state;
    for (size_t i = 0; i < sizeof(branches) / sizeof(*branches); i++)
        assert_false(transaction_branch_worker(slice_of(branches[i]), 4, &worker));
    assert_int_equal(worker, 77);
    assert_true(transaction_branch_worker(SLICE("Z9HG4BK1.AAAAAAAAAAAAAAAAAAAA"), 4, &worker));
    assert_int_equal(worker, 1);
}

static void test_an_id_is_read_from_a_request(void **state)
{
    struct transaction_id id;
    struct message m;

    (void)state;
    world_parse(&m, world_request("INVITE", "z9hG4bK3.x"));
    transaction_id_of(&id, &m, 42);
    assert_int_equal(id.device, 42);
    assert_true(slice_equal(id.method, SLICE("INVITE")));
    assert_true(slice_equal(id.branch, SLICE("z9hG4bK3.x")));
    assert_true(slice_equal(id.sent_by_host, SLICE("127.0.0.1")));
    assert_int_equal(id.sent_by_port, 5061);
    assert_true(slice_equal(id.via, SLICE("SIP/2.0/TLS 127.0.0.1:5061;branch=z9hG4bK3.x")));
    assert_true(slice_equal(id.request_uri, SLICE("sip:bob@192.0.2.9:5061;transport=tls")));
    assert_true(slice_equal(id.from_tag, SLICE("f1")));
    assert_int_equal(id.to_tag.size, 0);
    assert_true(slice_equal(id.call_id, SLICE("c1")));
    assert_int_equal(id.cseq, 17);
    message_free(&m);
}

/* Without a port in Via the transport's own counts. */
static void test_an_id_has_the_port_of_its_transport(void **state)
{
    struct transaction_id id;
    struct message m;

    (void)state;
    world_parse(&m, world_response(200));
    transaction_id_of(&id, &m, 0);
    assert_true(slice_equal(id.method, SLICE("INVITE")));
    assert_int_equal(id.sent_by_port, 5061);
    message_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_branch_says_its_worker),
        cmocka_unit_test(test_a_branch_of_another_form_is_nobodys),
        cmocka_unit_test(test_an_id_is_read_from_a_request),
        cmocka_unit_test(test_an_id_has_the_port_of_its_transport),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
