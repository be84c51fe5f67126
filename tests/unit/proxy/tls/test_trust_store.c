/* SPDX-License-Identifier: Apache-2.0 */
/* Chains that must verify and, above all, those that must not (T8, T13, T31). */
#include "proxy/tls/trust_store.h"

#include "tests/unit/proxy/tls/certificates.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define CA_USAGE "critical,keyCertSign,cRLSign"

static struct test_certificate root;
static struct trust_chain kept;

static int make_root(void **state)
{
    (void)state;
    root = test_certificate_make(
        &(struct test_certificate_spec){ .cn = "Root", .ca = TEST_CA, .key_usage = CA_USAGE },
        NULL);
    return 0;
}

static int free_root(void **state)
{
    (void)state;
    test_certificate_free(&root);
    return 0;
}

static struct trust_store *store_of(const char *name, const struct test_certificate *anchor,
                                    int level)
{
    struct trust_store *store;
    char *pem = test_certificate_pem(anchor->certificate);
    struct trust_rules rules = TRUST_RULES_USUAL;
    rules.security_level = level;
    assert_int_equal(trust_store_create(name, slice_of(pem), &rules, &store), ERROR_NONE);
    free(pem);
    return store;
}

/* `via`: what the peer sends with its leaf; NULL = nothing. */
static int verify(const struct test_certificate *anchor, int level,
                  const struct test_certificate *leaf, const struct test_certificate *via)
{
    struct trust_store *store = store_of("device", anchor, level);
    STACK_OF(X509) *untrusted = sk_X509_new_null();
    if (via)
        sk_X509_push(untrusted, via->certificate);
    int error = trust_store_verify(store, leaf->certificate, untrusted, &kept);
    sk_X509_free(untrusted);
    trust_store_free(store);
    return error;
}

/* The outcome of a leaf of root's with these properties. */
static int verify_leaf(const struct test_certificate_spec *spec, int level)
{
    struct test_certificate leaf = test_certificate_make(spec, &root);
    int error = verify(&root, level, &leaf, NULL);
    test_certificate_free(&leaf);
    return error;
}
#define LEAF(...) (&(struct test_certificate_spec){ .cn = "0004F224A6AC", __VA_ARGS__ })

static void test_T13_a_good_leaf_verifies(void **state)
{
    (void)state;
    assert_int_equal(verify_leaf(LEAF(.usage = NULL), 2), X509_V_OK);
    assert_int_equal(verify_leaf(LEAF(.usage = "clientAuth", .key_usage = "digitalSignature"), 2),
                     X509_V_OK);
    /* A factory certificate without basicConstraints. */
    assert_int_equal(verify_leaf(LEAF(.ca = TEST_NO_CONSTRAINTS), 2), X509_V_OK);
}

static void test_T13_extended_key_usage_must_fit(void **state)
{
    (void)state;
    assert_int_equal(verify_leaf(LEAF(.usage = "serverAuth,clientAuth"), 2), X509_V_OK);
    assert_int_equal(verify_leaf(LEAF(.usage = "anyExtendedKeyUsage"), 2), X509_V_OK);
    assert_int_equal(verify_leaf(LEAF(.usage = "1.3.6.1.5.5.7.3.20"), 2), X509_V_OK);
    assert_int_equal(verify_leaf(LEAF(.usage = "serverAuth"), 2), X509_V_ERR_INVALID_PURPOSE);
    assert_int_equal(verify_leaf(LEAF(.usage = "codeSigning,emailProtection"), 2),
                     X509_V_ERR_INVALID_PURPOSE);
    assert_int_equal(verify_leaf(LEAF(.usage = "1.3.6.1.5.5.7.3.21"), 2),
                     X509_V_ERR_INVALID_PURPOSE);
    assert_int_equal(verify_leaf(LEAF(.key_usage = "keyEncipherment"), 2),
                     X509_V_ERR_INVALID_PURPOSE);
}

static void test_T13_a_ca_for_servers_does_not_make_clients(void **state)
{
    (void)state;
    struct test_certificate ca = test_certificate_make(
        &(struct test_certificate_spec){
            .cn = "Servers", .ca = TEST_CA, .key_usage = CA_USAGE, .usage = "serverAuth" },
        &root);
    struct test_certificate leaf = test_certificate_make(LEAF(.usage = "clientAuth"), &ca);
    assert_int_equal(verify(&root, 2, &leaf, &ca), X509_V_ERR_INVALID_PURPOSE);
    test_certificate_free(&leaf);
    test_certificate_free(&ca);
}

static void test_T13_validity_counts(void **state)
{
    (void)state;
    assert_int_equal(verify_leaf(LEAF(.from_s = -7200, .until_s = -3600), 2),
                     X509_V_ERR_CERT_HAS_EXPIRED);
    assert_int_equal(verify_leaf(LEAF(.from_s = 3600), 2), X509_V_ERR_CERT_NOT_YET_VALID);
}

static void test_T13_only_a_ca_signs(void **state)
{
    (void)state;
    static const struct {
        enum test_ca ca;
        const char *key_usage;
        int error;
    } signers[] = {
        { TEST_CA, CA_USAGE, X509_V_OK },
        { TEST_CA, NULL, X509_V_OK },
        { TEST_LEAF, CA_USAGE, X509_V_ERR_INVALID_CA },
        { TEST_LEAF, NULL, X509_V_ERR_INVALID_CA },
        { TEST_NO_CONSTRAINTS, NULL, X509_V_ERR_INVALID_CA },
        { TEST_CA, "digitalSignature", X509_V_ERR_INVALID_CA },
    };
    for (size_t i = 0; i < sizeof(signers) / sizeof(signers[0]); i++) {
        struct test_certificate signer = test_certificate_make(
            &(struct test_certificate_spec){
                .cn = "Signer", .ca = signers[i].ca, .key_usage = signers[i].key_usage },
            &root);
        struct test_certificate leaf = test_certificate_make(LEAF(.usage = "clientAuth"), &signer);
        int error = verify(&root, 2, &leaf, &signer);
        if (signers[i].error == X509_V_OK)
            assert_int_equal(error, X509_V_OK);
        else
            assert_int_not_equal(error, X509_V_OK);
        test_certificate_free(&leaf);
        test_certificate_free(&signer);
    }
}

static void test_T13_path_length_counts(void **state)
{
    (void)state;
    struct test_certificate top = test_certificate_make(
        &(struct test_certificate_spec){
            .cn = "Top", .ca = TEST_CA, .path_length = 1, .key_usage = CA_USAGE },
        NULL);
    struct test_certificate below = test_certificate_make(
        &(struct test_certificate_spec){ .cn = "Below", .ca = TEST_CA, .key_usage = CA_USAGE },
        &top);
    struct test_certificate leaf = test_certificate_make(LEAF(.usage = NULL), &below);
    struct test_certificate direct = test_certificate_make(LEAF(.usage = NULL), &top);
    assert_int_equal(verify(&top, 2, &leaf, &below), X509_V_ERR_PATH_LENGTH_EXCEEDED);
    assert_int_equal(verify(&top, 2, &direct, NULL), X509_V_OK);
    test_certificate_free(&direct);
    test_certificate_free(&leaf);
    test_certificate_free(&below);
    test_certificate_free(&top);
}

static void test_T13_depth_is_bounded(void **state)
{
    (void)state;
    enum { CAS = TRUST_STORE_DEPTH + 2 };
    struct test_certificate chain[CAS], leaf;
    STACK_OF(X509) *untrusted = sk_X509_new_null();
    struct trust_store *store = store_of("device", &root, 2);
    for (int i = 0; i < CAS; i++) {
        char cn[32];
        snprintf(cn, sizeof(cn), "CA %d", i);
        chain[i] = test_certificate_make(
            &(struct test_certificate_spec){ .cn = cn, .ca = TEST_CA, .key_usage = CA_USAGE },
            i ? &chain[i - 1] : &root);
        sk_X509_push(untrusted, chain[i].certificate);
    }
    leaf = test_certificate_make(LEAF(.usage = NULL), &chain[CAS - 1]);
    assert_int_not_equal(trust_store_verify(store, leaf.certificate, untrusted, &kept), X509_V_OK);
    test_certificate_free(&leaf);
    leaf = test_certificate_make(LEAF(.usage = NULL), &chain[TRUST_STORE_DEPTH - 1]);
    assert_int_equal(trust_store_verify(store, leaf.certificate, untrusted, &kept), X509_V_OK);
    test_certificate_free(&leaf);
    for (int i = 0; i < CAS; i++)
        test_certificate_free(&chain[i]);
    sk_X509_free(untrusted);
    trust_store_free(store);
}

static void test_T13_name_constraints_count(void **state)
{
    (void)state;
    struct test_certificate ca = test_certificate_make(
        &(struct test_certificate_spec){ .cn = "Constrained",
                                         .ca = TEST_CA,
                                         .key_usage = CA_USAGE,
                                         .name_constraints = "critical,permitted;DNS:example.org" },
        &root);
    struct test_certificate in =
        test_certificate_make(LEAF(.alternative_names = "DNS:a.example.org"), &ca);
    struct test_certificate out =
        test_certificate_make(LEAF(.alternative_names = "DNS:example.net"), &ca);
    assert_int_equal(verify(&root, 2, &in, &ca), X509_V_OK);
    assert_int_equal(verify(&root, 2, &out, &ca), X509_V_ERR_PERMITTED_VIOLATION);
    test_certificate_free(&out);
    test_certificate_free(&in);
    test_certificate_free(&ca);
}

static void test_T13_weak_signatures_need_the_switch_and_md5_has_none(void **state)
{
    (void)state;
    static const struct {
        const char *digest;
        int level, error;
    } cases[] = {
        { "SHA256", 2, X509_V_OK },
        { "SHA1", 2, X509_V_ERR_CA_MD_TOO_WEAK },
        { "SHA1", 0, X509_V_OK },
        { "MD5", 2, X509_V_ERR_CA_MD_TOO_WEAK },
        { "MD5", 0, X509_V_ERR_CA_MD_TOO_WEAK },
    };
    EVP_PKEY *key = test_key_rsa(2048);
    struct test_certificate ca = test_certificate_make(
        &(struct test_certificate_spec){ .cn = "RSA root", .ca = TEST_CA, .key = key }, NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct test_certificate leaf = test_certificate_make(LEAF(.digest = cases[i].digest), &ca);
        assert_int_equal(verify(&ca, cases[i].level, &leaf, NULL), cases[i].error);
        test_certificate_free(&leaf);
    }
    test_certificate_free(&ca);
    EVP_PKEY_free(key);
}

static void test_T13_weak_keys_need_the_switch_and_tiny_ones_have_none(void **state)
{
    (void)state;
    EVP_PKEY *rsa1024 = test_key_rsa(1024), *rsa768 = test_key_rsa(768);
    assert_int_equal(verify_leaf(LEAF(.key = rsa1024), 2), X509_V_ERR_EE_KEY_TOO_SMALL);
    assert_int_equal(verify_leaf(LEAF(.key = rsa1024), 1), X509_V_OK);
    assert_int_equal(verify_leaf(LEAF(.key = rsa768), 1), X509_V_ERR_EE_KEY_TOO_SMALL);
    assert_int_equal(verify_leaf(LEAF(.key = rsa768), 0), X509_V_ERR_EE_KEY_TOO_SMALL);
    EVP_PKEY_free(rsa768);
    EVP_PKEY_free(rsa1024);
}

static void test_T08_a_chain_of_another_store_does_not_verify(void **state)
{
    (void)state;
    struct test_certificate other = test_certificate_make(
        &(struct test_certificate_spec){ .cn = "Corp", .ca = TEST_CA, .key_usage = CA_USAGE },
        NULL);
    struct test_certificate leaf = test_certificate_make(LEAF(.usage = NULL), &other);
    assert_int_not_equal(verify(&root, 2, &leaf, &other), X509_V_OK);
    assert_int_equal(verify(&other, 2, &leaf, NULL), X509_V_OK);
    /* The same name and another key: what it signs is not root's. */
    struct test_certificate false_root = test_certificate_make(
        &(struct test_certificate_spec){ .cn = "Root", .ca = TEST_CA, .key_usage = CA_USAGE },
        NULL);
    struct test_certificate false_leaf = test_certificate_make(LEAF(.usage = NULL), &false_root);
    assert_int_not_equal(verify(&root, 2, &false_leaf, &false_root), X509_V_OK);
    test_certificate_free(&false_leaf);
    test_certificate_free(&false_root);
    test_certificate_free(&leaf);
    test_certificate_free(&other);
}

static void test_T13_a_certificate_that_signs_itself_does_not_verify(void **state)
{
    (void)state;
    struct test_certificate own = test_certificate_make(LEAF(.usage = NULL), NULL);
    assert_int_not_equal(verify(&root, 2, &own, NULL), X509_V_OK);
    test_certificate_free(&own);
}

static void test_an_intermediate_may_be_the_anchor(void **state)
{
    (void)state;
    struct test_certificate ca = test_certificate_make(
        &(struct test_certificate_spec){ .cn = "Issuing", .ca = TEST_CA, .key_usage = CA_USAGE },
        &root);
    struct test_certificate leaf = test_certificate_make(LEAF(.usage = NULL), &ca);
    assert_int_equal(verify(&ca, 2, &leaf, NULL), X509_V_OK);
    test_certificate_free(&leaf);
    test_certificate_free(&ca);
}

static bool overlap(const struct test_certificate *a, const struct test_certificate *b)
{
    struct trust_store *x = store_of("device", a, 2), *y = store_of("corp", b, 2);
    bool found = trust_store_overlaps(x, y);
    assert_true(found == trust_store_overlaps(y, x));
    trust_store_free(x);
    trust_store_free(y);
    return found;
}

static void test_T08_stores_with_a_common_key_or_subject_overlap(void **state)
{
    (void)state;
    struct test_certificate_spec ca = { .cn = "Other", .ca = TEST_CA, .key_usage = CA_USAGE };
    struct test_certificate other = test_certificate_make(&ca, NULL);
    ca.key = root.key;
    struct test_certificate same_key = test_certificate_make(&ca, NULL);
    ca.cn = "Root";
    ca.key = NULL;
    struct test_certificate same_subject = test_certificate_make(&ca, NULL);
    assert_true(overlap(&root, &root));
    assert_true(overlap(&root, &same_key));
    assert_true(overlap(&root, &same_subject));
    assert_false(overlap(&root, &other));
    test_certificate_free(&same_subject);
    test_certificate_free(&same_key);
    test_certificate_free(&other);
}

static void test_what_is_no_certificate_makes_no_store(void **state)
{
    (void)state;
    struct trust_store *store;
    char *pem = test_certificate_pem(root.certificate);
    assert_int_equal(trust_store_create("device", SLICE(""), &TRUST_RULES_USUAL, &store),
                     ERROR_MALFORMED);
    assert_int_equal(trust_store_create("device", SLICE("hello\n"), &TRUST_RULES_USUAL, &store),
                     ERROR_MALFORMED);
    /* The second of two is damaged: not one anchor fewer than the operator meant. */
    char two[16384];
    int size = snprintf(two, sizeof(two), "%s%s", pem, pem);
    two[(size_t)size - strlen(pem) / 2] = '!';
    assert_int_equal(trust_store_create("device", (struct slice){ two, (size_t)size },
                                        &TRUST_RULES_USUAL, &store),
                     ERROR_MALFORMED);
    assert_int_equal(trust_store_create("device", (struct slice){ two, strlen(pem) + 40 },
                                        &TRUST_RULES_USUAL, &store),
                     ERROR_MALFORMED);
    assert_null(store);
    free(pem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_T13_a_good_leaf_verifies),
        cmocka_unit_test(test_T13_extended_key_usage_must_fit),
        cmocka_unit_test(test_T13_a_ca_for_servers_does_not_make_clients),
        cmocka_unit_test(test_T13_validity_counts),
        cmocka_unit_test(test_T13_only_a_ca_signs),
        cmocka_unit_test(test_T13_path_length_counts),
        cmocka_unit_test(test_T13_depth_is_bounded),
        cmocka_unit_test(test_T13_name_constraints_count),
        cmocka_unit_test(test_T13_weak_signatures_need_the_switch_and_md5_has_none),
        cmocka_unit_test(test_T13_weak_keys_need_the_switch_and_tiny_ones_have_none),
        cmocka_unit_test(test_T08_a_chain_of_another_store_does_not_verify),
        cmocka_unit_test(test_T13_a_certificate_that_signs_itself_does_not_verify),
        cmocka_unit_test(test_an_intermediate_may_be_the_anchor),
        cmocka_unit_test(test_T08_stores_with_a_common_key_or_subject_overlap),
        cmocka_unit_test(test_what_is_no_certificate_makes_no_store),
    };
    return cmocka_run_group_tests(tests, make_root, free_root);
}
