/* SPDX-License-Identifier: Apache-2.0 */
/* What a reload leaves of a session that stands. */
#include "proxy/tls/standing.h"

#include "tests/unit/proxy/tls/certificates.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct test_certificate root, other;
static char *root_pem, *other_pem, *both_pem, *own_pem, *own_key;

static struct test_certificate make_authority(const char *cn)
{
    return test_certificate_make(
        &(struct test_certificate_spec){
            .cn = cn, .ca = TEST_CA, .key_usage = "critical,keyCertSign,cRLSign" },
        NULL);
}

static int begin(void **state)
{
    struct test_certificate own;

    (void)state;
    root = make_authority("Root");
    other = make_authority("Other");
    own = test_certificate_make(&(struct test_certificate_spec){ .cn = "server" }, &root);
    root_pem = test_certificate_pem(root.certificate);
    other_pem = test_certificate_pem(other.certificate);
    own_pem = test_certificate_pem(own.certificate);
    own_key = test_key_pem(own.key);
    assert_true(asprintf(&both_pem, "%s%s", root_pem, other_pem) > 0);
    test_certificate_free(&own);
    return 0;
}

static int end(void **state)
{
    (void)state;
    test_certificate_free(&root);
    test_certificate_free(&other);
    free(root_pem);
    free(other_pem);
    free(both_pem);
    free(own_pem);
    free(own_key);
    return 0;
}

static struct tls_context *context_of(const char *store, const char *pem, struct trust_rules rules)
{
    struct tls_own_spec own = { slice_of(own_pem), slice_of(own_key) };
    struct tls_store_spec stores = { store, slice_of(pem), rules };
    struct tls_context_spec spec = {
        .own = &own, .own_count = 1, .stores = &stores, .store_count = 1
    };
    struct tls_context *context;
    const char *why;
    size_t which;

    assert_int_equal(tls_context_create(&spec, &context, &why, &which), ERROR_NONE);
    return context;
}

/* Whether who came in by root's store "device" stands when the listener has this one instead. */
static bool stands(const char *store, const char *pem, struct trust_rules before,
                   struct trust_rules now)
{
    struct tls_context *old = context_of("device", root_pem, before);
    struct tls_context *new = context_of(store, pem, now);
    struct test_certificate leaf =
        test_certificate_make(&(struct test_certificate_spec){ .cn = "leaf" }, &root);
    struct tls_session session = { .store = tls_context_store(old, 0),
                                   .version = TLS1_2_VERSION,
                                   .crl_asked = before.crl,
                                   .crl_expired_accepted = before.crl_expired_accepted };
    bool result;

    assert_int_equal(trust_store_verify(session.store, leaf.certificate, NULL, &session.chain),
                     X509_V_OK);
    result = tls_session_stands(&session, new, CLIENT_CERTIFICATE_REQUIRED);
    session.chain = (struct trust_chain){ 0 };
    assert_false(tls_session_stands(&session, new, CLIENT_CERTIFICATE_OPTIONAL));
    test_certificate_free(&leaf);
    tls_context_free(old);
    tls_context_free(new);
    return result;
}

static void test_T19_a_session_stands_with_its_store_and_anchor_only(void **state)
{
    struct trust_rules usual = TRUST_RULES_USUAL;

    (void)state;
    assert_true(stands("device", root_pem, usual, usual));
    assert_true(stands("device", both_pem, usual, usual));
    assert_false(stands("device", other_pem, usual, usual));
    assert_false(stands("corp", root_pem, usual, usual));
}

static void test_T19_a_session_falls_with_rules_that_its_chain_was_not_asked_for(void **state)
{
    struct trust_rules usual = TRUST_RULES_USUAL, rules = usual;

    (void)state;
    rules.security_level = 1;
    assert_true(stands("device", root_pem, usual, rules));
    assert_false(stands("device", root_pem, rules, usual));
    rules = usual;
    rules.key_usage = KEY_USAGE_IGNORE;
    assert_true(stands("device", root_pem, usual, rules));
    assert_false(stands("device", root_pem, rules, usual));
    rules = usual;
    rules.sources = SOURCE_MAPPING;
    assert_false(stands("device", root_pem, usual, rules));
    assert_true(stands("device", root_pem, rules, usual));
    rules.sources = usual.sources | SOURCE_SAN_EMAIL; /* hides DNS names */
    assert_false(stands("device", root_pem, usual, rules));
    assert_false(stands("device", root_pem, rules, usual));
    rules = usual;
    rules.crl = CRL_REQUIRED; /* and there is none */
    assert_false(stands("device", root_pem, usual, rules));
    assert_true(stands("device", root_pem, rules, rules));
    assert_true(stands("device", root_pem, rules, usual));
    rules.crl = CRL_IF_PRESENT;
    assert_true(stands("device", root_pem, usual, rules));
}

static void test_T19_a_session_falls_with_a_version_below_the_listeners(void **state)
{
    struct trust_rules usual = TRUST_RULES_USUAL;
    struct tls_context *context = context_of("device", root_pem, usual);
    struct tls_session session = { .version = TLS1_1_VERSION };

    (void)state;
    assert_false(tls_session_stands(&session, context, CLIENT_CERTIFICATE_OPTIONAL));
    session.version = TLS1_2_VERSION;
    assert_true(tls_session_stands(&session, context, CLIENT_CERTIFICATE_OPTIONAL));
    session.version = 0;
    assert_false(tls_session_stands(&session, context, CLIENT_CERTIFICATE_OPTIONAL));
    tls_context_free(context);
}

static void test_T19_who_came_without_certificate_stands_until_one_is_required(void **state)
{
    struct tls_session session = { 0 };

    (void)state;
    assert_true(tls_session_stands(&session, NULL, CLIENT_CERTIFICATE_OPTIONAL));
    assert_true(tls_session_stands(&session, NULL, CLIENT_CERTIFICATE_IGNORED));
    assert_false(tls_session_stands(&session, NULL, CLIENT_CERTIFICATE_REQUIRED));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_T19_a_session_stands_with_its_store_and_anchor_only),
        cmocka_unit_test(test_T19_a_session_falls_with_rules_that_its_chain_was_not_asked_for),
        cmocka_unit_test(test_T19_a_session_falls_with_a_version_below_the_listeners),
        cmocka_unit_test(test_T19_who_came_without_certificate_stands_until_one_is_required),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
