/* SPDX-License-Identifier: Apache-2.0 */
/* What a certificate says about its holder, and above all what it does not say (T9, T11, T12). */
#include "proxy/tls/certificate_text.h"
#include "proxy/tls/peer_identity.h"

#include "common/mem.h"
#include "tests/unit/proxy/tls/certificates.h"

#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static struct peer_identity *read_made(X509 *certificate)
{
    struct peer_identity *p;
    assert_int_equal(peer_identity_read(certificate, "device", SOURCES_USUAL, NULL, &p),
                     ERROR_NONE);
    return p;
}

static struct peer_identity *identity_of(const struct test_certificate_spec *spec)
{
    struct test_certificate made = test_certificate_make(spec, NULL);
    struct peer_identity *p = read_made(made.certificate);
    test_certificate_free(&made);
    return p;
}

static void expect_cn(const struct test_certificate_spec *spec, const char *cn)
{
    struct peer_identity *p = identity_of(spec);
    assert_string_equal(p->cn, cn);
    assert_int_equal(p->cn_size, strlen(cn));
    peer_identity_free(p);
}

static void expect_raw_cn(int type, struct slice raw, const char *cn)
{
    expect_cn(&(struct test_certificate_spec){ .raw_cn = raw, .raw_cn_type = type }, cn);
}

/* A CN that OpenSSL would not write: another string of that size is, and its octets are changed.
 * Such a certificate cannot be read at all, or has no CN. */
static void expect_no_cn(int type, struct slice raw)
{
    char placeholder[] = "\x14?XXXXXXXXXXXXXXXXXXXXXXXX"; /* T61String, its size, itself */
    placeholder[1] = (char)raw.size;
    struct test_certificate made = test_certificate_make(
        &(struct test_certificate_spec){ .raw_cn = { placeholder + 2, raw.size },
                                         .raw_cn_type = V_ASN1_T61STRING },
        NULL);
    unsigned char *der = NULL;
    int size = i2d_X509(made.certificate, &der);
    unsigned changes = 0; /* issuer and subject */
    for (unsigned char *at; (at = memmem(der, (size_t)size, placeholder, raw.size + 2));
         changes++) {
        at[0] = (unsigned char)type;
        memcpy(at + 2, raw.data, raw.size);
    }
    assert_int_equal(changes, 2);
    const unsigned char *from = der;
    X509 *changed = d2i_X509(NULL, &from, size);
    if (changed) {
        struct peer_identity *p = read_made(changed);
        assert_int_equal(p->cn_size, 0);
        assert_string_equal(p->cn, "");
        peer_identity_free(p);
    }
    X509_free(changed);
    OPENSSL_free(der);
    test_certificate_free(&made);
}

/* `names`: the expected ones in their order, ended by NULL. */
static void expect_names(const char *alternative_names, const char *const *names)
{
    struct peer_identity *p = identity_of(&(struct test_certificate_spec){
        .cn = "example.org", .alternative_names = alternative_names });
    size_t count = 0;
    for (; names[count]; count++) {
        assert_true(count < p->name_count);
        assert_string_equal(p->names[count].text, names[count]);
    }
    assert_int_equal(p->name_count, count);
    assert_true(p->has_alternative_name == (alternative_names != NULL));
    peer_identity_free(p);
}
#define NAMES(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define NO_NAMES   ((const char *const[]){ NULL })

static void test_store_cn_and_end_are_read(void **state)
{
    (void)state;
    struct peer_identity *p = identity_of(&(struct test_certificate_spec){ .cn = "0004F224A6AC" });
    assert_string_equal(p->store, "device");
    assert_string_equal(p->cn, "0004F224A6AC");
    assert_false(p->has_alternative_name);
    assert_int_equal(p->name_count, 0);
    uint64_t days10_unix_s = (uint64_t)time(NULL) + 10 * 86400;
    assert_true(p->not_after_unix_s <= days10_unix_s && p->not_after_unix_s > days10_unix_s - 60);
    peer_identity_free(p);
}

static void test_T09_cn_is_kept_byte_for_byte_in_utf8(void **state)
{
    (void)state;
    expect_cn(&(struct test_certificate_spec){ .cn = " 00:04 " }, " 00:04 ");
    expect_cn(&(struct test_certificate_spec){ .cn = "\xd0\x90lice" }, "\xd0\x90lice");
    expect_raw_cn(V_ASN1_PRINTABLESTRING, SLICE("0004F2"), "0004F2");
    expect_raw_cn(V_ASN1_IA5STRING, SLICE("a@b"), "a@b");
    expect_raw_cn(V_ASN1_T61STRING, SLICE("0004F2"), "0004F2");
    expect_raw_cn(V_ASN1_BMPSTRING,
                  SLICE("\0"
                        "0\0"
                        "4\x04\x10"),
                  "04\xd0\x90");
    expect_raw_cn(V_ASN1_UNIVERSALSTRING,
                  SLICE("\0\0\0"
                        "A\0\x01\xf6\x00"),
                  "A\xf0\x9f\x98\x80");
}

static void test_T09_cn_that_is_not_certain_is_none(void **state)
{
    (void)state;
    expect_no_cn(V_ASN1_UTF8STRING, SLICE("0004F224A6AC\0.evil"));
    expect_no_cn(V_ASN1_UTF8STRING, SLICE("\0"));
    expect_no_cn(V_ASN1_UTF8STRING, SLICE("a\nb"));
    expect_no_cn(V_ASN1_UTF8STRING, SLICE("a\x7f"));
    expect_no_cn(V_ASN1_UTF8STRING, SLICE("a\xc2\x85"));
    expect_no_cn(V_ASN1_UTF8STRING, SLICE("\xc0\xaf"));
    expect_no_cn(V_ASN1_UTF8STRING, SLICE("\xed\xa0\x80"));
    expect_no_cn(V_ASN1_UTF8STRING, SLICE("a\xff"));
    expect_no_cn(V_ASN1_UTF8STRING, SLICE(""));
    expect_no_cn(V_ASN1_IA5STRING, SLICE("caf\xe9"));
    expect_no_cn(V_ASN1_PRINTABLESTRING, SLICE("a\xc3\xa9"));
    expect_no_cn(V_ASN1_T61STRING, SLICE("caf\xe9"));
    expect_no_cn(V_ASN1_BMPSTRING, SLICE("\0"
                                         "a\0"));
    expect_no_cn(V_ASN1_BMPSTRING, SLICE("\xd8\x3d\xde\x00"));
    expect_no_cn(V_ASN1_BMPSTRING, SLICE("\0"
                                         "a\0\0"));
    expect_no_cn(V_ASN1_UNIVERSALSTRING, SLICE("\0\x11\0\0"));
    expect_no_cn(V_ASN1_OCTET_STRING, SLICE("0004F224A6AC"));
    expect_cn(&(struct test_certificate_spec){ .cn = NULL }, "");
}

/* Of a certificate that was not read from octets, where OpenSSL refuses some of these. */
static void expect_set_cn(int type, struct slice raw, const char *expected)
{
    struct test_certificate made =
        test_certificate_make(&(struct test_certificate_spec){ .cn = "0004F224A6AC" }, NULL);
    X509_NAME *subject = X509_get_subject_name(made.certificate);
    X509_NAME_ENTRY *cn =
        X509_NAME_get_entry(subject, X509_NAME_get_index_by_NID(subject, NID_commonName, -1));
    assert_int_equal(
        X509_NAME_ENTRY_set_data(cn, type, (const unsigned char *)raw.data, (int)raw.size), 1);
    struct peer_identity *p = read_made(made.certificate);
    assert_string_equal(p->cn, expected);
    assert_int_equal(p->cn_size, strlen(expected));
    peer_identity_free(p);
    test_certificate_free(&made);
}

static void test_T09_cn_holds_to_its_type(void **state)
{
    (void)state;
    expect_set_cn(V_ASN1_BMPSTRING,
                  SLICE("\0"
                        "a\0"),
                  "");
    expect_set_cn(V_ASN1_UNIVERSALSTRING, SLICE("\0\0a"), "");
    expect_set_cn(V_ASN1_IA5STRING, SLICE("0004F2@"), "0004F2@");
    expect_set_cn(V_ASN1_IA5STRING, SLICE("caf\xe9"), "");
    expect_set_cn(V_ASN1_T61STRING, SLICE("caf\xe9"), "");
    expect_set_cn(V_ASN1_OCTET_STRING, SLICE("0004F2"), "");
}

static void test_T09_cn_is_never_cut(void **state)
{
    (void)state;
    static char text[65536];
    memset(text, 'A', sizeof(text));
    char longest[CN_MAX_OCTETS + 1] = { 0 };
    memset(longest, 'A', CN_MAX_OCTETS);
    expect_raw_cn(V_ASN1_UTF8STRING, (struct slice){ text, CN_MAX_OCTETS }, longest);
    expect_raw_cn(V_ASN1_UTF8STRING, (struct slice){ text, CN_MAX_OCTETS + 1 }, "");
    expect_raw_cn(V_ASN1_UTF8STRING, (struct slice){ text, sizeof(text) }, "");
    /* 128 characters of two octets in UTF-16 are 384 in UTF-8. */
    char wide[256];
    for (size_t i = 0; i < sizeof(wide); i += 2)
        memcpy(wide + i, "\x30\x42", 2);
    expect_raw_cn(V_ASN1_BMPSTRING, (struct slice){ wide, sizeof(wide) }, "");
}

static void test_T09_most_specific_cn_alone_counts(void **state)
{
    (void)state;
    expect_cn(&(struct test_certificate_spec){ .cn = "0004F2000001", .second_cn = "0004F2000002" },
              "0004F2000002");
    /* The last one is no name: the first does not stand in for it. */
    expect_cn(&(struct test_certificate_spec){ .cn = "0004F2000001", .second_cn = "a\nb" }, "");
}

static void test_T11_sip_names_are_read(void **state)
{
    (void)state;
    expect_names("URI:sip:alice@Example.ORG", NAMES("alice@example.org"));
    expect_names("URI:SIP:%61lice@example.org.", NAMES("alice@example.org"));
    expect_names("URI:sip:example.org", NAMES("example.org"));
    expect_names("URI:sip:bob@example.org,URI:sip:alice@example.org,URI:sip:bob@EXAMPLE.org",
                 NAMES("alice@example.org", "bob@example.org"));
    expect_names("DNS:Example.org,DNS:a.example.org", NAMES("a.example.org", "example.org"));
    expect_names(NULL, NO_NAMES);
}

static void test_T11_dns_names_count_only_without_a_sip_uri(void **state)
{
    (void)state;
    expect_names("DNS:example.net,URI:sip:alice@example.org", NAMES("alice@example.org"));
    /* Not even when that URI is none. */
    expect_names("DNS:example.net,URI:sip:alice@", NO_NAMES);
    expect_names("DNS:example.net,URI:sip:", NO_NAMES);
    /* Other schemes are nobody's business here. */
    expect_names("DNS:example.net,URI:sips:alice@example.org,URI:https://example.org/",
                 NAMES("example.net"));
    expect_names("email:alice@example.org", NO_NAMES);
}

static void test_T12_wildcards_and_addresses_are_no_names(void **state)
{
    (void)state;
    expect_names("DNS:*.example.org", NO_NAMES);
    expect_names("DNS:*,DNS:.example.org,DNS:example..org", NO_NAMES);
    expect_names("URI:sip:*.example.org", NO_NAMES);
    expect_names("IP:192.0.2.1", NO_NAMES);
    expect_names("DNS:192.0.2.1", NO_NAMES);
    expect_names("URI:sip:192.0.2.1,URI:sip:alice@192.0.2.1", NO_NAMES);
    expect_names("URI:sip:alice@[2001:db8::1]", NO_NAMES);
    /* A literal star is a user of that name and nobody else. */
    expect_names("URI:sip:*@example.org", NAMES("*@example.org"));
}

static bool is_for(const char *cn, const char *alternative_names, unsigned sources,
                   const char *domain)
{
    struct identity wanted = { .size = 0 };
    struct test_certificate made = test_certificate_make(
        &(struct test_certificate_spec){ .cn = cn, .alternative_names = alternative_names }, NULL);
    if (*domain)
        assert_int_equal(identity_from_text(&wanted, slice_of(domain)), ERROR_NONE);
    bool is = certificate_is_for_domain(made.certificate, sources, &wanted);
    test_certificate_free(&made);
    return is;
}

/* RFC 5922 7.2, 7.3. */
static void test_T20_whom_a_server_may_be_taken_for(void **state)
{
    (void)state;
    static const struct {
        const char *names;
        bool is;
    } rows[] = {
        { "DNS:example.org", true },
        { "DNS:EXAMPLE.org", true },
        { "URI:sip:example.org", true },
        { "URI:sip:alice@example.org,URI:sip:example.org", true },
        { "DNS:a,DNS:b,DNS:c,DNS:d,DNS:e,DNS:f,DNS:g,DNS:h,DNS:i,DNS:j,DNS:k,DNS:l,DNS:m,DNS:n,"
          "DNS:o,DNS:p,DNS:q,DNS:r,DNS:example.org",
          true },
        { "DNS:*.org", false },
        { "DNS:*.example.org", false },
        { "DNS:*", false },
        { "DNS:e*.org", false },
        { "DNS:sip.example.org", false },
        { "DNS:org", false },
        { "URI:sip:alice@example.org", false },
        { "URI:sip:alice@example.org,DNS:example.org", false },
        { "URI:sips:example.org", false },
        { "URI:sip:example.org:5061", false },
        { "email:alice@example.org", false },
        { "IP:192.0.2.1", false },
        { NULL, false },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        bool is = is_for("example.org", rows[i].names, SOURCES_USUAL, "example.org");
        if (is != rows[i].is)
            fail_msg("%s", rows[i].names);
    }
    assert_false(is_for("x", "DNS:192.0.2.1", SOURCES_USUAL | SOURCE_CN_DOMAIN, "192.0.2.1"));
    assert_true(is_for("example.org", NULL, SOURCE_CN_DOMAIN, "example.org"));
    assert_false(is_for("example.org", "DNS:a", SOURCES_USUAL | SOURCE_CN_DOMAIN, "example.org"));
    assert_false(is_for("x", "DNS:example.org", SOURCE_SAN_URI, "example.org"));
    assert_false(is_for("x", "email:alice@example.org", SOURCE_SAN_EMAIL, "example.org"));
    assert_false(is_for("x", "DNS:example.org", SOURCES_USUAL, ""));
    /* A user is no server, whatever its certificate says. */
    assert_false(is_for("x", "URI:sip:alice@example.org", SOURCES_USUAL, "alice@example.org"));
}

static void test_T12_what_is_more_than_a_name_is_none(void **state)
{
    (void)state;
    expect_names("URI:sip:alice@example.org:5061", NO_NAMES);
    expect_names("URI:sip:alice@example.org;transport=tls", NO_NAMES);
    expect_names("URI:sip:alice:secret@example.org", NO_NAMES);
    expect_names("URI:sip:sip:alice@example.org", NO_NAMES);
    expect_names("URI:sip: alice@example.org", NO_NAMES);
    expect_names("URI:sip:al%00ice@example.org", NO_NAMES);
    expect_names("DNS:alice@example.org", NO_NAMES);
    expect_names("DNS:sip:example.org", NO_NAMES);
}

static void add_raw_name(GENERAL_NAMES *names, int type, struct slice text)
{
    ASN1_IA5STRING *string = ASN1_IA5STRING_new();
    ASN1_STRING_set(string, text.data, (int)text.size);
    GENERAL_NAME *name = GENERAL_NAME_new();
    GENERAL_NAME_set0_value(name, type, string);
    sk_GENERAL_NAME_push(names, name);
}

static void test_T11_nul_and_eight_bit_octets_in_names_are_no_names(void **state)
{
    (void)state;
    struct test_certificate made =
        test_certificate_make(&(struct test_certificate_spec){ .cn = "a" }, NULL);
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    add_raw_name(names, GEN_URI, SLICE("sip:alice@example.org\0.evil.net"));
    add_raw_name(names, GEN_URI, SLICE("sip:alice\0@example.org"));
    add_raw_name(names, GEN_URI, SLICE("sip:al\xc3\xa9@example.org"));
    add_raw_name(names, GEN_URI, SLICE("sip:bob@example.org\n"));
    add_raw_name(names, GEN_URI, SLICE("sip:bob@example.org\x7f"));
    add_raw_name(names, GEN_DNS, SLICE("example.org\0.evil.net"));
    assert_int_equal(X509_add1_ext_i2d(made.certificate, NID_subject_alt_name, names, 0, 0), 1);
    GENERAL_NAMES_free(names);
    struct peer_identity *p = read_made(made.certificate);
    assert_int_equal(p->name_count, 0);
    assert_true(p->has_alternative_name);
    peer_identity_free(p);
    test_certificate_free(&made);
}

static void test_T11_an_address_without_a_host_is_no_name(void **state)
{
    (void)state;
    static const char *const addresses[] = { "alice@", "alice@[::1]", "@example.org", "alice" };
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        struct test_certificate made =
            test_certificate_make(&(struct test_certificate_spec){ .cn = "a" }, NULL);
        GENERAL_NAMES *names = GENERAL_NAMES_new();
        struct peer_identity *p;
        add_raw_name(names, GEN_EMAIL, slice_of(addresses[i]));
        assert_int_equal(X509_add1_ext_i2d(made.certificate, NID_subject_alt_name, names, 0, 0), 1);
        GENERAL_NAMES_free(names);
        assert_int_equal(peer_identity_read(made.certificate, "device",
                                            SOURCES_USUAL | SOURCE_SAN_EMAIL, NULL, &p),
                         ERROR_NONE);
        assert_int_equal(p->name_count, 0);
        peer_identity_free(p);
        test_certificate_free(&made);
    }
}

static void test_T11_names_are_bounded(void **state)
{
    (void)state;
    char text[4096];
    size_t size = 0;
    for (int i = 0; i < 40; i++)
        size += (size_t)snprintf(text + size, sizeof(text) - size, "%sURI:sip:u%02d@example.org",
                                 i ? "," : "", i);
    struct peer_identity *p =
        identity_of(&(struct test_certificate_spec){ .cn = "a", .alternative_names = text });
    assert_int_equal(p->name_count, PEER_NAMES_MAX);
    assert_string_equal(p->names[0].text, "u00@example.org");
    assert_string_equal(p->names[PEER_NAMES_MAX - 1].text, "u15@example.org");
    peer_identity_free(p);
}

static void test_T11_a_subject_alt_name_that_stands_twice_gives_no_names(void **state)
{
    (void)state;
    struct test_certificate made = test_certificate_make(
        &(struct test_certificate_spec){ .cn = "a", .alternative_names = "DNS:example.org" }, NULL);
    int at = X509_get_ext_by_NID(made.certificate, NID_subject_alt_name, -1);
    X509_EXTENSION *copy = X509_EXTENSION_dup(X509_get_ext(made.certificate, at));
    assert_int_equal(X509_add_ext(made.certificate, copy, -1), 1);
    X509_EXTENSION_free(copy);
    struct peer_identity *p = read_made(made.certificate);
    assert_int_equal(p->name_count, 0);
    assert_true(p->has_alternative_name);
    peer_identity_free(p);
    test_certificate_free(&made);
}

static void test_without_a_time_of_its_end_there_is_no_identity(void **state)
{
    (void)state;
    struct test_certificate made =
        test_certificate_make(&(struct test_certificate_spec){ .cn = "a" }, NULL);
    struct peer_identity *p;
    uint64_t unix_s = 7;
    assert_int_equal(ASN1_STRING_set(X509_getm_notAfter(made.certificate), "never", 5), 1);
    assert_false(certificate_not_after(made.certificate, &unix_s));
    assert_int_equal(unix_s, 7);
    assert_int_equal(peer_identity_read(made.certificate, "device", SOURCES_USUAL, NULL, &p),
                     ERROR_MALFORMED);
    assert_null(p);
    test_certificate_free(&made);
}

static void test_a_copy_has_texts_and_names_of_its_own(void **state)
{
    struct identity name;
    struct peer_identity from = { .store = "device", .cn = "a", .cn_size = 1 }, *copy;

    (void)state;
    assert_int_equal(peer_identity_copy(&from, &copy), ERROR_NONE);
    assert_string_equal(copy->issuer, "");
    assert_string_equal(copy->serial, "");
    assert_int_equal(copy->name_count, 0);
    peer_identity_free(copy);
    assert_int_equal(identity_from_text(&name, SLICE("alice@example.org")), ERROR_NONE);
    from.names = &name;
    from.name_count = 1;
    from.issuer = "CN=root";
    from.serial = "0A";
    assert_int_equal(peer_identity_copy(&from, &copy), ERROR_NONE);
    assert_ptr_not_equal(copy->names, &name);
    assert_true(slice_equal(identity_text(&copy->names[0]), SLICE("alice@example.org")));
    assert_string_equal(copy->store, "device");
    assert_string_equal(copy->cn, "a");
    assert_string_equal(copy->issuer, "CN=root");
    assert_string_equal(copy->serial, "0A");
    assert_ptr_not_equal(copy->issuer, from.issuer);
    peer_identity_free(copy);
}

static void test_without_memory_there_is_no_identity(void **state)
{
    (void)state;
    struct test_certificate made =
        test_certificate_make(&(struct test_certificate_spec){ .cn = "a" }, NULL);
    struct peer_identity *p;
    mem_fail_nth_for_tests(1);
    assert_int_equal(peer_identity_read(made.certificate, "device", SOURCES_USUAL, NULL, &p),
                     ERROR_MEMORY);
    mem_fail_nth_for_tests(0);
    assert_null(p);
    test_certificate_free(&made);
}

/* The serial number that a certificate has, and its issuer's name. */
static void expect_naming(const char *cn, const char *serial, const char *text)
{
    unsigned char found[SHA256_DIGEST_LENGTH], wanted[SHA256_DIGEST_LENGTH];
    struct test_certificate made =
        test_certificate_make(&(struct test_certificate_spec){ .cn = cn }, NULL);
    BIGNUM *number = NULL;
    assert_true(BN_hex2bn(&number, serial) > 0);
    ASN1_INTEGER *integer = BN_to_ASN1_INTEGER(number, NULL);
    assert_int_equal(X509_set_serialNumber(made.certificate, integer), 1);
    assert_true(certificate_naming_digest(made.certificate, found));
    SHA256((const unsigned char *)text, strlen(text), wanted);
    if (memcmp(found, wanted, sizeof(found)) != 0)
        fail_msg("%s %s is not %s", cn, serial, text);
    ASN1_INTEGER_free(integer);
    BN_free(number);
    test_certificate_free(&made);
}

/* As tests/sql/blocked_certificate.sql makes it. */
static void test_F11_issuer_and_serial_number_have_the_digest_that_sql_makes(void **state)
{
    (void)state;
    expect_naming("Device Root", "4BC2F1", "cn=device root,o=test\n4BC2F1");
    expect_naming("Device Root", "0", "cn=device root,o=test\n0");
    expect_naming("Device Root", "0ABC", "cn=device root,o=test\nABC");
    expect_naming("Device Root", "F0000000000000000000000000000000000000F1",
                  "cn=device root,o=test\nF0000000000000000000000000000000000000F1");
    expect_naming("Caf\xc3\xa9, \"Inc.\" + \\", "1", "cn=cafc3a9, \"inc.\" + ,o=test\n1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_cn_and_end_are_read),
        cmocka_unit_test(test_T09_cn_is_kept_byte_for_byte_in_utf8),
        cmocka_unit_test(test_T09_cn_that_is_not_certain_is_none),
        cmocka_unit_test(test_T09_cn_holds_to_its_type),
        cmocka_unit_test(test_T09_cn_is_never_cut),
        cmocka_unit_test(test_T09_most_specific_cn_alone_counts),
        cmocka_unit_test(test_T11_sip_names_are_read),
        cmocka_unit_test(test_T11_dns_names_count_only_without_a_sip_uri),
        cmocka_unit_test(test_T12_wildcards_and_addresses_are_no_names),
        cmocka_unit_test(test_T20_whom_a_server_may_be_taken_for),
        cmocka_unit_test(test_T12_what_is_more_than_a_name_is_none),
        cmocka_unit_test(test_T11_nul_and_eight_bit_octets_in_names_are_no_names),
        cmocka_unit_test(test_T11_an_address_without_a_host_is_no_name),
        cmocka_unit_test(test_T11_names_are_bounded),
        cmocka_unit_test(test_T11_a_subject_alt_name_that_stands_twice_gives_no_names),
        cmocka_unit_test(test_without_a_time_of_its_end_there_is_no_identity),
        cmocka_unit_test(test_F11_issuer_and_serial_number_have_the_digest_that_sql_makes),
        cmocka_unit_test(test_a_copy_has_texts_and_names_of_its_own),
        cmocka_unit_test(test_without_memory_there_is_no_identity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
