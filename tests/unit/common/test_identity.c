/* SPDX-License-Identifier: Apache-2.0 */
/* Canonical forms: the corpora that SQL runs too, and what only C has (parts, numbers, IPv6). */
#include "common/identity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define LINE_MAX_SIZE 65536
#define PREFIX_MAX    16

/* ---- The shared corpora ---- */

static FILE *open_corpus(const char *name)
{
    const char *root = getenv("HOLDLINE_ROOT"); /* tests run in the root of the tree otherwise */
    char path[4096];
    FILE *in;

    snprintf(path, sizeof(path), "%s/tests/corpus/%s", root ? root : ".", name);
    in = fopen(path, "r");
    if (!in)
        fail_msg("%s can't be opened: run this from the root of the tree", path);
    return in;
}

static int digit(char c)
{
    const char *at = c ? strchr("0123456789abcdef", c | 0x20) : NULL;

    assert_non_null(at);
    return (int)(at - "0123456789abcdef");
}

/* \xHH and \\ in place. */
static size_t unescape(char *text)
{
    size_t to = 0;

    for (char *from = text; *from; from++) {
        if (*from != '\\') {
            text[to++] = *from;
        } else if (from[1] == 'x') {
            text[to++] = (char)(digit(from[2]) * 16 + digit(from[3]));
            from += 3;
        } else {
            assert_int_equal(from[1], '\\');
            text[to++] = *++from;
        }
    }
    return to;
}

/* The next line's columns, escapes still in; false at the end. */
static bool next_case(FILE *in, char *line, char *column[4], int *number)
{
    while (fgets(line, LINE_MAX_SIZE, in)) {
        size_t count = 0;
        ++*number;
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '#' || line[0] == '\0')
            continue;
        column[0] = column[1] = column[2] = column[3] = NULL;
        for (char *rest = line; rest && count < 4; count++)
            column[count] = strsep(&rest, "\t");
        assert_non_null(column[2]);
        return true;
    }
    return false;
}

static void check(int number, const char *file, enum error error, const char *got,
                  const char *wanted)
{
    bool refused = error != ERROR_NONE;

    if (refused != (strcmp(wanted, "!") == 0) || (!refused && strcmp(got, wanted) != 0))
        fail_msg("%s:%d: wanted %s, got %s (%s)", file, number, wanted, refused ? "!" : got,
                 error_text(error));
}

static void test_identity_corpus(void **state)
{
    char *line = malloc(LINE_MAX_SIZE), *column[4];
    FILE *in = open_corpus("identity.tsv");
    struct identity i, again;
    int number = 0, cases = 0;

    (void)state;
    for (; next_case(in, line, column, &number); cases++) {
        struct slice input = { column[1], unescape(column[1]) };
        bool text = strcmp(column[0], "text") == 0;
        enum error error =
            text ? identity_from_text(&i, input) : identity_from_parts(&i, input, SLICE(""), true);
        if (!text)
            assert_string_equal(column[0], "number");
        check(number, "identity.tsv", error, i.text, column[2]);
        if (error == ERROR_NONE && text) {
            assert_int_equal(identity_from_text(&again, identity_text(&i)), ERROR_NONE);
            assert_string_equal(again.text, i.text);
        }
    }
    assert_true(cases > 50);
    fclose(in);
    free(line);
}

static void assert_canonical_as_made(const char *text, size_t size)
{
    struct identity made;
    struct slice input = { text, size };
    bool same =
        identity_from_text(&made, input) == ERROR_NONE && slice_equal(identity_text(&made), input);
    if (identity_is_canonical(input) != same)
        fail_msg("'%.*s' is%s what is made of it", (int)size, text, same ? "" : " not");
}

/* Every short text of what the grammar tells apart, and those at the bounds. */
static void test_T07_a_text_is_canonical_when_it_is_what_is_made_of_it(void **state)
{
    static const char ALPHABET[] = "aZ1-.@%4;s ";
    const size_t letters = sizeof(ALPHABET) - 1;
    char text[320];

    (void)state;
    for (size_t size = 0, count = 1; size <= 5; size++, count *= letters) {
        for (size_t n = 0; n < count; n++) {
            size_t rest = n;
            for (size_t i = 0; i < size; i++, rest /= letters)
                text[i] = ALPHABET[rest % letters];
            assert_canonical_as_made(text, size);
        }
    }
    for (size_t label = 62; label <= 64; label++) {
        for (size_t size = 60; size < sizeof(text); size++) {
            for (size_t i = 0; i < size; i++)
                text[i] = i % (label + 1) == label ? '.' : 'a';
            assert_canonical_as_made(text, size);
            text[1] = '@';
            assert_canonical_as_made(text, size);
        }
    }
    for (int c = 0; c < 256; c++) {
        const char pieces[][5] = { { 'a', (char)c, '@', 'x', 'y' },
                                   { 'a', '@', 'x', (char)c, 'y' } };
        assert_canonical_as_made(pieces[0], 5);
        assert_canonical_as_made(pieces[1], 5);
    }
    assert_canonical_as_made("sip:a@b", 7);
    assert_canonical_as_made("a@1.2.3.4", 9);
    assert_canonical_as_made("a%2F@b", 6);
}

static size_t split_prefixes(char *text, struct slice *prefixes)
{
    size_t count = 0;

    if (text)
        text[unescape(text)] = '\0';
    for (char *one; text && *text && count < PREFIX_MAX && (one = strsep(&text, "|"));)
        prefixes[count++] = slice_of(one);
    return count;
}

static void test_cn_corpus(void **state)
{
    char *line = malloc(LINE_MAX_SIZE), *column[4], out[CN_MAX_OCTETS + 1],
         again[CN_MAX_OCTETS + 1];
    FILE *in = open_corpus("mac.tsv");
    int number = 0, cases = 0;

    (void)state;
    for (; next_case(in, line, column, &number); cases++) {
        struct slice prefixes[PREFIX_MAX], input = { column[1], unescape(column[1]) };
        size_t count = split_prefixes(column[3], prefixes), size;
        enum cn_form form = strcmp(column[0], "mac") == 0 ? CN_FORM_MAC : CN_FORM_EXACT;
        enum error error = cn_canonical(form, prefixes, count, input, out, &size);
        if (strcmp(column[2], "!") != 0)
            column[2][unescape(column[2])] = '\0';
        check(number, "mac.tsv", error, out, column[2]);
        assert_int_equal(size, strlen(out));
        if (error != ERROR_NONE)
            continue;
        assert_int_equal(cn_canonical(form, prefixes, count, slice_of(out), again, NULL),
                         ERROR_NONE);
        assert_string_equal(again, out);
    }
    assert_true(cases > 50);
    fclose(in);
    free(line);
}

/* ---- Parts ---- */

static void assert_parts(const char *user, const char *host, bool number, const char *wanted)
{
    struct identity i;
    enum error error = identity_from_parts(&i, slice_of(user), slice_of(host), number);

    check(0, host, error, i.text, wanted);
    assert_int_equal(i.size, error == ERROR_NONE ? strlen(wanted) : 0);
}

static void test_parts_of_uris(void **state)
{
    (void)state;
    assert_parts("alice", "Example.ORG.", false, "alice@example.org");
    assert_parts("", "example.org", false, "example.org");
    assert_parts("%61lic%65", "x", false, "alice@x");
    assert_parts("", "", false, "!");
    assert_parts("alice", "", false, "!");
    assert_parts("al@ice", "x", false, "!");
    assert_parts("alice:secret", "x", false, "!");
    assert_parts("alice", "x:5060", false, "!");
    assert_parts("alice", "x;lr", false, "!");
    assert_parts("alice%0", "x", false, "!");
    assert_parts("alice%00", "x", false, "!");
    assert_parts("alice%7f", "x", false, "!");
}

static void test_numbers_lose_visual_separators(void **state)
{
    (void)state;
    assert_parts("+49-30-(12)3.4", "x", true, "+49301234@x");
    assert_parts("%2B49%2D30", "x", true, "+4930@x");
    assert_parts("030-1", "x", true, "0301@x");
    assert_parts("030-1", "x", false, "030-1@x");
    /* A user that is no number keeps its dots: alice.b must not become aliceb. */
    assert_parts("alice.b", "x", true, "alice.b@x");
    assert_parts("--", "x", true, "--@x");
    assert_parts("+", "x", true, "+@x");
    /* Parameters stay as they are. */
    assert_parts("+49-30;ext=1-2", "x", true, "+4930;ext=1-2@x");
    assert_parts("", "x", true, "x");
}

static void test_tel_uris(void **state)
{
    struct identity i;

    (void)state;
    assert_parts("+49-30-1234", "", true, "+49301234");
    assert_parts("112", "", true, "112");
    assert_parts("*21%23", "", true, "*21%23");
    assert_parts("*21#", "", true, "*21%23");
    assert_parts("*21#", "x", true, "!");
    assert_parts("7042;phone-context=example.com", "", true, "7042;phone-context=example.com");
    assert_parts("alice", "", true, "!");
    assert_parts("", "", true, "!");
    assert_parts("-", "", true, "!");
    assert_parts("+", "", true, "!");
    assert_int_equal(identity_from_parts(&i, SLICE("+4930"), SLICE(""), true), ERROR_NONE);
    assert_int_equal(identity_domain(&i).size, 0);
    assert_true(slice_equal(identity_user(&i), SLICE("+4930")));
    assert_true(identity_is_number(&i));
    assert_true(identity_covered_by(&i, SLICE("+4930")));
    assert_false(identity_covered_by(&i, SLICE("")));
    /* Hexadecimal digits that look like a domain are not covered by it. */
    assert_int_equal(identity_from_parts(&i, SLICE("abc"), SLICE(""), true), ERROR_NONE);
    assert_false(identity_covered_by(&i, SLICE("abc")));
}

static void test_ipv6_hosts_have_one_form(void **state)
{
    (void)state;
    assert_parts("a", "[2001:DB8:0:0:0:0:0:1]", false, "a@[2001:db8::1]");
    assert_parts("a", "[2001:db8::1]", false, "a@[2001:db8::1]");
    assert_parts("", "[::1]", false, "[::1]");
    assert_parts("a", "[::1].", false, "!");
    assert_parts("a", "[::1", false, "!");
    assert_parts("a", "[]", false, "!");
    assert_parts("a", "[:::1]", false, "!");
    assert_parts("a", "[fe80::1%25eth0]", false, "!");
    assert_parts("a", "::1", false, "!");
    assert_parts("a", "[1.2.3.4]", false, "!");
}

static void test_too_large_is_told(void **state)
{
    char user[300], host[300];
    struct identity i;

    (void)state;
    memset(user, 'u', sizeof(user));
    assert_int_equal(identity_from_parts(&i, (struct slice){ user, 252 }, SLICE("x"), false),
                     ERROR_NONE);
    assert_int_equal(i.size, IDENTITY_MAX);
    assert_int_equal(identity_from_parts(&i, (struct slice){ user, 253 }, SLICE("x"), false),
                     ERROR_TOO_LARGE);
    assert_int_equal(identity_from_parts(&i, (struct slice){ user, 254 }, SLICE("x"), false),
                     ERROR_TOO_LARGE);
    assert_int_equal(identity_from_parts(&i, (struct slice){ user, 255 }, SLICE("x"), false),
                     ERROR_TOO_LARGE);
    assert_int_equal(i.size, 0);
    assert_string_equal(i.text, "");
    for (size_t at = 0; at < sizeof(host); at++)
        host[at] = at % 2 ? '.' : 'h';
    assert_int_equal(identity_from_parts(&i, SLICE(""), (struct slice){ host, 253 }, false),
                     ERROR_NONE);
    assert_int_equal(identity_from_parts(&i, SLICE(""), (struct slice){ host, 255 }, false),
                     ERROR_TOO_LARGE);
}

static void test_T7_coverage_is_by_canonical_form(void **state)
{
    struct identity alice, domain;
    struct identity none = { .size = 0 };

    (void)state;
    assert_int_equal(identity_from_text(&alice, SLICE("alice@example.org")), ERROR_NONE);
    assert_int_equal(identity_from_text(&domain, SLICE("example.org")), ERROR_NONE);
    assert_true(identity_covered_by(&alice, SLICE("alice@example.org")));
    assert_true(identity_covered_by(&alice, SLICE("example.org")));
    assert_true(identity_covered_by(&domain, SLICE("example.org")));
    assert_false(identity_covered_by(&domain, SLICE("alice@example.org")));
    assert_false(identity_covered_by(&alice, SLICE("Alice@example.org")));
    assert_false(identity_covered_by(&alice, SLICE("alice@example.or")));
    assert_false(identity_covered_by(&alice, SLICE("bob@example.org")));
    assert_false(identity_covered_by(&alice, SLICE("org")));
    assert_false(identity_covered_by(&alice, SLICE("*")));
    assert_false(identity_covered_by(&alice, SLICE("")));
    assert_false(identity_covered_by(&none, SLICE("")));
    assert_false(identity_covered_by(&none, SLICE("example.org")));
}

static void test_plain_numbers(void **state)
{
    static const struct {
        const char *text;
        bool number;
    } cases[] = { { "+4930@x", true },  { "0301@x", true },    { "1@x", true },
                  { "++1@x", false },   { "1+@x", false },     { "+@x", false },
                  { "alice@x", false }, { "x", false },        { "12-34@x", false },
                  { "%2B49@x", true },  { "1;rn=2@x", false }, { "*21@x", false },
                  { "+49%23@x", false } };
    struct identity i;

    (void)state;
    for (size_t n = 0; n < sizeof(cases) / sizeof(*cases); n++) {
        assert_int_equal(identity_from_text(&i, slice_of(cases[n].text)), ERROR_NONE);
        if (identity_is_number(&i) != cases[n].number)
            fail_msg("%s", cases[n].text);
    }
}

static void test_form_none_has_no_canonical_form(void **state)
{
    char out[CN_MAX_OCTETS + 1] = "x";
    size_t size = 7;

    (void)state;
    assert_int_equal(cn_canonical(CN_FORM_NONE, NULL, 0, SLICE("0004F224A6AC"), out, &size),
                     ERROR_MALFORMED);
    assert_string_equal(out, "");
    assert_int_equal(size, 0);
    assert_int_equal(cn_canonical((enum cn_form)99, NULL, 0, SLICE("a"), out, NULL),
                     ERROR_MALFORMED);
    assert_int_equal(cn_canonical(CN_FORM_MAC, NULL, 0, (struct slice){ NULL, 0 }, out, &size),
                     ERROR_MALFORMED);
}

static void test_clean_utf8(void **state)
{
    static const char *const good[] = { "",
                                        "a",
                                        "\xc2\xa0",
                                        "\xc3\xa9",
                                        "\xe2\x82\xac",
                                        "\xf0\x9f\x98\x80",
                                        "\xf4\x8f\xbf\xbf",
                                        "\xef\xbf\xbd" };
    static const char *const bad[] = { "\x1f",
                                       "\x7f",
                                       "\xc2\x80",
                                       "\xc2\x9f",
                                       "\x80",
                                       "\xc3",
                                       "\xc3(",
                                       "\xc0\x80",
                                       "\xc1\xbf",
                                       "\xe0\x9f\xbf",
                                       "\xed\xa0\x80",
                                       "\xed\xbf\xbf",
                                       "\xf0\x8f\xbf\xbf",
                                       "\xf4\x90\x80\x80",
                                       "\xf5\x80\x80\x80",
                                       "\xff",
                                       "\xf8\x88\x80\x80\x80",
                                       "a\n",
                                       "\xe2\x82" };

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
        assert_true(text_is_clean_utf8(slice_of(good[i])));
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_false(text_is_clean_utf8(slice_of(bad[i])));
    assert_false(text_is_clean_utf8((struct slice){ "a\0b", 3 }));
}

/* RFC 5031: labels without case; nothing else is one, and none is an identity that anybody holds.
 */
static void test_services(void **state)
{
    static const char *const bad[] = {
        "",         ".",    "sos.",       ".sos",         "sos..fire",
        "sos fire", "-sos", "sos%2efire", "urn:service:", "sos@example.org"
    };
    struct identity service, other;

    (void)state;
    assert_int_equal(identity_from_service(&service, SLICE("URN:Service:SOS.Fire")), ERROR_NONE);
    assert_string_equal(service.text, "urn:service:sos.fire");
    assert_true(slice_equal(identity_service(&service), SLICE("sos.fire")));
    assert_int_equal(identity_domain(&service).size, 0);
    assert_false(identity_is_number(&service));
    assert_false(identity_covered_by(&service, SLICE("fire")));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_not_equal(identity_from_service(&service, slice_of(bad[i])), ERROR_NONE);
        assert_int_equal(identity_service(&service).size, 0);
    }
    assert_int_equal(identity_from_text(&other, SLICE("sos@example.org")), ERROR_NONE);
    assert_int_equal(identity_service(&other).size, 0);
}

static void test_anonymous_is_a_domain_and_no_user_part(void **state)
{
    struct identity i;

    (void)state;
    assert_int_equal(identity_from_text(&i, SLICE("anonymous@Anonymous.Invalid.")), ERROR_NONE);
    assert_true(identity_is_anonymous(&i));
    assert_int_equal(identity_from_text(&i, SLICE("anonymous@example.org")), ERROR_NONE);
    assert_false(identity_is_anonymous(&i));
    assert_int_equal(identity_from_text(&i, SLICE("x@a.anonymous.invalid")), ERROR_NONE);
    assert_false(identity_is_anonymous(&i));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_services),
        cmocka_unit_test(test_anonymous_is_a_domain_and_no_user_part),
        cmocka_unit_test(test_identity_corpus),
        cmocka_unit_test(test_T07_a_text_is_canonical_when_it_is_what_is_made_of_it),
        cmocka_unit_test(test_cn_corpus),
        cmocka_unit_test(test_parts_of_uris),
        cmocka_unit_test(test_numbers_lose_visual_separators),
        cmocka_unit_test(test_tel_uris),
        cmocka_unit_test(test_ipv6_hosts_have_one_form),
        cmocka_unit_test(test_too_large_is_told),
        cmocka_unit_test(test_T7_coverage_is_by_canonical_form),
        cmocka_unit_test(test_plain_numbers),
        cmocka_unit_test(test_form_none_has_no_canonical_form),
        cmocka_unit_test(test_clean_utf8),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
