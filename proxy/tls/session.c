/* SPDX-License-Identifier: Apache-2.0 */
/* Verification of a peer's chain, store by store, and what is known of the peer by it. */
#include "proxy/tls/session.h"

#include "common/clock.h"

#include <string.h>

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

const struct revocations *tls_session_revocations(const struct tls_session *session,
                                                  const struct trust_store *store)
{
    return session->revoked ? revocation_set_find(*session->revoked, trust_store_name(store))
                            : NULL;
}

void tls_session_judged(struct tls_session *session, const struct trust_rules *rules)
{
    session->crl_asked = rules->crl;
    session->crl_expired_accepted = rules->crl_expired_accepted;
}

static bool is_who_it_must_be(const struct tls_session *session, const struct trust_store *store,
                              X509 *leaf)
{
    return !session->domain ||
           certificate_is_for_domain(leaf, trust_store_rules(store)->sources, session->domain);
}

static int verify_in_store(const struct trust_store *store, X509 *leaf, STACK_OF(X509) * untrusted,
                           struct tls_session *session)
{
    struct trust_chain *chain = &session->chain;
    int error = trust_store_verify(store, leaf, untrusted, chain);
    if (error == X509_V_OK && !is_who_it_must_be(session, store, leaf))
        error = X509_V_ERR_HOSTNAME_MISMATCH;
    if (error != X509_V_OK)
        return error;
    return revocations_check(tls_session_revocations(session, store), trust_store_rules(store),
                             chain->links, chain->link_count, clock_unix_s());
}

static int verify_in_stores(struct tls_session *session, struct trust_store *const *stores,
                            size_t store_count, X509 *leaf, STACK_OF(X509) * untrusted)
{
    int best = X509_V_ERR_UNSPECIFIED;
    if (!leaf)
        return best;
    int costly = refuse_costly(leaf, untrusted);
    if (costly != X509_V_OK)
        return costly;
    for (size_t i = 0; i < store_count; i++) {
        int error = verify_in_store(stores[i], leaf, untrusted, session);
        if (error == X509_V_OK) {
            session->store = stores[i];
            tls_session_judged(session, trust_store_rules(stores[i]));
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

int tls_session_verify(struct tls_session *session, struct trust_store *const *stores,
                       size_t store_count, X509 *leaf, STACK_OF(X509) * untrusted)
{
    session->store = NULL;
    session->verify_error = verify_in_stores(session, stores, store_count, leaf, untrusted);
    if (session->verify_error != X509_V_OK)
        remember_refused(session, leaf);
    return session->verify_error;
}

bool tls_session_is_revoked(const struct tls_session *session)
{
    const struct revocations *list =
        session->store ? tls_session_revocations(session, session->store) : NULL;
    return list && revocations_list_any(list, session->chain.links, session->chain.link_count);
}

static X509 *find_issuer(const struct tls_session *session, X509 *leaf,
                         const STACK_OF(X509) * among)
{
    for (int i = 0; i < sk_X509_num(among); i++) {
        struct chain_link link;
        X509 *one = sk_X509_value(among, i);
        if (X509_cmp_current_time(X509_get0_notAfter(one)) > 0 &&
            chain_link_read(leaf, one, &link) &&
            memcmp(&link, &session->chain.links[0], sizeof(link)) == 0)
            return one;
    }
    return NULL;
}

X509 *tls_session_issuer(const struct tls_session *session, X509 *leaf, const STACK_OF(X509) * sent)
{
    if (!leaf || !session->store || session->chain.link_count == 0)
        return NULL;
    X509 *issuer = find_issuer(session, leaf, trust_store_anchors(session->store));
    return issuer ? issuer : find_issuer(session, leaf, sent);
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

size_t tls_session_refused_names(const struct tls_session *session, char out[CERTIFICATE_NAMES_MAX])
{
    return session->refused ? certificate_names_text(session->refused, out) : 0;
}

/* Nothing was sent and nothing was looked at: what was refused never passes for what was not sent.
 */
static bool needs_no_certificate(const struct tls_session *session, const SSL *ssl)
{
    return session->client_certificate != CLIENT_CERTIFICATE_REQUIRED &&
           SSL_is_init_finished(ssl) && !SSL_get0_peer_certificate(ssl) && !session->store &&
           !session->refused && session->verify_error == X509_V_OK;
}

enum error tls_session_identity_of(const struct tls_session *session, X509 *certificate,
                                   struct peer_identity **out)
{
    enum error e =
        peer_identity_read(certificate, trust_store_name(session->store),
                           trust_store_rules(session->store)->sources, &session->chain, out);
    if (e == ERROR_NONE)
        (*out)->not_after_unix_s = session->chain.not_after_unix_s;
    return e;
}

enum error tls_session_identity(struct tls_session *session, SSL *ssl, struct peer_identity **out)
{
    *out = NULL;
    enum error e = resumption_finish(ssl, session);
    session->version = SSL_version(ssl);
    if (e != ERROR_NONE)
        return e;
    if (needs_no_certificate(session, ssl))
        return ERROR_NONE;
    X509 *certificate = SSL_get0_peer_certificate(ssl);
    if (!session->store || session->verify_error != X509_V_OK || !certificate ||
        SSL_get_verify_result(ssl) != X509_V_OK ||
        !is_who_it_must_be(session, session->store, certificate))
        return ERROR_NOT_FOUND;
    return tls_session_identity_of(session, certificate, out);
}
