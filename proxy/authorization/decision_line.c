/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/authorization/decision_line.h"

#include "common/log.h"
#include "proxy/config.h"

static const char *effect_name(enum effect effect)
{
    switch (effect) {
    case EFFECT_ALLOW:
        return "allow";
    case EFFECT_NONE:
    case EFFECT_DENY:
        break;
    case EFFECT_CHALLENGE:
        return "challenge";
    }
    return "deny";
}

/* Which of the certificates with this CN, for who has to find it. */
static void log_certificate(struct log_line *line, const struct peer_identity *certificate)
{
    if (certificate->serial && certificate->serial[0])
        log_word(line, "certificate_serial", certificate->serial);
    if (certificate->issuer && certificate->issuer[0])
        log_text(line, "issuer", slice_of(certificate->issuer));
}

void decision_line_log(const struct authorization *a)
{
    const struct authorize_facts *facts = &a->facts;
    const struct peer_identity *certificate = a->peer->certificate;
    const struct identity *to = facts->to ? facts->to : facts->target;
    struct log_line line;

    log_begin(&line, LOG_INFO, "decision");
    log_word(&line, "effect", effect_name(a->decision.effect));
    log_word(&line, "reason", reason_name(a->decision.reason));
    if (certificate) {
        log_word(&line, "store", certificate->store);
        log_text(&line, "cn", (struct slice){ certificate->cn, certificate->cn_size });
        if (a->decision.effect != EFFECT_ALLOW)
            log_certificate(&line, certificate);
    } else if (a->peer->key[0]) {
        log_text(&line, "peer", slice_of(a->peer->key));
    }
    if (a->peer->trusted)
        log_word(&line, "trusted", a->peer->trusted->name);
    if (a->admission.user.size)
        log_text(&line, "password_of", a->admission.user);
    else if (a->facts.credentials && a->admission.password != PASSWORD_NONE)
        log_text(
            &line, "username",
            (struct slice){ a->facts.credentials->username, a->facts.credentials->username_size });
    log_text(&line, "from", identity_text(facts->from));
    if (to)
        log_text(&line, "to", identity_text(to));
    log_text(&line, "method", facts->method);
    log_text(&line, "call_id", facts->call_id);
    if (a->decision.rule_id)
        log_number(&line, "rule", (long long)a->decision.rule_id);
    log_end(&line);
}
