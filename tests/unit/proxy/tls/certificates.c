/* SPDX-License-Identifier: Apache-2.0 */
/* OpenSSL's X.509 calls behind one description of what is wanted. */
#include "tests/unit/proxy/tls/certificates.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#define DAY_S 86400L

static void must(bool done, const char *what)
{
    if (done)
        return;
    fprintf(stderr, "certificates: %s failed\n", what);
    ERR_print_errors_fp(stderr);
    abort();
}

EVP_PKEY *test_key_rsa(unsigned bits)
{
    EVP_PKEY *key = EVP_RSA_gen(bits);
    must(key, "EVP_RSA_gen");
    return key;
}

EVP_PKEY *test_key_rsa_noise(unsigned bits)
{
    BIGNUM *n = BN_new(), *e = BN_new();
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    EVP_PKEY *key = NULL;
    must(BN_rand(n, (int)bits, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ODD) && BN_set_word(e, 65537), "BN");
    must(OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) &&
             OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e),
         "OSSL_PARAM_BLD");
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
    must(EVP_PKEY_fromdata_init(ctx) == 1 &&
             EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) == 1,
         "EVP_PKEY_fromdata");
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    EVP_PKEY_CTX_free(ctx);
    BN_free(n);
    BN_free(e);
    return key;
}

static void add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    if (!value)
        return;
    X509V3_set_ctx(&ctx, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    must(extension, value);
    must(X509_add_ext(certificate, extension, -1) == 1, "X509_add_ext");
    X509_EXTENSION_free(extension);
}

static void add_unknown(X509 *certificate, const char *policy)
{
    unsigned char nothing[] = { 5, 0 };
    if (!policy)
        return;
    bool critical = strncmp(policy, "critical,", 9) == 0;
    ASN1_OBJECT *object = OBJ_txt2obj(critical ? policy + 9 : policy, 1);
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    must(object && value && ASN1_OCTET_STRING_set(value, nothing, sizeof(nothing)) == 1, policy);
    X509_EXTENSION *extension = X509_EXTENSION_create_by_OBJ(NULL, object, critical, value);
    must(extension && X509_add_ext(certificate, extension, -1) == 1, policy);
    X509_EXTENSION_free(extension);
    ASN1_OCTET_STRING_free(value);
    ASN1_OBJECT_free(object);
}

static void add_subject(X509 *certificate, const struct test_certificate_spec *spec)
{
    X509_NAME *name = X509_NAME_new();
    struct slice cn = spec->cn ? slice_of(spec->cn) : spec->raw_cn;
    int type = spec->cn ? V_ASN1_UTF8STRING : spec->raw_cn_type;
    must(X509_NAME_add_entry_by_NID(name, NID_organizationName, V_ASN1_UTF8STRING,
                                    (const unsigned char *)"Test", 4, -1, 0) == 1,
         "organization");
    if (spec->cn || type)
        must(X509_NAME_add_entry_by_NID(name, NID_commonName, type, (const unsigned char *)cn.data,
                                        (int)cn.size, -1, 0) == 1,
             "cn");
    if (spec->second_cn)
        must(X509_NAME_add_entry_by_NID(name, NID_commonName, V_ASN1_UTF8STRING,
                                        (const unsigned char *)spec->second_cn, -1, -1, 0) == 1,
             "second cn");
    must(X509_set_subject_name(certificate, name) == 1, "X509_set_subject_name");
    X509_NAME_free(name);
}

static void add_constraints(X509 *certificate, X509 *issuer,
                            const struct test_certificate_spec *spec)
{
    char text[64] = "critical,CA:FALSE";
    if (spec->ca == TEST_NO_CONSTRAINTS)
        return;
    if (spec->ca == TEST_CA && spec->path_length)
        snprintf(text, sizeof(text), "critical,CA:TRUE,pathlen:%d", spec->path_length - 1);
    else if (spec->ca == TEST_CA)
        snprintf(text, sizeof(text), "critical,CA:TRUE");
    add_extension(certificate, issuer, NID_basic_constraints, text);
}

struct test_certificate test_certificate_make(const struct test_certificate_spec *spec,
                                              const struct test_certificate *issuer)
{
    static long serial = 1;
    struct test_certificate made = { X509_new(), spec->key };
    if (made.key)
        EVP_PKEY_up_ref(made.key);
    else
        made.key = EVP_EC_gen("P-256");
    must(made.certificate && made.key, "X509_new");
    X509 *c = made.certificate, *by = issuer ? issuer->certificate : c;
    X509_set_version(c, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(c), serial++);
    X509_gmtime_adj(X509_getm_notBefore(c), spec->from_s ? spec->from_s : -DAY_S);
    X509_gmtime_adj(X509_getm_notAfter(c), spec->until_s ? spec->until_s : 10 * DAY_S);
    add_subject(c, spec);
    X509_set_issuer_name(c, X509_get_subject_name(by));
    X509_set_pubkey(c, made.key);
    add_constraints(c, by, spec);
    add_extension(c, by, NID_key_usage, spec->key_usage);
    add_extension(c, by, NID_ext_key_usage, spec->usage);
    add_extension(c, by, NID_subject_alt_name, spec->alternative_names);
    add_extension(c, by, NID_name_constraints, spec->name_constraints);
    add_unknown(c, spec->unknown);
    must(X509_sign(c, issuer ? issuer->key : made.key,
                   EVP_get_digestbyname(spec->digest ? spec->digest : "SHA256")) > 0,
         "X509_sign");
    return made;
}

void test_certificate_free(struct test_certificate *c)
{
    X509_free(c->certificate);
    EVP_PKEY_free(c->key);
    *c = (struct test_certificate){ NULL, NULL };
}

static char *text_of(BIO *bio)
{
    char *data;
    long size = BIO_get_mem_data(bio, &data);
    char *text = strndup(data, (size_t)size);
    must(text, "strndup");
    BIO_free(bio);
    return text;
}

char *test_certificate_pem(X509 *certificate)
{
    BIO *bio = BIO_new(BIO_s_mem());
    must(PEM_write_bio_X509(bio, certificate) == 1, "PEM_write_bio_X509");
    return text_of(bio);
}

char *test_key_pem(EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_mem());
    must(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1,
         "PEM_write_bio_PrivateKey");
    return text_of(bio);
}
