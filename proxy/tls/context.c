/* SPDX-License-Identifier: Apache-2.0 */
/* SSL_CTX of a listener: everything a peer could use to make us work or remember for nothing is off
 * here. */
#include "proxy/tls/context.h"

#include "common/clock.h"
#include "common/mem.h"
#include "proxy/tls/own_certificates.h"

#include <openssl/err.h>
#include <openssl/pem.h>

/* Forward secrecy only; CBC for phones of before GCM. */
#define CIPHERS_DEFAULT \
    "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:!aNULL:!eNULL:!PSK:!SRP:!CAMELLIA:!ARIA:!AESCCM"

struct tls_context {
    SSL_CTX *ssl;
    enum client_certificate client_certificate;
    struct own_certificates *own;
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

/* ---- Verification ---- */

/* Signatures are checked with every key of what the peer sent: a key of 16384 bits, or a hundred
 * certificates, are work that it could order from us without being anyone. */
static int refuse_costly(X509 *leaf, STACK_OF(X509) * untrusted)
{
    int count = sk_X509_num(untrusted); /* -1 for NULL */
    if (count > TLS_CLIENT_CERTIFICATES_MAX)
        return X509_V_ERR_CERT_CHAIN_TOO_LONG;
    for (int i = -1; i < count; i++) {
        EVP_PKEY *key = X509_get0_pubkey(i < 0 ? leaf : sk_X509_value(untrusted, i));
        if (!key)
            return X509_V_ERR_UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY;
        if (EVP_PKEY_get_bits(key) > TRUST_STORE_KEY_BITS_MAX)
            return X509_V_ERR_CERT_REJECTED;
    }
    return X509_V_OK;
}

/* That no anchor was found says less than what was wrong with a chain that had one. */
static bool says_more(int error, int than)
{
    return than == X509_V_ERR_UNSPECIFIED ||
           (error != X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY &&
            error != X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT &&
            error != X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN &&
            error != X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT &&
            error != X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE);
}

static const struct revocations *revoked_in(const struct tls_session *session,
                                            const struct trust_store *store)
{
    return session->revoked ? revocation_set_find(*session->revoked, trust_store_name(store))
                            : NULL;
}

bool tls_session_is_revoked(const struct tls_session *session)
{
    const struct revocations *list = session->store ? revoked_in(session, session->store) : NULL;
    return list && revocations_list_any(list, session->chain.links, session->chain.link_count);
}

static int verify_in_store(const struct trust_store *store, X509 *leaf, STACK_OF(X509) * untrusted,
                           struct tls_session *session)
{
    struct trust_chain *chain = &session->chain;
    int error = trust_store_verify(store, leaf, untrusted, chain);
    if (error != X509_V_OK)
        return error;
    return revocations_check(revoked_in(session, store), trust_store_rules(store), chain->links,
                             chain->link_count, clock_unix_s());
}

static int verify_in_stores(const struct tls_context *context, X509 *leaf,
                            STACK_OF(X509) * untrusted, struct tls_session *session)
{
    int best = X509_V_ERR_UNSPECIFIED;
    if (!leaf)
        return best;
    int costly = refuse_costly(leaf, untrusted);
    if (costly != X509_V_OK)
        return costly;
    for (size_t i = 0; i < context->store_count; i++) {
        int error = verify_in_store(context->stores[i], leaf, untrusted, session);
        if (error == X509_V_OK) {
            session->store = context->stores[i];
            return X509_V_OK;
        }
        if (says_more(error, best))
            best = error;
    }
    return best;
}

static void remember_refused(struct tls_session *session, X509 *leaf)
{
    tls_session_release(session);
    if (leaf && X509_up_ref(leaf) == 1)
        session->refused = leaf;
}

static int verify_callback(X509_STORE_CTX *ctx, void *argument)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_session *session = SSL_get_app_data(ssl);
    session->store = NULL;
    int error = verify_in_stores(argument, X509_STORE_CTX_get0_cert(ctx),
                                 X509_STORE_CTX_get0_untrusted(ctx), session);
    session->verify_error = error;
    if (error != X509_V_OK)
        remember_refused(session, X509_STORE_CTX_get0_cert(ctx));
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
    SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
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
    if (SSL_CTX_set_min_proto_version(ssl, version_min) != 1 ||
        SSL_CTX_set_max_proto_version(ssl, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_num_tickets(ssl, 0) != 1 || SSL_CTX_set_max_early_data(ssl, 0) != 1)
        return ERROR_LIBRARY;
    if (SSL_CTX_set_cipher_list(ssl, ciphers && *ciphers ? ciphers : CIPHERS_DEFAULT) != 1)
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

void tls_session_release(struct tls_session *session)
{
    X509_free(session->refused);
    session->refused = NULL;
}

size_t tls_session_refused_cn(const struct tls_session *session, char *out)
{
    out[0] = 0;
    return session->refused ? peer_identity_cn(session->refused, out) : 0;
}

/* Nothing was sent and nothing was looked at: what was refused never passes for what was not sent.
 */
static bool needs_no_certificate(const struct tls_session *session, const SSL *ssl)
{
    return session->client_certificate != CLIENT_CERTIFICATE_REQUIRED &&
           SSL_is_init_finished(ssl) && !SSL_get0_peer_certificate(ssl) && !session->store &&
           !session->refused && session->verify_error == X509_V_OK;
}

static enum error identity_of(const struct tls_session *session, X509 *certificate,
                              struct peer_identity **out)
{
    enum error e =
        peer_identity_read(certificate, trust_store_name(session->store),
                           trust_store_rules(session->store)->sources, &session->chain, out);
    if (e == ERROR_NONE)
        (*out)->not_after_unix_s = session->chain.not_after_unix_s;
    return e;
}

enum error tls_session_identity(const struct tls_session *session, SSL *ssl,
                                struct peer_identity **out)
{
    *out = NULL;
    if (needs_no_certificate(session, ssl))
        return ERROR_NONE;
    X509 *certificate = SSL_get0_peer_certificate(ssl);
    if (!session->store || session->verify_error != X509_V_OK || !certificate ||
        SSL_get_verify_result(ssl) != X509_V_OK || SSL_session_reused(ssl))
        return ERROR_NOT_FOUND;
    return identity_of(session, certificate, out);
}

enum error tls_context_identify(const struct tls_context *context,
                                struct revocation_set *const *revoked, struct slice pem,
                                struct peer_identity **out, int *why)
{
    struct tls_session session = { .revoked = revoked };
    STACK_OF(X509) *sent = sk_X509_new_null();
    enum error e = sent ? certificates_read(pem, sent) : ERROR_MEMORY;
    *out = NULL;
    if (e == ERROR_NONE) {
        X509 *leaf = sk_X509_shift(sent);
        *why = verify_in_stores(context, leaf, sent, &session);
        e = *why == X509_V_OK ? identity_of(&session, leaf, out) : ERROR_NOT_FOUND;
        X509_free(leaf);
    }
    sk_X509_pop_free(sent, X509_free);
    return e;
}
