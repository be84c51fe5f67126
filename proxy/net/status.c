/* SPDX-License-Identifier: Apache-2.0 */
/* The status of a peer's certificate, where its store has it asked for by OCSP: before a connection
 * opens, and as long as it is open. What is heard of it only sets the connection's timer: it is
 * judged at the end of the turn, when nothing else is under way. */
#include "proxy/net/net_internal.h"

#include "common/hash.h"
#include "proxy/tls/standing.h"

#include <string.h>

#define LOG_BURST 20 /* lines a second about peers that pass without an answer */

/* ---- What is asked ---- */

/* An anchor that is itself the peer's certificate is trusted as it is. */
static struct status_asking asking_now(const struct connection *c)
{
    const struct trust_store *store = connection_store_now(c);
    const struct trust_rules *rules = store ? trust_store_rules(store) : NULL;
    struct status_asking asking = { .rule = OCSP_OFF };
    if (!rules && c->session.store)
        rules = trust_store_rules(c->session.store);
    if (!rules || c->session.chain.link_count == 0)
        return asking;
    asking.rule = rules->ocsp;
    if (rules->ocsp_responder)
        asking.responder = hash_bytes(rules->ocsp_responder, strlen(rules->ocsp_responder));
    return asking;
}

/* NULL: there is nobody to ask, or nothing to ask by. */
static struct ocsp_question *make_question(const struct connection *c, const struct status_key *key)
{
    const struct trust_store *store = connection_store_now(c);
    X509 *leaf = SSL_get0_peer_certificate(c->stream.ssl);
    X509 *issuer = tls_session_issuer(&c->session, leaf, SSL_get_peer_cert_chain(c->stream.ssl));
    struct ocsp_question *question = NULL;
    if (leaf && issuer)
        (void)!ocsp_question_make(key, trust_store_rules(store ? store : c->session.store), leaf,
                                  issuer, &question);
    return question;
}

static enum error hold(struct connection *c)
{
    struct status_key key;
    c->asking = asking_now(c);
    if (c->asking.rule == OCSP_OFF)
        return ERROR_NONE;
    status_key_of(&key, trust_store_name(c->session.store), c->session.chain.sha256[0]);
    return statuses_hold(c->net->statuses, &key, make_question(c, &key), &c->status);
}

/* ---- What comes of it ---- */

static enum status_verdict judge(const struct connection *c)
{
    const struct worker_base *base = c->net->base;
    const struct certificate_status *known;
    bool over;
    if (!c->status.entry)
        return c->asking.rule == OCSP_OFF ? STATUS_PASSES : STATUS_REFUSED;
    known = status_known(&c->status, &over);
    over |= base->now_mono_ms >= c->status_by_mono_ms;
    return status_judge(c->asking.rule, known, over, base->now_unix_s);
}

static bool is_revoked(const struct connection *c)
{
    bool over;
    return c->status.entry && status_known(&c->status, &over)->said == OCSP_STATUS_REVOKED;
}

static const char *what_is_said(const struct connection *c)
{
    bool over = true;
    switch (c->status.entry ? status_known(&c->status, &over)->said : OCSP_STATUS_NONE) {
    case OCSP_STATUS_REVOKED:
        return "the OCSP responder says that the certificate is revoked";
    case OCSP_STATUS_UNKNOWN:
        return "the OCSP responder does not know the certificate";
    case OCSP_STATUS_GOOD:
        return "the OCSP responder's last answer is over";
    case OCSP_STATUS_NONE:
        break;
    }
    return over ? "no answer about the certificate by OCSP"
                : "no answer about the certificate by OCSP in time";
}

static void passes_unanswered(struct connection *c)
{
    struct log_line line;
    counter_add(&c->net->base->counters->ocsp_passed);
    if (!log_limit_pass(&c->net->status_limit, LOG_BURST, c->net->base->now_mono_ms))
        return;
    log_begin(&line, LOG_WARNING, "ocsp-unanswered");
    connection_log(&line, c);
    connection_log_certificate(&line, c);
    log_text(&line, "detail", slice_of(what_is_said(c)));
    connection_log_suppressed(&line, &c->net->status_limit);
    log_end(&line);
}

static void refuse(struct connection *c)
{
    enum connection_end end = is_revoked(c) ? END_REVOKED : END_STATUS;
    counter_add(&c->net->base->counters->ocsp_refused);
    if (c->state == CONNECTION_OPEN)
        connection_tell_revoked(c, end);
    else
        connection_refuse(c, what_is_said(c), end);
}

/* Whatever it is waiting for is over. */
static void pass(struct connection *c, enum status_verdict verdict)
{
    c->status_by_mono_ms = 0;
    if (c->state == CONNECTION_OPEN)
        return;
    if (verdict == STATUS_PASSES_UNANSWERED)
        passes_unanswered(c);
    connection_open(c);
}

bool status_look(struct connection *c)
{
    enum connection_state before = c->state;
    enum status_verdict verdict = judge(c);
    switch (verdict) {
    case STATUS_WAITS:
        if (c->state == CONNECTION_HANDSHAKING)
            connection_become(c, CONNECTION_CHECKING);
        break;
    case STATUS_REFUSED:
        refuse(c);
        break;
    case STATUS_PASSES:
    case STATUS_PASSES_UNANSWERED:
        pass(c, verdict);
        break;
    }
    return c->state != before;
}

void status_begin(struct connection *c)
{
    uint64_t now_mono_ms = c->net->base->now_mono_ms;
    uint64_t end_mono_ms = c->begun_mono_ms + c->config->timers.handshake_timeout_ms;
    c->status_by_mono_ms = now_mono_ms + c->net->newest->ocsp.timeout_ms;
    if (end_mono_ms < c->status_by_mono_ms)
        c->status_by_mono_ms = end_mono_ms;
    if (hold(c) != ERROR_NONE) {
        connection_refuse(c, "out of memory", END_MEMORY);
        return;
    }
    (void)status_look(c);
    connection_arm(c);
}

void status_end(struct connection *c)
{
    if (c->status.entry)
        statuses_release(c->net->statuses, &c->status);
}

/* ---- What changes ---- */

static void look_at_end_of_turn(struct connection *c)
{
    struct worker_base *base = c->net->base;
    if (timer_start(&base->timers, &c->timer, base->now_mono_ms) != ERROR_NONE)
        connection_close(c, END_MEMORY);
}

static void on_told(void *owner, struct status_holder *holder)
{
    (void)owner;
    look_at_end_of_turn(
        (struct connection *)((char *)holder - offsetof(struct connection, status)));
}

enum error status_create(struct net *net)
{
    const struct statuses_user user = { net->user.owner, net->user.ask_status, on_told };
    return statuses_new(net->base->index, &user, &net->statuses);
}

static bool is_concerned(const struct connection *c)
{
    return c && c->session.store &&
           (c->state == CONNECTION_OPEN || c->state == CONNECTION_CHECKING);
}

static bool asks_otherwise(const struct connection *c)
{
    struct status_asking now = asking_now(c);
    return now.rule != c->asking.rule || now.responder != c->asking.responder;
}

static void ask_anew(struct connection *c)
{
    c->status_by_mono_ms = c->net->base->now_mono_ms + c->net->newest->ocsp.timeout_ms;
    if (hold(c) != ERROR_NONE)
        connection_close(c, END_MEMORY);
    else
        look_at_end_of_turn(c);
}

/* All that ask otherwise now let go first: what nobody holds is asked about anew. */
void status_reconfigure(struct net *net)
{
    for (size_t i = 0; i < net->slot_count; i++) {
        struct connection *c = net->slots[i].connection;
        if (is_concerned(c) && asks_otherwise(c)) {
            status_end(c);
            c->status_anew = true;
        }
    }
    for (size_t i = 0; i < net->slot_count; i++) {
        struct connection *c = net->slots[i].connection;
        if (c && c->status_anew) {
            c->status_anew = false;
            ask_anew(c);
        }
    }
}

void net_status_told(struct net *net, const struct status_word *word)
{
    statuses_told(net->statuses, word);
}

void net_status_retry(struct net *net)
{
    statuses_retry(net->statuses);
}
