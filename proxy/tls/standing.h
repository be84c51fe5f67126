/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a session that stands would be admitted as it was by the listener as it is now: what a
 * reload asks of each open connection. Nothing is verified again, since the chain is not kept: its
 * store, its anchor, the store's rules and the version of TLS are compared with those that admitted
 * it; where lists are asked for more strictly than they were, its chain is looked up in them. The
 * worker's thread. */
#ifndef HOLDLINE_TLS_STANDING_H
#define HOLDLINE_TLS_STANDING_H

#include "proxy/tls/client.h"
#include "proxy/tls/context.h"

/* Its version of TLS is not below the context's. With a certificate: `context` has a store of that
 * name, its anchor is in it, its rules let pass all that the store's let pass which verified it,
 * and its revocation lists do if it asks more of them than was asked before. Without: `asked` is
 * not REQUIRED. What is looser now changes nothing. A session whose anchor or version is not known
 * does not stand. */
bool tls_session_stands(const struct tls_session *session, const struct tls_context *context,
                        enum client_certificate asked);

/* The same of a server, by the route as it is now. What we have shown it is no matter of this. */
bool tls_session_server_stands(const struct tls_session *session, const struct tls_client *client);

/* The store that verified a client, as the listener's context has it now; a server, as the route's.
 * NULL: there is none of its name, or no store verified it. */
const struct trust_store *tls_session_store_now(const struct tls_session *session,
                                                const struct tls_context *context);
const struct trust_store *tls_session_server_store_now(const struct tls_session *session,
                                                       const struct tls_client *client);

/* Whether some chain, or some name in it, that `before` let pass is refused by `now`. Revocation is
 * not a matter of this: what lists say is asked by itself (revocation.h), and so is OCSP
 * (net/status.c). */
bool trust_rules_are_stricter(const struct trust_rules *now, const struct trust_rules *before);

#endif
