/* SPDX-License-Identifier: Apache-2.0 */
/* URIs: what is one, what its parts are, when two are the same. */
#include "proxy/sip/uri.h"

#include "tests/unit/proxy/sip/sip_testing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static struct uri parse(const char *text)
{
    struct uri uri;

    if (uri_parse(slice_of(text), &uri) != ERROR_NONE)
        fail_msg("%s", text);
    return uri;
}

static void test_all_parts_are_told_apart(void **state)
{
    struct uri u =
        parse("sip:alice;x=1:secret@example.org:5061;transport=tls;lr?subject=a%20b&to=c");
    struct slice value;

    (void)state;
    assert_int_equal(u.scheme, URI_SIP);
    assert_slice_is(u.user, "alice;x=1");
    assert_slice_is(u.password, "secret");
    assert_slice_is(u.host, "example.org");
    assert_int_equal(u.port, 5061);
    assert_slice_is(u.params, ";transport=tls;lr");
    assert_slice_is(u.headers, "subject=a%20b&to=c");
    assert_slice_is(uri_without_headers(&u),
                    "sip:alice;x=1:secret@example.org:5061;transport=tls;lr");
    assert_true(uri_param(&u, SLICE("TRANSPORT"), &value));
    assert_slice_is(value, "tls");
    assert_true(uri_is_loose(&u));
    assert_false(uri_param(&u, SLICE("maddr"), NULL));
    u = parse("SIPS:example.org");
    assert_int_equal(u.scheme, URI_SIPS);
    assert_slice_is(u.user, "");
    assert_slice_is(u.host, "example.org");
    assert_int_equal(uri_default_port(&u), 5061);
    u = parse("sip:a@[2001:db8::1]:5060");
    assert_slice_is(u.host, "[2001:db8::1]");
    assert_slice_is(uri_without_headers(&u), "sip:a@[2001:db8::1]:5060");
    assert_int_equal(u.port, 5060);
    u = parse("tel:+49-30(12)34;ext=5");
    assert_int_equal(u.scheme, URI_TEL);
    assert_slice_is(u.user, "+49-30(12)34");
    assert_slice_is(u.params, ";ext=5");
    u = parse("urn:service:sos.fire");
    assert_int_equal(u.scheme, URI_SERVICE);
    assert_slice_is(u.host, "service:sos.fire");
    assert_int_equal(parse("urn:isbn:1").scheme, URI_OTHER);
    assert_int_equal(parse("urn:services:1").scheme, URI_OTHER);
    u = parse("soap.beep://192.0.2.103:3002");
    assert_int_equal(u.scheme, URI_OTHER);
    assert_slice_is(u.host, "//192.0.2.103:3002");
}

static void test_T07_what_is_no_URI_is_refused(void **state)
{
    static const char *const broken[] = {
        "",
        "sip",
        "sip:",
        ":a@b",
        "1sip:a@b",
        "sip:@b",
        "sip::x@b",
        "sip:a@",
        "sip:a@b@c",
        "sip:alice@ours.example%40evil.example",
        "sip:a@b:",
        "sip:a@b:0",
        "sip:a@b:65536",
        "sip:a@b:5060x",
        "sip:a@b:-1",
        "sip:a@b c",
        "sip: a@b",
        "sip:a b@c",
        "sip:a\tb@c",
        "sip:a\"b@c",
        "sip:a<b@c",
        "sip:a#b@c",
        "sip:a%@b",
        "sip:a%4@b",
        "sip:a%4g@b",
        "sip:a:p%zz@b",
        "sip:a@b%41",
        "sip:a@-b",
        "sip:a@b-",
        "sip:a@b..c",
        "sip:a@.b",
        "sip:a@.",
        "sip:a@b_c",
        "sip:a@1",
        "sip:a@127.1",
        "sip:a@1.2.3.4.5",
        "sip:a@1.2.3.256",
        "sip:a@010.1.1.1",
        "sip:a@1.2.3.00",
        "sip:a@0x7f.1",
        "sip:a@2130706433",
        "sip:a@::1",
        "sip:a@[::1",
        "sip:a@[::1]x",
        "sip:a@[1.2.3.4]",
        "sip:a@[::g]",
        "sip:a@b;",
        "sip:a@b;;c",
        "sip:a@b;=c",
        "sip:a@b;c=d=e",
        "sip:a@b;c=%4",
        "sip:a@b;c=d@e",
        "sip:a@b;lr;LR",
        "sip:a@b;lr;%6cr",
        "sip:a@b?",
        "sip:a@b?h",
        "sip:a@b?=v",
        "sip:a@b?h=v&",
        "sip:a@b?h=v&&i=w",
        "sip:a@b?h=a@b",
        "sip:b\xc3\xb6ss@x",
        "sip:a@b\xc3\xb6",
        "tel:",
        "tel:+",
        "tel:+-",
        "tel:-",
        "tel:+12a",
        "tel:+1;",
        "tel:7042",
        "tel:x;phone-context=y",
        "tel:+1 2",
        "tel:+1@b",
        "urn:service:",
        "urn:service:sos.",
        "urn:service:.sos",
        "urn:service:sos;x=y",
        "urn:service:%73os",
        "URN:SERVICE:sos@b",
        "isbn:",
        "isbn: 1",
        "http://a/%4",
        "x<y:z",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        struct uri u;

        if (uri_parse(slice_of(broken[i]), &u) != ERROR_MALFORMED)
            fail_msg("%s", broken[i]);
    }
    {
        struct uri u;

        assert_int_equal(uri_parse(TEXT("sip:a\0b@c"), &u), ERROR_MALFORMED);
        assert_int_equal(uri_parse(TEXT("sip:a@c\0.evil"), &u), ERROR_MALFORMED);
        assert_int_equal(uri_parse(TEXT("sip:a@[::1\0]"), &u), ERROR_MALFORMED);
        assert_int_equal(uri_parse(TEXT("sip:a@c\r\n"), &u), ERROR_MALFORMED);
    }
}

static void test_T07_spellings_of_one_identity_have_one_text(void **state)
{
    static const struct {
        const char *uri;
        const char *identity; /* NULL: none */
    } cases[] = {
        { "sip:alice@example.org", "alice@example.org" },
        { "sips:%61lice@EXAMPLE.org.:5061;transport=tls?x=y", "alice@example.org" },
        { "sip:alice:secret@Example.ORG", "alice@example.org" },
        { "sip:ALICE@example.org", "ALICE@example.org" },
        { "sip:example.org", "example.org" },
        { "sip:+49-30-12(3)4@example.org;user=phone", "+4930123"
                                                      "4@example.org" },
        { "sip:+49-30-1234@example.org;us%65r=PHONE", "+49301234@example.org" },
        { "tel:+49-30-1234", "+49301234" },
        { "URN:Service:SOS.Fire", "urn:service:sos.fire" },
        { "sip:a%00b@example.org", NULL },
        { "sip:a%0ab@example.org", NULL },
        { "http://example.org", NULL },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct uri u = parse(cases[i].uri);
        struct identity identity;
        enum error e = uri_identity(&u, &identity);

        if ((e == ERROR_NONE) != (cases[i].identity != NULL))
            fail_msg("%s: %s", cases[i].uri, error_text(e));
        if (cases[i].identity)
            assert_slice_is(identity_text(&identity), cases[i].identity);
    }
}

static void test_T21_routing_parameters_make_no_plain_number(void **state)
{
    static const char *const routed[] = {
        "sip:+4930;rn=+1900@x;user=phone",
        "sip:+4930@x;rn=+1900;user=phone",
        "sip:+4930;ext=1;CIC=+1-234@x",
        "sip:+4930%3brn%3d1@x",
        "sip:+4930;r%6e=1@x",
        "tel:+4930;tgrp=a;trunk-context=b",
        "tel:900123;phone-context=+49",
        "sip:+4930@x;p%6fstd=55",
        "sip:+4930;npdi@x",
    };
    static const char *const plain[] = { "sip:+4930@x;user=phone", "sip:rn@x", "sip:a;x=rn@x",
                                         "tel:+4930;ext=5", "sip:rn=1@x" };

    (void)state;
    for (size_t i = 0; i < sizeof(routed) / sizeof(routed[0]); i++) {
        struct uri u = parse(routed[i]);

        if (!uri_has_routing_param(&u))
            fail_msg("%s", routed[i]);
    }
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
        struct uri u = parse(plain[i]);

        if (uri_has_routing_param(&u))
            fail_msg("%s", plain[i]);
    }
    {
        struct uri u = parse("tel:+49-30;rn=+1900");
        struct identity identity;

        if (uri_identity(&u, &identity) == ERROR_NONE)
            assert_false(identity_is_number(&identity));
    }
}

static void test_T15_lr_in_every_spelling(void **state)
{
    static const char *const loose[] = { "sip:p;lr",      "sip:p;LR",     "sip:p;lr=on",
                                         "sip:p;lr=",     "sip:p;%6c%72", "sip:p;x=y;lR;z",
                                         "sip:p;%4Cr?a=b" };
    static const char *const strict[] = { "sip:p",      "sip:lr@p",   "sip:p;lrx",
                                          "sip:p;x=lr", "sip:p?lr=x", "sip:p;l%72x" };

    (void)state;
    for (size_t i = 0; i < sizeof(loose) / sizeof(loose[0]); i++) {
        struct uri u = parse(loose[i]);

        assert_true(uri_is_loose(&u));
    }
    for (size_t i = 0; i < sizeof(strict) / sizeof(strict[0]); i++) {
        struct uri u = parse(strict[i]);

        assert_false(uri_is_loose(&u));
    }
}

/* RFC 3261 19.1.4's own examples, and what else matters to a registrar. */
static void test_comparison(void **state)
{
    static const struct {
        const char *a, *b;
        bool equal;
    } cases[] = {
        { "sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp", true },
        { "sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5", true },
        { "sip:carol@chicago.com", "sip:carol@chicago.com;security=on", true },
        { "sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on", true },
        { "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
          "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com", true },
        { "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
          "sip:alice@atlanta.com?priority=urgent&subject=project%20x", true },
        { "SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP", false },
        { "sip:bob@biloxi.com", "sip:bob@biloxi.com:5060", false },
        { "sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp", false },
        { "sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp", false },
        { "sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting", false },
        { "sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4", false },
        { "sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off", false },
        { "sip:a@b", "sips:a@b", false },
        { "sip:a@b;maddr=1.2.3.4", "sip:a@b", false },
        { "sip:a@b;user=phone", "sip:a@b", false },
        { "sip:a%3Bb@c", "sip:a;b@c", false }, /* reserved: its escape is another character */
        { "sip:a%3bb@c", "sip:a%3Bb@c", true },
        { "sip:a:x@b", "sip:a:y@b", false },
        { "sip:a@b?x=1&y=2", "sip:a@b?x=1", false },
        { "tel:+49-30-12", "tel:+493012", true },
        { "tel:+493012;ext=1", "tel:+493012", false },
        { "tel:+493012", "sip:+493012@b", false },
        { "urn:service:sos", "URN:SERVICE:SOS", true },
        { "urn:service:sos", "urn:service:sos.fire", false },
        { "http://a/", "http://a/", true },
        { "http://a/", "HTTP://a/", false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct uri a = parse(cases[i].a), b = parse(cases[i].b);

        if (uri_equal(&a, &b) != cases[i].equal || uri_equal(&b, &a) != cases[i].equal)
            fail_msg("%s and %s", cases[i].a, cases[i].b);
    }
}

static void test_T32_parameters_and_headers_are_bounded(void **state)
{
    char text[4096] = "sip:a@b";
    struct uri u;

    (void)state;
    for (int i = 0; i < URI_PARAMS_MAX; i++)
        sprintf(text + strlen(text), ";p%d", i);
    assert_int_equal(uri_parse(slice_of(text), &u), ERROR_NONE);
    strcat(text, ";last");
    assert_int_equal(uri_parse(slice_of(text), &u), ERROR_MALFORMED);
    strcpy(text, "sip:a@b?h=0");
    for (int i = 1; i < URI_PARAMS_MAX; i++)
        sprintf(text + strlen(text), "&h=%d", i);
    assert_int_equal(uri_parse(slice_of(text), &u), ERROR_NONE);
    strcat(text, "&h=x");
    assert_int_equal(uri_parse(slice_of(text), &u), ERROR_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_parts_are_told_apart),
        cmocka_unit_test(test_T07_what_is_no_URI_is_refused),
        cmocka_unit_test(test_T07_spellings_of_one_identity_have_one_text),
        cmocka_unit_test(test_T21_routing_parameters_make_no_plain_number),
        cmocka_unit_test(test_T15_lr_in_every_spelling),
        cmocka_unit_test(test_comparison),
        cmocka_unit_test(test_T32_parameters_and_headers_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
