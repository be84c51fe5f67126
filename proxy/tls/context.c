/* SPDX-License-Identifier: Apache-2.0 */
/* SSL_CTX of a listener: everything a peer could use to make us work or remember for nothing is off
 * here. */
#include "proxy/tls/context.h"

#include "common/clock.h"
#include "common/mem.h"
#include "proxy/tls/ocsp.h"
#include "proxy/tls/own_certificates.h"

#include <openssl/err.h>
#include <openssl/pem.h>

struct tls_context {
    SSL_CTX *ssl;
    enum client_certificate client_certificate;
    struct own_certificates *own;
    struct resumer *resumer; /* NULL: no tickets */
    struct trust_store **stores;
    size_t store_count;
};

const char *tls_error_text(void)
{
    unsigned long code = ERR_peek_error();
    const char *text = code ? ERR_reason_error_string(code) : NULL;
    ERR_clear_error();
    return text ? text : "no detail";
}

/* ---- What OpenSSL asks and tells ---- */

static int verify_callback(X509_STORE_CTX *ctx, void *argument)
{
    const struct tls_context *context = argument;
    SSL *ssl = X509_STORE_CTX_get_ex_data(ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_session *session = SSL_get_app_data(ssl);
    int error =
        tls_session_verify(session, context->stores, context->store_count,
                           X509_STORE_CTX_get0_cert(ctx), X509_STORE_CTX_get0_untrusted(ctx));
    if (error == X509_V_OK)
        resumption_verified(&session->resumption, ssl, X509_STORE_CTX_get0_cert(ctx));
    X509_STORE_CTX_set_error(ctx, error);
    return error == X509_V_OK && session->store;
}

/* Counts what of the handshake protocol comes after the handshake: key updates are all that can
 * (T31). */
static void info_callback(const SSL *ssl, int where, int value)
{
    (void)value;
    struct tls_session *session = SSL_get_app_data(ssl);
    if (session->established && where == SSL_CB_ACCEPT_LOOP)
        session->later_messages++;
}

/* Asked for by clients that want it (RFC 6066 8), when our certificate has been chosen. */
static int status_callback(SSL *ssl, void *argument)
{
    const struct tls_session *session = SSL_get_app_data(ssl);
    X509 *certificate = SSL_get_certificate(ssl);
    (void)argument;
    if (!session->staples || !certificate)
        return SSL_TLSEXT_ERR_NOACK;
    struct slice response = staples_find(*session->staples, certificate, clock_unix_s());
    unsigned char *copy = response.data ? OPENSSL_memdup(response.data, response.size) : NULL;
    if (!copy || SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)response.size) != 1) {
        OPENSSL_free(copy);
        return SSL_TLSEXT_ERR_NOACK;
    }
    return SSL_TLSEXT_ERR_OK;
}

/* ---- Making one ---- */

/* The anchors' names in our CertificateRequest: a phone with several certificates chooses by them.
 */
static enum error announce_anchors(SSL_CTX *ssl, const struct trust_store *store)
{
    const STACK_OF(X509) *anchors = trust_store_anchors(store);
    for (int i = 0; i < sk_X509_num(anchors); i++)
        if (SSL_CTX_add_client_CA(ssl, sk_X509_value(anchors, i)) != 1)
            return ERROR_MEMORY;
    return ERROR_NONE;
}

static enum error add_stores(struct tls_context *c, const struct tls_context_spec *spec,
                             const char **why)
{
    c->stores = mem_zero(spec->store_count + 1, sizeof(struct trust_store *));
    enum error e = c->stores ? ERROR_NONE : ERROR_MEMORY;
    for (size_t i = 0; i < spec->store_count && e == ERROR_NONE; i++) {
        const struct tls_store_spec *s = &spec->stores[i];
        e = trust_store_create(s->name, s->pem, &s->rules, &c->stores[i]);
        if (e == ERROR_NONE) {
            c->store_count++;
            e = announce_anchors(c->ssl, c->stores[i]);
        } else if (e == ERROR_MALFORMED) {
            *why = "a CA file has no certificate, or one that cannot be read";
        }
    }
    return e;
}

static int verify_mode(enum client_certificate wanted)
{
    switch (wanted) {
    case CLIENT_CERTIFICATE_OPTIONAL:
        return SSL_VERIFY_PEER;
    case CLIENT_CERTIFICATE_IGNORED:
        return SSL_VERIFY_NONE;
    case CLIENT_CERTIFICATE_REQUIRED:
        break;
    }
    return SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
}

static enum error set_rules(struct tls_context *c, const struct tls_context_spec *spec)
{
    SSL_CTX *ssl = c->ssl;
    const char *ciphers = spec->ciphers;
    int version_min = spec->version_min ? spec->version_min : TLS1_2_VERSION;
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ssl, 1);
    SSL_CTX_set_max_cert_list(ssl, TLS_CLIENT_CHAIN_MAX);
    /* The handshake's own algorithms; chains have the level of their store. TLS 1.0 and 1.1 sign
     * with MD5 and SHA-1 together, which only level 0 lets pass. */
    SSL_CTX_set_security_level(ssl, version_min < TLS1_2_VERSION ? 0 : 2);
    SSL_CTX_set_verify(ssl, verify_mode(c->client_certificate), NULL);
    SSL_CTX_set_cert_verify_callback(ssl, verify_callback, c);
    SSL_CTX_set_info_callback(ssl, info_callback);
    SSL_CTX_set_tlsext_status_cb(ssl, status_callback);
    if (SSL_CTX_set_min_proto_version(ssl, version_min) != 1 ||
        SSL_CTX_set_max_proto_version(ssl, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_max_early_data(ssl, 0) != 1)
        return ERROR_LIBRARY;
    if (SSL_CTX_set_cipher_list(ssl, ciphers && *ciphers ? ciphers : TLS_CIPHERS_DEFAULT) != 1)
        return ERROR_MALFORMED;
    return ERROR_NONE;
}

static enum error add_own(struct tls_context *c, const struct tls_context_spec *spec,
                          const char **why, size_t *which)
{
    enum error e = own_certificates_new(&c->own);
    for (size_t i = 0; e == ERROR_NONE && i < spec->own_count; i++) {
        *which = i;
        e = own_certificates_add(c->own, spec->own[i].certificate_pem, spec->own[i].key_pem, why);
    }
    if (e == ERROR_NONE && spec->own_count == 0)
        e = ERROR_MALFORMED;
    return e == ERROR_NONE ? own_certificates_use(c->own, c->ssl) : e;
}

/* Needs the stores. */
static enum error add_resumer(struct tls_context *c, const struct tls_context_spec *spec)
{
    const struct resumer_spec resumer = { .listener = spec->listener,
                                          .client_certificate = c->client_certificate,
                                          .stores = c->stores,
                                          .store_count = c->store_count,
                                          .max_s = spec->resumption_max_s };
    return resumer_new(c->ssl, &resumer, &c->resumer);
}

static enum error build(struct tls_context *c, const struct tls_context_spec *spec,
                        const char **why, size_t *which)
{
    enum error e = set_rules(c, spec);
    if (e == ERROR_MALFORMED)
        *why = "no cipher of the list `ciphers` is known";
    if (e == ERROR_NONE)
        e = add_own(c, spec, why, which);
    if (e == ERROR_NONE)
        e = add_stores(c, spec, why);
    if (e == ERROR_NONE)
        e = add_resumer(c, spec);
    return e;
}

enum error tls_context_create(const struct tls_context_spec *spec, struct tls_context **out,
                              const char **why, size_t *which)
{
    *out = NULL;
    *which = 0;
    *why = "OpenSSL refused";
    ERR_clear_error();
    struct tls_context *c = mem_zero(1, sizeof(*c));
    if (!c)
        return ERROR_MEMORY;
    c->client_certificate = spec->client_certificate;
    c->ssl = SSL_CTX_new(TLS_server_method());
    enum error e = c->ssl ? build(c, spec, why, which) : ERROR_LIBRARY;
    ERR_clear_error();
    if (e != ERROR_NONE) {
        tls_context_free(c);
        return e;
    }
    *out = c;
    return ERROR_NONE;
}

void tls_context_free(struct tls_context *context)
{
    if (!context)
        return;
    SSL_CTX_free(context->ssl);
    resumer_free(context->resumer);
    own_certificates_free(context->own);
    for (size_t i = 0; i < context->store_count; i++)
        trust_store_free(context->stores[i]);
    mem_free(context->stores);
    mem_free(context);
}

const struct trust_store *tls_context_store(const struct tls_context *context, size_t index)
{
    return index < context->store_count ? context->stores[index] : NULL;
}

int tls_context_version_min(const struct tls_context *context)
{
    return (int)SSL_CTX_get_min_proto_version(context->ssl);
}

/* ---- Sessions ---- */

SSL *tls_context_accept(struct tls_context *context, struct tls_session *session)
{
    *session = (struct tls_session){ .client_certificate = context->client_certificate };
    SSL *ssl = SSL_new(context->ssl);
    if (!ssl)
        return NULL;
    SSL_set_app_data(ssl, session);
    SSL_set_accept_state(ssl);
    return ssl;
}

enum ocsp_rule tls_context_ocsp_rule(const struct tls_context *context, const char *store)
{
    for (size_t i = 0; i < context->store_count; i++)
        if (strcmp(trust_store_name(context->stores[i]), store) == 0)
            return trust_store_rules(context->stores[i])->ocsp;
    return OCSP_OFF;
}

static void make_question(const struct tls_session *session, X509 *leaf,
                          const STACK_OF(X509) * sent, struct tls_status_question *out)
{
    const struct trust_rules *rules = trust_store_rules(session->store);
    X509 *issuer = tls_session_issuer(session, leaf, sent);
    struct status_key key;
    if (session->chain.link_count == 0)
        return;
    out->rule = rules->ocsp;
    status_key_of(&key, trust_store_name(session->store), session->chain.sha256[0]);
    if (out->rule != OCSP_OFF && issuer)
        (void)!ocsp_question_make(&key, rules, leaf, issuer, &out->question);
}

enum error tls_context_identify(const struct tls_context *context,
                                struct revocation_set *const *revoked, struct slice pem,
                                struct peer_identity **out, struct tls_status_question *status,
                                int *why)
{
    struct tls_session session = { .revoked = revoked };
    STACK_OF(X509) *sent = sk_X509_new_null();
    enum error e = sent ? certificates_read(pem, sent) : ERROR_MEMORY;
    *out = NULL;
    *status = (struct tls_status_question){ .rule = OCSP_OFF };
    if (e == ERROR_NONE) {
        X509 *leaf = sk_X509_shift(sent);
        *why = tls_session_verify(&session, context->stores, context->store_count, leaf, sent);
        e = *why == X509_V_OK ? tls_session_identity_of(&session, leaf, out) : ERROR_NOT_FOUND;
        if (e == ERROR_NONE)
            make_question(&session, leaf, sent, status);
        tls_session_release(&session);
        X509_free(leaf);
    }
    sk_X509_pop_free(sent, X509_free);
    return e;
}
