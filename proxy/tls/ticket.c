/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/tls/ticket.h"

#include "proxy/tls/peer_identity.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>

#define FORMAT 2 /* the first octet */

const char *ticket_verdict_text(enum ticket_verdict verdict)
{
    static const char *const texts[] = {
        [TICKET_NONE] = "none",
        [TICKET_ADMISSIBLE] = "good",
        [TICKET_UNREADABLE] = "unreadable",
        [TICKET_OTHER_LISTENER] = "other-listener",
        [TICKET_OTHER_HOST] = "other-host",
        [TICKET_CERTIFICATE] = "certificate",
        [TICKET_STORE] = "store-changed",
        [TICKET_REVOKED] = "revoked",
        [TICKET_EXPIRED] = "expired",
        [TICKET_STATUS] = "status-not-known",
        [TICKET_TOO_OLD] = "too-old",
    };
    return texts[verdict];
}

/* ---- Deciding ---- */

static bool has_certificate(const struct ticket *ticket)
{
    return ticket->chain.certificate_count > 0 && ticket->store[0];
}

static bool fits_certificate(const struct ticket *ticket, enum client_certificate asked)
{
    switch (asked) {
    case CLIENT_CERTIFICATE_REQUIRED:
        return has_certificate(ticket);
    case CLIENT_CERTIFICATE_OPTIONAL:
        return true;
    case CLIENT_CERTIFICATE_IGNORED:
        return !has_certificate(ticket);
    }
    return false;
}

/* A time of verification that is still to come was written before the clock was set back. */
static bool is_too_old(const struct ticket *ticket, uint64_t now_unix_s, uint64_t max_s)
{
    return ticket->verified_unix_s > now_unix_s || now_unix_s - ticket->verified_unix_s >= max_s;
}

enum ticket_verdict ticket_judge(const struct ticket *ticket, const struct ticket_ground *ground)
{
    if (memcmp(ticket->listener, ground->listener, sizeof(ticket->listener)) != 0)
        return TICKET_OTHER_LISTENER;
    if (memcmp(ticket->host, ground->host, sizeof(ticket->host)) != 0)
        return TICKET_OTHER_HOST;
    if (!fits_certificate(ticket, ground->client_certificate))
        return TICKET_CERTIFICATE;
    if (has_certificate(ticket)) {
        if (!ground->trust || memcmp(ticket->trust, ground->trust, sizeof(ticket->trust)) != 0)
            return TICKET_STORE;
        if (ground->revocation != X509_V_OK)
            return TICKET_REVOKED;
        if (ticket->chain.not_after_unix_s <= ground->now_unix_s)
            return TICKET_EXPIRED;
        if (!ground->status_good)
            return TICKET_STATUS;
    }
    return is_too_old(ticket, ground->now_unix_s, ground->max_s) ? TICKET_TOO_OLD
                                                                 : TICKET_ADMISSIBLE;
}

uint64_t ticket_left_s(const struct ticket *ticket, uint64_t now_unix_s, uint64_t max_s)
{
    if (is_too_old(ticket, now_unix_s, max_s))
        return 0;
    uint64_t left_s = max_s - (now_unix_s - ticket->verified_unix_s);
    if (!has_certificate(ticket))
        return left_s;
    uint64_t not_after_unix_s = ticket->chain.not_after_unix_s;
    uint64_t valid_s = not_after_unix_s > now_unix_s ? not_after_unix_s - now_unix_s : 0;
    return valid_s < left_s ? valid_s : left_s;
}

/* ---- As octets ---- */

/* Format, listener, host, time, store's name filled with NUL, trust, notAfter, both counts, then
 * the certificates and the links. Numbers as this machine has them: no other reads it. */
static void put(unsigned char **at, const void *from, size_t size)
{
    memcpy(*at, from, size);
    *at += size;
}

_Static_assert(TICKET_DATA_MAX >= 1 + sizeof(struct ticket), "a whole ticket has room");

size_t ticket_write(const struct ticket *ticket, unsigned char out[TICKET_DATA_MAX])
{
    const struct trust_chain *chain = &ticket->chain;
    const unsigned char head[] = { FORMAT, (unsigned char)chain->certificate_count,
                                   (unsigned char)chain->link_count };
    unsigned char *at = out;
    put(&at, head, sizeof(head));
    put(&at, ticket->listener, sizeof(ticket->listener));
    put(&at, ticket->host, sizeof(ticket->host));
    put(&at, &ticket->verified_unix_s, sizeof(ticket->verified_unix_s));
    put(&at, ticket->store, sizeof(ticket->store));
    put(&at, ticket->trust, sizeof(ticket->trust));
    put(&at, &chain->not_after_unix_s, sizeof(chain->not_after_unix_s));
    put(&at, chain->sha256, chain->certificate_count * sizeof(chain->sha256[0]));
    put(&at, chain->naming, chain->certificate_count * sizeof(chain->naming[0]));
    put(&at, chain->links, chain->link_count * sizeof(chain->links[0]));
    return (size_t)(at - out);
}

static bool take(struct slice *rest, void *out, size_t size)
{
    if (rest->size < size)
        return false;
    memcpy(out, rest->data, size);
    rest->data += size;
    rest->size -= size;
    return true;
}

static bool take_counts(struct slice *rest, struct trust_chain *chain)
{
    unsigned char head[3];
    if (!take(rest, head, sizeof(head)) || head[0] != FORMAT)
        return false;
    chain->certificate_count = head[1];
    chain->link_count = head[2];
    return chain->certificate_count <= CHAIN_CERTIFICATES_MAX &&
           chain->link_count <= sizeof(chain->links) / sizeof(chain->links[0]);
}

enum error ticket_read(struct slice data, struct ticket *out)
{
    struct trust_chain *chain = &out->chain;
    *out = (struct ticket){ .verified_unix_s = 0 };
    if (take_counts(&data, chain) && take(&data, out->listener, sizeof(out->listener)) &&
        take(&data, out->host, sizeof(out->host)) &&
        take(&data, &out->verified_unix_s, sizeof(out->verified_unix_s)) &&
        take(&data, out->store, sizeof(out->store)) && !out->store[STORE_NAME_MAX] &&
        take(&data, out->trust, sizeof(out->trust)) &&
        take(&data, &chain->not_after_unix_s, sizeof(chain->not_after_unix_s)) &&
        take(&data, chain->sha256, chain->certificate_count * sizeof(chain->sha256[0])) &&
        take(&data, chain->naming, chain->certificate_count * sizeof(chain->naming[0])) &&
        take(&data, chain->links, chain->link_count * sizeof(chain->links[0])) && data.size == 0 &&
        (chain->certificate_count > 0) == (out->store[0] != 0))
        return ERROR_NONE;
    *out = (struct ticket){ .verified_unix_s = 0 };
    return ERROR_MALFORMED;
}

/* ---- Trust ---- */

/* Each part has its length before it, so that no two lists of stores read the same. */
static bool add(EVP_MD_CTX *ctx, const void *data, size_t size)
{
    uint64_t length = size;
    return EVP_DigestUpdate(ctx, &length, sizeof(length)) == 1 &&
           (size == 0 || EVP_DigestUpdate(ctx, data, size) == 1);
}

/* Sources of identities and the choice of revocation lists are looked at anew on each handshake. */
static bool add_store(EVP_MD_CTX *ctx, const struct trust_store *store)
{
    const struct trust_rules *rules = trust_store_rules(store);
    const STACK_OF(X509) *anchors = trust_store_anchors(store);
    const char *name = trust_store_name(store);
    int asked[] = { rules->security_level, (int)rules->key_usage, sk_X509_num(anchors) };
    bool done = add(ctx, name, strlen(name)) && add(ctx, asked, sizeof(asked));
    for (int i = 0; done && i < sk_X509_num(anchors); i++) {
        unsigned char digest[SHA256_DIGEST_LENGTH];
        done = X509_digest(sk_X509_value(anchors, i), EVP_sha256(), digest, NULL) == 1 &&
               add(ctx, digest, sizeof(digest));
    }
    return done;
}

enum error ticket_trust_digest(const struct trust_store *store, const unsigned char *before,
                               unsigned char out[SHA256_DIGEST_LENGTH])
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (!ctx)
        return ERROR_MEMORY;
    bool done = EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 &&
                add(ctx, before, before ? SHA256_DIGEST_LENGTH : 0) && add_store(ctx, store) &&
                EVP_DigestFinal_ex(ctx, out, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    return done ? ERROR_NONE : ERROR_LIBRARY;
}
