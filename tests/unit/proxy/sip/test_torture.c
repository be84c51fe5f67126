/* SPDX-License-Identifier: Apache-2.0 */
/* The messages of RFC 4475, bit by bit: what the parser and the framing find in each. */
#include "proxy/sip/framing.h"
#include "tests/unit/proxy/sip/sip_testing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

struct expectation {
    const char *name;
    enum message_fault fault;
    enum framing_event event;
    enum framing_fault framing_fault;
};

#define WHOLE      FRAMING_MESSAGE, FRAMING_FAULT_NONE
#define UNFINISHED FRAMING_MORE, FRAMING_FAULT_NONE

static const struct expectation expectations[] = {
    { "wsinv", MESSAGE_VALID, WHOLE },
    { "intmeth", MESSAGE_VALID, WHOLE },
    { "esc01", MESSAGE_VALID, WHOLE },
    { "escnull", MESSAGE_VALID, WHOLE }, /* %00 is the identity's to refuse */
    { "esc02", MESSAGE_VALID, WHOLE },
    { "lwsdisp", MESSAGE_VALID, WHOLE },
    { "longreq", MESSAGE_VALID, WHOLE },
    { "dblreq", MESSAGE_VALID, WHOLE },
    { "semiuri", MESSAGE_VALID, WHOLE },
    { "transports", MESSAGE_VALID, WHOLE },
    { "mpart01", MESSAGE_VALID, WHOLE },
    { "unreason", MESSAGE_VALID, WHOLE },
    { "noreason", MESSAGE_VALID, WHOLE },
    { "badinv01", MESSAGE_HEADER_VALUE, WHOLE },
    { "clerr", MESSAGE_BODY_SHORT, UNFINISHED },
    { "ncl", MESSAGE_HEADER_VALUE, FRAMING_LOST, FRAMING_LENGTH_MALFORMED },
    { "scalar02", MESSAGE_HEADER_VALUE, WHOLE },
    { "scalarlg", MESSAGE_HEADER_VALUE, WHOLE },
    { "quotbal", MESSAGE_HEADER_VALUE, WHOLE },
    { "ltgtruri", MESSAGE_REQUEST_URI, WHOLE },
    { "lwsruri", MESSAGE_REQUEST_URI, WHOLE },
    { "lwsstart", MESSAGE_REQUEST_URI, WHOLE },
    { "trws", MESSAGE_START_LINE, WHOLE },
    { "escruri", MESSAGE_VALID, WHOLE },
    { "baddate", MESSAGE_VALID, WHOLE },
    { "regbadct", MESSAGE_VALID, WHOLE }, /* Contact is read by the registrar, see below */
    { "badaspec", MESSAGE_HEADER_VALUE, WHOLE },
    { "baddn", MESSAGE_HEADER_LINE, UNFINISHED }, /* the file lacks the empty line */
    { "badvers", MESSAGE_VERSION, WHOLE },
    { "mismatch01", MESSAGE_METHOD_MISMATCH, WHOLE },
    { "mismatch02", MESSAGE_METHOD_MISMATCH, WHOLE },
    { "bigcode", MESSAGE_START_LINE, WHOLE },
    { "badbranch", MESSAGE_VALID, WHOLE },
    { "insuf", MESSAGE_HEADER_MISSING, WHOLE },
    { "unkscm", MESSAGE_SCHEME, WHOLE },
    { "novelsc", MESSAGE_SCHEME, WHOLE },
    { "unksm2", MESSAGE_VALID, WHOLE },
    { "bext01", MESSAGE_VALID, WHOLE },
    { "invut", MESSAGE_VALID, WHOLE },
    { "regaut01", MESSAGE_VALID, WHOLE },
    { "multi01", MESSAGE_HEADER_REPEATED, WHOLE },
    { "mcl01", MESSAGE_HEADER_REPEATED, FRAMING_LOST, FRAMING_LENGTH_REPEATED },
    { "bcast", MESSAGE_VALID, WHOLE },
    { "zeromf", MESSAGE_VALID, WHOLE },
    { "cparam01", MESSAGE_VALID, WHOLE },
    { "cparam02", MESSAGE_VALID, WHOLE },
    { "regescrt", MESSAGE_VALID, WHOLE },
    { "sdp01", MESSAGE_VALID, WHOLE },
    { "inv2543", MESSAGE_VALID, FRAMING_LOST, FRAMING_LENGTH_MISSING },
};

static void test_T32_every_torture_message_has_its_outcome(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(expectations) / sizeof(expectations[0]); i++) {
        const struct expectation *x = &expectations[i];
        struct slice text = torture_message(x->name);
        struct framing_result framed;
        struct framing framing;
        struct message m;

        message_init(&m, 0);
        assert_int_not_equal(message_parse(&m, text), ERROR_MEMORY);
        if (m.fault != x->fault)
            fail_msg("%s: fault %d, expected %d", x->name, (int)m.fault, (int)x->fault);
        framing_init(&framing, 65536);
        framed = framing_next(&framing, text);
        if (framed.event != x->event || framed.fault != x->framing_fault)
            fail_msg("%s: framing event %d, fault %d", x->name, (int)framed.event,
                     (int)framed.fault);
        message_free(&m);
    }
}

static void parse_torture(struct message *m, const char *name)
{
    message_init(m, 0);
    assert_int_not_equal(message_parse(m, torture_message(name)), ERROR_MEMORY);
}

static void test_wsinv_is_read_through_its_folds(void **state)
{
    struct message_values vias;
    struct name_addr address;
    struct contact contact;
    struct message m;
    struct slice value;
    struct param param;
    struct via via;
    struct uri uri;

    (void)state;
    parse_torture(&m, "wsinv");
    assert_slice_is(message_method(&m), "INVITE");
    assert_int_equal(m.max_forwards, 68);
    assert_int_equal(m.cseq, 9);
    assert_slice_is(message_slice(&m, m.to_tag), "1918181833n");
    assert_slice_is(message_slice(&m, m.from_tag), "98asjd8");
    assert_slice_is(message_slice(&m, m.via_branch), "390skdjuw");
    assert_int_equal(message_from(&m, &address, &uri), ERROR_NONE);
    assert_slice_is(address.display, "\"J Rosenberg \\\\\\\"\"");
    assert_slice_is(uri.user, "jdrosen");
    vias = message_values(&m, HEADER_VIA);
    assert_int_equal(message_next_value(&vias, &value), ERROR_NONE);
    assert_int_equal(message_next_value(&vias, &value), ERROR_NONE);
    assert_int_equal(header_parse_via(value, &via), ERROR_NONE);
    assert_slice_is(via.transport, "TCP");
    assert_slice_is(via.host, "spindle.example.com");
    assert_slice_is(via.branch, "z9hG4bK9ikj8");
    assert_int_equal(message_next_value(&vias, &value), ERROR_NONE);
    assert_int_equal(header_parse_via(value, &via), ERROR_NONE);
    assert_slice_is(via.host, "192.168.255.111");
    assert_slice_is(via.branch, "z9hG4bK30239");
    assert_int_equal(message_next_value(&vias, &value), ERROR_NOT_FOUND);
    assert_int_equal(header_parse_contact(message_value(&m, HEADER_CONTACT), &contact), ERROR_NONE);
    assert_int_equal(contact.q, 330);
    assert_true(header_find_param(contact.address.params, SLICE("newparam"), &param));
    assert_slice_is(param.value, "newvalue");
    assert_int_equal(message_body(&m).size, 150);
    message_free(&m);
}

static void test_intmeth_is_read_whole(void **state)
{
    struct name_addr address;
    struct message m;
    struct uri uri;

    (void)state;
    parse_torture(&m, "intmeth");
    assert_int_equal(m.method, METHOD_OTHER);
    assert_slice_is(message_method(&m), "!interesting-Method0123456789_*+`.%indeed'~");
    assert_int_equal(message_uri(&m, &uri), ERROR_NONE);
    assert_slice_is(uri.user, "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*");
    assert_slice_is(uri.password, "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)");
    assert_int_equal(message_to(&m, &address, &uri), ERROR_NONE);
    assert_non_null(memchr(address.display.data, '\0', address.display.size));
    assert_int_equal(message_from(&m, &address, &uri), ERROR_NONE);
    assert_slice_is(address.display, "token1~` token2'+_ token3*%!.-");
    assert_slice_is(address.tag, "_token~1'+`*%!-.");
    assert_int_equal(m.max_forwards, 255);
    message_free(&m);
}

static void test_T07_escapes_in_users_stay_as_they_are(void **state)
{
    struct name_addr address;
    struct message m;
    struct uri uri;

    (void)state;
    parse_torture(&m, "esc01");
    assert_int_equal(message_uri(&m, &uri), ERROR_NONE);
    assert_slice_is(uri.user, "sips%3Auser%40example.com");
    assert_slice_is(uri.host, "example.net");
    assert_int_equal(header_parse_name_addr(message_value(&m, HEADER_CONTACT), &address),
                     ERROR_NONE);
    assert_int_equal(uri_parse(address.uri, &uri), ERROR_NONE);
    assert_true(uri_is_loose(&uri));
    message_free(&m);
    parse_torture(&m, "semiuri");
    assert_int_equal(message_uri(&m, &uri), ERROR_NONE);
    assert_slice_is(uri.user, "user;par=u%40example.net");
    assert_slice_is(uri.host, "example.com");
    message_free(&m);
}

static void test_T07_an_escaped_NUL_is_no_identity(void **state)
{
    struct message_values contacts;
    struct contact first, second;
    struct identity identity;
    struct name_addr address;
    struct uri a, b;
    struct message m;
    struct slice value;

    (void)state;
    parse_torture(&m, "escnull");
    assert_int_equal(message_from(&m, &address, &a), ERROR_NONE);
    assert_int_equal(uri_identity(&a, &identity), ERROR_MALFORMED);
    contacts = message_values(&m, HEADER_CONTACT);
    assert_int_equal(message_next_value(&contacts, &value), ERROR_NONE);
    assert_int_equal(header_parse_contact(value, &first), ERROR_NONE);
    assert_int_equal(message_next_value(&contacts, &value), ERROR_NONE);
    assert_int_equal(header_parse_contact(value, &second), ERROR_NONE);
    assert_int_equal(uri_parse(first.address.uri, &a), ERROR_NONE);
    assert_int_equal(uri_parse(second.address.uri, &b), ERROR_NONE);
    assert_false(uri_equal(&a, &b));
    message_free(&m);
}

static void test_esc02_is_not_REGISTER_and_its_odd_header_no_Contact(void **state)
{
    struct message m;

    (void)state;
    parse_torture(&m, "esc02");
    assert_int_equal(m.method, METHOD_OTHER);
    assert_int_equal(message_header_count(&m, HEADER_CONTACT), 2);
    message_free(&m);
}

static void test_longreq_has_all_its_Vias(void **state)
{
    struct message m;

    (void)state;
    parse_torture(&m, "longreq");
    assert_int_equal(message_header_count(&m, HEADER_VIA), 34);
    assert_int_equal(m.max_forwards, 70);
    assert_int_equal(message_body(&m).size, 150);
    message_free(&m);
}

static void test_T33_dblreq_is_two_messages(void **state)
{
    struct slice text = torture_message("dblreq");
    struct framing_result r;
    struct framing framing;
    struct message m;

    (void)state;
    message_init(&m, 0);
    framing_init(&framing, 65536);
    r = framing_next(&framing, text);
    assert_int_equal(r.event, FRAMING_MESSAGE);
    assert_int_equal(message_parse(&m, (struct slice){ text.data, r.size }), ERROR_NONE);
    assert_int_equal(m.method, METHOD_REGISTER);
    text = (struct slice){ text.data + r.consume, text.size - r.consume };
    r = framing_next(&framing, text);
    assert_int_equal(r.event, FRAMING_PONG);
    text = (struct slice){ text.data + r.consume, text.size - r.consume };
    r = framing_next(&framing, text);
    assert_int_equal(r.event, FRAMING_MESSAGE);
    assert_int_equal(message_parse(&m, (struct slice){ text.data, r.size }), ERROR_NONE);
    assert_int_equal(m.method, METHOD_INVITE);
    message_free(&m);
}

static void test_Contacts_that_a_registrar_refuses_or_takes(void **state)
{
    struct contact contact;
    struct message m;
    struct uri uri;

    (void)state;
    parse_torture(&m, "regbadct");
    assert_int_equal(header_parse_contact(message_value(&m, HEADER_CONTACT), &contact),
                     ERROR_MALFORMED);
    message_free(&m);
    parse_torture(&m, "cparam01");
    assert_int_equal(header_parse_contact(message_value(&m, HEADER_CONTACT), &contact), ERROR_NONE);
    assert_slice_is(contact.address.uri, "sip:+19725552222@gw1.example.net");
    assert_slice_is(contact.address.params, ";unknownparam");
    message_free(&m);
    parse_torture(&m, "cparam02");
    assert_int_equal(header_parse_contact(message_value(&m, HEADER_CONTACT), &contact), ERROR_NONE);
    assert_slice_is(contact.address.uri, "sip:+19725552222@gw1.example.net;unknownparam");
    assert_slice_is(contact.address.params, "");
    message_free(&m);
    parse_torture(&m, "regescrt");
    assert_int_equal(header_parse_contact(message_value(&m, HEADER_CONTACT), &contact), ERROR_NONE);
    assert_int_equal(uri_parse(contact.address.uri, &uri), ERROR_NONE);
    assert_slice_is(uri.headers, "Route=%3Csip:sip.example.com%3E");
    message_free(&m);
}

static void test_baddn_is_refused_with_its_empty_line(void **state)
{
    char text[512];
    struct slice file = torture_message("baddn");
    struct message m;

    (void)state;
    memcpy(text, file.data, file.size);
    memcpy(text + file.size, "\r\n", 3);
    message_init(&m, 0);
    assert_int_equal(parse_text(&m, text), MESSAGE_HEADER_VALUE);
    assert_int_equal(m.fault_header, HEADER_FROM);
    message_free(&m);
}

static void test_T16_a_bare_cookie_is_no_branch(void **state)
{
    struct message m;

    (void)state;
    parse_torture(&m, "badbranch");
    assert_slice_is(message_slice(&m, m.via_branch), "z9hG4bK");
    assert_false(via_branch_has_cookie(message_slice(&m, m.via_branch)));
    message_free(&m);
}

static void test_noreason_and_unreason(void **state)
{
    struct message m;

    (void)state;
    parse_torture(&m, "noreason");
    assert_int_equal(m.status, 100);
    assert_int_equal(m.reason.len, 0);
    assert_int_equal(m.method, METHOD_INVITE);
    message_free(&m);
    parse_torture(&m, "unreason");
    assert_int_equal(m.status, 200);
    assert_in_range(m.reason.len, 40, 200);
    message_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_T32_every_torture_message_has_its_outcome),
        cmocka_unit_test(test_wsinv_is_read_through_its_folds),
        cmocka_unit_test(test_intmeth_is_read_whole),
        cmocka_unit_test(test_T07_escapes_in_users_stay_as_they_are),
        cmocka_unit_test(test_T07_an_escaped_NUL_is_no_identity),
        cmocka_unit_test(test_esc02_is_not_REGISTER_and_its_odd_header_no_Contact),
        cmocka_unit_test(test_longreq_has_all_its_Vias),
        cmocka_unit_test(test_T33_dblreq_is_two_messages),
        cmocka_unit_test(test_Contacts_that_a_registrar_refuses_or_takes),
        cmocka_unit_test(test_baddn_is_refused_with_its_empty_line),
        cmocka_unit_test(test_T16_a_bare_cookie_is_no_branch),
        cmocka_unit_test(test_noreason_and_unreason),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
