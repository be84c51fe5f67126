/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/tls/own_certificates.h"

#include "common/mem.h"
#include "proxy/tls/context.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

struct own_certificate {
    X509 *certificate;
    STACK_OF(X509) * chain;
    EVP_PKEY *key;
};

struct own_certificates {
    size_t count;
    struct own_certificate list[TLS_OWN_MAX];
};

enum error own_certificates_new(struct own_certificates **out)
{
    *out = mem_zero(1, sizeof(**out));
    return *out ? ERROR_NONE : ERROR_MEMORY;
}

static void release(struct own_certificate *one)
{
    X509_free(one->certificate);
    sk_X509_pop_free(one->chain, X509_free);
    EVP_PKEY_free(one->key);
    *one = (struct own_certificate){ NULL, NULL, NULL };
}

void own_certificates_free(struct own_certificates *own)
{
    for (size_t i = 0; own && i < own->count; i++)
        release(&own->list[i]);
    mem_free(own);
}

/* ---- Reading ---- */

static int no_password(char *buffer, int size, int writing, void *argument)
{
    (void)buffer, (void)size, (void)writing, (void)argument;
    return -1; /* never asks at a terminal */
}

static enum error read_chain(BIO *bio, struct own_certificate *one)
{
    X509 *next;
    ERR_clear_error();
    one->chain = sk_X509_new_null();
    one->certificate = PEM_read_bio_X509(bio, NULL, no_password, NULL);
    if (!one->chain || !one->certificate)
        return one->chain ? ERROR_MALFORMED : ERROR_MEMORY;
    while ((next = PEM_read_bio_X509(bio, NULL, no_password, NULL)))
        if (sk_X509_push(one->chain, next) == 0) {
            X509_free(next);
            return ERROR_MEMORY;
        }
    bool ended = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    return ended ? ERROR_NONE : ERROR_MALFORMED;
}

static enum error read_one(struct own_certificate *one, struct slice certificate, struct slice key,
                           const char **why)
{
    BIO *first = BIO_new_mem_buf(certificate.data, (int)certificate.size);
    BIO *second = BIO_new_mem_buf(key.data, (int)key.size);
    enum error e = first && second ? read_chain(first, one) : ERROR_MEMORY;
    *why = "the certificate cannot be used";
    if (e == ERROR_NONE) {
        *why = "the key cannot be used with the certificate (it must be without a password)";
        one->key = PEM_read_bio_PrivateKey(second, NULL, no_password, NULL);
        if (!one->key || X509_check_private_key(one->certificate, one->key) != 1)
            e = ERROR_MALFORMED;
    }
    BIO_free(first);
    BIO_free(second);
    ERR_clear_error();
    return e;
}

enum error own_certificates_add(struct own_certificates *own, struct slice certificate,
                                struct slice key, const char **why)
{
    struct own_certificate *one = &own->list[own->count];
    *why = "too many or too large";
    if (own->count == TLS_OWN_MAX || certificate.size > INT_MAX || key.size > INT_MAX)
        return ERROR_MALFORMED;
    enum error e = read_one(one, certificate, key, why);
    if (e == ERROR_NONE)
        own->count++;
    else
        release(one);
    return e;
}

/* ---- Choosing ---- */

static int type_of(const struct own_certificate *one)
{
    return EVP_PKEY_get_base_id(one->key);
}

static bool has_same_names(const struct own_certificate *a, const struct own_certificate *b)
{
    int critical;
    GENERAL_NAMES *x = X509_get_ext_d2i(a->certificate, NID_subject_alt_name, &critical, NULL);
    GENERAL_NAMES *y = X509_get_ext_d2i(b->certificate, NID_subject_alt_name, &critical, NULL);
    bool same = sk_GENERAL_NAME_num(x) == sk_GENERAL_NAME_num(y);
    for (int i = 0; same && i < sk_GENERAL_NAME_num(x); i++)
        same = GENERAL_NAME_cmp(sk_GENERAL_NAME_value(x, i), sk_GENERAL_NAME_value(y, i)) == 0;
    if (same && !x)
        same = X509_NAME_cmp(X509_get_subject_name(a->certificate),
                             X509_get_subject_name(b->certificate)) == 0;
    GENERAL_NAMES_free(x);
    GENERAL_NAMES_free(y);
    return same;
}

static bool is_for(const struct own_certificate *one, const char *host)
{
    return X509_check_host(one->certificate, host, 0, 0, NULL) == 1;
}

/* Of one type of key the first that fits counts: a later one would take its place. */
static bool add_fitting(const struct own_certificates *own, SSL *ssl, const char *host)
{
    for (size_t i = 0; i < own->count; i++) {
        const struct own_certificate *one = &own->list[i];
        bool taken = false;
        for (size_t j = 0; j < i; j++)
            taken |= type_of(&own->list[j]) == type_of(one) && is_for(&own->list[j], host);
        if (!taken && is_for(one, host) &&
            SSL_use_cert_and_key(ssl, one->certificate, one->key, one->chain, 1) != 1)
            return false;
    }
    return true;
}

static bool is_anybodys(const struct own_certificates *own, const char *host)
{
    for (size_t i = 0; i < own->count; i++)
        if (is_for(&own->list[i], host))
            return true;
    return false;
}

/* The context's own are for who names no host of ours. */
static int on_choice(SSL *ssl, void *argument)
{
    const struct own_certificates *own = argument;
    const char *host = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    bool done = true;
    if (host && is_anybodys(own, host)) {
        SSL_certs_clear(ssl);
        done = add_fitting(own, ssl, host);
    }
    ERR_clear_error();
    return done;
}

enum error own_certificates_use(struct own_certificates *own, SSL_CTX *ssl)
{
    for (size_t i = 0; i < own->count; i++) {
        const struct own_certificate *one = &own->list[i];
        bool taken = i > 0 && !has_same_names(&own->list[0], one);
        for (size_t j = 0; j < i; j++)
            taken |= type_of(&own->list[j]) == type_of(one) &&
                     has_same_names(&own->list[0], &own->list[j]);
        if (!taken && SSL_CTX_use_cert_and_key(ssl, one->certificate, one->key, one->chain, 1) != 1)
            return ERROR_LIBRARY;
    }
    if (own->count > 1)
        SSL_CTX_set_cert_cb(ssl, on_choice, own);
    return ERROR_NONE;
}
