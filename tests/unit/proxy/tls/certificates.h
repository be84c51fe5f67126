/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates made on the spot, right and wrong ones. Every failure to make one ends the test
 * program. */
#ifndef HOLDLINE_TESTS_CERTIFICATES_H
#define HOLDLINE_TESTS_CERTIFICATES_H

#include "common/slice.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

struct test_certificate {
    X509 *certificate;
    EVP_PKEY *key;
};

enum test_ca { TEST_LEAF = 0, TEST_CA, TEST_NO_CONSTRAINTS };

/* What is zero has the usual value. */
struct test_certificate_spec {
    const char *cn;      /* UTF8String; NULL: none */
    struct slice raw_cn; /* instead of cn, with raw_cn_type (V_ASN1_...) */
    int raw_cn_type;
    const char *second_cn;         /* more specific than the first */
    const char *alternative_names; /* OpenSSL's syntax: "URI:sip:a@b,DNS:c" */
    const char *usage;             /* extendedKeyUsage, OpenSSL's syntax */
    const char *key_usage;
    const char *name_constraints;
    const char *unknown; /* an extension that nobody knows: "[critical,]OID" */
    enum test_ca ca;
    int path_length;      /* of a CA: 0 = none said, n + 1 = n */
    long from_s, until_s; /* from now; 0 = a day ago, in ten days */
    const char *digest;   /* "SHA256" */
    EVP_PKEY *key;        /* taken (a reference); NULL = a new P-256 key */
};

/* issuer NULL: self-signed. */
struct test_certificate test_certificate_make(const struct test_certificate_spec *spec,
                                              const struct test_certificate *issuer);
void test_certificate_free(struct test_certificate *c);

EVP_PKEY *test_key_rsa(unsigned bits);
/* A public key of that size made of noise: nothing can be signed with it, and it costs nothing to
 * make. */
EVP_PKEY *test_key_rsa_noise(unsigned bits);

/* PEM texts on the heap, freed with free(). */
char *test_certificate_pem(X509 *certificate);
char *test_key_pem(EVP_PKEY *key);

#endif
