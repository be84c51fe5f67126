/* SPDX-License-Identifier: Apache-2.0 */
/* Where messages end on a stream. */
#include "proxy/sip/framing.h"

#include "proxy/sip/message.h"
#include "tests/unit/proxy/sip/sip_testing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define LINE "MESSAGE sip:bob@example.org SIP/2.0"

static struct framing_result frame(struct slice text)
{
    struct framing f;

    framing_init(&f, 65536);
    return framing_next(&f, text);
}

static void test_a_message_with_its_body(void **state)
{
    struct slice text = make_request(LINE, "Content-Length: 5\r\n", "helloX");
    struct framing_result r = frame(text);

    (void)state;
    assert_int_equal(r.event, FRAMING_MESSAGE);
    assert_int_equal(r.size, text.size - 1);
    assert_int_equal(r.consume, r.size);
    assert_int_equal(r.head_size, r.size - 5);
}

static void test_octet_by_octet_nothing_is_read_twice(void **state)
{
    struct slice text = make_request(LINE, "l\t :\r\n  5\r\nX: a\r\n b\r\n", "hello");
    struct framing f;

    (void)state;
    framing_init(&f, 65536);
    assert_true(framing_is_idle(&f));
    for (size_t size = 0; size < text.size; size++) {
        struct framing_result r = framing_next(&f, (struct slice){ text.data, size });

        assert_int_equal(r.event, FRAMING_MORE);
        assert_int_equal(r.consume, 0);
        /* Only the last CRLF is looked at again. */
        assert_true(f.head_size > 0 || f.scanned + 2 >= size);
        if (size > 0)
            assert_false(framing_is_idle(&f));
        if (f.head_size > 0)
            assert_int_equal(r.wanted, text.size);
    }
    assert_int_equal(framing_next(&f, text).event, FRAMING_MESSAGE);
    assert_true(framing_is_idle(&f));
}

static void test_T34_pings_and_single_CRLFs(void **state)
{
    struct framing_result r;
    struct framing f;

    (void)state;
    framing_init(&f, 65536);
    r = framing_next(&f, SLICE("\r\n\r\n"));
    assert_int_equal(r.event, FRAMING_PING);
    assert_int_equal(r.consume, 4);
    r = framing_next(&f, SLICE("\r"));
    assert_int_equal(r.event, FRAMING_MORE);
    assert_int_equal(r.consume, 0);
    r = framing_next(&f, SLICE("\r\n"));
    assert_int_equal(r.event, FRAMING_MORE);
    assert_int_equal(r.consume, 2);
    assert_true(framing_is_idle(&f));
    r = framing_next(&f, SLICE(""));
    assert_int_equal(r.event, FRAMING_MORE);
    r = framing_next(&f, SLICE("\r\n"));
    assert_int_equal(r.event, FRAMING_PING);
    assert_int_equal(r.consume, 2);
    r = framing_next(&f, SLICE("\r\nM"));
    assert_int_equal(r.event, FRAMING_PONG);
    assert_int_equal(r.consume, 2);
    r = framing_next(&f, SLICE("M"));
    assert_int_equal(r.event, FRAMING_MORE);
}

struct lost_case {
    const char *headers;
    enum framing_fault fault;
};

static void test_T33_lengths_that_lose_the_stream(void **state)
{
    static const struct lost_case cases[] = {
        { "", FRAMING_LENGTH_MISSING },
        { "X-Content-Length: 0\r\n", FRAMING_LENGTH_MISSING },
        { "Content-Length: 0\r\nContent-Length: 0\r\n", FRAMING_LENGTH_REPEATED },
        { "Content-Length: 0\r\nl: 5\r\n", FRAMING_LENGTH_REPEATED },
        { "L :0\r\ncontent-length\t: 0\r\n", FRAMING_LENGTH_REPEATED },
        { "Content-Length: -1\r\n", FRAMING_LENGTH_MALFORMED },
        { "Content-Length: +1\r\n", FRAMING_LENGTH_MALFORMED },
        { "Content-Length:\r\n", FRAMING_LENGTH_MALFORMED },
        { "Content-Length: 0x0\r\n", FRAMING_LENGTH_MALFORMED },
        { "Content-Length: 0;x\r\n", FRAMING_LENGTH_MALFORMED },
        { "Content-Length: 0, 0\r\n", FRAMING_LENGTH_MALFORMED },
        { "Content-Length: 0 0\r\n", FRAMING_LENGTH_MALFORMED },
        { "Content-Length: 1\r\n 0\r\n", FRAMING_LENGTH_MALFORMED },
        { "Content-Length: 4294967296\r\n", FRAMING_LENGTH_MALFORMED },
        { "Content-Length: 18446744073709551616\r\n", FRAMING_LENGTH_MALFORMED },
        { "Content-Length: 0\v\r\n", FRAMING_LENGTH_MALFORMED },
        { "Content-Length 0\r\nl: 0\r\n", FRAMING_LENGTH_MALFORMED },
        { "l: 0\r\nContent-Length\r\n : 5\r\n", FRAMING_LENGTH_MALFORMED },
        { "l: 0\r\nContent-Length\v: 5\r\n", FRAMING_LENGTH_MALFORMED },
        { "Content-Length: 2147483647\r\n", FRAMING_MESSAGE_TOO_LARGE },
        { "Content-Length: 65536\r\n", FRAMING_MESSAGE_TOO_LARGE },
        { "l: 0\r\nX: a\nY: b\r\n", FRAMING_LINE_END },
        { "l: 0\r\nX: a\rY: b\r\n", FRAMING_LINE_END },
        { "l: 0\r\nX: a\r\r\n", FRAMING_LINE_END },
        { "l: 0\r\nX: a\r\n \r\n", FRAMING_LINE_END },
        { "l: 0\r\nX: a\r\n\t \t\r\n b\r\n", FRAMING_LINE_END },
        { "\n\r\n", FRAMING_LINE_END },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct slice text = make_request(LINE, cases[i].headers, "");
        struct framing_result r = frame(text);
        struct message m;

        if (r.event != FRAMING_LOST || r.fault != cases[i].fault)
            fail_msg("%s: event %d, %s", cases[i].headers, (int)r.event,
                     framing_fault_text(r.fault));
        /* Whatever it was, the answer can be built. */
        assert_true(r.answerable);
        message_init(&m, 0);
        assert_int_not_equal(message_parse(&m, (struct slice){ text.data, r.size }), ERROR_MEMORY);
        assert_true(m.is_request);
        assert_int_equal(m.cseq, 1);
        assert_in_range(framing_fault_status(r.fault), 400, 513);
        message_free(&m);
    }
}

static void test_T33_lengths_that_are_well(void **state)
{
    static const char *const well[] = {
        "Content-Length:0\r\n",         "content-length \t: 0 \r\n", "l:\r\n 0\r\n",
        "L: 000000000000000000000\r\n", "Content-Length: 0\r\n X",   "l: 0\r\nLength: 7\r\n"
    };

    (void)state;
    for (size_t i = 0; i < sizeof(well) / sizeof(well[0]); i++) {
        char headers[128];
        struct slice text;
        struct framing_result r;

        snprintf(headers, sizeof(headers), "%s%s", well[i], strchr(well[i], 'X') ? "\r\n" : "");
        text = make_request(LINE, headers, "");
        r = frame(text);
        if (strchr(well[i], 'X'))
            assert_int_equal(r.fault, FRAMING_LENGTH_MALFORMED);
        else
            assert_int_equal(r.size, text.size);
    }
}

static void test_T34_garbage_is_lost_at_once(void **state)
{
    static const char *const garbage[] = { "\n", "\r\r",    " x",   "\x16\x03\x01",
                                           "{",  "\r\n\r ", "\x80", ":" };

    (void)state;
    for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
        struct slice stream = slice_of(garbage[i]);
        struct framing_result r;
        struct framing f;

        framing_init(&f, 65536);
        while ((r = framing_next(&f, stream)).event == FRAMING_PONG)
            stream = (struct slice){ stream.data + r.consume, stream.size - r.consume };
        assert_int_equal(r.event, FRAMING_LOST);
        assert_int_equal(r.fault, FRAMING_NOT_SIP);
        assert_false(r.answerable);
        assert_int_equal(framing_next(&f, stream).event, FRAMING_LOST);
    }
}

static void test_T33_a_folded_start_line_is_lost(void **state)
{
    struct framing_result r = frame(make_request(LINE "\r\n x", "l: 0\r\n", ""));

    (void)state;
    assert_int_equal(r.fault, FRAMING_LINE_END);
    assert_false(r.answerable);
}

static void test_T32_a_head_without_end_is_lost_at_the_bound(void **state)
{
    char *text = malloc(70000);
    struct framing_result r;
    struct framing f;
    size_t size;

    (void)state;
    size = (size_t)sprintf(text, LINE "\r\nVia: SIP/2.0/TLS h\r\nX: ");
    memset(text + size, 'a', 70000 - size);
    framing_init(&f, 65536);
    for (size_t n = 1; n <= MESSAGE_HEAD_MAX; n += 97)
        assert_int_equal(framing_next(&f, (struct slice){ text, n }).event, FRAMING_MORE);
    assert_int_equal(framing_next(&f, (struct slice){ text, MESSAGE_HEAD_MAX }).event,
                     FRAMING_MORE);
    r = framing_next(&f, (struct slice){ text, MESSAGE_HEAD_MAX + 1 });
    assert_int_equal(r.fault, FRAMING_HEAD_TOO_LARGE);
    assert_int_equal(r.size, size - 3);
    assert_true(r.answerable);
    assert_int_equal(frame((struct slice){ text, 70000 }).size, size - 3);
    free(text);
}

static void test_T32_a_folded_line_counts_too(void **state)
{
    char *text = calloc(1, 70000);
    size_t size = (size_t)sprintf(text, LINE "\r\nX: a");

    (void)state;
    while (size < 60000)
        size += (size_t)sprintf(text + size, "\r\n fold");
    assert_int_equal(frame((struct slice){ text, size }).fault, FRAMING_HEAD_TOO_LARGE);
    free(text);
}

static void test_T32_ten_thousand_headers_are_lost_at_the_bound(void **state)
{
    char *headers = calloc(1, 65536);
    struct framing_result r;

    (void)state;
    for (int i = 0; i < MESSAGE_HEADERS_MAX - 6; i++)
        strcat(headers, "v: x\r\n");
    strcat(headers, "l: 0\r\n");
    assert_int_equal(frame(make_request(LINE, headers, "")).event, FRAMING_MESSAGE);
    strcat(headers, "v: x\r\n");
    r = frame(make_request(LINE, headers, ""));
    assert_int_equal(r.fault, FRAMING_HEAD_TOO_LARGE);
    assert_true(r.answerable);
    free(headers);
}

static void test_T32_the_bound_of_a_message_holds_for_head_and_body(void **state)
{
    struct slice text = make_request(LINE, "l: 5\r\n", "hello");
    struct framing f;

    (void)state;
    framing_init(&f, (uint32_t)text.size);
    assert_int_equal(framing_next(&f, text).event, FRAMING_MESSAGE);
    framing_init(&f, (uint32_t)text.size - 1);
    assert_int_equal(framing_next(&f, text).fault, FRAMING_MESSAGE_TOO_LARGE);
    framing_init(&f, 100);
    assert_int_equal(framing_next(&f, text).fault, FRAMING_HEAD_TOO_LARGE);
    assert_int_equal(framing_fault_status(FRAMING_MESSAGE_TOO_LARGE), 513);
}

static void test_T33_a_message_in_a_body_is_body(void **state)
{
    char stream[4096];
    struct slice inner, outer;
    struct framing_result r;

    (void)state;
    inner = make_request("BYE sip:bob@example.org SIP/2.0", "l: 0\r\n", "");
    memcpy(stream + 2048, inner.data, inner.size + 1);
    {
        char headers[32];

        snprintf(headers, sizeof(headers), "l: %zu\r\n", inner.size);
        outer = make_request(LINE, headers, stream + 2048);
    }
    r = frame(outer);
    assert_int_equal(r.event, FRAMING_MESSAGE);
    assert_int_equal(r.size, outer.size);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_message_with_its_body),
        cmocka_unit_test(test_octet_by_octet_nothing_is_read_twice),
        cmocka_unit_test(test_T34_pings_and_single_CRLFs),
        cmocka_unit_test(test_T33_lengths_that_lose_the_stream),
        cmocka_unit_test(test_T33_lengths_that_are_well),
        cmocka_unit_test(test_T34_garbage_is_lost_at_once),
        cmocka_unit_test(test_T33_a_folded_start_line_is_lost),
        cmocka_unit_test(test_T32_a_head_without_end_is_lost_at_the_bound),
        cmocka_unit_test(test_T32_a_folded_line_counts_too),
        cmocka_unit_test(test_T32_ten_thousand_headers_are_lost_at_the_bound),
        cmocka_unit_test(test_T32_the_bound_of_a_message_holds_for_head_and_body),
        cmocka_unit_test(test_T33_a_message_in_a_body_is_body),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
