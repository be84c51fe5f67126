/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/authorization/authenticate.h"

#include "common/mem.h"

#include <openssl/crypto.h>

enum error password_desk_new(unsigned failures, unsigned per_minute, uint64_t nonce_lifetime_ms,
                             struct password_desk **out)
{
    struct password_desk *desk = mem_zero(1, sizeof(*desk));

    *out = NULL;
    if (!desk)
        return ERROR_MEMORY;
    if (brake_new(failures, per_minute, &desk->brake) != ERROR_NONE) {
        mem_free(desk);
        return ERROR_MEMORY;
    }
    desk->nonce_lifetime_ms = nonce_lifetime_ms;
    nonce_key_draw(&desk->key);
    *out = desk;
    return ERROR_NONE;
}

void password_desk_free(struct password_desk *desk)
{
    if (!desk)
        return;
    brake_free(desk->brake);
    OPENSSL_cleanse(desk, sizeof(*desk));
    mem_free(desk);
}

/* ---- Whose password it may be ---- */

static struct slice username_of(const struct digest_credentials *c)
{
    return (struct slice){ c->username, c->username_size };
}

static struct slice realm_of(const struct digest_credentials *c)
{
    return (struct slice){ c->realm, c->realm_size };
}

/* user@domain as it stands, else with the realm as domain, else with From's. False: nobody but
 * From. */
static bool named_user(const struct authorization *a, struct identity *out)
{
    const struct digest_credentials *c = a->facts.credentials;
    struct slice name = username_of(c);
    bool found;

    if (memchr(name.data, '@', name.size))
        found = identity_from_text(out, name) == ERROR_NONE;
    else
        found = identity_from_parts(out, name, realm_of(c), false) == ERROR_NONE ||
                identity_from_parts(out, name, identity_domain(a->facts.from), false) == ERROR_NONE;
    return found && out->user_size > 0 &&
           !slice_equal(identity_text(out), identity_text(a->facts.from));
}

static struct slice ha1_of(const struct credential *row, enum digest_algorithm algorithm)
{
    switch (algorithm) {
    case DIGEST_SHA_256:
        return row->ha1_sha256;
    case DIGEST_MD5:
        return row->ha1_md5;
    case DIGEST_ALGORITHM_NONE:
        break;
    }
    return SLICE("");
}

/* The HA1 that the response was made with; empty: none of them. */
static struct slice find_right(const struct authorization *a, const struct answer *answer)
{
    const struct digest_credentials *c = a->facts.credentials;
    struct credential row;

    for (size_t i = 0; answer_credential(answer, i, &row); i++) {
        struct slice ha1 = ha1_of(&row, c->algorithm);

        if (ha1.size && slice_equal((struct slice){ row.realm, row.realm_size }, realm_of(c)) &&
            slice_equal((struct slice){ row.username, row.username_size }, username_of(c)) &&
            digest_is_right(c, ha1, &a->facts.hashed))
            return ha1;
    }
    return SLICE("");
}

/* ---- Step by step ---- */

static enum authenticate_step finish(struct authorization *a, enum password_outcome outcome)
{
    a->stage = PASSWORD_STAGE_DONE;
    a->admission.password = outcome;
    a->admission.user =
        outcome == PASSWORD_RIGHT ? identity_text(&a->asked) : (struct slice){ "", 0 };
    return AUTHENTICATE_DONE;
}

/* Asked with the slot, or already answered. Another user than before: the old answer goes. */
static enum lookup_outcome ask_for(struct authorization *a, const struct identity *user)
{
    struct lookup_waiter *waiter = &a->waiters[AUTHORIZATION_CREDENTIAL];

    if (waiter->ask && slice_equal(identity_text(&a->asked), identity_text(user))) {
        if (lookup_waiting(waiter))
            return LOOKUP_WAITING;
        if (waiter->reason != REASON_NONE || lookup_holds(a->ask, waiter->answer))
            return LOOKUP_READY;
    }
    lookup_leave(waiter);
    a->asked = *user;
    return lookup_credential(a->ask, waiter, identity_text(&a->asked));
}

static bool begin(struct authorization *a)
{
    const struct digest_credentials *c = a->facts.credentials;
    struct password_desk *desk = a->base->desk;
    const struct nonces *nonces = c && desk ? peer_nonces(a->peer) : NULL;

    if (!nonces) {
        finish(a, PASSWORD_NONE);
        return false;
    }
    switch (nonce_look(&desk->key, nonces, c->nonce, c->nc, a->base->now_mono_ms,
                       desk->nonce_lifetime_ms, &a->nonce_number)) {
    case NONCE_GOOD:
        break;
    case NONCE_REPLAYED:
        finish(a, PASSWORD_REPLAYED);
        return false;
    case NONCE_STALE:
    case NONCE_NONE:
        finish(a, PASSWORD_STALE);
        return false;
    }
    if (brake_is_open(desk->brake, &a->peer->source, username_of(c), a->base->now_mono_ms)) {
        a->stage = PASSWORD_STAGE_FROM;
        return true;
    }
    finish(a, PASSWORD_BRAKED);
    return false;
}

static enum authenticate_step right(struct authorization *a, struct slice ha1, enum reason *reason)
{
    const struct digest_credentials *c = a->facts.credentials;
    struct nonces *nonces = peer_nonces(a->peer);

    if (!a->nonce_spent) {
        if (!nonces || !nonce_spend(nonces, a->nonce_number, c->nc))
            return finish(a, PASSWORD_REPLAYED);
        a->nonce_spent = true;
        brake_right(a->base->desk->brake, &a->peer->source, username_of(c));
    }
    if (proved_add(a->peer, &a->asked, c->algorithm, ha1) != ERROR_NONE) {
        *reason = REASON_OUT_OF_MEMORY;
        return AUTHENTICATE_NONE;
    }
    return finish(a, PASSWORD_RIGHT);
}

static enum authenticate_step wrong(struct authorization *a)
{
    if (!a->nonce_spent)
        brake_wrong(a->base->desk->brake, &a->peer->source, username_of(a->facts.credentials),
                    a->base->now_mono_ms);
    return finish(a, PASSWORD_WRONG);
}

enum authenticate_step authenticate(struct authorization *a, enum reason *reason)
{
    const struct lookup_waiter *waiter = &a->waiters[AUTHORIZATION_CREDENTIAL];
    struct identity user;
    struct slice ha1;

    *reason = REASON_NONE;
    if (a->stage == PASSWORD_STAGE_NEW && !begin(a))
        return AUTHENTICATE_DONE;
    while (a->stage != PASSWORD_STAGE_DONE) {
        user = *a->facts.from;
        if (a->stage == PASSWORD_STAGE_NAMED && !named_user(a, &user))
            return wrong(a);
        switch (ask_for(a, &user)) {
        case LOOKUP_WAITING:
            return AUTHENTICATE_WAITS;
        case LOOKUP_FULL:
            *reason = REASON_PARK_BOUND_TOTAL;
            return AUTHENTICATE_NONE;
        case LOOKUP_READY:
            break;
        }
        if (!waiter->answer) {
            *reason = waiter->reason;
            return AUTHENTICATE_NONE;
        }
        ha1 = find_right(a, waiter->answer);
        if (ha1.size)
            return right(a, ha1, reason);
        if (a->stage == PASSWORD_STAGE_NAMED)
            return wrong(a);
        a->stage = PASSWORD_STAGE_NAMED;
    }
    return AUTHENTICATE_DONE;
}

void authenticate_again(struct authorization *a)
{
    a->stage = a->nonce_spent ? PASSWORD_STAGE_FROM : PASSWORD_STAGE_NEW;
    a->admission.password = PASSWORD_NONE;
    a->admission.user = SLICE("");
}

/* ---- Inside a dialog ---- */

/* Whose password stands for this side: it may be no other's, or a stolen certificate would only
 * need some password besides. */
static const struct proved_user *find_prover(const struct authorization *a,
                                             const struct dialog_claim *claim)
{
    const struct dialog_side *side = a->facts.side;
    const struct proved_user *user;

    if (!claim->by_certificate)
        return proved_find_device(a->peer, side->device);
    user = proved_find_entry(a->peer, a->facts.keys, side->entry);
    if (user || !claim->held)
        return user;
    for (size_t i = 0; (user = proved_at(a->peer, i)); i++) {
        const struct identity *who = proved_identity(user);

        if (slice_equal(identity_text(who), identity_text(a->facts.from)) ||
            token_keys_entry_hash(a->facts.keys, identity_domain(who)) == side->entry)
            return user;
    }
    return NULL;
}

/* His password as it is now. NONE: waits or failed. */
static enum standing look_at_prover(struct authorization *a, const struct proved_user *user,
                                    enum reason *reason)
{
    const struct lookup_waiter *waiter = &a->waiters[AUTHORIZATION_CREDENTIAL];

    switch (ask_for(a, proved_identity(user))) {
    case LOOKUP_WAITING:
        return STANDING_NONE;
    case LOOKUP_FULL:
        *reason = REASON_PARK_BOUND_TOTAL;
        return STANDING_NONE;
    case LOOKUP_READY:
        break;
    }
    if (!waiter->answer) {
        *reason = waiter->reason;
        return STANDING_NONE;
    }
    return proved_holds(user, waiter->answer) ? STANDING_HELD : STANDING_UNPROVED;
}

enum standing authenticate_standing(struct authorization *a, const struct dialog_claim *claim,
                                    enum reason *reason)
{
    enum digest_mode mode = a->facts.admission.digest;
    const struct proved_user *user;

    *reason = REASON_NONE;
    if (claim->by_certificate && claim->held && !claim->both)
        return STANDING_HELD;
    user = find_prover(a, claim);
    if (user)
        return look_at_prover(a, user, reason);
    if (claim->by_certificate && !claim->held)
        return STANDING_NOT_HELD;
    if (mode != DIGEST_FALLBACK && mode != DIGEST_ALWAYS)
        return STANDING_OTHER;
    if (claim->by_certificate)
        return STANDING_UNPROVED;
    return a->stage == PASSWORD_STAGE_DONE && a->admission.password == PASSWORD_RIGHT
               ? STANDING_OTHER
               : STANDING_UNPROVED;
}
