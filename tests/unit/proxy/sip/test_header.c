/* SPDX-License-Identifier: Apache-2.0 */
/* Header names and values. */
#include "proxy/sip/header.h"

#include "tests/unit/proxy/sip/sip_testing.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void test_every_name_is_found_in_every_case_and_in_its_compact_form(void **state)
{
    static const struct {
        const char *name;
        char compact;
        enum header_id id;
    } names[] = {
#define HEADER(id, name, first, last, compact, single) { name, compact, HEADER_##id },
#include "proxy/sip/header_names.def"
#undef HEADER
    };

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char upper[40], lower[40], longer[42], letter[2] = { names[i].compact, 0 };
        size_t size = strlen(names[i].name);

        for (size_t j = 0; j <= size; j++) {
            upper[j] = (char)toupper(names[i].name[j]);
            lower[j] = (char)tolower(names[i].name[j]);
        }
        snprintf(longer, sizeof(longer), "%sx", names[i].name);
        assert_int_equal(header_id_of(slice_of(names[i].name)), names[i].id);
        assert_int_equal(header_id_of(slice_of(upper)), names[i].id);
        assert_int_equal(header_id_of(slice_of(lower)), names[i].id);
        assert_int_not_equal(header_id_of(slice_of(longer)), names[i].id);
        if (size > 2) /* "T" is To */
            assert_int_not_equal(header_id_of((struct slice){ upper, size - 1 }), names[i].id);
        if (names[i].compact) {
            assert_int_equal(header_id_of(slice_of(letter)), names[i].id);
            letter[0] = (char)toupper(letter[0]);
            assert_int_equal(header_id_of(slice_of(letter)), names[i].id);
        }
        assert_slice_is(header_name(names[i].id), names[i].name);
    }
    for (char c = 1; c < 127; c++) {
        enum header_id id = header_id_of((struct slice){ &c, 1 });
        bool expected = false;

        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
            expected = expected || (names[i].compact == tolower(c) && names[i].id == id);
        assert_true(id == HEADER_OTHER || expected);
    }
    assert_int_equal(header_id_of(SLICE("")), HEADER_OTHER);
    assert_int_equal(header_id_of(SLICE("Xontent-Lengxh")), HEADER_OTHER);
    assert_int_equal(header_id_of(SLICE("Call\rID")), HEADER_OTHER);
}

struct address_case {
    const char *value;
    const char *uri; /* NULL: malformed */
    const char *display;
    const char *tag;
};

static void test_T06_the_addr_spec_counts_and_nothing_else(void **state)
{
    static const struct address_case cases[] = {
        { "\"sip:boss@x\" <sip:me@x>;tag=1", "sip:me@x", "\"sip:boss@x\"", "1" },
        { "\"<sip:boss@x>\" <sip:me@x>;tag=1", "sip:me@x", "\"<sip:boss@x>\"", "1" },
        { "\"a\\\" <sip:boss@x>\" <sip:me@x>", "sip:me@x", "\"a\\\" <sip:boss@x>\"", "" },
        { "sip:me@x;tag=1", "sip:me@x", "", "1" },
        { "sip:me@x ; tag = 1", "sip:me@x", "", "1" },
        { "<sip:me@x;tag=2>;tag=1", "sip:me@x;tag=2", "", "1" },
        { "caller<sip:me@x>", "sip:me@x", "caller", "" },
        { "A. Bell <sip:me@x>;tag=q;p=\"<sip:boss@x>;tag=2\"", "sip:me@x", "A. Bell", "q" },
        { "J\xc3\xb6rg  M <sip:me@x>", "sip:me@x", "J\xc3\xb6rg  M", "" },
        { "\"\" <sip:me@x>", "sip:me@x", "\"\"", "" },
        { "sip:boss@x <sip:me@x>", NULL, NULL, NULL },
        { "<sip:boss@x> <sip:me@x>", NULL, NULL, NULL },
        { "\"a\" <sip:boss@x>, <sip:me@x>", NULL, NULL, NULL },
        { "sip:boss@x, sip:me@x", NULL, NULL, NULL },
        { "(comment) <sip:me@x>", NULL, NULL, NULL },
        { "<sip:me@x> (comment)", NULL, NULL, NULL },
        { "\"a\" \"b\" <sip:me@x>", NULL, NULL, NULL },
        { "\"a\" b <sip:me@x>", NULL, NULL, NULL },
        { "\"unbalanced <sip:me@x>", NULL, NULL, NULL },
        { "\"escaped\\\" <sip:me@x>", NULL, NULL, NULL },
        { "Bell, Alexander <sip:me@x>", NULL, NULL, NULL },
        { "<sip:me@x", NULL, NULL, NULL },
        { "sip:me@x>", NULL, NULL, NULL },
        { "<<sip:me@x>>", NULL, NULL, NULL },
        { "< sip:me@x >", NULL, NULL, NULL },
        { "<sip:me@x>;tag=1;tag=2", NULL, NULL, NULL },
        { "<sip:me@x>;tag=1;TAG=1", NULL, NULL, NULL },
        { "<sip:me@x>;tag", NULL, NULL, NULL },
        { "<sip:me@x>;tag=", NULL, NULL, NULL },
        { "<sip:me@x>;tag=\"1\"", NULL, NULL, NULL },
        { "<sip:me@x>;;tag=1", NULL, NULL, NULL },
        { "<sip:me@x>tag=1", NULL, NULL, NULL },
        { "<sip:me@x>;tag=1 2", NULL, NULL, NULL },
        { "sip:me@x?Route=%3Csip:y%3E", NULL, NULL, NULL },
        { "sip:a,b@x", NULL, NULL, NULL },
        { "<>", NULL, NULL, NULL },
        { "", NULL, NULL, NULL },
        { "\"only a name\"", NULL, NULL, NULL },
        { "<sip:me@x\r\n >", NULL, NULL, NULL },
        { "sip:b\xc3\xb6ss@x", NULL, NULL, NULL },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct name_addr address;
        enum error e = header_parse_name_addr(slice_of(cases[i].value), &address);

        if ((e == ERROR_NONE) != (cases[i].uri != NULL))
            fail_msg("%s: %s", cases[i].value, error_text(e));
        if (!cases[i].uri)
            continue;
        assert_slice_is(address.uri, cases[i].uri);
        assert_slice_is(address.display, cases[i].display);
        assert_slice_is(address.tag, cases[i].tag);
    }
}

static void test_routes_need_angle_brackets(void **state)
{
    struct name_addr address;

    (void)state;
    assert_int_equal(header_parse_route(SLICE("<sip:p;lr>;x=y"), &address), ERROR_NONE);
    assert_slice_is(address.uri, "sip:p;lr");
    assert_int_equal(header_parse_route(SLICE("sip:p;lr"), &address), ERROR_MALFORMED);
}

static void test_lists_part_at_commas_outside_quotes_and_brackets(void **state)
{
    struct slice rest = SLICE("\"a,b\" <sip:a,b@x> , <sip:c@x>;p=\"1,2\",\r\n <sip:d@x>"), item;

    (void)state;
    assert_int_equal(header_next_item(&rest, &item), ERROR_NONE);
    assert_slice_is(item, "\"a,b\" <sip:a,b@x>");
    assert_int_equal(header_next_item(&rest, &item), ERROR_NONE);
    assert_slice_is(item, "<sip:c@x>;p=\"1,2\"");
    assert_int_equal(header_next_item(&rest, &item), ERROR_NONE);
    assert_slice_is(item, "<sip:d@x>");
    assert_int_equal(header_next_item(&rest, &item), ERROR_NOT_FOUND);
    assert_int_equal(header_next_item(&rest, &item), ERROR_NOT_FOUND);
}

static void test_broken_lists_end_in_malformed(void **state)
{
    static const char *const broken[] = { ",a", "a,,b", "a,", "a, \t", "\"a", "<a", "a,\"b" };

    (void)state;
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        struct slice rest = slice_of(broken[i]), item;
        enum error e;

        while ((e = header_next_item(&rest, &item)) == ERROR_NONE)
            ;
        assert_int_equal(e, ERROR_MALFORMED);
        assert_int_equal(rest.size, 0);
    }
}

static void test_token_lists(void **state)
{
    struct slice rest = SLICE("path, 100rel ,timer"), token;

    (void)state;
    assert_int_equal(header_next_token(&rest, &token), ERROR_NONE);
    assert_slice_is(token, "path");
    assert_int_equal(header_next_token(&rest, &token), ERROR_NONE);
    assert_slice_is(token, "100rel");
    assert_int_equal(header_next_token(&rest, &token), ERROR_NONE);
    assert_slice_is(token, "timer");
    assert_int_equal(header_next_token(&rest, &token), ERROR_NOT_FOUND);
    rest = SLICE("a b, c");
    assert_int_equal(header_next_token(&rest, &token), ERROR_MALFORMED);
}

static void test_contacts(void **state)
{
    struct contact c;

    (void)state;
    assert_int_equal(header_parse_contact(
                         SLICE("<sip:alice@192.0.2.4:5061;transport=tls>"
                               ";+sip.instance=\"<urn:uuid:0000-1>\";reg-id=1;expires=0600;q=0.7"
                               ";methods=\"INVITE,ACK\""),
                         &c),
                     ERROR_NONE);
    assert_slice_is(c.address.uri, "sip:alice@192.0.2.4:5061;transport=tls");
    assert_slice_is(c.instance, "<urn:uuid:0000-1>");
    assert_int_equal(c.reg_id, 1);
    assert_true(c.has_expires);
    assert_int_equal(c.expires_s, 600);
    assert_int_equal(c.q, 700);
    assert_int_equal(header_parse_contact(SLICE(" * "), &c), ERROR_NONE);
    assert_true(c.star);
    assert_int_equal(header_parse_contact(SLICE("sip:a@b"), &c), ERROR_NONE);
    assert_int_equal(c.q, CONTACT_Q_NONE);
    assert_false(c.has_expires);
    assert_false(c.star);
}

static void test_contacts_out_of_range_are_malformed(void **state)
{
    static const char *const broken[] = {
        "*;expires=0",
        "**",
        "<sip:a@b>;q=1.001",
        "<sip:a@b>;q=2",
        "<sip:a@b>;q=.5",
        "<sip:a@b>;q=0.1234",
        "<sip:a@b>;q=-1",
        "<sip:a@b>;q",
        "<sip:a@b>;expires=",
        "<sip:a@b>;expires=4294967296",
        "<sip:a@b>;expires=1s",
        "<sip:a@b>;expires=\"5\"",
        "<sip:a@b>;reg-id=0",
        "<sip:a@b>;reg-id=2147483648",
        "<sip:a@b>;q=1;Q=0.5",
        "<sip:a@b>;+sip.instance=urn",
        "<sip:a@b>, <sip:c@d>",
        "*;q=1",
        "<sip:a@b>;+sip.instance=\"<a\r\n b>\"",
        "<sip:a@b>;+sip.instance=\"\\<a\"",
        "<sip:a b>",
    };
    struct contact c;

    (void)state;
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
        if (header_parse_contact(slice_of(broken[i]), &c) != ERROR_MALFORMED)
            fail_msg("%s", broken[i]);
}

static void test_vias(void **state)
{
    struct via v;

    (void)state;
    assert_int_equal(
        header_parse_via(SLICE("SIP / 2.0 /TLS [2001:db8::9:1] : 5061 ; branch=z9hG4bK1 "
                               ";received=2001:db8::1;RPORT=5;maddr=192.0.2.1;x"),
                         &v),
        ERROR_NONE);
    assert_slice_is(v.transport, "TLS");
    assert_slice_is(v.host, "[2001:db8::9:1]");
    assert_int_equal(v.port, 5061);
    assert_slice_is(v.branch, "z9hG4bK1");
    assert_slice_is(v.received, "2001:db8::1");
    assert_slice_is(v.maddr, "192.0.2.1");
    assert_true(v.has_rport);
    assert_int_equal(v.rport, 5);
    assert_int_equal(header_parse_via(SLICE("sip/2.0/udp my_pc;rport"), &v), ERROR_NONE);
    assert_slice_is(v.host, "my_pc");
    assert_int_equal(v.port, 0);
    assert_int_equal(v.rport, 0);
    assert_slice_is(v.branch, "");
}

static void test_broken_vias_are_malformed(void **state)
{
    static const char *const broken[] = {
        "",
        "SIP/2.0/TLS",
        "SIP/2.0/TLS ",
        "SIP/2.0 TLS h",
        "SIP/3.0/TLS h",
        "HTTP/2.0/TLS h",
        "SIP/2.0/TLSh",
        "SIP/2.0/TLS h:0",
        "SIP/2.0/TLS h:65536",
        "SIP/2.0/TLS h:",
        "SIP/2.0/TLS h;branch",
        "SIP/2.0/TLS h;branch=",
        "SIP/2.0/TLS h;branch=\"a\"",
        "SIP/2.0/TLS h;branch=a;branch=b",
        "SIP/2.0/TLS h;rport=0",
        "SIP/2.0/TLS h;rport=99999",
        "SIP/2.0/TLS h;rport=x",
        "SIP/2.0/TLS [::1",
        "SIP/2.0/TLS []",
        "SIP/2.0/TLS ::1",
        "SIP/2.0/TLS h h",
        "SIP/2.0/TLS h, SIP/2.0/TLS i",
        "SIP/2.0/UDP 192.0.2.15;;,;,,",
    };
    struct via v;

    (void)state;
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
        if (header_parse_via(slice_of(broken[i]), &v) != ERROR_MALFORMED)
            fail_msg("%s", broken[i]);
}

static void test_sent_by_is_compared_with_default_ports(void **state)
{
    static const struct {
        const char *a, *b;
        bool same;
    } cases[] = {
        { "SIP/2.0/TLS h", "SIP/2.0/TLS H:5061", true },
        { "SIP/2.0/TCP h", "SIP/2.0/TCP h:5060", true },
        { "SIP/2.0/TLS h", "SIP/2.0/TLS h:5060", false },
        { "SIP/2.0/TLS h", "SIP/2.0/TLS i", false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct via a, b;

        assert_int_equal(header_parse_via(slice_of(cases[i].a), &a), ERROR_NONE);
        assert_int_equal(header_parse_via(slice_of(cases[i].b), &b), ERROR_NONE);
        assert_int_equal(via_same_sent_by(&a, &b), cases[i].same);
    }
}

static void test_cookies(void **state)
{
    (void)state;
    assert_true(via_branch_has_cookie(SLICE("z9hG4bKx")));
    assert_true(via_branch_has_cookie(SLICE("Z9HG4BKx")));
    assert_false(via_branch_has_cookie(SLICE("z9hG4bK")));
    assert_false(via_branch_has_cookie(SLICE("xz9hG4bK")));
    assert_false(via_branch_has_cookie(SLICE("")));
}

static void test_source_is_needed_when_it_differs_or_was_asked_for(void **state)
{
    struct via v;

    (void)state;
    assert_int_equal(header_parse_via(SLICE("SIP/2.0/TLS 192.0.2.1"), &v), ERROR_NONE);
    assert_false(via_needs_source(&v, SLICE("192.0.2.1")));
    assert_true(via_needs_source(&v, SLICE("192.0.2.2")));
    assert_false(via_needs_source(&v, SLICE("")));
    assert_int_equal(header_parse_via(SLICE("SIP/2.0/TLS 192.0.2.1;rport"), &v), ERROR_NONE);
    assert_true(via_needs_source(&v, SLICE("192.0.2.1")));
    assert_int_equal(header_parse_via(SLICE("SIP/2.0/TLS [::1]"), &v), ERROR_NONE);
    assert_false(via_needs_source(&v, SLICE("::1")));
}

static void test_numbers_have_digits_alone_and_a_bound(void **state)
{
    uint32_t n = 7;
    struct slice method;

    (void)state;
    assert_int_equal(header_parse_number(SLICE("00000000000000000255"), 255, &n), ERROR_NONE);
    assert_int_equal(n, 255);
    assert_int_equal(header_parse_number(SLICE("256"), 255, &n), ERROR_MALFORMED);
    assert_int_equal(header_parse_number(SLICE("4294967296"), UINT32_MAX, &n), ERROR_MALFORMED);
    assert_int_equal(header_parse_number(SLICE("18446744073709551616"), UINT32_MAX, &n),
                     ERROR_MALFORMED);
    assert_int_equal(header_parse_number(SLICE("+5"), 255, &n), ERROR_MALFORMED);
    assert_int_equal(header_parse_number(SLICE("-5"), 255, &n), ERROR_MALFORMED);
    assert_int_equal(header_parse_number(SLICE("5 "), 255, &n), ERROR_MALFORMED);
    assert_int_equal(header_parse_number(SLICE(""), 255, &n), ERROR_MALFORMED);
    assert_int_equal(header_parse_cseq(SLICE("2147483647 INVITE"), &n, &method), ERROR_NONE);
    assert_slice_is(method, "INVITE");
    assert_int_equal(header_parse_cseq(SLICE("2147483648 INVITE"), &n, &method), ERROR_MALFORMED);
    assert_int_equal(header_parse_cseq(SLICE("1INVITE"), &n, &method), ERROR_MALFORMED);
    assert_int_equal(header_parse_cseq(SLICE("1"), &n, &method), ERROR_MALFORMED);
    assert_int_equal(header_parse_cseq(SLICE("1 INVITE x"), &n, &method), ERROR_MALFORMED);
    assert_int_equal(header_parse_cseq(SLICE("1, 2 INVITE"), &n, &method), ERROR_MALFORMED);
}

static void test_escapes_of_quoted_strings_come_off(void **state)
{
    char out[16];
    size_t size = header_unescape(SLICE("a\\\"b\\\\\\c\\"), out);

    (void)state;
    assert_slice_is((struct slice){ out, size }, "a\"b\\c\\");
}

static void test_T32_more_parameters_than_the_bound_are_malformed(void **state)
{
    char value[4096] = "<sip:a@b>";
    struct name_addr address;

    (void)state;
    for (int i = 0; i < 64; i++)
        sprintf(value + strlen(value), ";p%d", i);
    assert_int_equal(header_parse_name_addr(slice_of(value), &address), ERROR_NONE);
    strcat(value, ";last");
    assert_int_equal(header_parse_name_addr(slice_of(value), &address), ERROR_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_name_is_found_in_every_case_and_in_its_compact_form),
        cmocka_unit_test(test_T06_the_addr_spec_counts_and_nothing_else),
        cmocka_unit_test(test_routes_need_angle_brackets),
        cmocka_unit_test(test_lists_part_at_commas_outside_quotes_and_brackets),
        cmocka_unit_test(test_broken_lists_end_in_malformed),
        cmocka_unit_test(test_token_lists),
        cmocka_unit_test(test_contacts),
        cmocka_unit_test(test_contacts_out_of_range_are_malformed),
        cmocka_unit_test(test_vias),
        cmocka_unit_test(test_broken_vias_are_malformed),
        cmocka_unit_test(test_sent_by_is_compared_with_default_ports),
        cmocka_unit_test(test_cookies),
        cmocka_unit_test(test_source_is_needed_when_it_differs_or_was_asked_for),
        cmocka_unit_test(test_numbers_have_digits_alone_and_a_bound),
        cmocka_unit_test(test_escapes_of_quoted_strings_come_off),
        cmocka_unit_test(test_T32_more_parameters_than_the_bound_are_malformed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
