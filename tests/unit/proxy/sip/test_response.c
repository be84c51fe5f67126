/* SPDX-License-Identifier: Apache-2.0 */
/* Responses, ACK and CANCEL that the proxy makes. */
#include "proxy/sip/response.h"

#include "proxy/sip/framing.h"
#include "tests/unit/proxy/sip/sip_testing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static struct message m;
static struct buffer out;

static int set_up(void **state)
{
    (void)state;
    message_init(&m, 0);
    buffer_init(&out, 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    message_free(&m);
    buffer_free(&out);
    return 0;
}

#define HEAD "MESSAGE sip:bob@example.org SIP/2.0\r\n"
#define REST                                                                             \
    "From: <sip:alice@example.org>;tag=a\r\nTo: <sip:bob@example.org>\r\nCall-ID: c\r\n" \
    "CSeq: 1 MESSAGE\r\nTimestamp: 5\r\nContent-Length: 0\r\n\r\n"

static void test_a_response_copies_what_it_must(void **state)
{
    struct response r = { .status = 403,
                          .to_tag = SLICE("t"),
                          .source = SLICE("203.0.113.9"),
                          .source_port = 4711,
                          .headers = SLICE("Warning: 399 p \"no\"\r\n") };

    (void)state;
    parse_text(
        &m, HEAD
        "v: SIP/2.0/TLS h;rport;branch=z9hG4bK1, SIP/2.0/TCP i\r\nVia: SIP/2.0/UDP\r\n j\r\n" REST);
    assert_int_equal(response_write(&m, &r, &out), ERROR_NONE);
    assert_slice_is(
        buffer_slice(&out),
        "SIP/2.0 403 Forbidden\r\n"
        "v: SIP/2.0/TLS h;branch=z9hG4bK1;received=203.0.113.9;rport=4711, SIP/2.0/TCP i\r\n"
        "Via: SIP/2.0/UDP\r\n j\r\n"
        "From: <sip:alice@example.org>;tag=a\r\n"
        "To: <sip:bob@example.org>;tag=t\r\n"
        "Call-ID: c\r\n"
        "CSeq: 1 MESSAGE\r\n"
        "Warning: 399 p \"no\"\r\n"
        "Content-Length: 0\r\n\r\n");
}

static void test_a_100_has_no_To_tag_of_ours_but_the_Timestamp(void **state)
{
    struct response r = { .status = 100, .to_tag = SLICE("t") };

    (void)state;
    parse_text(&m, HEAD "Via: SIP/2.0/TLS h;branch=z9hG4bK1;rport\r\n" REST);
    assert_int_equal(response_write(&m, &r, &out), ERROR_NONE);
    assert_slice_is(buffer_slice(&out), "SIP/2.0 100 Trying\r\n"
                                        "Via: SIP/2.0/TLS h;branch=z9hG4bK1;rport\r\n"
                                        "From: <sip:alice@example.org>;tag=a\r\n"
                                        "To: <sip:bob@example.org>\r\n"
                                        "Call-ID: c\r\n"
                                        "CSeq: 1 MESSAGE\r\n"
                                        "Timestamp: 5\r\n"
                                        "Content-Length: 0\r\n\r\n");
}

static void test_a_To_tag_that_is_there_stays(void **state)
{
    struct response r = { .status = 481, .to_tag = SLICE("ours"), .reason = SLICE("No") };

    (void)state;
    parse_text(&m, HEAD
               "Via: SIP/2.0/TLS h\r\nFrom: sip:a@b;tag=1\r\nt : sip:c@d ; tag=theirs \r\ni: c\r\n"
               "CSeq: 1 MESSAGE\r\n\r\n");
    assert_int_equal(response_write(&m, &r, &out), ERROR_NONE);
    assert_slice_is(buffer_slice(&out), "SIP/2.0 481 No\r\n"
                                        "Via: SIP/2.0/TLS h\r\n"
                                        "From: sip:a@b;tag=1\r\n"
                                        "t : sip:c@d ; tag=theirs \r\n"
                                        "i: c\r\n"
                                        "CSeq: 1 MESSAGE\r\n"
                                        "Content-Length: 0\r\n\r\n");
}

static void test_T06_the_answer_to_a_bad_request_takes_the_first_of_each(void **state)
{
    struct response r = { .status = 400, .to_tag = SLICE("t") };

    (void)state;
    parse_text(&m, HEAD
               "Via: broken\r\nFrom: <sip:a@b>\r\nFrom: <sip:c@d>\r\nTo: \"unbalanced <sip:x@y>\r\n"
               "bad line\r\nX: lone\nlf\r\nContent-Length: 7\r\n\r\n");
    assert_int_equal(m.fault, MESSAGE_HEADER_REPEATED);
    assert_int_equal(response_write(&m, &r, &out), ERROR_NONE);
    assert_slice_is(buffer_slice(&out), "SIP/2.0 400 Bad Request\r\n"
                                        "Via: broken\r\n"
                                        "From: <sip:a@b>\r\n"
                                        "To: \"unbalanced <sip:x@y>\r\n"
                                        "Content-Length: 0\r\n\r\n");
}

static void test_what_has_no_Via_or_is_no_request_gets_no_answer(void **state)
{
    struct response r = { .status = 400 };

    (void)state;
    parse_text(&m, HEAD REST);
    assert_int_equal(response_write(&m, &r, &out), ERROR_NOT_FOUND);
    parse_text(&m, "SIP/2.0 200 OK\r\nVia: SIP/2.0/TLS h\r\n" REST);
    assert_int_equal(response_write(&m, &r, &out), ERROR_NOT_FOUND);
    assert_int_equal(buffer_size(&out), 0);
}

static void test_every_torture_request_is_answered_with_one_message(void **state)
{
    static const char *const names[] = { "wsinv",    "intmeth", "longreq", "badinv01", "insuf",
                                         "quotbal",  "multi01", "mcl01",   "ncl",      "badaspec",
                                         "scalar02", "trws",    "lwsruri", "badvers",  "inv2543" };
    struct response r = {
        .status = 400, .to_tag = SLICE("t"), .source = SLICE("192.0.2.200"), .source_port = 1
    };

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct framing_result framed;
        struct framing framing;

        buffer_reset(&out);
        assert_int_not_equal(message_parse(&m, torture_message(names[i])), ERROR_MEMORY);
        assert_int_equal(response_write(&m, &r, &out), ERROR_NONE);
        framing_init(&framing, 65536);
        framed = framing_next(&framing, buffer_slice(&out));
        assert_int_equal(framed.event, FRAMING_MESSAGE);
        assert_int_equal(framed.size, buffer_size(&out));
    }
}

static void test_ACK_and_CANCEL_of_an_INVITE(void **state)
{
    static const char invite[] =
        "INVITE sip:bob@192.0.2.7;transport=tls SIP/2.0\r\n"
        "Via: SIP/2.0/TLS proxy;branch=z9hG4bK2, SIP/2.0/TLS h;branch=z9hG4bK1\r\n"
        "Via: SIP/2.0/TLS i\r\n"
        "Route: <sip:p1;lr>\r\n"
        "Max-Forwards: 3\r\n"
        "f: <sip:alice@example.org>;tag=a\r\n"
        "To: <sip:bob@example.org>\r\n"
        "i: c\r\n"
        "CSeq: 0042 INVITE\r\n"
        "Route: <sip:p2;lr>\r\n"
        "Content-Length: 4\r\n\r\nbody";
    static const char busy[] = "SIP/2.0 486 Busy Here\r\n"
                               "Via: SIP/2.0/TLS proxy;branch=z9hG4bK2\r\n"
                               "f: <sip:alice@example.org>;tag=a\r\n"
                               "t: <sip:bob@example.org>;tag=b\r\n"
                               "i: c\r\n"
                               "CSeq: 42 INVITE\r\n\r\n";
    struct message response;

    (void)state;
    message_init(&response, 0);
    assert_int_equal(parse_text(&m, invite), MESSAGE_VALID);
    assert_int_equal(parse_text(&response, busy), MESSAGE_VALID);
    assert_int_equal(request_write_ack(&m, &response, &out), ERROR_NONE);
    assert_slice_is(buffer_slice(&out), "ACK sip:bob@192.0.2.7;transport=tls SIP/2.0\r\n"
                                        "Via: SIP/2.0/TLS proxy;branch=z9hG4bK2\r\n"
                                        "Max-Forwards: 70\r\n"
                                        "Route: <sip:p1;lr>\r\n"
                                        "Route: <sip:p2;lr>\r\n"
                                        "f: <sip:alice@example.org>;tag=a\r\n"
                                        "t: <sip:bob@example.org>;tag=b\r\n"
                                        "i: c\r\n"
                                        "CSeq: 42 ACK\r\n"
                                        "Content-Length: 0\r\n\r\n");
    buffer_reset(&out);
    assert_int_equal(request_write_cancel(&m, SLICE("Reason: SIP;cause=200\r\n"), &out),
                     ERROR_NONE);
    assert_slice_is(buffer_slice(&out), "CANCEL sip:bob@192.0.2.7;transport=tls SIP/2.0\r\n"
                                        "Via: SIP/2.0/TLS proxy;branch=z9hG4bK2\r\n"
                                        "Max-Forwards: 70\r\n"
                                        "Route: <sip:p1;lr>\r\n"
                                        "Route: <sip:p2;lr>\r\n"
                                        "f: <sip:alice@example.org>;tag=a\r\n"
                                        "To: <sip:bob@example.org>\r\n"
                                        "i: c\r\n"
                                        "CSeq: 42 CANCEL\r\n"
                                        "Reason: SIP;cause=200\r\n"
                                        "Content-Length: 0\r\n\r\n");
    assert_int_equal(request_write_ack(&response, &m, &out), ERROR_NOT_FOUND);
    assert_int_equal(request_write_cancel(&response, SLICE(""), &out), ERROR_NOT_FOUND);
    message_free(&response);
}

static void test_phrases(void **state)
{
    (void)state;
    assert_slice_is(response_phrase(480), "Temporarily Unavailable");
    for (unsigned status = 100; status < 700; status++)
        assert_true(response_phrase(status).size > 0);
}

static void test_T38_a_buffer_that_is_full_is_left_as_it_was(void **state)
{
    struct response r = { .status = 403, .to_tag = SLICE("t") };

    (void)state;
    parse_text(&m, HEAD "Via: SIP/2.0/TLS h;branch=z9hG4bK1;rport\r\n" REST);
    for (size_t limit = 1; limit < 200; limit++) {
        buffer_free(&out);
        buffer_init(&out, limit);
        buffer_add(&out, SLICE("x"));
        if (response_write(&m, &r, &out) == ERROR_NONE)
            return;
        assert_slice_is(buffer_slice(&out), "x");
    }
    fail();
}

static void test_every_allocation_may_fail(void **state)
{
    struct response r = { .status = 403, .to_tag = SLICE("t") };

    (void)state;
    parse_text(&m, HEAD "Via: SIP/2.0/TLS h;branch=z9hG4bK1;rport\r\n" REST);
    for (unsigned n = 1;; n++) {
        enum error e;

        buffer_free(&out);
        buffer_init(&out, 0);
        mem_fail_nth_for_tests(n);
        e = response_write(&m, &r, &out);
        mem_fail_nth_for_tests(0);
        if (e == ERROR_NONE)
            break;
        assert_int_equal(e, ERROR_MEMORY);
        assert_int_equal(buffer_size(&out), 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_response_copies_what_it_must),
        TEST(test_a_100_has_no_To_tag_of_ours_but_the_Timestamp),
        TEST(test_a_To_tag_that_is_there_stays),
        TEST(test_T06_the_answer_to_a_bad_request_takes_the_first_of_each),
        TEST(test_what_has_no_Via_or_is_no_request_gets_no_answer),
        TEST(test_every_torture_request_is_answered_with_one_message),
        TEST(test_ACK_and_CANCEL_of_an_INVITE),
        TEST(test_phrases),
        TEST(test_T38_a_buffer_that_is_full_is_left_as_it_was),
        TEST(test_every_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
