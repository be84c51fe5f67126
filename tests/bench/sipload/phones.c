/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates as a phone maker would issue them, made in memory, or read from a folder. */
#include "phones.h"

#include "options.h"
#include "text.h"

#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

struct phone *phones;
unsigned nphones;

static X509 *load_cert(const char *path)
{
    BIO *in = BIO_new_file(path, "r");
    X509 *x = in ? PEM_read_bio_X509(in, NULL, NULL, NULL) : NULL;
    BIO_free(in);
    if (!x)
        die("%s: no certificate", path);
    return x;
}

static EVP_PKEY *load_key(const char *path)
{
    BIO *in = BIO_new_file(path, "r");
    EVP_PKEY *k = in ? PEM_read_bio_PrivateKey(in, NULL, NULL, NULL) : NULL;
    BIO_free(in);
    if (!k)
        die("%s: no private key", path);
    return k;
}

static void add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = must(X509V3_EXT_conf_nid(NULL, &ctx, nid, value));
    X509_add_ext(x, e, -1);
    X509_EXTENSION_free(e);
}

/* A device certificate as a phone maker's CA would issue it: CN is the MAC address, no
 * subjectAltName. */
static X509 *issue_cert(const char *cn, EVP_PKEY *key, X509 *ca, EVP_PKEY *ca_key)
{
    X509 *x = must(X509_new());
    uint64_t serial;
    if (RAND_bytes((unsigned char *)&serial, sizeof serial) != 1)
        die("no random numbers");
    X509_set_version(x, 2);
    ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), serial >> 1 | 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 30 * 86400);
    X509_NAME *name = X509_get_subject_name(x);
    X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, (const unsigned char *)"Phone maker", -1,
                               -1, 0);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(ca));
    X509_set_pubkey(x, key);
    add_extension(x, ca, NID_basic_constraints, "critical,CA:FALSE");
    add_extension(x, ca, NID_key_usage, "critical,digitalSignature");
    add_extension(x, ca, NID_ext_key_usage, "clientAuth");
    if (!X509_sign(x, ca_key, EVP_sha256()))
        die("cannot sign a certificate with the CA key");
    return x;
}

/* n certificates made in memory. RSA keys are slow to make, so all phones share one: the target
 * cannot tell. */
static void generate_phones(unsigned n)
{
    X509 *ca = load_cert(opt.ca);
    EVP_PKEY *ca_key = load_key(opt.ca_key), *shared = NULL;
    bool rsa = !strcmp(opt.key_type, "rsa");
    if (rsa)
        shared = must(EVP_RSA_gen(2048));
    for (unsigned i = 0; i < n; i++) {
        struct phone *p = &phones[i];
        p->key = rsa ? shared : must(EVP_EC_gen("P-256"));
        p->cert = issue_cert(p->mac, p->key, ca, ca_key);
    }
    X509_free(ca);
    EVP_PKEY_free(ca_key);
}

static void load_phones(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s.pem", opt.certs_dir, phones[i].mac);
        phones[i].cert = load_cert(path);
        phones[i].key = load_key(path);
    }
}

void make_phones(unsigned n)
{
    phones = must(calloc(n, sizeof *phones));
    nphones = n;
    for (unsigned i = 0; i < n; i++) {
        snprintf(phones[i].mac, sizeof phones[i].mac, "%.12s%06X", opt.mac_prefix, opt.base + i);
        snprintf(phones[i].user, sizeof phones[i].user, "%.16s%06u", opt.user_prefix, opt.base + i);
    }
    if (opt.certs_dir)
        load_phones(n);
    else
        generate_phones(n);
}
