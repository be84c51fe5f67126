/* SPDX-License-Identifier: Apache-2.0 */
/* Session-Expires and Min-SE: one reading or none. */
#include "proxy/sip/session_expires.h"

#include "tests/unit/proxy/sip/sip_testing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void test_session_expires_is_read_as_it_stands(void **state)
{
    struct session_expires read;
    uint32_t seconds;

    (void)state;
    assert_int_equal(session_expires_parse(TEXT("1800"), &read), ERROR_NONE);
    assert_int_equal(read.seconds, 1800);
    assert_int_equal(read.refresher, SESSION_REFRESHER_NONE);
    assert_slice_is(read.params, "");
    assert_int_equal(session_expires_parse(TEXT(" 90 ;ReFresher = UAS;x=\"a;b\" "), &read),
                     ERROR_NONE);
    assert_int_equal(read.seconds, 90);
    assert_int_equal(read.refresher, SESSION_REFRESHER_UAS);
    assert_slice_is(read.params, ";ReFresher = UAS;x=\"a;b\"");
    assert_int_equal(session_expires_parse(TEXT("0;refresher=uac"), &read), ERROR_NONE);
    assert_int_equal(read.refresher, SESSION_REFRESHER_UAC);
    assert_int_equal(session_min_parse(TEXT("4294967295;x"), &seconds), ERROR_NONE);
    assert_int_equal(seconds, UINT32_MAX);
}

static void test_session_expires_of_two_readings_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        ";refresher=uac",
        "-1",
        "+90",
        "90 91",
        "90,91",
        "4294967296",
        "90x",
        "90;refresher",
        "90;refresher=",
        "90;refresher=me",
        "90;refresher=\"uac\"",
        "90;refresher=uac;refresher=uas",
        "90;x;X",
        "90;",
        "90;;x",
        "90;x=\"",
    };
    struct session_expires read;
    uint32_t seconds;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        read.seconds = seconds = 1;
        assert_int_equal(session_expires_parse(slice_of(bad[i]), &read), ERROR_MALFORMED);
        assert_int_equal(session_min_parse(slice_of(bad[i]), &seconds), ERROR_MALFORMED);
        assert_int_equal(read.seconds, 0);
        assert_int_equal(seconds, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_session_expires_is_read_as_it_stands),
        cmocka_unit_test(test_session_expires_of_two_readings_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
