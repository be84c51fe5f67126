/* SPDX-License-Identifier: Apache-2.0 */
/* The peer of one TLS connection: its chain, tried against trust stores in their order, and who it
 * is by that. One thread: the connection's. */
#ifndef HOLDLINE_TLS_SESSION_H
#define HOLDLINE_TLS_SESSION_H

#include "proxy/tls/certificate_text.h"
#include "proxy/tls/client_certificate.h"
#include "proxy/tls/peer_identity.h"
#include "proxy/tls/resumption.h"
#include "proxy/tls/trust_store.h"

#include <openssl/ssl.h>

struct staples;
struct statuses;

#define TLS_CLIENT_CHAIN_MAX        32768 /* bytes of a peer's certificate message (T31) */
#define TLS_CLIENT_CERTIFICATES_MAX 10

/* What verification and the protocol's course leave behind for the connection; embedded in it, and
 * must live as long as the SSL. */
struct tls_session {
    enum client_certificate client_certificate; /* what the listener asks for */
    const struct identity *domain; /* the peer is a server, and must be this one; NULL: a client */
    const struct trust_store *store; /* that verified the peer's chain; NULL = none did */
    struct trust_chain chain;        /* of what it verified */
    int version;                     /* of TLS, after the handshake */
    /* By what rules revocation lists were last asked about the chain. */
    enum crl_rule crl_asked;
    bool crl_expired_accepted;
    /* Set by the connection before the handshake: where the worker keeps what is revoked now. NULL:
     * nothing is known to be. */
    struct revocation_set *const *revoked;
    struct resumption resumption;
    /* Set by the connection before the handshake: where the worker keeps what is stapled now. NULL,
     * or NULL there: nothing is. */
    struct staples *const *staples;
    /* Set by the connection before the handshake: what the worker knows by OCSP. NULL: nothing. */
    const struct statuses *statuses;
    int verify_error;        /* X509_V_ERR_ of the last handshake that failed for its certificate */
    X509 *refused;           /* the leaf of that, for the log */
    bool established;        /* set by the connection after the handshake */
    unsigned later_messages; /* handshake messages after that: key updates */
};

/* Verifies what the peer has sent against each store by itself; the first that it verifies in, and
 * a server also by its name, is the session's. X509_V_OK, or the X509_V_ERR_ code that says most,
 * which is HOSTNAME_MISMATCH of a server that is another. */
int tls_session_verify(struct tls_session *session, struct trust_store *const *stores,
                       size_t store_count, X509 *leaf, STACK_OF(X509) * untrusted);

/* Lets go of what a refusal left; harmless otherwise. */
void tls_session_release(struct tls_session *session);

/* The CN of the certificate that was refused, for the log; "" when there is none that counts. out
 * has CN_MAX_OCTETS + 1 bytes. Its size. */
size_t tls_session_refused_cn(const struct tls_session *session, char *out);

/* The same of its subjectAltName: see certificate_names_text(). */
size_t tls_session_refused_names(const struct tls_session *session,
                                 char out[CERTIFICATE_NAMES_MAX]);

/* After the handshake: who the peer is. *out NULL and no error: it sent no certificate, and need
 * not. ERROR_NOT_FOUND when no store verified a certificate of its own (never after a handshake
 * that succeeded: checked all the same). A resumed session is who its ticket says, as long as that
 * may be. */
enum error tls_session_identity(struct tls_session *session, SSL *ssl,
                                struct peer_identity **out) MUST_CHECK;

/* Whether a certificate of the chain that was verified is on a list of its store now. */
bool tls_session_is_revoked(const struct tls_session *session);

/* The certificate of the authority that issued the leaf which was verified, among the anchors and
 * what the peer has sent; NULL: not to be had, as of many a resumed session. Valid as long as
 * these.
 */
X509 *tls_session_issuer(const struct tls_session *session, X509 *leaf,
                         const STACK_OF(X509) * sent);

/* The lists of that store; NULL: none. */
const struct revocations *tls_session_revocations(const struct tls_session *session,
                                                  const struct trust_store *store);
/* Its chain was judged by the lists as these rules say. */
void tls_session_judged(struct tls_session *session, const struct trust_rules *rules);

/* What a certificate says that this session has verified. ERROR_MEMORY, ERROR_MALFORMED. */
enum error tls_session_identity_of(const struct tls_session *session, X509 *certificate,
                                   struct peer_identity **out) MUST_CHECK;

#endif
