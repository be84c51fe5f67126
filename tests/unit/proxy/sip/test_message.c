/* SPDX-License-Identifier: Apache-2.0 */
/* Messages: the checks that each must pass, and that nothing has two readings. */
#include "proxy/sip/message.h"

#include "tests/unit/proxy/sip/sip_testing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static enum message_fault fault_of(struct slice text, enum header_id *id)
{
    enum message_fault fault;
    struct message m;

    message_init(&m, 0);
    assert_int_not_equal(message_parse(&m, text), ERROR_MEMORY);
    fault = m.fault;
    if (id)
        *id = m.fault_header;
    message_free(&m);
    return fault;
}

#define LINE "MESSAGE sip:bob@example.org SIP/2.0"

static void test_a_request_is_taken_apart(void **state)
{
    struct message m;
    const struct header *h;

    (void)state;
    message_init(&m, 0);
    assert_int_equal(
        message_parse(&m, make_request(LINE, "X-Y :  z \r\nl:5\r\nMax-Forwards: 70\r\n", "hello")),
        ERROR_NONE);
    assert_true(m.is_request);
    assert_int_equal(m.method, METHOD_MESSAGE);
    assert_slice_is(message_slice(&m, m.request_uri), "sip:bob@example.org");
    assert_slice_is(message_slice(&m, m.from_uri), "sip:alice@example.org");
    assert_slice_is(message_slice(&m, m.from_tag), "a");
    assert_slice_is(message_slice(&m, m.to_tag), "");
    assert_slice_is(message_slice(&m, m.call_id), "c@192.0.2.1");
    assert_slice_is(message_slice(&m, m.via_branch), "z9hG4bKtest");
    assert_slice_is(message_body(&m), "hello");
    assert_int_equal(m.cseq, 1);
    assert_int_equal(m.max_forwards, 70);
    assert_int_equal(m.header_count, 8);
    h = &m.headers[5];
    assert_slice_is(message_header_name(&m, h), "X-Y");
    assert_slice_is(message_header_value(&m, h), "z");
    assert_slice_is(message_header_line(&m, h), "X-Y :  z \r\n");
    assert_int_equal(message_header_count(&m, HEADER_CONTENT_LENGTH), 1);
    message_free(&m);
}

struct fault_case {
    const char *headers;
    enum message_fault fault;
    enum header_id id;
};

static void test_headers_are_checked(void **state)
{
    static const struct fault_case cases[] = {
        { "From: <sip:boss@example.org>;tag=b\r\n", MESSAGE_HEADER_REPEATED, HEADER_FROM },
        { "f: <sip:boss@example.org>;tag=b\r\n", MESSAGE_HEADER_REPEATED, HEADER_FROM },
        { "FROM : <sip:boss@example.org>;tag=b\r\n", MESSAGE_HEADER_REPEATED, HEADER_FROM },
        { "t: <sip:boss@example.org>\r\n", MESSAGE_HEADER_REPEATED, HEADER_TO },
        { "i: other\r\n", MESSAGE_HEADER_REPEATED, HEADER_CALL_ID },
        { "CSeq: 1 MESSAGE\r\n", MESSAGE_HEADER_REPEATED, HEADER_CSEQ },
        { "Max-Forwards: 5\r\nmax-forwards: 6\r\n", MESSAGE_HEADER_REPEATED, HEADER_MAX_FORWARDS },
        { "Expires: 5\r\nExpires: 6\r\n", MESSAGE_HEADER_REPEATED, HEADER_EXPIRES },
        { "l: 0\r\nContent-Length: 0\r\n", MESSAGE_HEADER_REPEATED, HEADER_CONTENT_LENGTH },
        { "Content-Type: a/b\r\nc: c/d\r\n", MESSAGE_HEADER_REPEATED, HEADER_CONTENT_TYPE },
        { "r: <sip:a@b>\r\nRefer-To: <sip:c@d>\r\n", MESSAGE_HEADER_REPEATED, HEADER_REFER_TO },
        { "Max-Forwards: 256\r\n", MESSAGE_HEADER_VALUE, HEADER_MAX_FORWARDS },
        { "Max-Forwards: -1\r\n", MESSAGE_HEADER_VALUE, HEADER_MAX_FORWARDS },
        { "Max-Forwards:\r\n", MESSAGE_HEADER_VALUE, HEADER_MAX_FORWARDS },
        { "Content-Length: +0\r\n", MESSAGE_HEADER_VALUE, HEADER_CONTENT_LENGTH },
        { "Content-Length: 0,0\r\n", MESSAGE_HEADER_VALUE, HEADER_CONTENT_LENGTH },
        { "Content-Length: 1\r\n 0\r\n", MESSAGE_HEADER_VALUE, HEADER_CONTENT_LENGTH },
        { "Content-Length: 1\r\n", MESSAGE_BODY_SHORT, HEADER_CONTENT_LENGTH },
        { "Via: what you like\r\nRoute: ,,,\r\nContact: <\r\n", MESSAGE_VALID, HEADER_OTHER },
        { "X: a\r\n b\r\n\tc\r\n", MESSAGE_VALID, HEADER_OTHER },
        { "X:\r\n", MESSAGE_VALID, HEADER_OTHER },
        { "X: \xff\xfe\xc3\xb6\r\n", MESSAGE_VALID, HEADER_OTHER },
        { "X: it\"s unbalanced\r\n  and folded\r\n", MESSAGE_VALID, HEADER_OTHER },
        { "X: \"\\\x01\\\x7f\"\r\n", MESSAGE_VALID, HEADER_OTHER },
        { "X: \"\x01\"\r\n", MESSAGE_HEADER_LINE, HEADER_OTHER },
        { "X: \\\x01\r\n", MESSAGE_HEADER_LINE, HEADER_OTHER },
        { "X: \x7f\r\n", MESSAGE_HEADER_LINE, HEADER_OTHER },
        { "no colon here\r\n", MESSAGE_HEADER_LINE, HEADER_OTHER },
        { ": no name\r\n", MESSAGE_HEADER_LINE, HEADER_OTHER },
        { "two words: x\r\n", MESSAGE_HEADER_LINE, HEADER_OTHER },
        { "N\xc3\xb6: x\r\n", MESSAGE_HEADER_LINE, HEADER_OTHER },
        { "X\r\n : x\r\n", MESSAGE_HEADER_LINE, HEADER_OTHER },
        { "X: a\nFrom: <sip:boss@example.org>\r\n", MESSAGE_HEADER_LINE, HEADER_OTHER },
        { "X: a\rFrom: <sip:boss@example.org>\r\n", MESSAGE_HEADER_LINE, HEADER_OTHER },
        { "X: a\r\r\n", MESSAGE_HEADER_LINE, HEADER_OTHER },
        { "X: a\n\r\n", MESSAGE_HEADER_LINE, HEADER_OTHER },
        { "X: a\r\n \r\n", MESSAGE_HEADER_LINE, HEADER_OTHER },
        { "X: a\r\n \t \r\n b\r\n", MESSAGE_HEADER_LINE, HEADER_OTHER },
        { "\nX: a\r\n", MESSAGE_HEADER_LINE, HEADER_OTHER },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        enum header_id id;
        enum message_fault fault = fault_of(make_request(LINE, cases[i].headers, ""), &id);

        if (fault != cases[i].fault || id != cases[i].id)
            fail_msg("%s: fault %d, header %d", cases[i].headers, (int)fault, (int)id);
    }
}

static void test_a_NUL_is_refused_but_for_an_escaped_one_in_quotes(void **state)
{
    struct slice text = make_request(LINE, "X: abc\r\nY: \"\\zb\"\r\n", "");
    char *x = memmem(text.data, text.size, "abc", 3), *y = memmem(text.data, text.size, "\\z", 2);

    (void)state;
    y[1] = '\0';
    assert_int_equal(fault_of(text, NULL), MESSAGE_VALID);
    x[1] = '\0';
    assert_int_equal(fault_of(text, NULL), MESSAGE_HEADER_LINE);
}

static void test_T06_two_Froms_are_told_in_plain_words(void **state)
{
    char text[MESSAGE_FAULT_TEXT_MAX];
    struct message m;

    (void)state;
    message_init(&m, 0);
    assert_int_equal(message_parse(&m, make_request(LINE, "f: sip:x@y\r\n", "")), ERROR_MALFORMED);
    assert_string_equal(message_fault_text(&m, text), "From stands more than once");
    assert_int_equal(message_fault_status(m.fault), 400);
    message_free(&m);
}

static void test_start_lines(void **state)
{
    static const struct {
        const char *line;
        enum message_fault fault;
    } cases[] = {
        { "MESSAGE sip:bob@example.org sip/2.0", MESSAGE_VALID },
        { "message sip:bob@example.org SIP/2.0", MESSAGE_VALID }, /* a method of its own */
        { "MESSAGE tel:+4930123 SIP/2.0", MESSAGE_VALID },
        { "MESSAGE urn:service:sos SIP/2.0", MESSAGE_VALID },
        { "MESSAGE urn:service: SIP/2.0", MESSAGE_REQUEST_URI },
        { "MESSAGE urn:isbn:1 SIP/2.0", MESSAGE_SCHEME },
        { "MESSAGE sip:bob@example.org SIP/2.1", MESSAGE_VERSION },
        { "MESSAGE sip:bob@example.org SIP/3", MESSAGE_START_LINE },
        { "MESSAGE sip:bob@example.org SIP/2.0 ", MESSAGE_START_LINE },
        { "MESSAGE sip:bob@example.org SIP/2.0x", MESSAGE_START_LINE },
        { "MESSAGE sip:bob@example.org HTTP/1.1", MESSAGE_START_LINE },
        { "MESSAGE sip:bob@example.org", MESSAGE_START_LINE },
        { "MESSAGE SIP/2.0", MESSAGE_START_LINE },
        { "MESSAGE  SIP/2.0", MESSAGE_REQUEST_URI },
        { "MESSAGE\tsip:bob@example.org SIP/2.0", MESSAGE_START_LINE },
        { "MESSAGE sip:bob@example.org\tSIP/2.0", MESSAGE_START_LINE },
        { "MESSAGE  sip:bob@example.org SIP/2.0", MESSAGE_REQUEST_URI },
        { "MESSAGE sip:bob@example.org sip:eve@example.org SIP/2.0", MESSAGE_REQUEST_URI },
        { "MESS:AGE sip:bob@example.org SIP/2.0", MESSAGE_START_LINE },
        { " MESSAGE sip:bob@example.org SIP/2.0", MESSAGE_START_LINE },
        { "", MESSAGE_START_LINE },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        enum message_fault fault = fault_of(make_request(cases[i].line, "", ""), NULL);

        if (fault != cases[i].fault)
            fail_msg("%s: fault %d", cases[i].line, (int)fault);
    }
    assert_int_equal(fault_of(SLICE(""), NULL), MESSAGE_START_LINE);
    assert_int_equal(fault_of(SLICE("\r\n\r\n"), NULL), MESSAGE_START_LINE);
}

static void test_a_folded_start_line_is_refused(void **state)
{
    (void)state;
    assert_int_equal(
        fault_of(make_request("MESSAGE sip:bob@example.org SIP/2.0\r\n x", "", ""), NULL),
        MESSAGE_HEADER_LINE);
}

static void test_status_lines(void **state)
{
    static const struct {
        const char *line;
        int status; /* 0: refused */
        const char *reason;
    } cases[] = {
        { "SIP/2.0 200 OK", 200, "OK" },
        { "SIP/2.0 180 ", 180, "" },
        { "SIP/2.0 699", 699, "" },
        { "SIP/2.0 486 Busy  Here", 486, "Busy  Here" },
        { "SIP/2.0 099 x", 0, "" },
        { "SIP/2.0 700 x", 0, "" },
        { "SIP/2.0 20 x", 0, "" },
        { "SIP/2.0 2000 x", 0, "" },
        { "SIP/2.0 4294967496 x", 0, "" },
        { "SIP/2.0  200 OK", 0, "" },
        { "SIP/2.0 200OK", 0, "" },
        { "SIP/3.0 200 OK", 0, "" },
        { "SIP/2.0", 0, "" },
        { "SIP/2.0 -20 x", 0, "" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[512];
        struct message m;

        snprintf(text, sizeof(text),
                 "%s\r\nVia: SIP/2.0/TLS h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: "
                 "<sip:c@d>;tag=2\r\n"
                 "Call-ID: x\r\nCSeq: 7 INVITE\r\nContent-Length: 0\r\n\r\n",
                 cases[i].line);
        message_init(&m, 0);
        if ((parse_text(&m, text) == MESSAGE_VALID) != (cases[i].status != 0))
            fail_msg("%s", cases[i].line);
        assert_false(m.is_request);
        if (cases[i].status) {
            assert_int_equal(m.status, cases[i].status);
            assert_slice_is(message_slice(&m, m.reason), cases[i].reason);
            assert_int_equal(m.method, METHOD_INVITE);
            assert_int_equal(m.cseq, 7);
        }
        message_free(&m);
    }
}

static void test_each_required_header_is_missed(void **state)
{
    static const enum header_id ids[] = { HEADER_VIA, HEADER_FROM, HEADER_TO, HEADER_CALL_ID,
                                          HEADER_CSEQ };

    (void)state;
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        struct slice text = make_request(LINE, "", "");
        struct slice name = header_name(ids[i]);
        char *at = memmem(text.data, text.size, name.data, name.size);
        enum header_id id;

        /* The name becomes another; From stands first in the text of none of the others. */
        at[0] = 'X';
        assert_int_equal(fault_of(text, &id), MESSAGE_HEADER_MISSING);
        assert_int_equal(id, ids[i]);
    }
}

static void test_a_bad_request_leaves_enough_for_its_answer(void **state)
{
    struct message m;

    (void)state;
    message_init(&m, 0);
    assert_int_equal(message_parse(&m, make_request("MESSAGE <sip:bob@example.org> SIP/2.0",
                                                    "this is no header\r\nSubject: x\r\n", "")),
                     ERROR_MALFORMED);
    assert_int_equal(m.fault, MESSAGE_REQUEST_URI);
    assert_true(m.is_request);
    assert_slice_is(message_slice(&m, m.via_branch), "z9hG4bKtest");
    assert_slice_is(message_slice(&m, m.call_id), "c@192.0.2.1");
    assert_slice_is(message_value(&m, HEADER_SUBJECT), "x");
    message_free(&m);
}

static void test_a_head_without_an_end_is_refused_but_read(void **state)
{
    struct slice text = make_request(LINE, "", "");
    struct message m;

    (void)state;
    message_init(&m, 0);
    text.size -= 2;
    assert_int_equal(message_parse(&m, text), ERROR_MALFORMED);
    assert_int_equal(m.fault, MESSAGE_HEADER_LINE);
    assert_int_equal(m.cseq, 1);
    /* Cut anywhere, nothing beyond is read (ASan) and nothing is valid. */
    while (text.size-- > 0) {
        char *copy = malloc(text.size + 1);

        memcpy(copy, text.data, text.size);
        assert_int_equal(message_parse(&m, (struct slice){ copy, text.size }), ERROR_MALFORMED);
        free(copy);
    }
    message_free(&m);
}

static void test_T33_content_length_cuts_what_follows(void **state)
{
    struct message m;

    (void)state;
    message_init(&m, 0);
    assert_int_equal(
        message_parse(&m, make_request(LINE, "l: 5\r\n", "helloINVITE sip:x SIP/2.0\r\n")),
        ERROR_NONE);
    assert_slice_is(message_body(&m), "hello");
    assert_int_equal(message_parse(&m, make_request(LINE, "", "all the rest")), ERROR_NONE);
    assert_slice_is(message_body(&m), "all the rest");
    message_free(&m);
}

static void test_T32_header_lines_are_bounded(void **state)
{
    char *headers = calloc(1, 65536);
    struct message m;

    (void)state;
    message_init(&m, 0);
    for (int i = 0; i < MESSAGE_HEADERS_MAX - 5; i++)
        strcat(headers, "X: y\r\n");
    assert_int_equal(message_parse(&m, make_request(LINE, headers, "")), ERROR_NONE);
    assert_int_equal(m.header_count, MESSAGE_HEADERS_MAX);
    strcat(headers, "X: y\r\n");
    assert_int_equal(message_parse(&m, make_request(LINE, headers, "")), ERROR_MALFORMED);
    assert_int_equal(m.fault, MESSAGE_TOO_LARGE);
    assert_int_equal(message_fault_status(m.fault), 513);
    memset(headers, 'y', MESSAGE_HEAD_MAX);
    memcpy(headers, "X: ", 3);
    strcpy(headers + MESSAGE_HEAD_MAX, "\r\n");
    assert_int_equal(message_parse(&m, make_request(LINE, headers, "")), ERROR_MALFORMED);
    assert_int_equal(m.fault, MESSAGE_TOO_LARGE);
    message_free(&m);
    free(headers);
}

static void test_values_of_several_headers_are_one_list(void **state)
{
    static const char *const expected[] = { "<sip:a;lr>", "<sip:b;lr>", "<sip:c;lr>",
                                            "<sip:d;lr>" };
    struct message_values values;
    struct slice value;
    struct message m;

    (void)state;
    message_init(&m, 0);
    assert_int_equal(
        message_parse(&m, make_request(LINE,
                                       "Route: <sip:a;lr>, <sip:b;lr>\r\nX: <sip:x>\r\nroute:\r\n"
                                       "ROUTE: <sip:c;lr> ,\r\n <sip:d;lr>\r\n",
                                       "")),
        ERROR_NONE);
    values = message_values(&m, HEADER_ROUTE);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(message_next_value(&values, &value), ERROR_NONE);
        assert_slice_is(value, expected[i]);
    }
    assert_int_equal(message_next_value(&values, &value), ERROR_NOT_FOUND);
    values = message_values(&m, HEADER_PATH);
    assert_int_equal(message_next_value(&values, &value), ERROR_NOT_FOUND);
    message_free(&m);
}

static void test_a_kept_message_outlives_its_text(void **state)
{
    struct slice text = make_request(LINE, "Expires: 60\r\nl: 2\r\n", "hi");
    char *copy = malloc(text.size);
    struct message m, kept;
    struct name_addr address;
    uint32_t expires;
    struct uri uri;

    (void)state;
    memcpy(copy, text.data, text.size);
    message_init(&m, 0);
    assert_int_equal(message_parse(&m, (struct slice){ copy, text.size }), ERROR_NONE);
    assert_int_equal(message_keep(&kept, &m, 0), ERROR_NONE);
    message_free(&m);
    memset(copy, 'x', text.size);
    free(copy);
    assert_int_equal(message_from(&kept, &address, &uri), ERROR_NONE);
    assert_slice_is(uri.user, "alice");
    assert_int_equal(message_expires(&kept, &expires), ERROR_NONE);
    assert_int_equal(expires, 60);
    assert_slice_is(message_body(&kept), "hi");
    /* A kept message may be parsed into again. */
    assert_int_equal(message_parse(&kept, make_request(LINE, "", "")), ERROR_NONE);
    message_free(&kept);
    message_free(&kept);
}

static void test_methods_are_compared_with_case(void **state)
{
    struct message a, b;

    (void)state;
    message_init(&a, 0);
    message_init(&b, 0);
    (void)!message_parse(&a, make_request("FOO sip:b@c SIP/2.0", "", ""));
    assert_int_equal(message_keep(&b, &a, 0), ERROR_NONE);
    assert_true(message_same_method(&a, &b));
    (void)!message_parse(&a, make_request("foo sip:b@c SIP/2.0", "", ""));
    assert_false(message_same_method(&a, &b));
    assert_int_equal(method_of(SLICE("invite")), METHOD_OTHER);
    assert_int_equal(method_of(SLICE("INVITE")), METHOD_INVITE);
    assert_int_equal(method_of(SLICE("INVITEX")), METHOD_OTHER);
    assert_int_equal(method_of(SLICE("")), METHOD_NONE);
    message_free(&a);
    message_free(&b);
}

static void test_every_allocation_may_fail(void **state)
{
    char *headers = calloc(1, 8192);
    unsigned failed = 0;

    (void)state;
    for (int i = 0; i < 100; i++) /* the table grows twice */
        strcat(headers, "X: y\r\n");
    for (unsigned n = 1;; n++) {
        struct message m, kept;
        enum error e;

        message_init(&m, 0);
        message_init(&kept, 0);
        mem_fail_nth_for_tests(n);
        e = message_parse(&m, make_request(LINE, headers, ""));
        if (e == ERROR_NONE)
            e = message_keep(&kept, &m, 0);
        mem_fail_nth_for_tests(0);
        message_free(&kept);
        message_free(&m);
        if (e == ERROR_NONE)
            break;
        assert_int_equal(e, ERROR_MEMORY);
        failed++;
    }
    assert_int_equal(failed, 5);
    free(headers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_request_is_taken_apart),
        cmocka_unit_test(test_headers_are_checked),
        cmocka_unit_test(test_a_NUL_is_refused_but_for_an_escaped_one_in_quotes),
        cmocka_unit_test(test_T06_two_Froms_are_told_in_plain_words),
        cmocka_unit_test(test_start_lines),
        cmocka_unit_test(test_a_folded_start_line_is_refused),
        cmocka_unit_test(test_status_lines),
        cmocka_unit_test(test_each_required_header_is_missed),
        cmocka_unit_test(test_a_bad_request_leaves_enough_for_its_answer),
        cmocka_unit_test(test_a_head_without_an_end_is_refused_but_read),
        cmocka_unit_test(test_T33_content_length_cuts_what_follows),
        cmocka_unit_test(test_T32_header_lines_are_bounded),
        cmocka_unit_test(test_values_of_several_headers_are_one_list),
        cmocka_unit_test(test_a_kept_message_outlives_its_text),
        cmocka_unit_test(test_methods_are_compared_with_case),
        cmocka_unit_test(test_every_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
