/* SPDX-License-Identifier: Apache-2.0 */
/* The response of digest authentication, against the example of RFC 7616 3.9.1 and values that
 * Python's hashlib made. */
#include "proxy/authorization/digest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define NONCE  "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
#define CNONCE "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"

/* Of Mufasa, http-auth@example.org, Circle of Life. */
static const struct example {
    const char *algorithm, *ha1, *auth, *auth_int;
} EXAMPLES[] = {
    { "MD5", "3d78807defe7de2157e2b0b6573a855f", "8ca523f5e9506fed4657c9700eebdbec",
      "d1b8e2ac3f6782372de4bf3d8735b406" },
    { "SHA-256", "7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232",
      "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
      "385d2de062660ced11876f42d9497c69cacf5caaf3d951dd424aee9f7157d563" },
};

static const struct digest_request get = { SLICE("GET"), SLICE("v=0\r\n") };

static void read_credentials(struct digest_credentials *out, const char *algorithm, const char *qop,
                             const char *response)
{
    static char text[1024];

    snprintf(text, sizeof(text),
             "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", "
             "uri=\"/dir/index.html\", algorithm=%s, nonce=\"" NONCE "\", nc=00000001, "
             "cnonce=\"" CNONCE "\", qop=%s, response=\"%s\"",
             algorithm, qop, response);
    assert_int_equal(credentials_parse(slice_of(text), out), ERROR_NONE);
}

static void test_the_example_of_the_rfc_is_right(void **state)
{
    struct digest_credentials c;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        const struct example *e = &EXAMPLES[i];

        read_credentials(&c, e->algorithm, "auth", e->auth);
        assert_true(digest_is_right(&c, slice_of(e->ha1), &get));
        read_credentials(&c, e->algorithm, "auth-int", e->auth_int);
        assert_true(digest_is_right(&c, slice_of(e->ha1), &get));
    }
}

static void test_digits_in_upper_case_are_the_same(void **state)
{
    struct digest_credentials c;

    (void)state;
    read_credentials(&c, "MD5", "auth", "8CA523F5E9506FED4657C9700EEBDBEC");
    assert_true(digest_is_right(&c, slice_of(EXAMPLES[0].ha1), &get));
}

static void test_every_other_digit_is_wrong(void **state)
{
    struct digest_credentials c;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        const struct example *e = &EXAMPLES[i];
        char response[65];

        for (size_t j = 0; j < strlen(e->auth); j++) {
            strcpy(response, e->auth);
            response[j] = response[j] == '0' ? '1' : '0';
            read_credentials(&c, e->algorithm, "auth", response);
            assert_false(digest_is_right(&c, slice_of(e->ha1), &get));
        }
    }
}

static void test_what_is_hashed_counts(void **state)
{
    const struct example *e = &EXAMPLES[1];
    const struct digest_request put = { SLICE("PUT"), SLICE("v=0\r\n") };
    const struct digest_request other_body = { SLICE("GET"), SLICE("v=1\r\n") };
    struct digest_credentials c;

    (void)state;
    read_credentials(&c, e->algorithm, "auth", e->auth);
    assert_true(digest_is_right(&c, slice_of(e->ha1), &other_body)); /* auth: not the body */
    assert_false(digest_is_right(&c, slice_of(e->ha1), &put));
    c.uri = SLICE("/dir/index.htm");
    assert_false(digest_is_right(&c, slice_of(e->ha1), &get));
    read_credentials(&c, e->algorithm, "auth", e->auth);
    c.nonce = SLICE("7");
    assert_false(digest_is_right(&c, slice_of(e->ha1), &get));
    read_credentials(&c, e->algorithm, "auth", e->auth);
    c.cnonce = SLICE("f");
    assert_false(digest_is_right(&c, slice_of(e->ha1), &get));
    read_credentials(&c, e->algorithm, "auth", e->auth);
    c.nc_text = SLICE("00000002");
    assert_false(digest_is_right(&c, slice_of(e->ha1), &get));
    read_credentials(&c, e->algorithm, "auth-int", e->auth);
    assert_false(digest_is_right(&c, slice_of(e->ha1), &get));
    read_credentials(&c, e->algorithm, "auth-int", e->auth_int);
    assert_false(digest_is_right(&c, slice_of(e->ha1), &other_body));
    read_credentials(&c, e->algorithm, "auth-int", e->auth_int);
    c.qop = DIGEST_QOP_NONE;
    assert_false(digest_is_right(&c, slice_of(e->ha1), &get));
}

static void test_a_hash_that_is_not_there_makes_nothing_right(void **state)
{
    struct digest_credentials c;

    (void)state;
    read_credentials(&c, "MD5", "auth", EXAMPLES[0].auth);
    assert_false(digest_is_right(&c, SLICE(""), &get));
    assert_false(digest_is_right(&c, SLICE("-"), &get));
    assert_false(digest_is_right(&c, slice_of(EXAMPLES[1].ha1), &get));
    c.algorithm = DIGEST_ALGORITHM_NONE;
    assert_false(digest_is_right(&c, slice_of(EXAMPLES[0].ha1), &get));
    memset(&c, 0, sizeof(c));
    assert_false(digest_is_right(&c, SLICE(""), &get));
}

static void test_a_challenge_names_algorithm_qop_and_staleness(void **state)
{
    struct digest_challenge challenge = { SLICE("example.org"), SLICE("abc"), DIGEST_SHA_256,
                                          false };
    struct buffer out;

    (void)state;
    buffer_init(&out, 0);
    digest_write_challenge(&challenge, &out);
    challenge.algorithm = DIGEST_MD5;
    challenge.stale = true;
    buffer_add_text(&out, "\n");
    digest_write_challenge(&challenge, &out);
    buffer_add(&out, (struct slice){ "", 1 });
    assert_string_equal(
        buffer_slice(&out).data,
        "Digest realm=\"example.org\", nonce=\"abc\", algorithm=SHA-256, qop=\"auth,auth-int\"\n"
        "Digest realm=\"example.org\", nonce=\"abc\", algorithm=MD5, qop=\"auth,auth-int\", "
        "stale=true");
    buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_example_of_the_rfc_is_right),
        cmocka_unit_test(test_digits_in_upper_case_are_the_same),
        cmocka_unit_test(test_every_other_digit_is_wrong),
        cmocka_unit_test(test_what_is_hashed_counts),
        cmocka_unit_test(test_a_hash_that_is_not_there_makes_nothing_right),
        cmocka_unit_test(test_a_challenge_names_algorithm_qop_and_staleness),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
