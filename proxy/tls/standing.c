/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/tls/standing.h"

#include "common/clock.h"

#include <string.h>

/* An e-mail address that counts is a name beside which DNS names are none (peer_identity.h). */
static bool hides_dns(const struct trust_rules *rules)
{
    return (rules->sources & SOURCE_SAN_EMAIL) != 0;
}

bool trust_rules_are_stricter(const struct trust_rules *now, const struct trust_rules *before)
{
    return now->security_level > before->security_level || now->key_usage < before->key_usage ||
           (before->sources & ~now->sources) != 0 ||
           (hides_dns(now) && !hides_dns(before) && (before->sources & SOURCE_SAN_DNS));
}

const struct trust_store *tls_session_store_now(const struct tls_session *session,
                                                const struct tls_context *context)
{
    const struct trust_store *store;
    for (size_t i = 0; session->store && (store = tls_context_store(context, i)); i++)
        if (strcmp(trust_store_name(store), trust_store_name(session->store)) == 0)
            return store;
    return NULL;
}

const struct trust_store *tls_session_server_store_now(const struct tls_session *session,
                                                       const struct tls_client *client)
{
    const struct trust_store *store;
    for (size_t i = 0; session->store && (store = tls_client_store(client, i)); i++)
        if (strcmp(trust_store_name(store), trust_store_name(session->store)) == 0)
            return store;
    return NULL;
}

/* What is listed ends a session anyhow; a list that lacks, or is over, only where that is news. */
static bool is_let_pass_by_lists(const struct tls_session *session, const struct trust_store *now)
{
    const struct trust_rules *rules = trust_store_rules(now);
    bool more = rules->crl < session->crl_asked ||
                (session->crl_expired_accepted && !rules->crl_expired_accepted);
    return !more ||
           revocations_check(tls_session_revocations(session, now), rules, session->chain.links,
                             session->chain.link_count, clock_unix_s()) == X509_V_OK;
}

/* `now`: what the store that verified it is now; NULL: not there any more. */
static bool is_verified_by(const struct tls_session *session, const struct trust_store *now)
{
    const struct trust_chain *chain = &session->chain;
    return now && chain->certificate_count > 0 &&
           trust_store_has_anchor(now, chain->sha256[chain->certificate_count - 1]) &&
           !trust_rules_are_stricter(trust_store_rules(now), trust_store_rules(session->store)) &&
           is_let_pass_by_lists(session, now);
}

bool tls_session_stands(const struct tls_session *session, const struct tls_context *context,
                        enum client_certificate asked)
{
    if (context && session->version < tls_context_version_min(context))
        return false;
    if (!session->store)
        return asked != CLIENT_CERTIFICATE_REQUIRED;
    return is_verified_by(session, tls_session_store_now(session, context));
}

bool tls_session_server_stands(const struct tls_session *session, const struct tls_client *client)
{
    return session->version >= tls_client_version_min(client) &&
           is_verified_by(session, tls_session_server_store_now(session, client));
}
