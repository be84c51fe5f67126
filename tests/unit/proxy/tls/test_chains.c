/* SPDX-License-Identifier: Apache-2.0 */
/* The corpus of chains: each is made on the spot, verified in its store and read, and must end as
 * was written beside it by hand from RFC 5280 6, RFC 5922 7.1 and RFC 5924 4 (T8 to T13). */
#include "proxy/tls/peer_identity.h"
#include "proxy/tls/trust_store.h"
#include "tests/unit/proxy/tls/certificates.h"

#include <openssl/asn1.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DAY       86400L
#define ANY_ERROR (-1)
#define VIA_MAX   10
#define CA(name)                  \
    {                             \
        .cn = name, .ca = TEST_CA \
    }
#define CA_USAGE   "critical,keyCertSign,cRLSign"
#define SIP_DOMAIN "1.3.6.1.5.5.7.3.20"

static struct test_certificate root, other_root;
static unsigned rows_run;

static int make_roots(void **state)
{
    (void)state;
    root = test_certificate_make(
        &(struct test_certificate_spec){ .cn = "Root", .ca = TEST_CA, .key_usage = CA_USAGE },
        NULL);
    other_root = test_certificate_make(
        &(struct test_certificate_spec){ .cn = "Other root", .ca = TEST_CA }, NULL);
    return 0;
}

static int free_roots(void **state)
{
    (void)state;
    test_certificate_free(&root);
    test_certificate_free(&other_root);
    printf("%u chains\n", rows_run);
    assert_true(rows_run >= 150);
    return 0;
}

static struct trust_store *store_of(const char *name, const struct test_certificate *anchor,
                                    const struct trust_rules *rules)
{
    struct trust_store *store;
    char *pem = test_certificate_pem(anchor->certificate);
    assert_int_equal(trust_store_create(name, slice_of(pem), rules, &store), ERROR_NONE);
    free(pem);
    return store;
}

/* ---- Names ---- */

struct names_row {
    const char *what;
    const char *cn;
    const char *alternative_names; /* OpenSSL's syntax; NULL: no subjectAltName */
    unsigned sources;
    const char *names; /* expected, in order, a space between; NULL: none, the chain is refused */
};

static const struct names_row names_rows[] = {
    { "no subjectAltName: the CN alone", "0004F224A6AC", NULL, SOURCES_USUAL, "" },
    { "sip URI without user is the domain", "0004F224A6AC", "URI:sip:example.org", SOURCES_USUAL,
      "example.org" },
    { "sip URI with user is that user", "0004F224A6AC", "URI:sip:alice@example.org", SOURCES_USUAL,
      "alice@example.org" },
    { "T11 user and domain side by side", "0004F224A6AC",
      "URI:sip:alice@example.org,URI:sip:example.net", SOURCES_USUAL,
      "alice@example.org example.net" },
    { "two users, sorted", "0004F224A6AC", "URI:sip:bob@example.org,URI:sip:alice@example.org",
      SOURCES_USUAL, "alice@example.org bob@example.org" },
    { "doubles count once", "0004F224A6AC", "URI:sip:alice@example.org,URI:sip:alice@EXAMPLE.org",
      SOURCES_USUAL, "alice@example.org" },
    { "scheme in capitals", "0004F224A6AC", "URI:SIP:example.org", SOURCES_USUAL, "example.org" },
    { "host in capitals", "0004F224A6AC", "URI:sip:Example.ORG", SOURCES_USUAL, "example.org" },
    { "user keeps its case", "0004F224A6AC", "URI:sip:Alice@example.org", SOURCES_USUAL,
      "Alice@example.org" },
    { "final dot of the host", "0004F224A6AC", "URI:sip:example.org.", SOURCES_USUAL,
      "example.org" },
    { "escape of a plain letter", "0004F224A6AC", "URI:sip:%61lice@example.org", SOURCES_USUAL,
      "alice@example.org" },
    { "escape that stays", "0004F224A6AC", "URI:sip:al%20ice@example.org", SOURCES_USUAL,
      "al%20ice@example.org" },
    { "T7 escaped NUL in a user", "0004F224A6AC", "URI:sip:alice%00@example.org", SOURCES_USUAL,
      "" },
    { "T7 escaped control in a user", "0004F224A6AC", "URI:sip:al%0Aice@example.org", SOURCES_USUAL,
      "" },
    { "broken escape", "0004F224A6AC", "URI:sip:al%2@example.org", SOURCES_USUAL, "" },
    { "sips is no scheme of RFC 5922", "0004F224A6AC", "URI:sips:example.org", SOURCES_USUAL, "" },
    { "sips does not hide a DNS name", "0004F224A6AC", "URI:sips:example.org,DNS:example.net",
      SOURCES_USUAL, "example.net" },
    { "another scheme", "0004F224A6AC", "URI:https://example.org/", SOURCES_USUAL, "" },
    { "another scheme does not hide a DNS name", "0004F224A6AC",
      "URI:https://example.org/,DNS:example.org", SOURCES_USUAL, "example.org" },
    { "T12 parameter", "0004F224A6AC", "URI:sip:example.org;transport=tls", SOURCES_USUAL, "" },
    { "T12 port", "0004F224A6AC", "URI:sip:example.org:5061", SOURCES_USUAL, "" },
    { "T12 header", "0004F224A6AC", "URI:sip:example.org?subject=x", SOURCES_USUAL, "" },
    { "password", "0004F224A6AC", "URI:sip:alice:secret@example.org", SOURCES_USUAL, "" },
    { "IPv4 host", "0004F224A6AC", "URI:sip:192.0.2.1", SOURCES_USUAL, "" },
    { "user at an IPv4 host", "0004F224A6AC", "URI:sip:alice@192.0.2.1", SOURCES_USUAL, "" },
    { "IPv6 host", "0004F224A6AC", "URI:sip:[2001:db8::1]", SOURCES_USUAL, "" },
    { "empty host", "0004F224A6AC", "URI:sip:", SOURCES_USUAL, "" },
    { "user without host", "0004F224A6AC", "URI:sip:alice@", SOURCES_USUAL, "" },
    { "two at signs", "0004F224A6AC", "URI:sip:alice@example.org@example.net", SOURCES_USUAL, "" },
    { "scheme twice", "0004F224A6AC", "URI:sip:sip:example.org", SOURCES_USUAL, "" },
    { "space before the host", "0004F224A6AC", "URI:sip: example.org", SOURCES_USUAL, "" },
    { "T12 wildcard in a URI", "0004F224A6AC", "URI:sip:*.example.org", SOURCES_USUAL, "" },
    { "T12 star user is a user called star", "0004F224A6AC", "URI:sip:*@example.org", SOURCES_USUAL,
      "*@example.org" },
    { "T12 IP address SAN", "0004F224A6AC", "IP:192.0.2.1", SOURCES_USUAL, "" },
    { "T12 IPv6 address SAN", "0004F224A6AC", "IP:2001:db8::1", SOURCES_USUAL, "" },
    { "an address hides no DNS name", "0004F224A6AC", "IP:192.0.2.1,DNS:example.org", SOURCES_USUAL,
      "example.org" },
    { "F3 DNS name is the domain", "0004F224A6AC", "DNS:example.org", SOURCES_USUAL,
      "example.org" },
    { "F3 several DNS names", "0004F224A6AC", "DNS:b.example.org,DNS:a.example.org", SOURCES_USUAL,
      "a.example.org b.example.org" },
    { "F3 DNS in capitals", "0004F224A6AC", "DNS:EXAMPLE.ORG", SOURCES_USUAL, "example.org" },
    { "F3 final dot of a DNS name", "0004F224A6AC", "DNS:example.org.", SOURCES_USUAL,
      "example.org" },
    { "T12 wildcard DNS", "0004F224A6AC", "DNS:*.example.org", SOURCES_USUAL, "" },
    { "T12 wildcard within a label", "0004F224A6AC", "DNS:sip*.example.org", SOURCES_USUAL, "" },
    { "T12 star alone", "0004F224A6AC", "DNS:*", SOURCES_USUAL, "" },
    { "T12 an IPv4 address as DNS name", "0004F224A6AC", "DNS:192.0.2.1", SOURCES_USUAL, "" },
    { "T12 an IPv6 address as DNS name", "0004F224A6AC", "DNS:[2001:db8::1]", SOURCES_USUAL, "" },
    { "DNS name with a user", "0004F224A6AC", "DNS:alice@example.org", SOURCES_USUAL, "" },
    { "DNS name with a space", "0004F224A6AC", "DNS:example org", SOURCES_USUAL, "" },
    { "DNS name of one label", "0004F224A6AC", "DNS:localhost", SOURCES_USUAL, "localhost" },
    { "empty label", "0004F224A6AC", "DNS:example..org", SOURCES_USUAL, "" },
    { "label beginning with a dot", "0004F224A6AC", "DNS:.example.org", SOURCES_USUAL, "" },
    { "F3 a sip URI hides DNS names", "0004F224A6AC", "URI:sip:alice@example.org,DNS:example.org",
      SOURCES_USUAL, "alice@example.org" },
    { "F3 an invalid sip URI hides them too", "0004F224A6AC",
      "URI:sip:*.example.org,DNS:example.org", SOURCES_USUAL, "" },
    { "F3 whatever the order", "0004F224A6AC", "DNS:example.org,URI:sip:example.net", SOURCES_USUAL,
      "example.net" },
    { "e-mail is none of ours", "0004F224A6AC", "email:alice@example.org", SOURCES_USUAL, "" },
    { "e-mail hides no DNS name", "0004F224A6AC", "email:alice@example.org,DNS:example.org",
      SOURCES_USUAL, "example.org" },
    { "registered id", "0004F224A6AC", "RID:1.2.3.4", SOURCES_USUAL, "" },
    { "other name", "0004F224A6AC", "otherName:1.2.3.4;UTF8:alice@example.org", SOURCES_USUAL, "" },
    { "T9 NUL within a URI", "0004F224A6AC",
      "DER:30:1B:86:19:73:69:70:3A:65:78:61:6D:70:6C:65:2E:6F:72:67:00:2E:65:76:69:6C:2E:6E:65:74",
      SOURCES_USUAL, "" },
    { "T9 NUL within a user", "0004F224A6AC",
      "DER:30:18:86:16:73:69:70:3A:62:6F:73:73:00:78:40:65:78:61:6D:70:6C:65:2E:6F:72:67",
      SOURCES_USUAL, "" },
    { "T9 NUL at the end of a DNS name", "0004F224A6AC",
      "DER:30:0E:82:0C:65:78:61:6D:70:6C:65:2E:6F:72:67:00", SOURCES_USUAL, "" },
    { "T9 NUL within a DNS name", "0004F224A6AC",
      "DER:30:17:82:15:65:78:61:6D:70:6C:65:2E:6F:72:67:00:2E:65:76:69:6C:2E:6E:65:74",
      SOURCES_USUAL, "" },
    { "T9 newline in a DNS name", "0004F224A6AC",
      "DER:30:0E:82:0C:65:78:61:6D:70:6C:65:2E:6F:72:67:0A", SOURCES_USUAL, "" },
    { "T9 octets above ASCII in a DNS name", "0004F224A6AC",
      "DER:30:0E:82:0C:65:78:D0:B0:6D:70:6C:65:2E:6F:72:67", SOURCES_USUAL, "" },
    { "T9 octets above ASCII in a URI", "0004F224A6AC",
      "DER:30:12:86:10:73:69:70:3A:65:78:D0:B0:6D:70:6C:65:2E:6F:72:67", SOURCES_USUAL, "" },
    { "punycode is a name like any", "0004F224A6AC", "DNS:xn--exmple-4nf.org", SOURCES_USUAL,
      "xn--exmple-4nf.org" },
    { "empty URI", "0004F224A6AC", "DER:30:02:86:00", SOURCES_USUAL, "" },
    { "empty DNS name", "0004F224A6AC", "DER:30:02:82:00", SOURCES_USUAL, "" },
    { "T10 quotes in a user", "0004F224A6AC", "URI:sip:a'OR'1@example.org", SOURCES_USUAL,
      "a'OR'1@example.org" },
    { "T10 CR LF in a user", "0004F224A6AC",
      "DER:30:1A:86:18:73:69:70:3A:61:0D:0A:44:45:4C:20:78:40:65:78:61:6D:70:6C:65:2E:6F:72:67",
      SOURCES_USUAL, "" },
    { "a SAN that is no sequence", "0004F224A6AC", "DER:04:00", SOURCES_USUAL, NULL },
    { "a SAN cut short", "0004F224A6AC", "DER:30:0A:82:0B:65:78", SOURCES_USUAL, NULL },
    { "an empty SAN", "0004F224A6AC", "DER:30:00", SOURCES_USUAL, "" },
    { "F4 san_uri not permitted", "0004F224A6AC", "URI:sip:alice@example.org",
      SOURCE_MAPPING | SOURCE_SAN_DNS, "" },
    { "F4 and it still hides DNS names", "0004F224A6AC",
      "URI:sip:alice@example.org,DNS:example.org", SOURCE_MAPPING | SOURCE_SAN_DNS, "" },
    { "F3 san_dns not permitted", "0004F224A6AC", "DNS:example.org",
      SOURCE_MAPPING | SOURCE_SAN_URI, "" },
    { "F6 e-mail as sip", "0004F224A6AC", "email:alice@example.org",
      SOURCES_USUAL | SOURCE_SAN_EMAIL, "alice@example.org" },
    { "F6 it hides DNS names as a sip URI does", "0004F224A6AC",
      "email:alice@example.org,DNS:example.org", SOURCES_USUAL | SOURCE_SAN_EMAIL,
      "alice@example.org" },
    { "F6 e-mail beside a sip URI", "0004F224A6AC",
      "email:bob@example.org,URI:sip:alice@example.org", SOURCES_USUAL | SOURCE_SAN_EMAIL,
      "alice@example.org bob@example.org" },
    { "F6 host in capitals", "0004F224A6AC", "email:Alice@EXAMPLE.org",
      SOURCES_USUAL | SOURCE_SAN_EMAIL, "Alice@example.org" },
    { "F6 percent means itself in an address", "0004F224A6AC", "email:%61lice@example.org",
      SOURCES_USUAL | SOURCE_SAN_EMAIL, "" },
    { "F6 quoted local part", "0004F224A6AC",
      "DER:30:13:81:11:22:61:20:62:22:40:65:78:61:6D:70:6C:65:2E:6F:72:67",
      SOURCES_USUAL | SOURCE_SAN_EMAIL, "" },
    { "F6 address literal", "0004F224A6AC", "email:alice@[192.0.2.1]",
      SOURCES_USUAL | SOURCE_SAN_EMAIL, "" },
    { "F6 IPv4 as host", "0004F224A6AC", "email:alice@192.0.2.1", SOURCES_USUAL | SOURCE_SAN_EMAIL,
      "" },
    { "F6 no local part", "0004F224A6AC", "email:@example.org", SOURCES_USUAL | SOURCE_SAN_EMAIL,
      "" },
    { "F6 a host alone is no address", "0004F224A6AC",
      "DER:30:0D:81:0B:65:78:61:6D:70:6C:65:2E:6F:72:67", SOURCES_USUAL | SOURCE_SAN_EMAIL, "" },
    { "F6 two at signs", "0004F224A6AC",
      "DER:30:11:81:0F:61:40:62:40:65:78:61:6D:70:6C:65:2E:6F:72:67",
      SOURCES_USUAL | SOURCE_SAN_EMAIL, "" },
    { "F6 NUL in the local part", "0004F224A6AC",
      "DER:30:11:81:0F:61:00:62:40:65:78:61:6D:70:6C:65:2E:6F:72:67",
      SOURCES_USUAL | SOURCE_SAN_EMAIL, "" },
    { "F6 NUL in the host", "0004F224A6AC",
      "DER:30:14:81:12:61:40:65:78:61:6D:70:6C:65:2E:6F:72:67:00:2E:6E:65:74",
      SOURCES_USUAL | SOURCE_SAN_EMAIL, "" },
    { "F6 a sip scheme in an address", "0004F224A6AC",
      "DER:30:13:81:11:73:69:70:3A:61:40:65:78:61:6D:70:6C:65:2E:6F:72:67",
      SOURCES_USUAL | SOURCE_SAN_EMAIL, "" },
    { "F6 semicolon", "0004F224A6AC",
      "DER:30:11:81:0F:61:3B:62:40:65:78:61:6D:70:6C:65:2E:6F:72:67",
      SOURCES_USUAL | SOURCE_SAN_EMAIL, "" },
    { "F6 a name that is none hides no DNS name", "0004F224A6AC",
      "email:%61@example.org,DNS:example.org", SOURCES_USUAL | SOURCE_SAN_EMAIL, "example.org" },
    { "F5 CN as domain", "example.org", NULL, SOURCE_CN_DOMAIN, "example.org" },
    { "F5 in capitals", "EXAMPLE.org", NULL, SOURCE_CN_DOMAIN, "example.org" },
    { "F5 only where permitted", "example.org", NULL, SOURCES_USUAL, "" },
    { "F5 not beside a sip URI", "example.org", "URI:sip:example.net", SOURCE_CN_DOMAIN, "" },
    { "F5 not beside any subjectAltName", "example.org", "IP:192.0.2.1", SOURCE_CN_DOMAIN, "" },
    { "F5 not beside one that is unreadable", "example.org", "DER:04:00", SOURCE_CN_DOMAIN, NULL },
    { "F5 not beside an empty one", "example.org", "DER:30:00", SOURCE_CN_DOMAIN, "" },
    { "F5 T12 wildcard", "*.example.org", NULL, SOURCE_CN_DOMAIN, "" },
    { "F5 T12 address", "192.0.2.1", NULL, SOURCE_CN_DOMAIN, "" },
    { "F5 no domain", "Alice Smith", NULL, SOURCE_CN_DOMAIN, "" },
    { "F5 a user is none", "alice@example.org", NULL, SOURCE_CN_DOMAIN, "" },
    { "F5 a URI is none", "sip:example.org", NULL, SOURCE_CN_DOMAIN, "" },
};

static void join_names(const struct peer_identity *p, char *out, size_t size)
{
    size_t at = 0;
    out[0] = 0;
    for (size_t i = 0; i < p->name_count; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%s", i ? " " : "", p->names[i].text);
}

static void test_names_by_RFC_5922_and_the_store(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(names_rows) / sizeof(names_rows[0]); i++, rows_run++) {
        const struct names_row *row = &names_rows[i];
        struct trust_rules rules = TRUST_RULES_USUAL;
        rules.sources = row->sources;
        struct trust_store *store = store_of("device", &root, &rules);
        struct test_certificate leaf = test_certificate_make(
            &(struct test_certificate_spec){ .cn = row->cn,
                                             .alternative_names = row->alternative_names },
            &root);
        struct trust_chain chain;
        struct peer_identity *p;
        char names[4096];
        int error = trust_store_verify(store, leaf.certificate, NULL, &chain);
        assert_int_equal(peer_identity_read(leaf.certificate, "device", row->sources, NULL, &p),
                         ERROR_NONE);
        join_names(p, names, sizeof(names));
        if ((error == X509_V_OK) != (row->names != NULL))
            fail_msg("%s: %s", row->what, X509_verify_cert_error_string(error));
        if (strcmp(names, row->names ? row->names : "") != 0)
            fail_msg("%s: got \"%s\", wanted \"%s\"", row->what, names, row->names);
        assert_int_equal(p->takes_mappings, (row->sources & SOURCE_MAPPING) != 0);
        peer_identity_free(p);
        test_certificate_free(&leaf);
        trust_store_free(store);
    }
}

/* ---- CN, by type of string ---- */

struct cn_row {
    const char *what;
    int type;
    struct slice raw;
    const char *second; /* more specific */
    const char *cn;     /* expected */
};
#define RAW(text)              \
    {                          \
        text, sizeof(text) - 1 \
    }

static const struct cn_row cn_rows[] = {
    { "UTF8String", V_ASN1_UTF8STRING, RAW("Alice Smith"), NULL, "Alice Smith" },
    { "UTF8String beyond ASCII", V_ASN1_UTF8STRING, RAW("J\303\266rg"), NULL, "J\303\266rg" },
    { "PrintableString", V_ASN1_PRINTABLESTRING, RAW("0004F224A6AC"), NULL, "0004F224A6AC" },
    { "IA5String", V_ASN1_IA5STRING, RAW("alice@example.org"), NULL, "alice@example.org" },
    { "T61String in ASCII", V_ASN1_T61STRING, RAW("0004F224A6AC"), NULL, "0004F224A6AC" },
    { "T61String beyond ASCII", V_ASN1_T61STRING, RAW("J\366rg"), NULL, "" },
    { "BMPString", V_ASN1_BMPSTRING, RAW("\0A\0l\0i"), NULL, "Ali" },
    { "BMPString beyond ASCII", V_ASN1_BMPSTRING, RAW("\0J\0\366"), NULL, "J\303\266" },
    { "BMPString with NUL", V_ASN1_BMPSTRING, RAW("\0A\0\0\0B"), NULL, "" },
    { "UniversalString", V_ASN1_UNIVERSALSTRING, RAW("\0\0\0A\0\0\0B"), NULL, "AB" },
    { "NUL at the end", V_ASN1_UTF8STRING, RAW("alice\0"), NULL, "" },
    { "NUL within", V_ASN1_UTF8STRING, RAW("alice\0.evil"), NULL, "" },
    { "NUL in a PrintableString", V_ASN1_PRINTABLESTRING, RAW("a\0b"), NULL, "" },
    { "newline", V_ASN1_UTF8STRING, RAW("alice\n"), NULL, "" },
    { "tab", V_ASN1_UTF8STRING, RAW("al\tice"), NULL, "" },
    { "DEL", V_ASN1_UTF8STRING, RAW("al\177ice"), NULL, "" },
    { "C1 control", V_ASN1_UTF8STRING, RAW("a\302\205b"), NULL, "" },
    { "spaces stay", V_ASN1_UTF8STRING, RAW(" alice "), NULL, " alice " },
    { "T10 quotes", V_ASN1_UTF8STRING, RAW("x'; DROP TABLE a; --"), NULL, "x'; DROP TABLE a; --" },
    { "T10 RESP", V_ASN1_UTF8STRING, RAW("*1\r\n$4\r\nPING\r\n"), NULL, "" },
    { "look-alike is another name", V_ASN1_UTF8STRING, RAW("\320\260lice"), NULL, "\320\260lice" },
    { "the last of two", V_ASN1_UTF8STRING, RAW("first"), "second", "second" },
    { "the last of two, the first none", V_ASN1_UTF8STRING, RAW("a\0b"), "second", "second" },
};

static void test_T09_T10_the_cn_by_type_of_string(void **state)
{
    (void)state;
    struct trust_store *store = store_of("device", &root, &TRUST_RULES_USUAL);
    for (size_t i = 0; i < sizeof(cn_rows) / sizeof(cn_rows[0]); i++, rows_run++) {
        const struct cn_row *row = &cn_rows[i];
        struct test_certificate leaf = test_certificate_make(
            &(struct test_certificate_spec){
                .raw_cn = row->raw, .raw_cn_type = row->type, .second_cn = row->second },
            &root);
        struct trust_chain chain;
        struct peer_identity *p;
        assert_int_equal(trust_store_verify(store, leaf.certificate, NULL, &chain), X509_V_OK);
        assert_int_equal(peer_identity_read(leaf.certificate, "device", SOURCES_USUAL, NULL, &p),
                         ERROR_NONE);
        if (strcmp(p->cn, row->cn) != 0 || p->cn_size != strlen(row->cn))
            fail_msg("%s: got \"%s\", wanted \"%s\"", row->what, p->cn, row->cn);
        peer_identity_free(p);
        test_certificate_free(&leaf);
    }
    trust_store_free(store);
}

/* ---- Chains ---- */

struct chain_row {
    const char *what;
    int error;                                 /* expected */
    struct test_certificate_spec leaf;         /* a cn is given to it */
    struct test_certificate_spec via[VIA_MAX]; /* its issuer first, the root's child last */
    unsigned via_count;
    unsigned withheld; /* bit i: via[i] is not sent */
    unsigned anchor;   /* 0: the root is; n: via[n - 1] is */
    int security_level;
    bool other_store; /* verified where another root is the anchor */
};
#define LEVEL .security_level

static const struct chain_row chain_rows[] = {
    { "leaf below the root", X509_V_OK, LEVEL = 2 },
    { "factory-shaped: root, policy, issuing, device", X509_V_OK, LEVEL = 2, .via_count = 2,
      .via = { { .cn = "Issuing", .ca = TEST_CA, .path_length = 1, .key_usage = CA_USAGE },
               { .cn = "Policy", .ca = TEST_CA, .path_length = 2, .key_usage = CA_USAGE } } },
    { "the same, policy not sent", X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, LEVEL = 2,
      .via_count = 2, .withheld = 2, .via = { CA("Issuing"), CA("Policy") } },
    { "the same, nothing sent", X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, LEVEL = 2,
      .via_count = 2, .withheld = 3, .via = { CA("Issuing"), CA("Policy") } },
    { "issuing authority as anchor", X509_V_OK, LEVEL = 2, .via_count = 2, .anchor = 1,
      .withheld = 3, .via = { CA("Issuing"), CA("Policy") } },
    { "policy authority as anchor", X509_V_OK, LEVEL = 2, .via_count = 2, .anchor = 2,
      .withheld = 2, .via = { CA("Issuing"), CA("Policy") } },
    { "policy authority as anchor, all sent", X509_V_OK, LEVEL = 2, .via_count = 2, .anchor = 2,
      .via = { CA("Issuing"), CA("Policy") } },
    { "an anchor that is no authority signs nothing", ANY_ERROR, LEVEL = 2, .via_count = 1,
      .anchor = 1, .via = { { .cn = "Phone" } } },
    { "T8 another root's store", X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, LEVEL = 2,
      .other_store = true },
    { "T8 another root's store, intermediate", X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
      LEVEL = 2, .other_store = true, .via_count = 1, .via = { CA("Issuing") } },
    { "T13 leaf expired", X509_V_ERR_CERT_HAS_EXPIRED, { .until_s = -60 }, LEVEL = 2 },
    { "T13 leaf not yet valid", X509_V_ERR_CERT_NOT_YET_VALID, { .from_s = 3600 }, LEVEL = 2 },
    { "T13 valid for a minute", X509_V_OK, { .until_s = 60 }, LEVEL = 2 },
    { "T13 intermediate expired", X509_V_ERR_CERT_HAS_EXPIRED, LEVEL = 2, .via_count = 1,
      .via = { { .cn = "Issuing", .ca = TEST_CA, .until_s = -60 } } },
    { "T13 intermediate of tomorrow", X509_V_ERR_CERT_NOT_YET_VALID, LEVEL = 2, .via_count = 1,
      .via = { { .cn = "Issuing", .ca = TEST_CA, .from_s = DAY } } },
    { "T13 anchor expired", X509_V_ERR_CERT_HAS_EXPIRED, LEVEL = 2, .via_count = 1, .anchor = 1,
      .via = { { .cn = "Issuing", .ca = TEST_CA, .until_s = -60 } } },
    { "T13 a policy authority that is over, issuing as anchor", X509_V_OK, LEVEL = 2,
      .via_count = 2, .anchor = 1, .withheld = 2,
      .via = { CA("Issuing"), { .cn = "Policy", .ca = TEST_CA, .until_s = -60 } } },
    { "T13 CA:false signs", X509_V_ERR_INVALID_CA, LEVEL = 2, .via_count = 1,
      .via = { { .cn = "Phone" } } },
    { "T13 no basic constraints signs", X509_V_ERR_INVALID_CA, LEVEL = 2, .via_count = 1,
      .via = { { .cn = "Old", .ca = TEST_NO_CONSTRAINTS } } },
    { "T13 CA:false deep in the chain", X509_V_ERR_INVALID_CA, LEVEL = 2, .via_count = 2,
      .via = { CA("Issuing"), { .cn = "Phone" } } },
    { "T13 authority without keyCertSign", ANY_ERROR, LEVEL = 2, .via_count = 1,
      .via = { { .cn = "Issuing", .ca = TEST_CA, .key_usage = "critical,cRLSign" } } },
    { "T13 authority with digitalSignature alone", ANY_ERROR, LEVEL = 2, .via_count = 1,
      .via = { { .cn = "Issuing", .ca = TEST_CA, .key_usage = "digitalSignature" } } },
    { "T13 path length 0, one authority", X509_V_OK, LEVEL = 2, .via_count = 1,
      .via = { { .cn = "Issuing", .ca = TEST_CA, .path_length = 1 } } },
    { "T13 path length 0, two authorities", X509_V_ERR_PATH_LENGTH_EXCEEDED, LEVEL = 2,
      .via_count = 2,
      .via = { CA("Issuing"), { .cn = "Policy", .ca = TEST_CA, .path_length = 1 } } },
    { "T13 path length 1, two authorities", X509_V_OK, LEVEL = 2, .via_count = 2,
      .via = { CA("Issuing"), { .cn = "Policy", .ca = TEST_CA, .path_length = 2 } } },
    { "T13 path length 1, three authorities", X509_V_ERR_PATH_LENGTH_EXCEEDED, LEVEL = 2,
      .via_count = 3,
      .via = { CA("A"), CA("B"), { .cn = "Policy", .ca = TEST_CA, .path_length = 2 } } },
    { "T13 path length of an anchor counts", X509_V_ERR_PATH_LENGTH_EXCEEDED, LEVEL = 2,
      .via_count = 2, .anchor = 2,
      .via = { CA("A"), { .cn = "Policy", .ca = TEST_CA, .path_length = 1 } } },
    { "T13 eight authorities", X509_V_OK, LEVEL = 2, .via_count = 7,
      .via = { CA("1"), CA("2"), CA("3"), CA("4"), CA("5"), CA("6"), CA("7") } },
    { "T31 ten authorities", X509_V_ERR_CERT_CHAIN_TOO_LONG, LEVEL = 2, .via_count = 10,
      .via = { CA("1"), CA("2"), CA("3"), CA("4"), CA("5"), CA("6"), CA("7"), CA("8"), CA("9"),
               CA("10") } },
    { "T13 permitted domain",
      X509_V_OK,
      { .alternative_names = "DNS:sip.example.org" },
      LEVEL = 2,
      .via_count = 1,
      .via = { { .cn = "Issuing",
                 .ca = TEST_CA,
                 .name_constraints = "critical,permitted;DNS:example.org" } } },
    { "T13 a domain outside",
      X509_V_ERR_PERMITTED_VIOLATION,
      { .alternative_names = "DNS:sip.example.net" },
      LEVEL = 2,
      .via_count = 1,
      .via = { { .cn = "Issuing",
                 .ca = TEST_CA,
                 .name_constraints = "critical,permitted;DNS:example.org" } } },
    { "T13 an excluded domain",
      X509_V_ERR_EXCLUDED_VIOLATION,
      { .alternative_names = "DNS:boss.example.org" },
      LEVEL = 2,
      .via_count = 1,
      .via = { { .cn = "Issuing",
                 .ca = TEST_CA,
                 .name_constraints = "critical,excluded;DNS:boss.example.org" } } },
    { "T13 a second name outside",
      X509_V_ERR_PERMITTED_VIOLATION,
      { .alternative_names = "DNS:sip.example.org,DNS:example.net" },
      LEVEL = 2,
      .via_count = 1,
      .via = { { .cn = "Issuing",
                 .ca = TEST_CA,
                 .name_constraints = "critical,permitted;DNS:example.org" } } },
    { "T13 constraints two authorities up",
      X509_V_ERR_PERMITTED_VIOLATION,
      { .alternative_names = "DNS:sip.example.net" },
      LEVEL = 2,
      .via_count = 2,
      .via = { CA("Issuing"),
               { .cn = "Policy",
                 .ca = TEST_CA,
                 .name_constraints = "critical,permitted;DNS:example.org" } } },
    { "T13 an excluded e-mail host",
      X509_V_ERR_EXCLUDED_VIOLATION,
      { .alternative_names = "email:boss@example.org" },
      LEVEL = 2,
      .via_count = 1,
      .via = { { .cn = "Issuing",
                 .ca = TEST_CA,
                 .name_constraints = "critical,excluded;email:example.org" } } },
    { "T13 a URI of another host",
      X509_V_ERR_UNSUPPORTED_NAME_SYNTAX,
      { .alternative_names = "URI:sip:alice@example.net" },
      LEVEL = 2,
      .via_count = 1,
      .via = { { .cn = "Issuing",
                 .ca = TEST_CA,
                 .name_constraints = "critical,permitted;URI:example.org" } } },
    { "T13 signed with SHA-1", X509_V_ERR_CA_MD_TOO_WEAK, { .digest = "SHA1" }, LEVEL = 2 },
    { "T13 signed with SHA-1 at level 1",
      X509_V_ERR_CA_MD_TOO_WEAK,
      { .digest = "SHA1" },
      LEVEL = 1 },
    { "T13 signed with SHA-1 at level 0", X509_V_OK, { .digest = "SHA1" }, LEVEL = 0 },
    { "T13 authority signed with SHA-1", X509_V_ERR_CA_MD_TOO_WEAK, LEVEL = 2, .via_count = 1,
      .via = { { .cn = "Issuing", .ca = TEST_CA, .digest = "SHA1" } } },
    { "T13 authority signed with SHA-1 at level 0", X509_V_OK, .via_count = 1,
      .via = { { .cn = "Issuing", .ca = TEST_CA, .digest = "SHA1" } } },
    { "T13 anchor signed with SHA-1: nobody relies on it", X509_V_OK, LEVEL = 2, .via_count = 1,
      .anchor = 1, .via = { { .cn = "Issuing", .ca = TEST_CA, .digest = "SHA1" } } },
    { "SHA-384", X509_V_OK, { .digest = "SHA384" }, LEVEL = 2 },
    { "T13 leaf without digitalSignature",
      X509_V_ERR_INVALID_PURPOSE,
      { .key_usage = "critical,keyEncipherment" },
      LEVEL = 2 },
    { "leaf with both key usages",
      X509_V_OK,
      { .key_usage = "critical,digitalSignature,keyEncipherment" },
      LEVEL = 2 },
    { "a leaf that is an authority is a peer, too", X509_V_OK, { .ca = TEST_CA }, LEVEL = 2 },
    { "a leaf without basic constraints", X509_V_OK, { .ca = TEST_NO_CONSTRAINTS }, LEVEL = 2 },
    { "T13 critical extension unknown",
      X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION,
      { .unknown = "critical,1.3.6.1.4.1.99999.1" },
      LEVEL = 2 },
    { "extension unknown, not critical",
      X509_V_OK,
      { .unknown = "1.3.6.1.4.1.99999.1" },
      LEVEL = 2 },
};

/* Certificates from the root down to the leaf, which is the last. */
static void make_chain(const struct chain_row *row, struct test_certificate made[VIA_MAX + 1])
{
    const struct test_certificate *issuer = &root;
    struct test_certificate_spec leaf = row->leaf;
    leaf.cn = "0004F224A6AC";
    for (unsigned i = row->via_count; i-- > 0; issuer = &made[i])
        made[i] = test_certificate_make(&row->via[i], issuer);
    made[row->via_count] = test_certificate_make(&leaf, issuer);
}

static void run_chain(const struct chain_row *row)
{
    struct test_certificate made[VIA_MAX + 1];
    struct trust_rules rules = TRUST_RULES_USUAL;
    struct trust_chain chain;
    rules.security_level = row->security_level;
    make_chain(row, made);
    struct trust_store *store = store_of("device",
                                         row->other_store ? &other_root
                                         : row->anchor    ? &made[row->anchor - 1]
                                                          : &root,
                                         &rules);
    STACK_OF(X509) *sent = sk_X509_new_null();
    for (unsigned i = 0; i < row->via_count; i++)
        if (!(row->withheld & (1u << i)))
            sk_X509_push(sent, made[i].certificate);
    int error = trust_store_verify(store, made[row->via_count].certificate, sent, &chain);
    if (row->error == ANY_ERROR ? error == X509_V_OK : error != row->error)
        fail_msg("%s: %s, wanted %s", row->what, X509_verify_cert_error_string(error),
                 row->error == ANY_ERROR ? "any refusal"
                                         : X509_verify_cert_error_string(row->error));
    assert_true((error == X509_V_OK) == (chain.not_after_unix_s != 0));
    sk_X509_free(sent);
    trust_store_free(store);
    for (unsigned i = 0; i <= row->via_count; i++)
        test_certificate_free(&made[i]);
}

static void test_T08_T13_chains_by_RFC_5280(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(chain_rows) / sizeof(chain_rows[0]); i++, rows_run++)
        run_chain(&chain_rows[i]);
}

/* ---- Extended key usage ---- */

struct usage_row {
    const char *leaf, *authority; /* OpenSSL's syntax; NULL: absent */
    bool accepted, required;      /* expected, by rule; KEY_USAGE_IGNORE takes all */
};

static const struct usage_row usage_rows[] = {
    { NULL, NULL, true, false },
    { "clientAuth", NULL, true, false },
    { "serverAuth", NULL, false, false },
    { "serverAuth,clientAuth", NULL, true, false },
    { "anyExtendedKeyUsage", NULL, true, false },
    { SIP_DOMAIN, NULL, true, true },
    { SIP_DOMAIN ",serverAuth", NULL, true, true },
    { "critical," SIP_DOMAIN, NULL, true, true },
    { "codeSigning", NULL, false, false },
    { "emailProtection,timeStamping", NULL, false, false },
    { "1.3.6.1.5.5.7.3.200", NULL, false, false },
    { "1.3.6.1.5.5.7.3.20.1", NULL, false, false },
    { NULL, "clientAuth", true, false },
    { NULL, "serverAuth", false, false },
    { SIP_DOMAIN, "serverAuth", false, false },
    { SIP_DOMAIN, "clientAuth", true, false },
    { SIP_DOMAIN, "anyExtendedKeyUsage", true, true },
    { SIP_DOMAIN, SIP_DOMAIN, true, true },
    { "clientAuth", SIP_DOMAIN, true, false },
};

/* Of servers the rows hold with both usages exchanged. */
static const char *usage_for(enum trust_role role, const char *text, char out[100])
{
    const char *at = text;
    if (role == TRUST_OF_CLIENTS || !text)
        return text;
    for (*out = 0; *at;) {
        bool client = strncmp(at, "clientAuth", 10) == 0;
        bool server = strncmp(at, "serverAuth", 10) == 0;
        size_t end = strlen(out);
        snprintf(out + end, 100 - end, client ? "serverAuth" : server ? "clientAuth" : "%c", *at);
        at += client || server ? 10 : 1;
    }
    return out;
}

static void check_usage(enum trust_role role)
{
    static const enum key_usage_rule rule[] = { KEY_USAGE_IGNORE, KEY_USAGE_ACCEPT,
                                                KEY_USAGE_REQUIRE };
    for (size_t i = 0; i < sizeof(usage_rows) / sizeof(usage_rows[0]); i++) {
        const struct usage_row *row = &usage_rows[i];
        const bool wanted[] = { true, row->accepted, row->required };
        char above[100], below[100];
        struct test_certificate ca = test_certificate_make(
            &(struct test_certificate_spec){
                .cn = "CA", .ca = TEST_CA, .usage = usage_for(role, row->authority, above) },
            &root);
        struct test_certificate leaf = test_certificate_make(
            &(struct test_certificate_spec){ .cn = "leaf",
                                             .usage = usage_for(role, row->leaf, below) },
            &ca);
        STACK_OF(X509) *sent = sk_X509_new_null();
        sk_X509_push(sent, ca.certificate);
        for (size_t r = 0; r < 3; r++, rows_run++) {
            struct trust_rules rules = TRUST_RULES_USUAL;
            struct trust_chain chain;
            rules.key_usage = rule[r];
            rules.role = role;
            struct trust_store *store = store_of("device", &root, &rules);
            int error = trust_store_verify(store, leaf.certificate, sent, &chain);
            if ((error == X509_V_OK) != wanted[r])
                fail_msg("leaf %s, authority %s, rule %zu: %s", row->leaf, row->authority, r,
                         X509_verify_cert_error_string(error));
            trust_store_free(store);
        }
        sk_X509_free(sent);
        test_certificate_free(&leaf);
        test_certificate_free(&ca);
    }
}

static void test_F07_extended_key_usage_by_RFC_5924_and_the_stores_rule(void **state)
{
    (void)state;
    check_usage(TRUST_OF_CLIENTS);
    check_usage(TRUST_OF_SERVERS);
}

/* ---- Cross-signed, overlapping ---- */

/* One authority's key certified by both roots: the leaf verifies in each root's store, with what
 * leads to that root, and the store that is tried first names it. */
static void test_T08_cross_signed_authorities(void **state)
{
    (void)state;
    struct test_certificate_spec spec = CA("Cross");
    struct test_certificate here = test_certificate_make(&spec, &root);
    spec.key = here.key;
    struct test_certificate there = test_certificate_make(&spec, &other_root);
    struct test_certificate leaf =
        test_certificate_make(&(struct test_certificate_spec){ .cn = "leaf" }, &here);
    struct trust_store *stores[] = { store_of("a", &root, &TRUST_RULES_USUAL),
                                     store_of("b", &other_root, &TRUST_RULES_USUAL) };
    for (unsigned sent_mask = 0; sent_mask < 4; sent_mask++) {
        STACK_OF(X509) *sent = sk_X509_new_null();
        struct trust_chain chain;
        if (sent_mask & 1)
            sk_X509_push(sent, here.certificate);
        if (sent_mask & 2)
            sk_X509_push(sent, there.certificate);
        for (unsigned i = 0; i < 2; i++, rows_run++)
            assert_int_equal(trust_store_verify(stores[i], leaf.certificate, sent, &chain) ==
                                 X509_V_OK,
                             (sent_mask >> i) & 1);
        sk_X509_free(sent);
    }
    assert_false(trust_store_overlaps(stores[0], stores[1]));
    struct trust_store *c = store_of("c", &here, &TRUST_RULES_USUAL);
    struct trust_store *d = store_of("d", &there, &TRUST_RULES_USUAL);
    assert_true(trust_store_overlaps(c, d)); /* refused in one listener */
    trust_store_free(c);
    trust_store_free(d);
    trust_store_free(stores[0]);
    trust_store_free(stores[1]);
    test_certificate_free(&leaf);
    test_certificate_free(&there);
    test_certificate_free(&here);
}

static void test_the_earliest_end_of_the_chain_is_kept(void **state)
{
    (void)state;
    static const long ends_s[][3] = { { 100, 200, 300 }, { 300, 100, 200 }, { 300, 200, 100 } };
    for (size_t i = 0; i < 3; i++, rows_run++) {
        struct test_certificate top = test_certificate_make(
            &(struct test_certificate_spec){ .cn = "Top", .ca = TEST_CA, .until_s = ends_s[i][2] },
            NULL);
        struct test_certificate ca = test_certificate_make(
            &(struct test_certificate_spec){ .cn = "CA", .ca = TEST_CA, .until_s = ends_s[i][1] },
            &top);
        struct test_certificate leaf = test_certificate_make(
            &(struct test_certificate_spec){ .cn = "leaf", .until_s = ends_s[i][0] }, &ca);
        const struct test_certificate *all[] = { &leaf, &ca, &top };
        struct trust_store *store = store_of("device", &top, &TRUST_RULES_USUAL);
        STACK_OF(X509) *sent = sk_X509_new_null();
        struct trust_chain chain;
        uint64_t wanted_unix_s;
        sk_X509_push(sent, ca.certificate);
        assert_int_equal(trust_store_verify(store, leaf.certificate, sent, &chain), X509_V_OK);
        assert_true(certificate_not_after(all[i]->certificate, &wanted_unix_s));
        assert_int_equal(chain.not_after_unix_s, wanted_unix_s);
        sk_X509_free(sent);
        trust_store_free(store);
        test_certificate_free(&leaf);
        test_certificate_free(&ca);
        test_certificate_free(&top);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_by_RFC_5922_and_the_store),
        cmocka_unit_test(test_T09_T10_the_cn_by_type_of_string),
        cmocka_unit_test(test_T08_T13_chains_by_RFC_5280),
        cmocka_unit_test(test_F07_extended_key_usage_by_RFC_5924_and_the_stores_rule),
        cmocka_unit_test(test_T08_cross_signed_authorities),
        cmocka_unit_test(test_the_earliest_end_of_the_chain_is_kept),
    };
    return cmocka_run_group_tests(tests, make_roots, free_roots);
}
