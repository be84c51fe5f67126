/* SPDX-License-Identifier: Apache-2.0 */
/* Where a request wants to go: Request-URI, Routes of ours and of others, strict routers, tokens.
 */
#include "proxy/route/target.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static char text[4096];
static struct message message;
static struct own_names names;
static struct identity sos, fire;
static struct config_route routes[] = {
    { .name = "pbx", .domain = { "pbx.example.org", 15, 0 }, .services = &sos, .service_count = 1 },
    { .name = "fire",
      .domain = { "fire.example.org", 16, 0 },
      .services = &fire,
      .service_count = 1 },
    { .name = "late",
      .domain = { "late.example.org", 16, 0 },
      .services = &sos,
      .service_count = 1 },
};
static struct config config = { .routes = routes, .route_count = 3 };

static enum reason read_target(const char *uri, const char *path, struct request_target *out)
{
    snprintf(text, sizeof(text),
             "MESSAGE %s SIP/2.0\r\nVia: SIP/2.0/TLS 10.0.0.1;branch=z9hG4bKx\r\n%s"
             "From: <sip:a@example.org>;tag=1\r\nTo: <sip:b@example.org>\r\nCall-ID: c\r\n"
             "CSeq: 1 MESSAGE\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
             uri, path);
    assert_int_equal(message_parse(&message, slice_of(text)), ERROR_NONE);
    return target_read(&message, &config, &names, out);
}

static int begin(void **state)
{
    (void)state;
    message_init(&message, 0);
    assert_int_equal(identity_from_service(&sos, SLICE("sos")), ERROR_NONE);
    assert_int_equal(identity_from_service(&fire, SLICE("sos.fire")), ERROR_NONE);
    own_names_add(&names, "127.0.0.1:5061");
    own_names_add(&names, "[::1]:5060");
    own_names_add(&names, NULL);
    return 0;
}

static int end(void **state)
{
    (void)state;
    message_free(&message);
    return 0;
}

static void test_request_uri_alone_names_user_domain_route_or_us(void **state)
{
    struct request_target t;

    (void)state;
    assert_int_equal(read_target("sip:bob@Example.ORG", "", &t), REASON_ALLOWED);
    assert_int_equal(t.kind, REQUEST_TARGET_USER);
    assert_string_equal(t.identity.text, "bob@example.org");
    assert_int_equal(read_target("sip:example.org", "", &t), REASON_ALLOWED);
    assert_int_equal(t.kind, REQUEST_TARGET_DOMAIN);
    assert_int_equal(read_target("sip:127.0.0.1:5061", "", &t), REASON_ALLOWED);
    assert_int_equal(t.kind, REQUEST_TARGET_PROXY);
    assert_int_equal(read_target("sip:127.0.0.1;transport=tls", "", &t), REASON_ALLOWED);
    assert_int_equal(t.kind, REQUEST_TARGET_PROXY);
    assert_int_equal(read_target("sip:bob@pbx.example.org", "", &t), REASON_ALLOWED);
    assert_int_equal(t.kind, REQUEST_TARGET_ROUTE);
    assert_ptr_equal(t.route, &routes[0]);
    assert_int_equal(read_target("sip:127.0.0.1:5070", "", &t), REASON_ALLOWED);
    assert_int_equal(t.kind, REQUEST_TARGET_DOMAIN);
}

static void test_routes_of_ours_are_counted_and_others_noticed(void **state)
{
    struct request_target t;

    (void)state;
    assert_int_equal(read_target("sip:bob@example.org", "Route: <sip:127.0.0.1:5061;lr>\r\n", &t),
                     REASON_ALLOWED);
    assert_int_equal(t.own_routes, 1);
    assert_false(t.foreign_route);
    assert_null(t.token.data);
    assert_int_equal(
        read_target("sip:bob@example.org",
                    "Route: <sip:127.0.0.1:5061;lr;t=abc>, <sip:[::1]:5060;lr;t=def>\r\n", &t),
        REASON_ALLOWED);
    assert_int_equal(t.own_routes, 2);
    assert_true(slice_equal(t.token, SLICE("abc")));
    assert_int_equal(read_target("sip:bob@example.org", "Route: <sip:evil.example;lr>\r\n", &t),
                     REASON_ALLOWED);
    assert_int_equal(t.own_routes, 0);
    assert_true(t.foreign_route);
    /* Behind a foreign one nothing of ours is looked at: its token is not for this hop. */
    assert_int_equal(
        read_target("sip:bob@example.org",
                    "Route: <sip:evil.example;lr>\r\nRoute: <sip:127.0.0.1:5061;lr;t=abc>\r\n", &t),
        REASON_ALLOWED);
    assert_true(t.foreign_route);
    assert_null(t.token.data);
    assert_int_equal(t.own_routes, 0);
}

static void test_a_strict_router_before_us_is_undone(void **state)
{
    struct request_target t;

    (void)state;
    assert_int_equal(
        read_target("sip:127.0.0.1:5061;lr;t=abc", "Route: <sip:bob@10.0.0.9:1234>\r\n", &t),
        REASON_ALLOWED);
    assert_true(t.strict);
    assert_true(slice_equal(t.token, SLICE("abc")));
    assert_true(slice_equal(t.uri_text, SLICE("sip:bob@10.0.0.9:1234")));
    assert_false(t.foreign_route);
    assert_int_equal(read_target("sip:127.0.0.1:5061;lr",
                                 "Route: <sip:evil.example;lr>, <sip:bob@example.org>\r\n", &t),
                     REASON_ALLOWED);
    assert_true(t.strict);
    assert_true(t.foreign_route);
    assert_string_equal(t.identity.text, "bob@example.org");
}

static void test_what_can_not_be_read_is_refused(void **state)
{
    struct request_target t;

    (void)state;
    assert_int_equal(read_target("sip:bob@example.org", "Route: sip:127.0.0.1:5061;lr\r\n", &t),
                     REASON_MALFORMED);
    assert_int_equal(read_target("sip:bob@example.org", "Route: <sip:a@b@c>\r\n", &t),
                     REASON_MALFORMED);
    assert_int_equal(read_target("sip:b%00ob@example.org", "", &t), REASON_MALFORMED);
}

static void test_T15_a_request_uri_has_no_headers(void **state)
{
    struct request_target t;

    (void)state;
    assert_int_equal(read_target("sip:bob@pbx.example.org?Route=%3Csip:x%3E", "", &t),
                     REASON_MALFORMED);
    assert_int_equal(read_target("sip:example.org?a=", "", &t), REASON_MALFORMED);
    assert_int_equal(
        read_target("sip:127.0.0.1:5061;lr;t=abc", "Route: <sip:bob@10.0.0.9?Replaces=a>\r\n", &t),
        REASON_MALFORMED);
}

static void test_a_service_takes_the_nearest_route_above_it(void **state)
{
    static const struct {
        const char *uri;
        const char *route;
    } rows[] = { { "urn:service:sos", "pbx" },
                 { "URN:SERVICE:SOS.POLICE", "pbx" },
                 { "urn:service:sos.fire", "fire" },
                 { "urn:service:sos.fire.forest", "fire" },
                 { "urn:service:sos.fireworks", "pbx" },
                 { "urn:service:sosfire", NULL },
                 { "urn:service:so", NULL },
                 { "urn:service:counseling", NULL } };
    struct request_target t;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(read_target(rows[i].uri, "", &t), REASON_ALLOWED);
        assert_int_equal(t.kind, REQUEST_TARGET_SERVICE);
        if (rows[i].route)
            assert_string_equal(t.route->name, rows[i].route);
        else
            assert_null(t.route);
    }
    assert_string_equal(t.identity.text, "urn:service:counseling");
    assert_int_equal(identity_domain(&t.identity).size, 0);
}

static void number_prefixes(struct config_route *route, const char *first, const char *second,
                            struct number list[2])
{
    route->prefixes = list;
    route->prefix_count = 2;
    assert_true(number_read(slice_of(first), &route->plan, &list[0]));
    assert_true(number_read(slice_of(second), &route->plan, &list[1]));
}

static void test_T21_a_number_takes_the_route_with_its_longest_prefix(void **state)
{
    static const struct {
        const char *uri, *route, *number;
    } rows[] = { { "tel:+4930", "pbx", "+4930" },
                 { "sip:030@example.org", "pbx", "+4930" },
                 { "sip:%30-895@example.org", "fire", "0895" },
                 { "sip:0049%2D89@example.org;user=phone", "pbx", "+4989" },
                 { "sip:112@example.org", "pbx", "112" },
                 { "tel:+43", NULL, NULL },
                 { "sip:030;x@example.org", NULL, NULL },
                 { "tel:+4930;ext=1", NULL, NULL },
                 { "sip:alice@example.org", NULL, NULL },
                 { "sip:112a@example.org", NULL, NULL } };
    struct number of_pbx[2], of_fire[2];
    struct request_target t;

    (void)state;
    config.international = SLICE("00");
    routes[0].plan = (struct number_plan){ .international = SLICE("00"),
                                           .national = SLICE("0"),
                                           .country = SLICE("49") };
    number_prefixes(&routes[0], "0", "112", of_pbx); /* +49 */
    number_prefixes(&routes[1], "0895", "112", of_fire);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(read_target(rows[i].uri, "", &t), REASON_ALLOWED);
        if (!rows[i].route) {
            assert_null(t.number_route);
            assert_int_equal(t.kind, REQUEST_TARGET_USER);
            continue;
        }
        assert_string_equal(t.number_route->name, rows[i].route);
        assert_string_equal(t.number.text, rows[i].number);
        assert_int_equal(identity_domain(&t.number).size, 0);
        assert_int_equal(t.kind,
                         rows[i].uri[0] == 't' ? REQUEST_TARGET_NUMBER : REQUEST_TARGET_USER);
    }
    assert_int_equal(read_target("sip:030;rn=1@example.org", "", &t), REASON_NO_RIGHT);
    assert_int_equal(read_target("tel:+4930", "", &t), REASON_ALLOWED);
    target_not_back(&t, "fire");
    assert_int_equal(t.kind, REQUEST_TARGET_NUMBER);
    target_not_back(&t, "pbx");
    assert_int_equal(t.kind, REQUEST_TARGET_USER);
    assert_null(t.number_route);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_uri_alone_names_user_domain_route_or_us),
        cmocka_unit_test(test_routes_of_ours_are_counted_and_others_noticed),
        cmocka_unit_test(test_a_strict_router_before_us_is_undone),
        cmocka_unit_test(test_what_can_not_be_read_is_refused),
        cmocka_unit_test(test_T15_a_request_uri_has_no_headers),
        cmocka_unit_test(test_a_service_takes_the_nearest_route_above_it),
        cmocka_unit_test(test_T21_a_number_takes_the_route_with_its_longest_prefix),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
