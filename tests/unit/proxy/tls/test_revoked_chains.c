/* SPDX-License-Identifier: Apache-2.0 */
/* Revoked chains of the corpus: a leaf below three authorities, each with every state that its CRL
 * can be in, by every rule of a store, against what RFC 5280 6.3 and docs/tls.md say of it. */
#include "common/clock.h"
#include "proxy/tls/trust_store.h"
#include "tests/unit/proxy/tls/certificates.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define DAY         86400L
#define CA_USAGE    "critical,keyCertSign,cRLSign"
#define AUTHORITIES 3

/* Of an authority's CRL. */
enum list_state {
    LIST_ABSENT,
    LIST_EMPTY,
    LIST_NAMES, /* the certificate below it in the chain */
    LIST_OVER,
    LIST_OVER_NAMES,
    LIST_TOMORROW,
    LIST_NAMES_ANOTHER, /* serial number */
    LIST_STATES
};

/* Root, policy, issuing, leaf: each signs the next. */
static struct test_certificate chain[AUTHORITIES + 1];
static char *lists[AUTHORITIES][LIST_STATES]; /* PEM of the authorities and the CRL */
static unsigned chains_run;

static void set_time(X509_CRL *crl, int (*set)(X509_CRL *, const ASN1_TIME *), long from_now_s)
{
    ASN1_TIME *at = X509_gmtime_adj(NULL, from_now_s);
    assert_int_equal(set(crl, at), 1);
    ASN1_TIME_free(at);
}

static void add_revoked(X509_CRL *crl, const ASN1_INTEGER *serial, long more)
{
    X509_REVOKED *entry = X509_REVOKED_new();
    ASN1_INTEGER *number = ASN1_INTEGER_new();
    ASN1_TIME *at = X509_gmtime_adj(NULL, -DAY);
    ASN1_INTEGER_set(number, ASN1_INTEGER_get(serial) + more);
    assert_int_equal(X509_REVOKED_set_serialNumber(entry, number), 1);
    assert_int_equal(X509_REVOKED_set_revocationDate(entry, at), 1);
    assert_int_equal(X509_CRL_add0_revoked(crl, entry), 1);
    ASN1_INTEGER_free(number);
    ASN1_TIME_free(at);
}

static char *make_list(const struct test_certificate *by, const struct test_certificate *below,
                       enum list_state state)
{
    const ASN1_INTEGER *serial = X509_get0_serialNumber(below->certificate);
    bool over = state == LIST_OVER || state == LIST_OVER_NAMES;
    X509_CRL *crl = X509_CRL_new();
    BIO *bio = BIO_new(BIO_s_mem());
    char *data;
    X509_CRL_set_version(crl, X509_CRL_VERSION_2);
    X509_CRL_set_issuer_name(crl, X509_get_subject_name(by->certificate));
    set_time(crl, X509_CRL_set1_lastUpdate, state == LIST_TOMORROW ? DAY : -2 * DAY);
    set_time(crl, X509_CRL_set1_nextUpdate, over ? -DAY : 2 * DAY);
    if (state == LIST_NAMES || state == LIST_OVER_NAMES)
        add_revoked(crl, serial, 0);
    if (state == LIST_NAMES_ANOTHER)
        add_revoked(crl, serial, 1000);
    assert_true(X509_CRL_sign(crl, by->key, EVP_sha256()) > 0);
    for (size_t i = 0; i < AUTHORITIES; i++) /* up to the anchor they must verify */
        assert_int_equal(PEM_write_bio_X509(bio, chain[i].certificate), 1);
    assert_int_equal(PEM_write_bio_X509_CRL(bio, crl), 1);
    long size = BIO_get_mem_data(bio, &data);
    char *text = strndup(data, (size_t)size);
    BIO_free(bio);
    X509_CRL_free(crl);
    return text;
}

static int make_chain(void **state)
{
    static const char *const NAMES[] = { "Root", "Policy", "Issuing", "0004F224A6AC" };
    (void)state;
    for (size_t i = 0; i <= AUTHORITIES; i++) {
        struct test_certificate_spec spec = { .cn = NAMES[i] };
        if (i < AUTHORITIES) {
            spec.ca = TEST_CA;
            spec.key_usage = CA_USAGE;
        }
        chain[i] = test_certificate_make(&spec, i > 0 ? &chain[i - 1] : NULL);
    }
    for (size_t i = 0; i < AUTHORITIES; i++)
        for (int s = LIST_EMPTY; s < LIST_STATES; s++)
            lists[i][s] = make_list(&chain[i], &chain[i + 1], (enum list_state)s);
    return 0;
}

static int free_chain(void **state)
{
    (void)state;
    for (size_t i = 0; i <= AUTHORITIES; i++)
        test_certificate_free(&chain[i]);
    for (size_t i = 0; i < AUTHORITIES; i++)
        for (int s = 0; s < LIST_STATES; s++)
            free(lists[i][s]);
    printf("%u chains\n", chains_run);
    return 0;
}

/* What one certificate's authority says against it. */
static int objection(enum list_state state, const struct trust_rules *rules)
{
    bool late = rules->crl_expired_accepted;
    switch (state) {
    case LIST_ABSENT:
        return rules->crl == CRL_REQUIRED ? X509_V_ERR_UNABLE_TO_GET_CRL : X509_V_OK;
    case LIST_NAMES:
    case LIST_OVER_NAMES:
        return X509_V_ERR_CERT_REVOKED;
    case LIST_OVER:
        return late ? X509_V_OK : X509_V_ERR_CRL_HAS_EXPIRED;
    case LIST_TOMORROW:
        return late ? X509_V_OK : X509_V_ERR_CRL_NOT_YET_VALID;
    case LIST_EMPTY:
    case LIST_NAMES_ANOTHER:
    case LIST_STATES:
        break;
    }
    return X509_V_OK;
}

/* A revocation before all else; of several other objections any one. */
static bool is_right(int verdict, const enum list_state states[AUTHORITIES],
                     const struct trust_rules *rules)
{
    bool any = false, named = false, revoked = false;
    for (size_t i = 0; i < AUTHORITIES; i++) {
        int said = rules->crl == CRL_OFF ? X509_V_OK : objection(states[i], rules);
        any |= said != X509_V_OK;
        named |= said == verdict && said != X509_V_OK;
        revoked |= said == X509_V_ERR_CERT_REVOKED;
    }
    if (revoked)
        return verdict == X509_V_ERR_CERT_REVOKED;
    return any ? named : verdict == X509_V_OK;
}

static struct trust_store *store_of_root(struct trust_chain *kept)
{
    struct trust_store *store;
    char *anchor = test_certificate_pem(chain[0].certificate);
    STACK_OF(X509) *sent = sk_X509_new_null();
    assert_int_equal(trust_store_create("device", slice_of(anchor), &TRUST_RULES_USUAL, &store),
                     ERROR_NONE);
    sk_X509_push(sent, chain[1].certificate);
    sk_X509_push(sent, chain[2].certificate);
    assert_int_equal(trust_store_verify(store, chain[AUTHORITIES].certificate, sent, kept),
                     X509_V_OK);
    sk_X509_free(sent);
    free(anchor);
    return store;
}

static struct revocations *read_lists(const struct trust_store *store,
                                      const enum list_state states[AUTHORITIES])
{
    struct revocations *list = NULL;
    struct slice files[AUTHORITIES];
    size_t count = 0, which;
    const char *why = "";
    for (size_t i = 0; i < AUTHORITIES; i++)
        if (states[i] != LIST_ABSENT)
            files[count++] = slice_of(lists[i][states[i]]);
    if (count > 0 && revocations_read(store, files, count, &list, &why, &which) != ERROR_NONE)
        fail_msg("%d %d %d: %s", states[0], states[1], states[2], why);
    return list;
}

static void check(const struct revocations *list, const struct trust_chain *kept,
                  const enum list_state states[AUTHORITIES], const struct trust_rules *rules)
{
    int verdict = revocations_check(list, rules, kept->links, kept->link_count, clock_unix_s());
    if (!is_right(verdict, states, rules))
        fail_msg("lists of root, policy, issuing %d %d %d, rule %d, expired %d: %s", states[0],
                 states[1], states[2], rules->crl, rules->crl_expired_accepted,
                 X509_verify_cert_error_string(verdict));
    chains_run++;
}

static void test_F11_a_chain_is_revoked_by_any_of_its_lists_and_the_stores_rule(void **state)
{
    struct trust_chain kept;
    struct trust_store *store = store_of_root(&kept);
    (void)state;
    for (int n = 0; n < LIST_STATES * LIST_STATES * LIST_STATES; n++) {
        const enum list_state states[] = { (enum list_state)(n % LIST_STATES),
                                           (enum list_state)(n / LIST_STATES % LIST_STATES),
                                           (enum list_state)(n / LIST_STATES / LIST_STATES) };
        struct revocations *list = read_lists(store, states);
        for (int i = 0; i < 6; i++) {
            struct trust_rules rules = TRUST_RULES_USUAL;
            rules.crl = (enum crl_rule)(i / 2);
            rules.crl_expired_accepted = i % 2 == 0;
            check(list, &kept, states, &rules);
        }
        revocations_drop(list);
    }
    trust_store_free(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_F11_a_chain_is_revoked_by_any_of_its_lists_and_the_stores_rule),
    };
    return cmocka_run_group_tests(tests, make_chain, free_chain);
}
