/* SPDX-License-Identifier: Apache-2.0 */
/* mapctl check --listener: reads the proxy's configuration and lets the proxy's code decide. */
#include "common/log.h"
#include "mapctl/check_internal.h"
#include "mapctl/remote.h"
#include "proxy/check.h"
#include "proxy/config.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

static bool read_certificate(const char *path, struct buffer *out)
{
    FILE *file = fopen(path, "re");
    char text[4096];
    size_t size;

    if (!file) {
        complain("%s: %s", path, strerror(errno));
        return false;
    }
    while ((size = fread(text, 1, sizeof(text), file)) > 0)
        buffer_add(out, (struct slice){ text, size });
    if (ferror(file) || out->failed)
        complain("%s is no certificate: it cannot be read, or is too large", path);
    size = ferror(file) || out->failed;
    fclose(file);
    return size == 0;
}

static enum status show(struct question *q, const struct settings *settings,
                        const struct check_result *result)
{
    struct decision decision = { .effect = result->effect,
                                 .reason = result->reason,
                                 .entry = slice_of(result->entry),
                                 .rule_id = result->rule_id };
    struct names names = { 0 };
    enum status status;

    if (result->delivery == REASON_TARGET_NO_ROUTE) {
        decision.effect = EFFECT_DENY;
        decision.reason = result->delivery;
    }
    q->store = SLICE("");
    q->cn = SLICE("");
    if (result->peer) {
        q->store = slice_of(result->peer->store);
        q->cn = (struct slice){ result->peer->cn, result->peer->cn_size };
        for (; names.count < result->peer->name_count && names.count < NAMES_MAX; names.count++)
            names.list[names.count] = result->peer->names[names.count];
    }
    status = check_show(q, settings, &names, &decision);
    if (settings->json || status == STATUS_UNREACHABLE)
        return status;
    if (decision.effect == EFFECT_ALLOW && result->delivery != REASON_ALLOWED)
        printf("but: %s: %s\n", reason_name(result->delivery), reason_text(result->delivery));
    if (result->ocsp)
        printf("ocsp: %s\n", result->ocsp);
    if (result->trusted)
        printf("trusted peer: %s\n", result->trusted);
    return status;
}

static enum status show_alert(const struct settings *settings, const char *alert)
{
    if (settings->json) {
        json_t *document = output_object();
        output_set(document, "allowed", json_boolean(false));
        output_set(document, "challenged", json_boolean(false));
        output_set(document, "reason", output_text(SLICE("tls-alert")));
        output_set(document, "text", output_text(slice_of(alert)));
        output_document(document);
    } else {
        printf("denied\nreason: tls-alert: %s\n"
               "what to do: the handshake fails; look at the certificate and the listener's trust "
               "stores\n",
               alert);
    }
    return STATUS_BAD;
}

static enum status ask_proxys_code(struct question *q, const struct settings *settings,
                                   const struct config *config, struct check_question *asked)
{
    struct check_result result;
    const char *why;
    enum status status = STATUS_BAD;
    enum error error = check_run(config, asked, REMOTE_TIMEOUT_MS, &result, &why);

    if (error == ERROR_NONE && result.tls_alert) {
        status = show_alert(settings, result.tls_alert);
    } else if (error == ERROR_NONE) {
        status = show(q, settings, &result);
    } else if (error == ERROR_UNREACHABLE) {
        complain("mapperd does not answer on %s", settings->mapperd_socket);
        status = STATUS_UNREACHABLE;
    } else {
        complain("%s", error == ERROR_MALFORMED ? why : error_text(error));
        status = STATUS_USAGE;
    }
    check_result_free(&result);
    return status;
}

/* STORE and CN as if a certificate with them had been verified. */
static void take_for_granted(struct check_question *asked, const struct names *names,
                             char **operands)
{
    asked->shown = CHECK_SHOWS_NAMES;
    asked->identity = (struct peer_identity){ .store = operands[0],
                                              .cn = operands[1],
                                              .cn_size = strlen(operands[1]),
                                              .not_after_unix_s = UINT64_MAX,
                                              .takes_mappings = true,
                                              .has_alternative_name = names->count > 0,
                                              .name_count = names->count,
                                              .names = names->list };
}

static const char *target_uri(const char *target, char *out, size_t size)
{
    bool bare = strncasecmp(target, "sip:", 4) != 0 && strncasecmp(target, "sips:", 5) != 0 &&
                strncasecmp(target, "tel:", 4) != 0 && strncasecmp(target, "urn:", 4) != 0;

    snprintf(out, size, "%s%s", bare ? "sip:" : "", target);
    return out;
}

enum status check_as_proxy(struct question *q, const struct settings *settings,
                           const struct arguments *arguments, const struct names *names)
{
    const char *path = option_text(arguments, OPTION_PROXY_CONFIG, PROXY_CONFIG);
    const char *name = option_text(arguments, OPTION_LISTENER, "");
    const char *cert = option_text(arguments, OPTION_CERT, NULL);
    char **operands = arguments->operands + arguments->operand_count - 3, target[1024];
    struct check_question asked = { .mapperd_socket = settings->mapperd_socket,
                                    .method = q->method,
                                    .from = q->from };
    struct buffer pem;
    struct config *config;
    enum status status = STATUS_USAGE;

    log_set_level(LOG_ERROR);
    (void)signal(SIGPIPE, SIG_IGN); /* an OCSP responder may hang up */
    if (config_load(path, &config) != ERROR_NONE)
        return status;
    buffer_init(&pem, CERTIFICATE_MAX);
    asked.target = target_uri(operands[2], target, sizeof(target));
    asked.listener = check_find_listener(config, name);
    if (!asked.listener)
        complain("%s has no listener %s over TLS", path, name);
    if (arguments->operand_count == 5)
        take_for_granted(&asked, names, arguments->operands);
    else if (cert)
        asked.shown = CHECK_SHOWS_CERTIFICATE;
    if (asked.listener && (!cert || read_certificate(cert, &pem))) {
        asked.pem = buffer_slice(&pem);
        status = ask_proxys_code(q, settings, config, &asked);
    }
    buffer_free(&pem);
    config_drop(config);
    return status;
}
