/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/tls/resumption.h"

#include "common/clock.h"
#include "common/mem.h"
#include "common/random.h"
#include "proxy/tls/session.h"
#include "proxy/tls/statuses.h"
#include "proxy/tls/ticket_keys.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>

#define HOST_EXTENSION_MAX 512 /* a host name has 255 octets (RFC 6066 3) */

struct resumer {
    unsigned char listener[SHA256_DIGEST_LENGTH];
    enum client_certificate client_certificate;
    struct trust_store *const *stores;
    size_t store_count;
    uint64_t max_s;
    EVP_CIPHER *cipher;
    unsigned char (*trust)[SHA256_DIGEST_LENGTH]; /* one a store */
};

static struct tls_session *session_of(const SSL *ssl)
{
    return SSL_get_app_data(ssl);
}

static const struct ticket_keys *keys_of(const struct resumption *r)
{
    return r->keys ? *r->keys : NULL;
}

static void forbid(struct resumption *r, SSL *ssl)
{
    r->forbidden = true;
    SSL_set_num_tickets(ssl, 0);            /* TLS 1.3 */
    SSL_set_options(ssl, SSL_OP_NO_TICKET); /* below, if the ServerHello is still to come */
}

/* ---- ClientHello ---- */

static bool digest_host(const unsigned char *data, size_t size, unsigned char *out)
{
    unsigned char small[HOST_EXTENSION_MAX], digest[EVP_MAX_MD_SIZE];
    if (size > sizeof(small))
        return false;
    for (size_t i = 0; i < size; i++)
        small[i] = data[i] >= 'A' && data[i] <= 'Z' ? (unsigned char)(data[i] + 32) : data[i];
    if (EVP_Digest(small, size, digest, NULL, EVP_sha256(), NULL) != 1)
        return false;
    memcpy(out, digest, TICKET_HOST_SIZE);
    return true;
}

/* Before OpenSSL looks at tickets, and again after a HelloRetryRequest. The extension is taken as
 * it stands: what OpenSSL makes of it comes later. */
static int on_hello(SSL *ssl, int *alert, void *argument)
{
    struct resumption *r = &session_of(ssl)->resumption;
    const unsigned char *data;
    size_t size;
    (void)alert, (void)argument;
    memset(r->host, 0, sizeof(r->host));
    r->extended_master_secret =
        SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_extended_master_secret, &data, &size) == 1;
    if (!keys_of(r) || (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &data, &size) &&
                        !digest_host(data, size, r->host)))
        forbid(r, ssl);
    return SSL_CLIENT_HELLO_SUCCESS;
}

/* ---- Keys ---- */

static bool use_mac(EVP_MAC_CTX *mac, const struct ticket_key *key)
{
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)key->mac, sizeof(key->mac)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_CTX_set_params(mac, parameters) == 1;
}

/* No ticket of the session leaves us: 0 makes it an empty one, which only TLS 1.2 comes to. */
static bool is_kept_from(const struct resumption *r, SSL *ssl)
{
    return r->forbidden || !keys_of(r) ||
           (SSL_version(ssl) < TLS1_3_VERSION && !r->extended_master_secret);
}

static int seal(const struct resumer *resumer, SSL *ssl, unsigned char *name, unsigned char *iv,
                EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
    const struct resumption *r = &session_of(ssl)->resumption;
    if (is_kept_from(r, ssl))
        return 0;
    const struct ticket_key *key = ticket_keys_first(keys_of(r));
    memcpy(name, key->name, sizeof(key->name));
    random_bytes(iv, (size_t)EVP_CIPHER_get_iv_length(resumer->cipher));
    return EVP_EncryptInit_ex2(cipher, resumer->cipher, key->cipher, iv, NULL) == 1 &&
                   use_mac(mac, key)
               ? 1
               : -1;
}

/* 0: a full handshake; 1: it may be opened; 2: and should be replaced. */
static int unseal(const struct resumer *resumer, SSL *ssl, const unsigned char *name,
                  const unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
    struct resumption *r = &session_of(ssl)->resumption;
    if (r->forbidden || !keys_of(r) || ++r->tried > TICKETS_TRIED_MAX)
        return 0;
    const struct ticket_key *key = ticket_keys_find(keys_of(r), name);
    if (!key)
        return 0;
    if (EVP_DecryptInit_ex2(cipher, resumer->cipher, key->cipher, iv, NULL) != 1 ||
        !use_mac(mac, key))
        return -1;
    return key == ticket_keys_first(keys_of(r)) ? 1 : 2;
}

static struct resumer *resumer_of(SSL *ssl)
{
    return SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
}

static int on_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                  EVP_MAC_CTX *mac, int sealing)
{
    const struct resumer *resumer = resumer_of(ssl);
    return sealing ? seal(resumer, ssl, name, iv, cipher, mac)
                   : unseal(resumer, ssl, name, iv, cipher, mac);
}

/* ---- Judging ---- */

static size_t store_index(const struct resumer *resumer, const char *name)
{
    size_t i = 0;
    while (i < resumer->store_count && strcmp(trust_store_name(resumer->stores[i]), name) != 0)
        i++;
    return i;
}

/* A resumed session has no issuer to ask by: the word must be there already. */
static bool has_good_status(const struct tls_session *session, const struct trust_store *store,
                            const struct ticket *ticket, uint64_t now_unix_s)
{
    struct status_key key;
    if (trust_store_rules(store)->ocsp == OCSP_OFF || ticket->chain.link_count == 0)
        return true;
    status_key_of(&key, ticket->store, ticket->chain.sha256[0]);
    return statuses_good(session->statuses, &key, now_unix_s);
}

static enum ticket_verdict judge(const struct resumer *resumer, const struct tls_session *session,
                                 const struct ticket *ticket)
{
    struct ticket_ground ground = { .listener = resumer->listener,
                                    .host = session->resumption.host,
                                    .client_certificate = resumer->client_certificate,
                                    .revocation = X509_V_ERR_UNSPECIFIED,
                                    .now_unix_s = clock_unix_s(),
                                    .max_s = resumer->max_s };
    size_t at = store_index(resumer, ticket->store);
    if (at < resumer->store_count) {
        const struct trust_store *store = resumer->stores[at];
        const struct revocations *list =
            session->revoked ? revocation_set_find(*session->revoked, ticket->store) : NULL;
        ground.trust = resumer->trust[at];
        ground.status_good = has_good_status(session, store, ticket, ground.now_unix_s);
        ground.revocation = revocations_check(list, trust_store_rules(store), ticket->chain.links,
                                              ticket->chain.link_count, ground.now_unix_s);
    }
    return ticket_judge(ticket, &ground);
}

/* What the session says and its certificate must be one: a leaf without a chain is nobody. */
static enum error read_ticket(SSL_SESSION *s, struct ticket *ticket)
{
    void *data = NULL;
    size_t size = 0;
    unsigned char digest[SHA256_DIGEST_LENGTH];
    X509 *leaf = SSL_SESSION_get0_peer(s);
    if (SSL_SESSION_get0_ticket_appdata(s, &data, &size) != 1 || !data ||
        ticket_read((struct slice){ data, size }, ticket) != ERROR_NONE)
        return ERROR_MALFORMED;
    if (!leaf != (ticket->chain.certificate_count == 0))
        return ERROR_MALFORMED;
    if (leaf && (X509_digest(leaf, EVP_sha256(), digest, NULL) != 1 ||
                 memcmp(digest, ticket->chain.sha256[0], sizeof(digest)) != 0))
        return ERROR_MALFORMED;
    return ERROR_NONE;
}

static SSL_TICKET_RETURN on_opened(SSL *ssl, SSL_SESSION *s, const unsigned char *key_name,
                                   size_t key_name_size, SSL_TICKET_STATUS status, void *argument)
{
    struct tls_session *session = session_of(ssl);
    struct ticket ticket;
    (void)key_name, (void)key_name_size;
    if (status == SSL_TICKET_EMPTY || status == SSL_TICKET_NONE)
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    session->resumption.verdict = TICKET_UNREADABLE;
    if ((status == SSL_TICKET_SUCCESS || status == SSL_TICKET_SUCCESS_RENEW) && s &&
        read_ticket(s, &ticket) == ERROR_NONE)
        session->resumption.verdict = judge(argument, session, &ticket);
    ERR_clear_error();
    if (session->resumption.verdict != TICKET_ADMISSIBLE)
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    return status == SSL_TICKET_SUCCESS_RENEW || SSL_version(ssl) >= TLS1_3_VERSION
               ? SSL_TICKET_RETURN_USE_RENEW
               : SSL_TICKET_RETURN_USE;
}

/* ---- Giving ---- */

/* The store that verified is one of the context's: it has set it. */
static void fill(const struct resumer *resumer, const struct tls_session *session,
                 struct ticket *out)
{
    const struct resumption *r = &session->resumption;
    *out = (struct ticket){ .verified_unix_s =
                                r->verified_unix_s ? r->verified_unix_s : clock_unix_s() };
    memcpy(out->listener, resumer->listener, sizeof(out->listener));
    memcpy(out->host, r->host, sizeof(out->host));
    size_t at = session->store ? store_index(resumer, trust_store_name(session->store))
                               : resumer->store_count;
    if (at == resumer->store_count)
        return;
    memcpy(out->store, trust_store_name(session->store),
           strnlen(trust_store_name(session->store), STORE_NAME_MAX));
    memcpy(out->trust, resumer->trust[at], sizeof(out->trust));
    out->chain = session->chain;
}

/* 0 ends the handshake. So would a session of no time at all, which OpenSSL's own encoding turns
 * into one of three seconds; the ticket itself says how old it is. */
static int on_giving(SSL *ssl, void *argument)
{
    const struct resumer *resumer = argument;
    SSL_SESSION *s = SSL_get_session(ssl);
    unsigned char data[TICKET_DATA_MAX];
    struct ticket ticket;
    if (!SSL_session_reused(ssl)) {
        fill(resumer, session_of(ssl), &ticket);
        size_t size = ticket_write(&ticket, data);
        if (SSL_SESSION_set1_ticket_appdata(s, data, size) != 1)
            return 0;
    } else if (read_ticket(s, &ticket) != ERROR_NONE) {
        return 0;
    }
    uint64_t left_s = ticket_left_s(&ticket, clock_unix_s(), resumer->max_s);
    return SSL_SESSION_set_timeout(s, left_s > 0 ? (long)left_s : 1) == 1;
}

void resumption_verified(struct resumption *r, SSL *ssl, X509 *leaf)
{
    r->verified_unix_s = clock_unix_s();
    if (i2d_X509(leaf, NULL) > TICKET_CERTIFICATE_MAX)
        forbid(r, ssl);
}

/* ---- Taking ---- */

/* Its age counts as it was when it was shown: a second may have passed since. A status that ended
 * in it is asked about again before the connection opens. */
static enum error take(SSL *ssl, struct tls_session *session)
{
    const struct resumer *resumer = resumer_of(ssl);
    struct ticket ticket;
    if (!resumer || session->resumption.verdict != TICKET_ADMISSIBLE ||
        read_ticket(SSL_get_session(ssl), &ticket) != ERROR_NONE)
        return ERROR_MALFORMED;
    enum ticket_verdict verdict = judge(resumer, session, &ticket);
    if (verdict != TICKET_ADMISSIBLE && verdict != TICKET_TOO_OLD && verdict != TICKET_STATUS)
        return ERROR_NOT_FOUND;
    size_t at = store_index(resumer, ticket.store);
    session->store = at < resumer->store_count ? resumer->stores[at] : NULL;
    session->chain = ticket.chain;
    if (session->store)
        tls_session_judged(session, trust_store_rules(session->store));
    return ERROR_NONE;
}

enum error resumption_finish(SSL *ssl, struct tls_session *session)
{
    SSL_SESSION *s = SSL_get_session(ssl);
    if (session->resumption.finished || !s || !SSL_is_init_finished(ssl))
        return ERROR_NONE;
    enum error e = SSL_session_reused(ssl) ? take(ssl, session) : ERROR_NONE;
    session->resumption.finished = true;
    if (e == ERROR_NONE && SSL_SESSION_set1_ticket_appdata(s, NULL, 0) != 1)
        e = ERROR_MEMORY;
    return e;
}

/* ---- Making ---- */

static enum error digest_all(struct resumer *r, const char *listener)
{
    if (EVP_Digest(listener, strlen(listener), r->listener, NULL, EVP_sha256(), NULL) != 1)
        return ERROR_LIBRARY;
    for (size_t i = 0; i < r->store_count; i++) {
        enum error e = ticket_trust_digest(r->stores[i], i ? r->trust[i - 1] : NULL, r->trust[i]);
        if (e != ERROR_NONE)
            return e;
    }
    return ERROR_NONE;
}

static enum error set_up(SSL_CTX *ssl, struct resumer *r)
{
    r->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    SSL_CTX_set_app_data(ssl, r);
    SSL_CTX_set_client_hello_cb(ssl, on_hello, NULL);
    SSL_CTX_set_timeout(ssl, (long)r->max_s);
    bool done = r->cipher && SSL_CTX_set_num_tickets(ssl, 1) == 1 &&
                SSL_CTX_set_session_id_context(ssl, r->listener, SSL_MAX_SID_CTX_LENGTH) == 1 &&
                SSL_CTX_set_tlsext_ticket_key_evp_cb(ssl, on_key) == 1 &&
                SSL_CTX_set_session_ticket_cb(ssl, on_giving, on_opened, r) == 1;
    return done ? ERROR_NONE : ERROR_LIBRARY;
}

enum error resumer_new(SSL_CTX *ssl, const struct resumer_spec *spec, struct resumer **out)
{
    *out = NULL;
    if (spec->max_s == 0) {
        SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET);
        return SSL_CTX_set_num_tickets(ssl, 0) == 1 ? ERROR_NONE : ERROR_LIBRARY;
    }
    struct resumer *r = mem_zero(1, sizeof(*r));
    if (!r)
        return ERROR_MEMORY;
    r->client_certificate = spec->client_certificate;
    r->stores = spec->stores;
    r->store_count = spec->store_count;
    r->max_s = spec->max_s;
    r->trust = mem_zero(spec->store_count + 1, sizeof(r->trust[0]));
    enum error e = r->trust ? digest_all(r, spec->listener) : ERROR_MEMORY;
    if (e == ERROR_NONE)
        e = set_up(ssl, r);
    if (e != ERROR_NONE) {
        resumer_free(r);
        return e;
    }
    *out = r;
    return ERROR_NONE;
}

void resumer_free(struct resumer *resumer)
{
    if (!resumer)
        return;
    EVP_CIPHER_free(resumer->cipher);
    mem_free(resumer->trust);
    mem_free(resumer);
}
