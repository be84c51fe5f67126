/* SPDX-License-Identifier: Apache-2.0 */
/* Session timers (RFC 4028 8): the table of session_timer.h, and what becomes of the messages. */
#include "proxy/request/session_timer.h"

#include "tests/unit/proxy/sip/sip_testing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define OURS 1800

static struct session_plan decide_on(bool supported, const uint32_t *expires_s,
                                     const uint32_t *min_s, uint32_t wanted_s)
{
    struct session_offer offer = { .supported = supported,
                                   .has_expires = expires_s != NULL,
                                   .expires_s = expires_s ? *expires_s : 0,
                                   .has_min = min_s != NULL,
                                   .min_s = min_s ? *min_s : 0 };

    return session_timer_decide(&offer, wanted_s);
}

/* Every MUST of 8.1, over all that can stand in a request at the edges. */
static void test_no_request_leaves_against_what_RFC_4028_demands(void **state)
{
    static const uint32_t edges[] = { 0, 1, 89, 90, 91, 120, 1799, 1800, 1801, UINT32_MAX };
    static const uint32_t ours[] = { 0, 90, OURS, 86400 };
    const size_t count = sizeof(edges) / sizeof(edges[0]);

    (void)state;
    for (size_t w = 0; w < sizeof(ours) / sizeof(ours[0]); w++) {
        for (size_t i = 0; i <= count; i++) {
            for (size_t j = 0; j <= 2 * count + 1; j++) {
                const uint32_t *expires = i < count ? &edges[i] : NULL;
                const uint32_t *min = j / 2 < count ? &edges[j / 2] : NULL;
                bool supported = j % 2 != 0;
                struct session_plan plan = decide_on(supported, expires, min, ours[w]);
                uint32_t floor = min ? *min : 90;

                if (ours[w] == 0) {
                    assert_int_equal(plan.verdict, SESSION_NONE);
                    assert_false(plan.write_expires || plan.write_min);
                    continue;
                }
                if (supported && expires && *expires < 90) {
                    assert_int_equal(plan.verdict, SESSION_TOO_BRIEF);
                    continue;
                }
                assert_int_equal(plan.verdict, SESSION_TIMED);
                assert_false(supported && plan.write_min);
                if (plan.write_min) {
                    assert_true(!min || plan.min_s > *min);
                    floor = plan.min_s;
                }
                assert_true(plan.expires_s >= floor || (min && plan.expires_s >= *min));
                assert_true(plan.expires_s >= 90 || (min && *min < 90 && expires));
                if (expires && *expires >= floor)
                    assert_true(plan.expires_s <= *expires);
                if (expires && *expires < floor)
                    assert_int_equal(plan.expires_s, floor);
                if (!expires)
                    assert_int_equal(plan.expires_s, floor > ours[w] ? floor : ours[w]);
                assert_int_equal(plan.write_expires, !expires || *expires != plan.expires_s);
            }
        }
    }
}

static void check_request(const char *method, const char *headers, enum reason reason,
                          const char *wanted, const char *unwanted)
{
    char line[64];
    struct message m;
    struct session_plan plan;
    struct edit_list edits;
    struct buffer out;

    snprintf(line, sizeof(line), "%s sip:b@example.org SIP/2.0", method);
    message_init(&m, 0);
    assert_int_equal(message_parse(&m, make_request(line, headers, "")), ERROR_NONE);
    assert_int_equal(m.fault, MESSAGE_VALID);
    assert_int_equal(session_timer_read(&m, OURS, &plan), reason);
    if (reason == REASON_ALLOWED) {
        edit_init(&edits, &m);
        buffer_init(&out, 0);
        session_timer_edit_request(&edits, &m, &plan);
        assert_int_equal(edit_write(&edits, &out), ERROR_NONE);
        buffer_add(&out, (struct slice){ "", 1 });
        assert_false(out.failed);
        if (wanted)
            assert_non_null(strstr(buffer_slice(&out).data, wanted));
        if (unwanted)
            assert_null(strstr(buffer_slice(&out).data, unwanted));
        buffer_free(&out);
    }
    message_free(&m);
}

static void test_a_request_leaves_with_an_interval(void **state)
{
    (void)state;
    check_request("INVITE", "", REASON_ALLOWED, "Session-Expires: 1800\r\n", "refresher");
    check_request("UPDATE", "", REASON_ALLOWED, "Session-Expires: 1800\r\n", "Min-SE");
    check_request("BYE", "", REASON_ALLOWED, NULL, "Session-Expires");
    check_request("INFO", "Session-Expires: 1\r\n", REASON_ALLOWED, "Session-Expires: 1\r\n", NULL);
    check_request("INVITE", "x: 7200 ;refresher=uas;y\r\nSupported: timer\r\n", REASON_ALLOWED,
                  "x: 1800;refresher=uas;y\r\n", "7200");
    check_request("INVITE", "Session-Expires: 600;refresher=uac\r\n", REASON_ALLOWED,
                  "Session-Expires: 600;refresher=uac\r\n", "1800");
    check_request("INVITE", "Session-Expires: 30\r\n", REASON_ALLOWED, "Session-Expires: 90\r\n",
                  "30");
    check_request("INVITE", "Session-Expires: 30\r\nMin-SE: 10;a=b\r\n", REASON_ALLOWED,
                  "Min-SE: 90;a=b\r\n", "30");
    check_request("INVITE", "Session-Expires: 30\r\nSupported: 100rel, Timer\r\n",
                  REASON_SESSION_TOO_BRIEF, NULL, NULL);
    check_request("INVITE", "Session-Expires: 30\r\nRequire: timer\r\n", REASON_SESSION_TOO_BRIEF,
                  NULL, NULL);
    check_request("INVITE", "Session-Expires: 30;refresher=x\r\n", REASON_MALFORMED, NULL, NULL);
    check_request("INVITE", "Min-SE: -1\r\n", REASON_MALFORMED, NULL, NULL);
    check_request("INVITE", "x: 90\r\nSession-Expires: 90\r\n", REASON_MALFORMED, NULL, NULL);
    check_request("INVITE", "Min-SE: 90\r\nMin-SE: 90\r\n", REASON_MALFORMED, NULL, NULL);
}

static bool response_has(const char *status, const char *headers, const struct session_plan *plan,
                         const char *text)
{
    char whole[1024];
    struct message m;
    struct edit_list edits;
    struct buffer out;
    bool found;

    snprintf(whole, sizeof(whole),
             "SIP/2.0 %s\r\nVia: SIP/2.0/TLS a;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n"
             "To: <sip:c@d>;tag=2\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n%sContent-Length: 0\r\n\r\n",
             status, headers);
    message_init(&m, 0);
    assert_int_equal(parse_text(&m, whole), MESSAGE_VALID);
    edit_init(&edits, &m);
    buffer_init(&out, 0);
    session_timer_edit_response(&edits, &m, plan);
    assert_int_equal(edit_write(&edits, &out), ERROR_NONE);
    buffer_add(&out, (struct slice){ "", 1 });
    found = strstr(buffer_slice(&out).data, text) != NULL;
    buffer_free(&out);
    message_free(&m);
    return found;
}

static void test_a_2xx_without_timer_gets_one_for_a_caller_that_has_one(void **state)
{
    struct session_plan plan = { .verdict = SESSION_TIMED, .supported = true, .expires_s = 600 };
    struct session_plan alone = plan, off = plan;

    (void)state;
    alone.supported = false;
    off.verdict = SESSION_NONE;
    assert_true(response_has("200 OK", "", &plan, "Session-Expires: 600;refresher=uac\r\n"));
    assert_true(response_has("202 OK", "", &plan, "Require: timer\r\n"));
    assert_true(response_has("200 OK", "Require: x\r\n", &plan, "Require: timer\r\n"));
    assert_true(response_has("200 OK", "Require: timer\r\n", &plan, "refresher=uac\r\n"));
    assert_false(response_has("200 OK", "Require: timer\r\n", &plan, "refresher=uac\r\nRequire"));
    assert_false(response_has("200 OK", "x: 99;refresher=uas\r\n", &plan, "600"));
    assert_false(response_has("180 Ringing", "", &plan, "Session-Expires"));
    assert_false(response_has("300 Else", "", &plan, "Session-Expires"));
    assert_false(response_has("200 OK", "", &alone, "Session-Expires"));
    assert_false(response_has("200 OK", "", &off, "Session-Expires"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_request_leaves_against_what_RFC_4028_demands),
        cmocka_unit_test(test_a_request_leaves_with_an_interval),
        cmocka_unit_test(test_a_2xx_without_timer_gets_one_for_a_caller_that_has_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
