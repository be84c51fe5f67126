/* SPDX-License-Identifier: Apache-2.0 */
/* Which signatures of revocation lists and OCSP responses are too weak to be believed. */
#include "proxy/tls/signature.h"

#include <openssl/evp.h>
#include <openssl/rsa.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static X509_ALGOR *plain(int nid)
{
    X509_ALGOR *algorithm = X509_ALGOR_new();
    assert_non_null(algorithm);
    assert_int_equal(X509_ALGOR_set0(algorithm, OBJ_nid2obj(nid), V_ASN1_NULL, NULL), 1);
    return algorithm;
}

/* RSA-PSS; NULL: the parameters name no digest. */
static X509_ALGOR *pss(const EVP_MD *digest)
{
    X509_ALGOR *algorithm = plain(NID_rsassaPss);
    RSA_PSS_PARAMS *parameters = RSA_PSS_PARAMS_new();
    assert_non_null(parameters);
    if (digest) {
        parameters->hashAlgorithm = X509_ALGOR_new();
        X509_ALGOR_set_md(parameters->hashAlgorithm, digest);
    }
    ASN1_TYPE_free(algorithm->parameter);
    algorithm->parameter = NULL;
    assert_non_null(
        ASN1_TYPE_pack_sequence(ASN1_ITEM_rptr(RSA_PSS_PARAMS), parameters, &algorithm->parameter));
    RSA_PSS_PARAMS_free(parameters);
    return algorithm;
}

static void is(X509_ALGOR *algorithm, bool at_usual_level, bool at_level_0)
{
    assert_int_equal(signature_is_strong(algorithm, 1), at_usual_level);
    assert_int_equal(signature_is_strong(algorithm, 0), at_level_0);
    X509_ALGOR_free(algorithm);
}

static void test_the_digest_of_a_signature_decides(void **state)
{
    (void)state;
    is(plain(NID_sha256WithRSAEncryption), true, true);
    is(plain(NID_ecdsa_with_SHA384), true, true);
    is(plain(NID_ED25519), true, true);
    is(plain(NID_sha1WithRSAEncryption), false, true);
    is(plain(NID_ecdsa_with_SHA1), false, true);
    is(plain(NID_md5WithRSAEncryption), false, false);
    is(plain(NID_sha256), false, false); /* no signature */
}

static void test_of_pss_the_digest_in_its_parameters_decides(void **state)
{
    (void)state;
    is(pss(EVP_sha256()), true, true);
    is(pss(EVP_sha1()), false, true);
    is(pss(NULL), false, true); /* RFC 4055 3.1: SHA-1 */
    is(pss(EVP_md5()), false, false);
}

static void test_pss_without_parameters_that_can_be_read_is_weak(void **state)
{
    X509_ALGOR *algorithm = pss(EVP_sha256());

    (void)state;
    algorithm->parameter->value.sequence->length--;
    is(algorithm, false, false);
    algorithm = plain(NID_rsassaPss);
    is(algorithm, false, false);
    algorithm = plain(NID_rsassaPss);
    ASN1_TYPE_free(algorithm->parameter);
    algorithm->parameter = NULL;
    is(algorithm, false, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_digest_of_a_signature_decides),
        cmocka_unit_test(test_of_pss_the_digest_in_its_parameters_decides),
        cmocka_unit_test(test_pss_without_parameters_that_can_be_read_is_weak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
