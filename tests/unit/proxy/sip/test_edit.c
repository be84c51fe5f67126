/* SPDX-License-Identifier: Apache-2.0 */
/* Edits of a message on its way out. */
#include "proxy/sip/edit.h"

#include "tests/unit/proxy/sip/sip_testing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static const char request_text[] = "INVITE sip:bob@example.org SIP/2.0\r\n"
                                   "Via: SIP/2.0/TLS 192.0.2.1;branch=z9hG4bK1;rport\r\n"
                                   "Route: <sip:p1;lr>,\r\n <sip:p2;lr> , <sip:p3;lr>\r\n"
                                   "P-Asserted-Identity: <sip:boss@example.org>\r\n"
                                   "ROUTE: <sip:p4;lr>\r\n"
                                   "From: <sip:alice@example.org>;tag=a\r\n"
                                   "To: <sip:bob@example.org>\r\n"
                                   "Call-ID: c\r\n"
                                   "CSeq: 1 INVITE\r\n"
                                   "p-asserted-identity: <tel:+1>\r\n"
                                   "Max-Forwards:  70\r\n"
                                   "Odd :\r\n  spelling\r\n"
                                   "Content-Length: 4\r\n"
                                   "\r\n"
                                   "body";

static struct message request;
static struct edit_list list;
static struct buffer out;

static int set_up(void **state)
{
    (void)state;
    message_init(&request, 0);
    buffer_init(&out, 0);
    assert_int_equal(message_parse(&request, slice_of(request_text)), ERROR_NONE);
    edit_init(&list, &request);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    message_free(&request);
    buffer_free(&out);
    return 0;
}

/* The text with each `old` replaced once by `new`, as pairs up to NULL. */
static const char *expected(const char *first, ...)
{
    static char text[8192];
    const char *from = first;
    va_list args;

    strcpy(text, request_text);
    va_start(args, first);
    while (from) {
        const char *to = va_arg(args, const char *);
        char rest[8192], *at = strstr(text, from);

        assert_non_null(at);
        strcpy(rest, at + strlen(from));
        sprintf(at, "%s%s", to, rest);
        from = va_arg(args, const char *);
    }
    va_end(args);
    return text;
}

static void assert_written(const char *text)
{
    assert_int_equal(edit_size(&list), strlen(text));
    assert_int_equal(edit_write(&list, &out), ERROR_NONE);
    assert_slice_is(buffer_slice(&out), text);
}

static void assert_out_contains(const char *text)
{
    if (!memmem(out.data, buffer_size(&out), text, strlen(text)))
        fail_msg("no \"%s\" in \"%.*s\"", text, (int)buffer_size(&out), out.data);
}

static void test_without_edits_every_octet_stays(void **state)
{
    (void)state;
    assert_written(request_text);
}

static void test_what_forwarding_does(void **state)
{
    (void)state;
    edit_push(&list, HEADER_VIA, SLICE("SIP/2.0/TLS proxy;branch=z9hG4bK2"));
    edit_request_uri(&list, SLICE("sip:bob@192.0.2.7:5061"));
    edit_max_forwards(&list);
    edit_push(&list, HEADER_RECORD_ROUTE, SLICE("<sip:in;lr>"));
    edit_push(&list, HEADER_RECORD_ROUTE, SLICE("<sip:out;lr>"));
    edit_remove(&list, HEADER_P_ASSERTED_IDENTITY);
    edit_add(&list, HEADER_P_ASSERTED_IDENTITY, SLICE("<sip:alice@example.org>"));
    assert_int_equal(edit_pop(&list, HEADER_ROUTE, 1), ERROR_NONE);
    edit_via_source(&list, SLICE("203.0.113.9"), 4711);
    assert_written(
        expected("sip:bob@example.org", "sip:bob@192.0.2.7:5061",
                 "Via: SIP/2.0/TLS 192.0.2.1;branch=z9hG4bK1;rport\r\n",
                 "Via: SIP/2.0/TLS proxy;branch=z9hG4bK2\r\n"
                 "Via: SIP/2.0/TLS 192.0.2.1;branch=z9hG4bK1;received=203.0.113.9;rport=4711\r\n"
                 "Record-Route: <sip:out;lr>\r\nRecord-Route: <sip:in;lr>\r\n",
                 "<sip:p1;lr>,\r\n ", "", "P-Asserted-Identity: <sip:boss@example.org>\r\n", "",
                 "p-asserted-identity: <tel:+1>\r\n", "", "Max-Forwards:  70", "Max-Forwards:  69",
                 "Content-Length: 4\r\n",
                 "Content-Length: 4\r\nP-Asserted-Identity: <sip:alice@example.org>\r\n", NULL));
}

static void test_values_of_a_list_are_popped_one_by_one(void **state)
{
    static const char *const left[] = {
        "Route: <sip:p2;lr> , <sip:p3;lr>\r\n",
        "Route: <sip:p3;lr>\r\n",
        "",
    };

    (void)state;
    for (unsigned n = 1; n <= 4; n++) {
        edit_init(&list, &request);
        buffer_reset(&out);
        assert_int_equal(edit_pop(&list, HEADER_ROUTE, n), ERROR_NONE);
        if (n < 4)
            assert_written(expected("Route: <sip:p1;lr>,\r\n <sip:p2;lr> , <sip:p3;lr>\r\n",
                                    left[n - 1], NULL));
        else
            assert_written(expected("Route: <sip:p1;lr>,\r\n <sip:p2;lr> , <sip:p3;lr>\r\n", "",
                                    "ROUTE: <sip:p4;lr>\r\n", "", NULL));
    }
}

static void test_a_pushed_route_stands_before_what_is_popped(void **state)
{
    (void)state;
    assert_int_equal(edit_pop(&list, HEADER_ROUTE, 3), ERROR_NONE);
    edit_push(&list, HEADER_ROUTE, SLICE("<sip:new;lr>"));
    edit_push(&list, HEADER_ROUTE, SLICE("<sip:newer;lr>"));
    assert_written(expected("Route: <sip:p1;lr>,\r\n <sip:p2;lr> , <sip:p3;lr>\r\n",
                            "Route: <sip:newer;lr>\r\nRoute: <sip:new;lr>\r\n", NULL));
}

static void test_a_malformed_list_is_not_popped(void **state)
{
    (void)state;
    message_free(&request);
    assert_int_equal(message_parse(&request, make_request("BYE sip:b@c SIP/2.0",
                                                          "Route: <sip:a>,,<sip:b>\r\n", "")),
                     ERROR_NONE);
    edit_init(&list, &request);
    assert_int_equal(edit_pop(&list, HEADER_ROUTE, 2), ERROR_MALFORMED);
    assert_int_equal(list.count, 0);
}

static void test_max_forwards_is_added_when_missing(void **state)
{
    (void)state;
    message_free(&request);
    assert_int_equal(message_parse(&request, make_request("BYE sip:b@c SIP/2.0", "", "")),
                     ERROR_NONE);
    edit_init(&list, &request);
    edit_max_forwards(&list);
    assert_int_equal(edit_write(&list, &out), ERROR_NONE);
    assert_out_contains("CSeq: 1 BYE\r\nMax-Forwards: 70\r\n\r\n");
}

static void test_the_source_replaces_what_a_client_wrote(void **state)
{
    (void)state;
    message_free(&request);
    assert_int_equal(
        message_parse(&request, SLICE("BYE sip:b@c SIP/2.0\r\nv: SIP/2.0/TLS h;received=127.0.0.1 "
                                      "; RPORT = 9 ;branch=z9hG4bK1, "
                                      "SIP/2.0/UDP i\r\nf: <sip:a@b>;tag=1\r\nt: "
                                      "<sip:c@d>;tag=2\r\ni: x\r\nCSeq: 1 BYE\r\n\r\n")),
        ERROR_NONE);
    edit_init(&list, &request);
    edit_via_source(&list, SLICE("2001:db8::7"), 40000);
    assert_int_equal(edit_write(&list, &out), ERROR_NONE);
    assert_non_null(memmem(
        out.data, buffer_size(&out),
        "v: SIP/2.0/TLS h;branch=z9hG4bK1;received=2001:db8::7;rport=40000, SIP/2.0/UDP i\r\n",
        82));
}

static void test_a_response_loses_its_topmost_Via_in_every_shape(void **state)
{
    static const struct {
        const char *before, *after;
    } cases[] = {
        { "Via: SIP/2.0/TLS p;branch=z9hG4bK1\r\nVia: SIP/2.0/TLS h\r\n",
          "Via: SIP/2.0/TLS h\r\n" },
        { "v: SIP/2.0/TLS p;branch=z9hG4bK1 ,\r\n\tSIP/2.0/TLS h\r\n", "v: SIP/2.0/TLS h\r\n" },
        { "Via: SIP/2.0/TLS p;x=\"a,b\", SIP/2.0/TLS h, SIP/2.0/TLS i\r\n",
          "Via: SIP/2.0/TLS h, SIP/2.0/TLS i\r\n" },
    };
    const char *head = "SIP/2.0 200 OK\r\n";
    const char *tail =
        "From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\nCall-ID: x\r\nCSeq: 7 INVITE\r\n\r\n";

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[512], wanted[512];

        snprintf(text, sizeof(text), "%s%s%s", head, cases[i].before, tail);
        snprintf(wanted, sizeof(wanted), "%s%s%s", head, cases[i].after, tail);
        buffer_reset(&out);
        assert_int_equal(message_parse(&request, slice_of(text)), ERROR_NONE);
        edit_init(&list, &request);
        assert_int_equal(edit_pop(&list, HEADER_VIA, 1), ERROR_NONE);
        assert_written(wanted);
    }
}

static void test_many_edits_move_into_the_arena(void **state)
{
    char headers[8192] = "";

    (void)state;
    for (int i = 0; i < 100; i++)
        sprintf(headers + strlen(headers), "Remote-Party-ID: <sip:boss@x>\r\nX: %d\r\n", i);
    message_free(&request);
    assert_int_equal(message_parse(&request, make_request("BYE sip:b@c SIP/2.0", headers, "")),
                     ERROR_NONE);
    edit_init(&list, &request);
    edit_remove(&list, HEADER_REMOTE_PARTY_ID);
    assert_int_equal(list.count, 100);
    assert_int_equal(edit_write(&list, &out), ERROR_NONE);
    assert_null(memmem(out.data, buffer_size(&out), "Party", 5));
    assert_out_contains("X: 98\r\nX: 99\r\n\r\n");
}

static void test_two_branches_edit_one_request(void **state)
{
    struct edit_list other;
    struct buffer second;

    (void)state;
    edit_init(&other, &request);
    edit_request_uri(&list, SLICE("sip:one"));
    edit_request_uri(&other, SLICE("sip:two"));
    buffer_init(&second, 0);
    assert_int_equal(edit_write(&other, &second), ERROR_NONE);
    assert_memory_equal(second.data, "INVITE sip:two SIP/2.0\r\n", 24);
    buffer_free(&second);
    assert_written(expected("sip:bob@example.org", "sip:one", NULL));
}

static void test_other_edits(void **state)
{
    (void)state;
    edit_value(&list, message_header(&request, HEADER_TO), SLICE("<sip:bob@example.org>;tag=t"));
    edit_remove_header(&list, message_header(&request, HEADER_MAX_FORWARDS));
    edit_add_named(&list, SLICE("X-Odd"), edit_format(&list, "%d", 5));
    assert_written(expected("To: <sip:bob@example.org>", "To: <sip:bob@example.org>;tag=t",
                            "Max-Forwards:  70\r\n", "", "Content-Length: 4\r\n",
                            "Content-Length: 4\r\nX-Odd: 5\r\n", NULL));
}

static void edit_a_lot(void)
{
    edit_init(&list, &request);
    for (int i = 0; i < 20; i++)
        edit_push(&list, HEADER_RECORD_ROUTE, SLICE("<sip:p;lr>"));
    edit_max_forwards(&list);
    edit_request_uri(&list, SLICE("sip:x"));
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    for (unsigned n = 1;; n++) {
        enum error e;

        tear_down(state);
        set_up(state);
        mem_fail_nth_for_tests(n);
        edit_a_lot();
        e = edit_write(&list, &out);
        mem_fail_nth_for_tests(0);
        if (e == ERROR_NONE)
            break;
        assert_int_equal(e, ERROR_MEMORY);
        assert_int_equal(buffer_size(&out), 0);
        assert_in_range(n, 1, 1000);
    }
}

static void test_T38_the_bound_of_the_output_is_kept(void **state)
{
    (void)state;
    buffer_free(&out);
    buffer_init(&out, sizeof(request_text) - 2);
    assert_int_equal(edit_write(&list, &out), ERROR_TOO_LARGE);
    assert_int_equal(buffer_size(&out), 0);
}

static void test_the_bound_of_the_arena_is_kept(void **state)
{
    (void)state;
    message_free(&request);
    message_init(&request, 1024);
    assert_int_equal(message_parse(&request, slice_of(request_text)), ERROR_NONE);
    edit_init(&list, &request);
    for (int i = 0; i < 100; i++)
        edit_add(&list, HEADER_WARNING, SLICE("399 p \"text\""));
    assert_int_equal(edit_write(&list, &out), ERROR_MEMORY);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_without_edits_every_octet_stays),
        TEST(test_what_forwarding_does),
        TEST(test_values_of_a_list_are_popped_one_by_one),
        TEST(test_a_pushed_route_stands_before_what_is_popped),
        TEST(test_a_malformed_list_is_not_popped),
        TEST(test_max_forwards_is_added_when_missing),
        TEST(test_the_source_replaces_what_a_client_wrote),
        TEST(test_a_response_loses_its_topmost_Via_in_every_shape),
        TEST(test_many_edits_move_into_the_arena),
        TEST(test_two_branches_edit_one_request),
        TEST(test_other_edits),
        TEST(test_every_allocation_may_fail),
        TEST(test_T38_the_bound_of_the_output_is_kept),
        TEST(test_the_bound_of_the_arena_is_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
