/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/tls/client.h"

#include "common/mem.h"
#include "proxy/tls/own_certificates.h"

#include <openssl/err.h>
#include <string.h>

struct tls_client {
    SSL_CTX *ssl;
    struct own_certificates *own;
    struct trust_store **stores;
    size_t store_count;
    unsigned char digest[SHA256_DIGEST_LENGTH]; /* of all that tls_client_same() is about */
};

/* ---- What OpenSSL asks and tells ---- */

static int verify_callback(X509_STORE_CTX *ctx, void *argument)
{
    const struct tls_client *client = argument;
    SSL *ssl = X509_STORE_CTX_get_ex_data(ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_session *session = SSL_get_app_data(ssl);
    int error =
        tls_session_verify(session, client->stores, client->store_count,
                           X509_STORE_CTX_get0_cert(ctx), X509_STORE_CTX_get0_untrusted(ctx));
    X509_STORE_CTX_set_error(ctx, error);
    return error == X509_V_OK && session->store;
}

/* Key updates and tickets, which a server may send without end (T31). */
static void info_callback(const SSL *ssl, int where, int value)
{
    (void)value;
    struct tls_session *session = SSL_get_app_data(ssl);
    if (session->established && where == SSL_CB_CONNECT_LOOP)
        session->later_messages++;
}

/* ---- Making one ---- */

static enum error set_rules(struct tls_client *c, const struct tls_client_spec *spec)
{
    SSL_CTX *ssl = c->ssl;
    const char *ciphers = spec->ciphers;
    int version_min = spec->version_min ? spec->version_min : TLS1_2_VERSION;
    SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ssl, 1);
    SSL_CTX_set_max_cert_list(ssl, TLS_CLIENT_CHAIN_MAX);
    SSL_CTX_set_security_level(ssl, version_min < TLS1_2_VERSION ? 0 : 2);
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(ssl, verify_callback, c);
    SSL_CTX_set_info_callback(ssl, info_callback);
    if (SSL_CTX_set_min_proto_version(ssl, version_min) != 1 ||
        SSL_CTX_set_max_proto_version(ssl, TLS1_3_VERSION) != 1)
        return ERROR_LIBRARY;
    if (SSL_CTX_set_cipher_list(ssl, ciphers && *ciphers ? ciphers : TLS_CIPHERS_DEFAULT) != 1)
        return ERROR_MALFORMED;
    return ERROR_NONE;
}

static enum error add_own(struct tls_client *c, const struct tls_own_spec *own, const char **why)
{
    enum error e = own_certificates_new(&c->own);
    if (e == ERROR_NONE)
        e = own_certificates_add(c->own, own->certificate_pem, own->key_pem, why);
    return e == ERROR_NONE ? own_certificates_use(c->own, c->ssl) : e;
}

static enum error add_stores(struct tls_client *c, const struct tls_client_spec *spec,
                             const char **why)
{
    c->stores = mem_zero(spec->store_count + 1, sizeof(struct trust_store *));
    enum error e = c->stores ? ERROR_NONE : ERROR_MEMORY;
    if (spec->store_count == 0)
        e = ERROR_MALFORMED;
    for (size_t i = 0; e == ERROR_NONE && i < spec->store_count; i++) {
        struct trust_rules rules = spec->stores[i].rules;
        rules.role = TRUST_OF_SERVERS;
        e = trust_store_create(spec->stores[i].name, spec->stores[i].pem, &rules, &c->stores[i]);
        if (e == ERROR_NONE)
            c->store_count++;
    }
    if (e == ERROR_MALFORMED)
        *why = "no trust store, or one that cannot be read";
    return e;
}

/* ---- What makes two the same ---- */

static bool add_bytes(EVP_MD_CTX *digest, const void *bytes, size_t size)
{
    uint64_t length = size;
    return EVP_DigestUpdate(digest, &length, sizeof(length)) == 1 &&
           (size == 0 || EVP_DigestUpdate(digest, bytes, size) == 1);
}

static bool add_certificate(EVP_MD_CTX *digest, X509 *certificate)
{
    unsigned char own[EVP_MAX_MD_SIZE];
    unsigned size;
    return X509_digest(certificate, EVP_sha256(), own, &size) == 1 && add_bytes(digest, own, size);
}

static bool add_certificates(EVP_MD_CTX *digest, const STACK_OF(X509) * list)
{
    int count = list ? sk_X509_num(list) : 0;
    bool done = add_bytes(digest, &count, sizeof(count));
    for (int i = 0; done && i < count; i++)
        done = add_certificate(digest, sk_X509_value(list, i));
    return done;
}

static bool add_store(EVP_MD_CTX *digest, const struct trust_store *store)
{
    const struct trust_rules *rules = trust_store_rules(store);
    const int numbers[] = { rules->security_level, (int)rules->key_usage,       (int)rules->sources,
                            (int)rules->crl,       rules->crl_expired_accepted, (int)rules->ocsp };
    return add_bytes(digest, trust_store_name(store), strlen(trust_store_name(store))) &&
           add_bytes(digest, numbers, sizeof(numbers)) &&
           add_certificates(digest, trust_store_anchors(store));
}

static bool add_shown(EVP_MD_CTX *digest, const SSL_CTX *ssl)
{
    X509 *own = SSL_CTX_get0_certificate(ssl);
    STACK_OF(X509) *chain = NULL;
    if (!own)
        return add_bytes(digest, "", 0);
    return SSL_CTX_get0_chain_certs((SSL_CTX *)ssl, &chain) == 1 && add_certificate(digest, own) &&
           add_certificates(digest, chain);
}

static enum error make_digest(struct tls_client *c, const struct tls_client_spec *spec)
{
    const char *ciphers = spec->ciphers ? spec->ciphers : "";
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    bool done = digest && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1 &&
                add_bytes(digest, &spec->version_min, sizeof(spec->version_min)) &&
                add_bytes(digest, ciphers, strlen(ciphers)) && add_shown(digest, c->ssl);
    for (size_t i = 0; done && i < c->store_count; i++)
        done = add_store(digest, c->stores[i]);
    done = done && EVP_DigestFinal_ex(digest, c->digest, NULL) == 1;
    EVP_MD_CTX_free(digest);
    return done ? ERROR_NONE : ERROR_MEMORY;
}

bool tls_client_same(const struct tls_client *a, const struct tls_client *b)
{
    return a == b || memcmp(a->digest, b->digest, sizeof(a->digest)) == 0;
}

/* ---- Life ---- */

static enum error build(struct tls_client *c, const struct tls_client_spec *spec, const char **why)
{
    enum error e = set_rules(c, spec);
    if (e == ERROR_MALFORMED)
        *why = "no cipher of the list `ciphers` is known";
    if (e == ERROR_NONE && spec->own)
        e = add_own(c, spec->own, why);
    if (e == ERROR_NONE)
        e = add_stores(c, spec, why);
    return e == ERROR_NONE ? make_digest(c, spec) : e;
}

enum error tls_client_create(const struct tls_client_spec *spec, struct tls_client **out,
                             const char **why)
{
    *out = NULL;
    *why = "OpenSSL refused";
    ERR_clear_error();
    struct tls_client *c = mem_zero(1, sizeof(*c));
    if (!c)
        return ERROR_MEMORY;
    c->ssl = SSL_CTX_new(TLS_client_method());
    enum error e = c->ssl ? build(c, spec, why) : ERROR_LIBRARY;
    ERR_clear_error();
    if (e != ERROR_NONE) {
        tls_client_free(c);
        return e;
    }
    *out = c;
    return ERROR_NONE;
}

void tls_client_free(struct tls_client *client)
{
    if (!client)
        return;
    SSL_CTX_free(client->ssl);
    own_certificates_free(client->own);
    for (size_t i = 0; i < client->store_count; i++)
        trust_store_free(client->stores[i]);
    mem_free(client->stores);
    mem_free(client);
}

const struct trust_store *tls_client_store(const struct tls_client *client, size_t index)
{
    return index < client->store_count ? client->stores[index] : NULL;
}

int tls_client_version_min(const struct tls_client *client)
{
    return (int)SSL_CTX_get_min_proto_version(client->ssl);
}

SSL *tls_client_connect(struct tls_client *client, const struct identity *domain,
                        struct tls_session *session)
{
    *session = (struct tls_session){ .domain = domain };
    SSL *ssl = SSL_new(client->ssl);
    if (!ssl)
        return NULL;
    SSL_set_app_data(ssl, session);
    SSL_set_connect_state(ssl);
    if (SSL_set_tlsext_host_name(ssl, domain->text) == 1)
        return ssl;
    SSL_free(ssl);
    return NULL;
}
