/* SPDX-License-Identifier: Apache-2.0 */
/* Digest credentials: what is read, and what has two readings and is refused. */
#include "proxy/sip/credentials.h"

#include "tests/unit/proxy/sip/sip_testing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define MD5    "0123456789abcdef0123456789ABCDEF"
#define SHA256 MD5 MD5
#define REST                                                                        \
    "nonce=\"n\", uri=\"sip:b@example.org\", cnonce=\"c\", nc=0000000a, qop=auth, " \
    "response=\"" MD5 "\""
#define GOOD "Digest username=\"alice\", realm=\"example.org\", " REST

static struct digest_credentials got;

static enum error parse(const char *text)
{
    /* A copy of its own size, so that a read beyond it is seen. */
    size_t size = strlen(text);
    char *copy = malloc(size ? size : 1);
    enum error error;

    assert_non_null(copy);
    memcpy(copy, text, size);
    error = credentials_parse((struct slice){ copy, size }, &got);
    free(copy);
    return error;
}

static void test_credentials_are_read_as_they_stand(void **state)
{
    static const char text[] =
        "dIgEsT\tusername=\"alice\",realm=\"example.org\" , nonce = \"abc/+=\",\r\n "
        "uri=\"sip:bob@example.org;x=1\",response=\"" SHA256 "\",algorithm=sha-256,"
        "cnonce=\"c n\",opaque=\"o\\\"\",qop=\"auth-int\",nc=0000001F,"
        "auth-param=anything,other=\"x,y\"";

    (void)state;
    assert_int_equal(credentials_parse(slice_of(text), &got), ERROR_NONE);
    assert_string_equal(got.username, "alice");
    assert_string_equal(got.realm, "example.org");
    assert_slice_is(got.nonce, "abc/+=");
    assert_slice_is(got.uri, "sip:bob@example.org;x=1");
    assert_slice_is(got.cnonce, "c n");
    assert_slice_is(got.nc_text, "0000001F");
    assert_slice_is(got.qop_text, "auth-int");
    assert_slice_is(got.response, SHA256);
    assert_int_equal(got.nc, 31);
    assert_int_equal(got.qop, DIGEST_QOP_AUTH_INT);
    assert_int_equal(got.algorithm, DIGEST_SHA_256);
}

static void test_md5_is_meant_when_no_algorithm_is_named(void **state)
{
    (void)state;
    assert_int_equal(parse(GOOD), ERROR_NONE);
    assert_int_equal(got.algorithm, DIGEST_MD5);
    assert_int_equal(got.qop, DIGEST_QOP_AUTH);
    assert_int_equal(parse(GOOD ", algorithm=\"md5\""), ERROR_NONE);
    assert_int_equal(got.algorithm, DIGEST_MD5);
}

static void test_an_algorithm_that_we_have_no_hash_for_is_none(void **state)
{
    (void)state;
    assert_int_equal(parse(GOOD ", algorithm=MD5-sess"), ERROR_NONE);
    assert_int_equal(got.algorithm, DIGEST_ALGORITHM_NONE);
    assert_int_equal(parse(GOOD ", algorithm=SHA-512-256"), ERROR_NONE);
    assert_int_equal(got.algorithm, DIGEST_ALGORITHM_NONE);
}

static void test_escapes_come_off_names_alone(void **state)
{
    (void)state;
    assert_int_equal(parse("Digest username=\"a\\l\\\"ice\", realm=\"ex\\ample\", " REST),
                     ERROR_NONE);
    assert_string_equal(got.username, "al\"ice");
    assert_string_equal(got.realm, "example");
    assert_int_equal(got.username_size, 6);
}

static void test_an_extended_username_is_utf8_in_percent_encoding(void **state)
{
    (void)state;
    assert_int_equal(parse("Digest username*=utf-8'de'J%C3%a4s%20n, realm=\"r\", " REST),
                     ERROR_NONE);
    assert_string_equal(got.username, "J\xc3\xa4s n");
    assert_int_equal(parse("Digest username*=UTF-8''x, realm=\"r\", " REST), ERROR_NONE);
    assert_string_equal(got.username, "x");
}

static void test_another_scheme_is_none_of_ours(void **state)
{
    (void)state;
    assert_int_equal(parse("Basic YWxpY2U6"), ERROR_NOT_FOUND);
    assert_int_equal(parse("Digestx username=\"a\""), ERROR_NOT_FOUND);
    assert_int_equal(parse("Bearer"), ERROR_NOT_FOUND);
    assert_int_equal(parse("Digest" GOOD), ERROR_NOT_FOUND);
}

static void test_what_has_two_readings_is_malformed(void **state)
{
    static const char *const texts[] = {
        "",
        "Digest",
        "Digest ",
        "=",
        GOOD ",",
        GOOD ", ",
        GOOD " x=1",
        GOOD ", x",
        GOOD ", x=",
        GOOD ", =x",
        GOOD ", x=\"",
        GOOD ", x=\"\\",
        GOOD ", x=\"a\"b",
        GOOD ", x=1, X=2",
        GOOD ", username=\"alice\"",
        GOOD ", username*=UTF-8''alice",
        GOOD ", response=\"" MD5 "\"",
        GOOD ", NC=00000002",
        GOOD ", algorithm=MD5, algorithm=SHA-256",
        GOOD ", algorithm=SHA-256", /* the response is too short for it */
        GOOD ", userhash=true",
        GOOD ", userhash=",
        "Digest username=alice, realm=\"r\", " REST,
        "Digest username=\"\", realm=\"r\", " REST,
        "Digest username=\"a\x01\", realm=\"r\", " REST,
        "Digest username=\"a\\\x01\", realm=\"r\", " REST,
        "Digest username=\"\xff\", realm=\"r\", " REST,
        "Digest username=\"a\r\n b\", realm=\"r\", " REST,
        "Digest username*=UTF-8'', realm=\"r\", " REST,
        "Digest username*=UTF-8'x, realm=\"r\", " REST,
        "Digest username*=UTF-8''a'b, realm=\"r\", " REST,
        "Digest username*=UTF-8''%, realm=\"r\", " REST,
        "Digest username*=UTF-8''%4, realm=\"r\", " REST,
        "Digest username*=UTF-8''%4g, realm=\"r\", " REST,
        "Digest username*=UTF-8''%00, realm=\"r\", " REST,
        "Digest username*=UTF-8''%ff, realm=\"r\", " REST,
        "Digest username*=ISO-8859-1''a, realm=\"r\", " REST,
        "Digest username*=\"UTF-8''a\", realm=\"r\", " REST,
        "Digest username=\"a\", realm=r, " REST,
        "Digest realm=\"r\", " REST,
        "Digest username=\"a\", " REST,
    };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (parse(texts[i]) != ERROR_MALFORMED)
            fail_msg("not malformed: %s", texts[i]);
        assert_int_equal(got.response.size, 0);
        assert_string_equal(got.username, "");
    }
}

/* Each of the others once left out, once not of its form. */
static void test_every_part_that_is_hashed_must_be_there_and_plain(void **state)
{
    static const struct {
        const char *name, *good;
        const char *bad[8];
    } parts[] = {
        { "nonce", "\"n\"", { "n", "\"\"", "\"a\\b\"", "\"a\r\n b\"", "\"a\tb\"" } },
        { "uri", "\"sip:b@x\"", { "b", "\"\"", "\"sip:\\b@x\"" } },
        { "cnonce", "\"c\"", { "c", "\"\"", "\"c\\\"\"" } },
        { "nc",
          "00000001",
          { "1", "0000001", "000000001", "0000000g", "00000000", "\"\"", "-0000001" } },
        { "qop", "auth", { "auth-conf", "\"\"", "\"auth,auth-int\"" } },
        { "response",
          "\"" MD5 "\"",
          { MD5, "\"\"", "\"0\"", "\"" MD5 "0\"", "\"g123456789abcdef0123456789abcdef\"",
            "\"" SHA256 "\"" } },
    };
    const size_t count = sizeof(parts) / sizeof(parts[0]);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        for (size_t bad = 0; bad <= 8; bad++) { /* the last: left out */
            char text[1024] = "Digest username=\"a\", realm=\"r\"";

            if (bad < 8 && !parts[i].bad[bad])
                continue;
            for (size_t j = 0; j < count; j++) {
                size_t at = strlen(text);
                if (j != i || bad < 8)
                    snprintf(text + at, sizeof(text) - at, ", %s=%s", parts[j].name,
                             j == i ? parts[j].bad[bad] : parts[j].good);
            }
            if (parse(text) != ERROR_MALFORMED)
                fail_msg("not malformed: %s", text);
        }
    }
}

static void test_T32_every_length_has_a_bound(void **state)
{
    static const struct {
        const char *before, *after;
        size_t max;
    } parts[] = {
        { "Digest username=\"", "\", realm=\"r\", " REST, CREDENTIALS_NAME_MAX },
        { "Digest username=\"a\", realm=\"", "\", " REST, CREDENTIALS_NAME_MAX },
        { "Digest username=\"a\", realm=\"r\", uri=\"u\", cnonce=\"c\", nc=00000001, qop=auth, "
          "response=\"" MD5 "\", nonce=\"",
          "\"", CREDENTIALS_TEXT_MAX },
        { "Digest username=\"a\", realm=\"r\", uri=\"u\", nonce=\"c\", nc=00000001, qop=auth, "
          "response=\"" MD5 "\", cnonce=\"",
          "\"", CREDENTIALS_TEXT_MAX },
        { "Digest username=\"a\", realm=\"r\", nonce=\"u\", cnonce=\"c\", nc=00000001, qop=auth, "
          "response=\"" MD5 "\", uri=\"",
          "\"", CREDENTIALS_URI_MAX },
    };
    char text[8192];

    (void)state;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        for (size_t more = 0; more < 2; more++) {
            size_t at = strlen(parts[i].before), size = parts[i].max + more;

            memcpy(text, parts[i].before, at);
            memset(text + at, 'x', size);
            strcpy(text + at + size, parts[i].after);
            assert_int_equal(parse(text), more ? ERROR_MALFORMED : ERROR_NONE);
        }
    }
    for (size_t size = CREDENTIALS_VALUE_MAX - 1; size <= CREDENTIALS_VALUE_MAX + 1; size++) {
        size_t at = (size_t)snprintf(text, sizeof(text), "%s, x=", GOOD);

        memset(text + at, 'y', size - at);
        text[size] = '\0';
        assert_int_equal(parse(text), size <= CREDENTIALS_VALUE_MAX ? ERROR_NONE : ERROR_MALFORMED);
    }
}

static void test_T32_more_parameters_than_the_bound_are_malformed(void **state)
{
    char text[4096] = GOOD;

    (void)state;
    for (unsigned have = 8; have <= CREDENTIALS_PARAMS_MAX; have++) {
        size_t at = strlen(text);

        assert_int_equal(parse(text), ERROR_NONE);
        snprintf(text + at, sizeof(text) - at, ", x%u=1", have);
    }
    assert_int_equal(parse(text), ERROR_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_credentials_are_read_as_they_stand),
        cmocka_unit_test(test_md5_is_meant_when_no_algorithm_is_named),
        cmocka_unit_test(test_an_algorithm_that_we_have_no_hash_for_is_none),
        cmocka_unit_test(test_escapes_come_off_names_alone),
        cmocka_unit_test(test_an_extended_username_is_utf8_in_percent_encoding),
        cmocka_unit_test(test_another_scheme_is_none_of_ours),
        cmocka_unit_test(test_what_has_two_readings_is_malformed),
        cmocka_unit_test(test_every_part_that_is_hashed_must_be_there_and_plain),
        cmocka_unit_test(test_T32_every_length_has_a_bound),
        cmocka_unit_test(test_T32_more_parameters_than_the_bound_are_malformed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
