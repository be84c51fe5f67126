/* SPDX-License-Identifier: Apache-2.0 */
/* What a listener says about passwords, the credentials that stand in a request, and challenges
 * (RFC 3261 22). */
#include "proxy/request/request_internal.h"

#include "proxy/authorization/authenticate.h"

/* Octets of the challenges of one response. */
#define CHALLENGES_MAX 2048

static const struct config_digest *digest_of(const struct endpoint *endpoint)
{
    const struct config_listener *listener =
        endpoint ? connection_listener(endpoint->connection) : NULL;

    return listener ? &listener->digest : NULL;
}

/* Or rules of `anonymous` may let him in. Else nobody without a certificate gets anywhere, and
 * nothing is kept for him. */
bool password_may_be_asked(const struct endpoint *endpoint)
{
    const struct config_digest *digest = digest_of(endpoint);

    return digest && (digest->mode == DIGEST_FALLBACK || digest->mode == DIGEST_ALWAYS ||
                      digest->third_parties == THIRD_PARTIES_ACCEPT ||
                      connection_listener(endpoint->connection)->client_certificate ==
                          CLIENT_CERTIFICATE_IGNORED);
}

static enum certificate_shown shown_by(const struct endpoint *endpoint)
{
    if (connection_listener(endpoint->connection)->client_certificate == CLIENT_CERTIFICATE_IGNORED)
        return CERTIFICATE_IGNORED;
    return endpoint->peer->kind == PEER_DEVICE ? CERTIFICATE_VALID : CERTIFICATE_MISSING;
}

/* The server is we ourselves, or we are a proxy on the way: 401 or 407 (22.2, 22.3). */
static bool is_for_us(const struct request *request)
{
    return !request->in_dialog && (request->target.kind == REQUEST_TARGET_DOMAIN ||
                                   request->target.kind == REQUEST_TARGET_PROXY);
}

static bool is_offered(const struct config_digest *digest, enum digest_algorithm algorithm)
{
    for (size_t i = 0; i < digest->algorithm_count; i++)
        if (digest->algorithms[i] == algorithm)
            return true;
    return false;
}

/* The first that answers a challenge of ours; others are other servers'. */
static void find_credentials(struct request *request, const struct config_digest *digest,
                             struct digest_credentials *out)
{
    const struct message *m = &request->message;
    enum header_id id = is_for_us(request) ? HEADER_AUTHORIZATION : HEADER_PROXY_AUTHORIZATION;

    for (const struct header *h = message_header(m, id); h; h = message_header_next(m, h)) {
        if (credentials_parse(message_header_value(m, h), out) != ERROR_NONE ||
            !slice_equal((struct slice){ out->realm, out->realm_size }, request->realm) ||
            !is_offered(digest, out->algorithm))
            continue;
        request->credentials = out;
        return;
    }
}

/* What was hashed must be what is asked for (RFC 7616 3.4.6). */
static bool is_about(const struct digest_credentials *credentials, const struct message *m)
{
    struct slice text = message_slice(m, m->request_uri);
    struct uri hashed, asked;

    return slice_equal(credentials->uri, text) ||
           (uri_parse(credentials->uri, &hashed) == ERROR_NONE &&
            uri_parse(text, &asked) == ERROR_NONE && uri_equal(&hashed, &asked));
}

static struct slice choose_realm(struct request *request, const struct config_digest *digest)
{
    struct slice domain = identity_domain(&request->speaker);

    if (digest->realm[0])
        return arena_copy(&request->message.arena, slice_of(digest->realm));
    return domain.size ? domain : slice_of(request->layer->base->config->name);
}

/* Needs From and target. An ACK repeats its INVITE's credentials, whose count is spent: they are
 * not read (22.1). */
enum reason password_read(struct request *request)
{
    const struct config_digest *digest = digest_of(request->endpoint);
    struct digest_credentials *credentials;

    if (!digest || !request->endpoint->peer || request->endpoint->peer->kind == PEER_ROUTE)
        return REASON_ALLOWED;
    request->admission = (struct policy_admission){ .digest = digest->mode,
                                                    .third_parties = digest->third_parties,
                                                    .certificate = shown_by(request->endpoint) };
    if (digest->mode == DIGEST_OFF)
        return REASON_ALLOWED;
    request->realm = choose_realm(request, digest);
    credentials = arena_alloc(&request->message.arena, sizeof(*credentials));
    if (!request->realm.data || !credentials)
        return REASON_OUT_OF_MEMORY;
    if (request->message.method == METHOD_ACK)
        return REASON_ALLOWED;
    find_credentials(request, digest, credentials);
    return !request->credentials || is_about(credentials, &request->message) ? REASON_ALLOWED
                                                                             : REASON_MALFORMED;
}

static bool is_stale(enum reason reason)
{
    return reason == REASON_CREDENTIALS_STALE || reason == REASON_CREDENTIALS_REPLAYED;
}

/* One line an algorithm, the better one first as configured (RFC 8760 2.3); they share the nonce.
 */
static enum error write_challenges(struct request *request, enum reason reason, struct buffer *out)
{
    const struct config_digest *digest = digest_of(request->endpoint);
    struct worker_base *base = request->layer->base;
    struct nonces *nonces = base->desk ? peer_nonces(request->endpoint->peer) : NULL;
    char nonce[NONCE_SIZE + 1];
    enum error error;

    if (!nonces)
        return ERROR_MEMORY;
    error = nonce_make(&base->desk->key, nonces, base->now_mono_ms, nonce);
    if (error != ERROR_NONE)
        return error;
    for (size_t i = 0; i < digest->algorithm_count; i++) {
        const struct digest_challenge challenge = { request->realm, slice_of(nonce),
                                                    digest->algorithms[i], is_stale(reason) };

        buffer_add_text(out, is_for_us(request) ? "WWW-Authenticate: " : "Proxy-Authenticate: ");
        digest_write_challenge(&challenge, out);
        buffer_add_text(out, "\r\n");
    }
    return out->failed ? ERROR_MEMORY : ERROR_NONE;
}

/* REFUSED, with what the phone needs to try again. A request that is under way already has had its
 * password: it counts no more, and asking anew is for a new request. */
void password_challenge(struct request *request, enum reason reason)
{
    struct buffer challenges;

    if (!request->endpoint || request->branches) {
        request_refuse(request, REASON_PERMISSION_LOST, reason_name(reason));
        return;
    }
    buffer_init(&challenges, CHALLENGES_MAX);
    if (write_challenges(request, reason, &challenges) == ERROR_NONE) {
        respond_as(request, is_for_us(request) ? 401 : 407, reason, NULL,
                   buffer_slice(&challenges));
        request_become(request, REQUEST_REFUSED);
    } else {
        request_refuse(request, REASON_OUT_OF_MEMORY, "no challenge");
    }
    buffer_free(&challenges);
}

/* Answers to our challenges are for us alone: who has one can try passwords on it at home. */
static bool is_ours(const struct request *request, struct slice value)
{
    struct digest_credentials credentials;
    const struct slice realm = request->realm;

    if (credentials_parse(value, &credentials) == ERROR_NONE)
        return slice_equal((struct slice){ credentials.realm, credentials.realm_size }, realm);
    return value.size >= realm.size && memmem(value.data, value.size, realm.data, realm.size);
}

void password_strip(struct edit_list *edits, const struct request *request)
{
    static const enum header_id ids[] = { HEADER_AUTHORIZATION, HEADER_PROXY_AUTHORIZATION };
    const struct message *m = &request->message;

    for (size_t i = 0; request->realm.size && i < sizeof(ids) / sizeof(ids[0]); i++)
        for (const struct header *h = message_header(m, ids[i]); h; h = message_header_next(m, h))
            if (is_ours(request, message_header_value(m, h)))
                edit_remove_header(edits, h);
}
