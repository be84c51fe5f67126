/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's authorization without the rest of a worker. */
#include "proxy/check.h"

#include "common/clock.h"
#include "proxy/authorization/authenticate.h"
#include "proxy/authorization/call_rates.h"
#include "proxy/authorization/enforce.h"
#include "proxy/config.h"
#include "proxy/route/target.h"
#include "proxy/tls/certificate_status.h"
#include "proxy/tls/context.h"

#include <ev.h>
#include <openssl/x509.h>
#include <stdio.h>

#define MESSAGE_MAX 2048

struct scene {
    struct worker_base base;
    struct counters counters;
    struct ask *ask;
    struct token_keys *keys;
    struct peers *peers;
    struct peer *peer;
    struct message message;
    struct request_target target;
    struct identity domain; /* that a REGISTER goes to, or that our own address stands for */
    struct authorization authorization;
};

/* ---- A worker's surroundings ---- */

static void ignore_peer(void *owner, struct peer *peer)
{
    (void)owner, (void)peer;
}

static void ignore_password(void *owner, struct peer *peer, uint64_t device)
{
    (void)owner, (void)peer, (void)device;
}

static void ignore_decision(struct authorization *authorization)
{
    (void)authorization; /* its state is looked at each turn */
}

static enum error make_scene(struct scene *scene, const struct config *config,
                             const char *mapperd_socket)
{
    const struct ask_options options = { mapperd_socket ? mapperd_socket : config->mapperd_socket,
                                         64 };
    const struct ask_user ask_user = { .owner = scene };
    const struct peers_user peers_user = { .owner = scene,
                                           .evaluated = ignore_peer,
                                           .lost = ignore_peer,
                                           .proved = ignore_password,
                                           .unproved = ignore_password };
    struct worker_base *base = &scene->base;
    enum error error = ERROR_MEMORY;

    base->workers = 1;
    base->config = config;
    base->counters = &scene->counters;
    base->now_mono_ms = clock_mono_ms();
    base->now_unix_s = clock_unix_s();
    timers_init(&base->timers);
    run_queue_init(&base->run_queue);
    message_init(&scene->message, 0);
    base->loop = ev_loop_new(EVFLAG_AUTO);
    base->call_rates = call_rates_new(1);
    if (base->loop && base->call_rates)
        error = ask_new(base, &options, &ask_user, &scene->ask);
    if (error == ERROR_NONE)
        error = token_keys_draw(&scene->keys);
    if (error == ERROR_NONE)
        error = password_desk_new(config->passwords.failures, config->passwords.failures_per_minute,
                                  config->passwords.nonce_lifetime_ms, &base->desk);
    if (error == ERROR_NONE)
        error = peers_new(base, scene->ask, scene->keys, &peers_user, &scene->peers);
    return error;
}

static void free_scene(struct scene *scene)
{
    authorize_end(&scene->authorization);
    if (scene->peer)
        peer_close(scene->peer);
    run_queue_drain(&scene->base.run_queue);
    if (scene->peers)
        peers_free(scene->peers);
    if (scene->ask)
        ask_free(scene->ask);
    run_queue_drain(&scene->base.run_queue);
    password_desk_free(scene->base.desk);
    token_keys_free(scene->keys);
    message_free(&scene->message);
    if (scene->base.call_rates)
        call_rates_free(scene->base.call_rates);
    timers_free(&scene->base.timers);
    if (scene->base.loop)
        ev_loop_destroy(scene->base.loop);
}

static void on_timeout(struct ev_loop *loop, ev_timer *watcher, int events)
{
    (void)loop, (void)watcher, (void)events; /* the loop turns */
}

/* False: the time is over. */
static bool wait_for_decision(struct scene *scene, unsigned timeout_ms)
{
    struct worker_base *base = &scene->base;
    uint64_t deadline_mono_ms = base->now_mono_ms + timeout_ms;
    ev_timer sleep;

    ev_timer_init(&sleep, on_timeout, 0.0, 0.0);
    while (scene->authorization.state == AUTHORIZATION_WAITING) {
        uint64_t due = timers_next_mono_ms(&base->timers);

        if (base->now_mono_ms >= deadline_mono_ms)
            return false;
        due = due < deadline_mono_ms ? due : deadline_mono_ms;
        ev_now_update(base->loop);
        ev_timer_set(&sleep,
                     due > base->now_mono_ms ? (double)(due - base->now_mono_ms) / 1000 : 0.0, 0.0);
        ev_timer_start(base->loop, &sleep);
        ev_run(base->loop, EVRUN_ONCE);
        ev_timer_stop(base->loop, &sleep);
        base->now_mono_ms = clock_mono_ms();
        timers_run(&base->timers, base->now_mono_ms);
        run_queue_drain(&base->run_queue);
    }
    return true;
}

/* ---- The peer ---- */

/* As a worker does (net/status.c), with no word kept. */
static void ask_status(const struct config *config, const struct tls_status_question *status,
                       struct check_result *result)
{
    struct certificate_status known = { .said = OCSP_STATUS_NONE };
    struct ocsp_answer answer;
    uint64_t now_unix_s;

    if (status->rule == OCSP_OFF)
        return;
    result->ocsp = "there is no responder to be asked";
    if (status->question && ocsp_ask(status->question, (unsigned)config->ocsp.timeout_ms, -1,
                                     &answer, &result->ocsp) == ERROR_NONE)
        result->ocsp = status_take(&known, &answer, clock_unix_s()) ? status_text(known.said)
                                                                    : "the answer is over";
    now_unix_s = clock_unix_s();
    if (status_judge(status->rule, &known, true, now_unix_s) != STATUS_REFUSED)
        return;
    result->tls_alert = known.said == OCSP_STATUS_REVOKED
                            ? "the OCSP responder says that the certificate is revoked"
                            : "no answer by OCSP that says good";
}

static enum error identify(const struct config *config, const struct check_question *q,
                           struct check_result *result, const char **why)
{
    const struct tls_context *context = q->listener->tls[0];
    struct tls_status_question status;
    int alert = X509_V_OK;
    enum error error;

    if (q->shown == CHECK_SHOWS_NAMES) {
        if (tls_context_ocsp_rule(context, q->identity.store) != OCSP_OFF)
            result->ocsp = "not asked, for want of a certificate";
        return peer_identity_copy(&q->identity, &result->peer);
    }
    error =
        tls_context_identify(context, &config->revocations, q->pem, &result->peer, &status, &alert);
    if (error == ERROR_NONE)
        ask_status(config, &status, result);
    mem_free(status.question);
    if (error == ERROR_NOT_FOUND) {
        result->tls_alert = X509_verify_cert_error_string(alert);
        return ERROR_NONE;
    }
    if (error == ERROR_MALFORMED)
        *why = "the certificate cannot be read; it must be PEM, the device's own first";
    return error;
}

static bool shows_certificate(const struct check_question *q)
{
    return q->shown != CHECK_SHOWS_NOTHING &&
           q->listener->client_certificate != CLIENT_CERTIFICATE_IGNORED;
}

static enum error open_peer(struct scene *scene, const struct check_result *result)
{
    const struct config_trusted_peer *trusted;
    struct peer_identity *identity;
    enum error error;

    if (!result->peer)
        return peer_open_without_certificate(scene->peers, NULL, &scene->peer);
    error = peer_identity_copy(result->peer, &identity);
    if (error == ERROR_NONE)
        error = peer_open_device(scene->peers, identity, NULL, &scene->peer);
    if (error != ERROR_NONE)
        return error;
    trusted = config_trusted_peer_of(scene->base.config, result->peer);
    peer_trust(scene->peer, trusted);
    return ERROR_NONE;
}

/* ---- The request ---- */

static void add_own_names(const struct config *config, struct own_names *names)
{
    names->aliases = config->aliases;
    names->alias_count = config->alias_count;
    for (size_t i = 0; i < config->listener_count; i++)
        own_names_add(names, config->listeners[i].advertise);
}

/* As it would stand in a request: the target is what the Request-URI says. */
static enum error read_target(struct scene *scene, const struct check_question *q, const char **why)
{
    struct own_names names = { .count = 0 };
    char text[MESSAGE_MAX];
    int size = snprintf(text, sizeof text,
                        "%.*s %s SIP/2.0\r\n"
                        "Via: SIP/2.0/TLS check.invalid;branch=z9hG4bKcheck\r\n"
                        "Max-Forwards: 70\r\n"
                        "From: <sip:check.invalid>;tag=check\r\n"
                        "To: <sip:check.invalid>\r\n"
                        "Call-ID: check\r\n"
                        "CSeq: 1 %.*s\r\n"
                        "Content-Length: 0\r\n\r\n",
                        (int)q->method.size, q->method.data, q->target, (int)q->method.size,
                        q->method.data);

    *why = "the target is no URI that a request can be sent to";
    for (const char *c = q->target; *c; c++)
        if (*c <= ' ' || *c == 0x7f)
            return ERROR_MALFORMED;
    if (size < 0 || (size_t)size >= sizeof text ||
        message_parse(&scene->message, (struct slice){ text, (size_t)size }) != ERROR_NONE)
        return ERROR_MALFORMED;
    add_own_names(scene->base.config, &names);
    if (target_read(&scene->message, scene->base.config, &names, &scene->target) != REASON_ALLOWED)
        return ERROR_MALFORMED;
    return ERROR_NONE;
}

static enum certificate_shown shown_by(const struct check_question *q,
                                       const struct check_result *result)
{
    if (q->listener->client_certificate == CLIENT_CERTIFICATE_IGNORED)
        return CERTIFICATE_IGNORED;
    return result->peer ? CERTIFICATE_VALID : CERTIFICATE_MISSING;
}

static void begin(struct scene *scene, const struct check_question *q,
                  const struct check_result *result)
{
    const struct config_digest *digest = &q->listener->digest;
    bool registers = slice_equal(q->method, SLICE("REGISTER"));
    struct authorize_facts facts = {
        .method = q->method,
        .from = &q->from,
        .to = registers ? &scene->target.identity : NULL,
        .target = &scene->target.identity,
        .plan = scene->target.plan,
        .want_locate = registers || scene->target.kind == REQUEST_TARGET_USER,
        .admission = { .digest = digest->mode,
                       .third_parties = digest->third_parties,
                       .certificate = shown_by(q, result) },
        .call_id = SLICE("check"),
    };
    struct slice domain = identity_domain(registers ? &scene->target.identity : &q->from);

    if ((registers || scene->target.kind == REQUEST_TARGET_PROXY) &&
        identity_from_text(&scene->domain, domain) == ERROR_NONE)
        facts.target = &scene->domain;
    if (scene->target.number_route) {
        facts.number = &scene->target.number;
        facts.number_plan = scene->target.number_route->plan;
    }
    if (scene->target.kind == REQUEST_TARGET_NUMBER)
        facts.target = &scene->target.number;
    scene->authorization.done = ignore_decision;
    (void)authorize_begin(&scene->authorization, &scene->base, scene->ask, scene->peer, &facts);
}

/* ---- The result ---- */

static enum reason delivery_of(const struct scene *scene)
{
    const struct authorization *a = &scene->authorization;

    if (scene->target.kind == REQUEST_TARGET_SERVICE)
        return scene->target.route ? REASON_ALLOWED : REASON_SERVICE_NO_ROUTE;
    if (a->to_ourselves || a->leaves_as_number || scene->target.kind == REQUEST_TARGET_ROUTE ||
        scene->target.kind == REQUEST_TARGET_NUMBER ||
        (a->locate && a->locate->locate.binding_count > 0))
        return REASON_ALLOWED;
    return target_reason_of_nobody(a->target_state);
}

static void take_decision(const struct scene *scene, struct check_result *result)
{
    const struct authorization *a = &scene->authorization;

    result->effect = a->decision.effect;
    result->reason = a->decision.reason;
    result->rule_id = a->decision.rule_id;
    if (a->decision.effect == EFFECT_ALLOW)
        result->delivery = delivery_of(scene);
    snprintf(result->entry, sizeof result->entry, "%.*s", (int)a->decision.entry.size,
             a->decision.entry.size ? a->decision.entry.data : "");
}

static enum error decide_in(struct scene *scene, const struct check_question *q,
                            unsigned timeout_ms, struct check_result *result, const char **why)
{
    const struct config *config = scene->base.config;
    enum error error = ERROR_NONE;

    if (shows_certificate(q))
        error = identify(config, q, result, why);
    if (error == ERROR_NONE && !result->peer &&
        q->listener->client_certificate == CLIENT_CERTIFICATE_REQUIRED && !result->tls_alert)
        result->tls_alert = "the listener requires a certificate";
    if (error != ERROR_NONE || result->tls_alert)
        return error;
    error = read_target(scene, q, why);
    if (error == ERROR_NONE)
        error = open_peer(scene, result);
    if (error != ERROR_NONE)
        return error;
    if (scene->peer->trusted)
        result->trusted = scene->peer->trusted->name;
    result->target = scene->target.identity;
    begin(scene, q, result);
    if (!wait_for_decision(scene, timeout_ms))
        return ERROR_UNREACHABLE;
    take_decision(scene, result);
    return ERROR_NONE;
}

enum error check_run(const struct config *config, const struct check_question *question,
                     unsigned timeout_ms, struct check_result *result, const char **why)
{
    struct scene *scene = mem_zero(1, sizeof *scene);
    enum error error = ERROR_MEMORY;

    *result = (struct check_result){ .effect = EFFECT_NONE };
    *why = "";
    if (!scene)
        return error;
    error = make_scene(scene, config, question->mapperd_socket);
    if (error == ERROR_NONE)
        error = decide_in(scene, question, timeout_ms, result, why);
    free_scene(scene);
    mem_free(scene);
    return error;
}

void check_result_free(struct check_result *result)
{
    peer_identity_free(result->peer);
    result->peer = NULL;
}

const struct config_listener *check_find_listener(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->listener_count; i++) {
        const struct config_listener *listener = &config->listeners[i];
        if (listener->transport == TRANSPORT_TLS && strcmp(listener->name, name) == 0)
            return listener;
    }
    return NULL;
}
