/* SPDX-License-Identifier: Apache-2.0 */
/* mapctl check: asks mapperd what the proxy would ask and decides with the same function. With
 * --listener it decides as the proxy of that configuration would, by the proxy's own code; without,
 * what a request needs besides (a password, a route to a foreign domain) is not looked at. */
#include "common/clock.h"
#include "common/mem.h"
#include "common/number.h"
#include "common/policy.h"
#include "mapctl/check_internal.h"
#include "mapctl/commands.h"
#include "mapctl/remote.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>

static const struct option_row OPTIONS[] = {
    { OPTION_NAME, "name", VALUE_TEXT, "IDENTITY",
      "the certificate has this SIP name as well; may be given again" },
    { OPTION_LISTENER, "listener", VALUE_TEXT, "NAME",
      "decide as the proxy does for what comes in there, by its configuration" },
    { OPTION_CERT, "cert", VALUE_FILE, "FILE",
      "instead of STORE and CN: the device's certificate and what it sends with it, PEM" },
    { OPTION_NO_CERT, "no-cert", VALUE_NONE, NULL,
      "instead of STORE and CN: the device shows no certificate" },
    { OPTION_PROXY_CONFIG, "proxy-config", VALUE_FILE, "FILE",
      "configuration of the proxy for --listener (" PROXY_CONFIG ")" },
    { 0 },
};

/* The table that only a certificate itself can be looked up in: by its hash, or issuer and serial
 * number. */
#define BLOCKED "blocked_certificate"

struct answers {
    struct reply peer, rights, target, to, explain;
    enum peer_state peer_state;
    enum user_state target_state, to_state;
    struct slice *entries; /* PEER's, then the certificate's names */
    size_t entry_count;
    bool stale; /* mapperd refuses lookups: the others were not asked */
    struct policy_rule *rules;
    struct policy_rights rights_read;
};

/* ---- The question ---- */

static enum error read_identity(struct identity *out, const char *text)
{
    struct slice s = slice_of(text);

    if (s.size > 4 && slice_equal_nocase((struct slice){ text, 4 }, SLICE("tel:")))
        return identity_from_parts(out, (struct slice){ text + 4, s.size - 4 }, SLICE(""), true);
    return identity_from_text(out, s);
}

static enum error read_target(struct identity *out, const char *text)
{
    if (strncasecmp(text, "urn:", 4) == 0)
        return identity_from_service(out, slice_of(text));
    return read_identity(out, text);
}

static bool read_method(struct question *q, const char *text)
{
    size_t size = strlen(text);

    if (size == 0 || size > METHOD_MAX)
        return false;
    for (size_t i = 0; i < size; i++)
        q->method_text[i] = (char)toupper((unsigned char)text[i]);
    q->method = (struct slice){ q->method_text, size };
    q->registers = slice_equal(q->method, SLICE("REGISTER"));
    return true;
}

/* `operands`: IDENTITY METHOD TARGET. */
static bool read_question(struct question *q, char **operands)
{
    struct slice domain;

    if (read_identity(&q->from, operands[0]) != ERROR_NONE || q->from.user_size == 0) {
        complain("%s is not an identity; write user@domain", operands[0]);
        return false;
    }
    if (!read_method(q, operands[1])) {
        complain("%s is not a method", operands[1]);
        return false;
    }
    if (read_target(&q->target, operands[2]) != ERROR_NONE ||
        (q->registers && q->target.user_size == 0)) {
        complain("%s is not a target; write user@domain%s", operands[2],
                 q->registers ? "" : ", a domain, tel:NUMBER or urn:service:NAME");
        return false;
    }
    domain = identity_domain(&q->target);
    return domain.size == 0 || identity_from_text(&q->domain, domain) == ERROR_NONE;
}

/* ---- The answers ---- */

static enum peer_state peer_state_of(struct slice text)
{
    return slice_equal(text, SLICE("known"))      ? PEER_KNOWN
           : slice_equal(text, SLICE("unknown"))  ? PEER_UNKNOWN
           : slice_equal(text, SLICE("disabled")) ? PEER_DISABLED
           : slice_equal(text, SLICE("blocked"))  ? PEER_BLOCKED
                                                  : PEER_NONE;
}

static enum user_state user_state_of(struct slice text)
{
    return slice_equal(text, SLICE("known"))      ? USER_KNOWN
           : slice_equal(text, SLICE("unknown"))  ? USER_UNKNOWN
           : slice_equal(text, SLICE("foreign"))  ? USER_FOREIGN
           : slice_equal(text, SLICE("disabled")) ? USER_DISABLED
                                                  : USER_NONE;
}

/* Steps over epoch and serial to the state; false: that is not such a reply. */
static bool open_answer(const struct reply *reply, struct slice *rest, struct slice *state)
{
    struct resp_value item;

    *rest = reply->value.text;
    if (reply->value.type != RESP_ARRAY)
        return false;
    for (int i = 0; i < 2; i++) {
        if (!resp_item(rest, &item) || item.type != RESP_INTEGER)
            return false;
    }
    if (!resp_item(rest, &item) || item.type != RESP_BULK)
        return false;
    *state = item.text;
    return true;
}

static enum error read_peer(struct answers *a, size_t name_count)
{
    struct slice rest, state;
    struct resp_value item;

    if (!open_answer(&a->peer, &rest, &state) || !resp_item(&rest, &item))
        return ERROR_MALFORMED;
    a->peer_state = peer_state_of(state);
    a->entries = mem_zero(a->peer.value.count + name_count, sizeof(*a->entries));
    if (a->entries == NULL)
        return ERROR_MEMORY;
    while (resp_item(&rest, &item)) {
        if (item.type != RESP_BULK)
            return ERROR_MALFORMED;
        a->entries[a->entry_count++] = item.text;
    }
    return ERROR_NONE;
}

static enum error read_rights(struct answers *a)
{
    struct slice rest, state;
    struct resp_value item;

    if (!open_answer(&a->rights, &rest, &state) || !resp_item(&rest, &item) ||
        item.type != RESP_ARRAY)
        return ERROR_MALFORMED;
    a->rules = mem_zero(a->rights.value.count, sizeof(*a->rules));
    if (a->rules == NULL)
        return ERROR_MEMORY;
    a->rights_read = (struct policy_rights){ .state = user_state_of(state), .rules = a->rules };
    while (resp_item(&rest, &item)) {
        enum error error =
            item.type == RESP_BULK
                ? policy_rule_parse(item.text, &a->rules[a->rights_read.rule_count++])
                : ERROR_MALFORMED;
        if (error != ERROR_NONE)
            return error;
    }
    return ERROR_NONE;
}

static bool begins(struct slice line, const char *word)
{
    size_t size = strlen(word);

    return line.size >= size && memcmp(line.data, word, size) == 0;
}

/* Whether EXPLAIN says that lookups are refused, as -STALE says it to the proxy. */
static bool is_stale(const struct answers *a)
{
    struct slice rest = a->explain.value.text;
    struct resp_value item;

    while (a->explain.value.type == RESP_ARRAY && resp_item(&rest, &item))
        if (item.type == RESP_BULK && begins(item.text, "data state=stale "))
            return true;
    return false;
}

static struct slice reached_target(const struct question *q)
{
    return q->registers ? identity_text(&q->domain) : identity_text(&q->target);
}

static enum error ask_explain(const struct question *q, struct answers *a, struct remote *remote)
{
    const struct slice explain[] = { SLICE("EXPLAIN"),        q->store,  q->cn,
                                     identity_text(&q->from), q->method, reached_target(q) };

    return remote_ask(remote, &a->explain, explain, 6);
}

static enum error ask_all(const struct question *q, struct answers *a, struct remote *remote)
{
    const struct slice peer[] = { SLICE("PEER"), q->store, q->cn };
    const struct slice rights[] = { SLICE("RIGHTS"), identity_text(&q->from) };
    const struct slice reached[] = { SLICE("RIGHTS"), reached_target(q) };
    const struct slice to[] = { SLICE("RIGHTS"), identity_text(&q->target) };
    enum error error = ask_explain(q, a, remote);

    if (error != ERROR_NONE)
        return error;
    a->stale = is_stale(a);
    if (a->stale) /* the others would be refused */
        return ERROR_NONE;
    error = remote_ask(remote, &a->peer, peer, 3);
    if (error == ERROR_NONE)
        error = remote_ask(remote, &a->rights, rights, 2);
    if (error == ERROR_NONE)
        error = remote_ask(remote, &a->target, reached, 2);
    if (error == ERROR_NONE && q->registers)
        error = remote_ask(remote, &a->to, to, 2);
    return error;
}

static enum error read_all(struct answers *a, const struct question *q, const struct names *names)
{
    struct slice rest, state;
    enum error error;

    if (a->stale)
        return ERROR_NONE;
    error = read_peer(a, names->count);
    if (error == ERROR_NONE)
        error = read_rights(a);
    if (error != ERROR_NONE)
        return error;
    if (!open_answer(&a->target, &rest, &state))
        return ERROR_MALFORMED;
    a->target_state = user_state_of(state);
    if (q->registers && !open_answer(&a->to, &rest, &state))
        return ERROR_MALFORMED;
    a->to_state = q->registers ? user_state_of(state) : USER_NONE;
    for (size_t i = 0; i < names->count; i++)
        a->entries[a->entry_count++] = identity_text(&names->list[i]);
    return ERROR_NONE;
}

static void free_answers(struct answers *a)
{
    reply_free(&a->peer);
    reply_free(&a->rights);
    reply_free(&a->target);
    reply_free(&a->to);
    reply_free(&a->explain);
    mem_free(a->entries);
    mem_free(a->rules);
}

/* ---- The decision ---- */

static struct decision decide_it(const struct question *q, const struct answers *a)
{
    struct policy_peer peer = { .state = a->peer_state,
                                .store = q->store,
                                .entries = a->entries,
                                .entry_count = a->entry_count };
    bool ours = a->target_state != USER_FOREIGN && a->target_state != USER_NONE;
    struct policy_request request = {
        .method = q->method,
        .from = &q->from,
        .to = q->registers ? &q->target : NULL,
        .to_state = a->to_state,
        .to_ourselves = ours && (q->registers || q->target.user_size == 0),
        .target_state = a->target_state,
        .plan = { .international = SLICE(NUMBER_INTERNATIONAL) },
        .now_unix_s = clock_unix_s(),
    };
    struct decision decision;

    if (a->stale)
        return (struct decision){ .effect = EFFECT_DENY, .reason = REASON_MAPPERD_STALE };
    if (!request.to_ourselves)
        request.target = q->registers ? &q->domain : &q->target;
    decision = decide(&peer, &request, &a->rights_read);
    if (decision.effect == EFFECT_ALLOW && a->to_state == USER_DISABLED)
        decision = (struct decision){ .effect = EFFECT_DENY, .reason = REASON_USER_DISABLED };
    return decision;
}

/* Whether a line of EXPLAIN is one that decided. */
static bool decided(struct slice line, const struct question *q, const struct decision *d)
{
    char text[IDENTITY_MAX + 32];

    if (d->reason == REASON_MAPPERD_STALE)
        return begins(line, "data ");
    /* The device is disabled, or its store is and the device with it. */
    if (begins(line, "store "))
        return d->reason == REASON_DEVICE_UNKNOWN ||
               (d->reason == REASON_DEVICE_DISABLED && begins(line, "store state=disabled"));
    if (begins(line, "peer "))
        return d->reason == REASON_DEVICE_UNKNOWN || d->reason == REASON_DEVICE_DISABLED ||
               d->reason == REASON_FROM_NOT_PERMITTED || d->reason == REASON_TO_NOT_PERMITTED;
    if (begins(line, "user "))
        return d->reason == REASON_USER_DISABLED;
    if (begins(line, "rule ")) {
        snprintf(text, sizeof(text), "rule %" PRIu64 " ", d->rule_id);
        return d->rule_id != 0 && begins(line, text);
    }
    if (begins(line, "entry identity=")) {
        size_t at = strlen("entry identity=");
        return d->entry.size > 0 &&
               slice_equal((struct slice){ line.data + at, line.size - at }, d->entry);
    }
    return begins(line, "target ") && (d->reason == REASON_NO_RIGHT || d->rule_id != 0) &&
           !q->registers;
}

static bool explained(const struct answers *a, struct slice line)
{
    struct slice rest = a->explain.value.text;
    struct resp_value item;

    while (a->explain.value.type == RESP_ARRAY && resp_item(&rest, &item))
        if (item.type == RESP_BULK && slice_equal(item.text, line))
            return true;
    return false;
}

/* What the table of reasons says of a device that is not known, an INSERT, is refused where the
 * store or the CN can't be; and no rule makes us the registrar of a domain that is not ours. */
static const char *remedy(const struct question *q, const struct answers *a,
                          const struct decision *d)
{
    if (q->registers && explained(a, SLICE("target state=foreign")))
        return "We register for domains of ours alone: INSERT INTO domain (name), if it is one";
    if (d->reason == REASON_DEVICE_UNKNOWN && explained(a, SLICE("store state=none cn_form=none")))
        return "The database has no such trust store: SELECT name FROM trust_store lists them";
    if (d->reason == REASON_DEVICE_UNKNOWN && explained(a, SLICE("peer state=unknown cn=")))
        return "This CN is no MAC address, and in this trust store only these are known";
    return reason_remedy(d->reason);
}

static void print_answer(const struct question *q, const struct answers *a,
                         const struct names *names, const struct decision *d)
{
    struct slice rest = a->explain.value.text;
    struct resp_value item;

    printf("%s\n", d->effect == EFFECT_ALLOW       ? "allowed"
                   : d->effect == EFFECT_CHALLENGE ? "challenged"
                                                   : "denied");
    printf("reason: %s: %s\n", reason_name(d->reason), reason_text(d->reason));
    if (d->effect != EFFECT_ALLOW)
        printf("what to do: %s\n", remedy(q, a, d));
    if (d->rule_id != 0)
        printf("rule: %" PRIu64 "\n", d->rule_id);
    if (q->presumed)
        puts("not looked at: " BLOCKED ": it names certificates; see --listener with --cert");
    puts("rows (* decided):");
    for (size_t i = 0; resp_item(&rest, &item); i++) {
        if (i < 2 || item.type != RESP_BULK)
            continue; /* epoch, serial */
        printf("%s ", decided(item.text, q, d) ? "*" : " ");
        print_slice(item.text);
        putchar('\n');
    }
    for (size_t i = 0; i < names->count; i++) {
        struct slice name = identity_text(&names->list[i]);
        printf("%s name identity=", slice_equal(name, d->entry) ? "*" : " ");
        print_slice(name);
        putchar('\n');
    }
}

static void add_row(json_t *rows, json_t *text, bool deciding)
{
    json_t *row = output_object();

    output_set(row, "decided", json_boolean(deciding));
    output_set(row, "text", text);
    output_append(rows, row);
}

static json_t *name_row(struct slice name)
{
    char text[IDENTITY_MAX + 32];

    snprintf(text, sizeof(text), "name identity=%.*s", (int)name.size, name.data);
    return output_text(slice_of(text));
}

static void output_answer(const struct question *q, const struct answers *a,
                          const struct names *names, const struct decision *d)
{
    json_t *document = output_object(), *rows = output_array(), *unseen = output_array();
    bool allowed = d->effect == EFFECT_ALLOW;
    struct slice rest = a->explain.value.text;
    struct resp_value item;

    output_set(document, "allowed", json_boolean(allowed));
    output_set(document, "challenged", json_boolean(d->effect == EFFECT_CHALLENGE));
    output_set(document, "reason", output_text(slice_of(reason_name(d->reason))));
    output_set(document, "text", output_text(slice_of(reason_text(d->reason))));
    output_set(document, "what_to_do", output_text_or_null(allowed ? NULL : remedy(q, a, d)));
    output_set(document, "rule", d->rule_id ? json_integer((json_int_t)d->rule_id) : json_null());
    if (q->presumed)
        output_append(unseen, output_text(SLICE(BLOCKED)));
    output_set(document, "not_looked_at", unseen);
    for (size_t i = 0; resp_item(&rest, &item); i++) {
        if (i >= 2 && item.type == RESP_BULK)
            add_row(rows, output_text(item.text), decided(item.text, q, d));
    }
    for (size_t i = 0; i < names->count; i++) {
        struct slice name = identity_text(&names->list[i]);
        add_row(rows, name_row(name), slice_equal(name, d->entry));
    }
    output_set(document, "rows", rows);
    output_document(document);
}

static enum status check(const struct question *q, const struct settings *settings,
                         const struct names *names)
{
    struct answers answers = { 0 };
    struct remote remote;
    struct decision decision;
    enum status status = STATUS_UNREACHABLE;
    enum error error = remote_open(&remote, "mapperd", settings->mapperd_socket);

    if (error != ERROR_NONE)
        return status;
    error = ask_all(q, &answers, &remote);
    if (error == ERROR_NONE) {
        error = read_all(&answers, q, names);
        if (error != ERROR_NONE)
            complain("mapperd's answer can't be used: %s", error_text(error));
    }
    if (error == ERROR_NONE) {
        decision = decide_it(q, &answers);
        if (settings->json)
            output_answer(q, &answers, names, &decision);
        else
            print_answer(q, &answers, names, &decision);
        status = decision.effect == EFFECT_ALLOW ? STATUS_GOOD : STATUS_BAD;
    }
    free_answers(&answers);
    remote_close(&remote);
    return status;
}

enum status check_show(const struct question *q, const struct settings *settings,
                       const struct names *names, const struct decision *decision)
{
    struct answers answers = { 0 };
    struct remote remote;
    enum status status = STATUS_UNREACHABLE;

    if (remote_open(&remote, "mapperd", settings->mapperd_socket) != ERROR_NONE)
        return status;
    if (ask_explain(q, &answers, &remote) == ERROR_NONE) {
        if (settings->json)
            output_answer(q, &answers, names, decision);
        else
            print_answer(q, &answers, names, decision);
        status = decision->effect == EFFECT_ALLOW ? STATUS_GOOD : STATUS_BAD;
    }
    free_answers(&answers);
    remote_close(&remote);
    return status;
}

static bool read_names(struct names *names, const struct arguments *arguments)
{
    size_t cursor = 0;

    for (const char *text; (text = option_next(arguments, OPTION_NAME, &cursor)) != NULL;) {
        if (names->count == NAMES_MAX) {
            complain("--name may be given %d times", NAMES_MAX);
            return false;
        }
        if (identity_from_text(&names->list[names->count++], slice_of(text)) != ERROR_NONE) {
            complain("--name %s is not an identity; write user@domain or a domain", text);
            return false;
        }
    }
    return true;
}

/* STORE and CN, or what stands for them. */
static bool shows_one_thing(const struct arguments *arguments)
{
    int shown = (arguments->operand_count == 5) + option_given(arguments, OPTION_CERT) +
                option_given(arguments, OPTION_NO_CERT);

    if (shown == 1 && arguments->operand_count != 4 &&
        (arguments->operand_count == 5 || option_given(arguments, OPTION_LISTENER)))
        return true;
    complain("say STORE CN IDENTITY METHOD TARGET, or --listener with --cert FILE or --no-cert "
             "and IDENTITY METHOD TARGET");
    return false;
}

static enum status run(const struct settings *settings, const struct arguments *arguments)
{
    struct names names = { 0 };
    struct question question = { 0 };

    if (!shows_one_thing(arguments) ||
        !read_question(&question, arguments->operands + arguments->operand_count - 3) ||
        !read_names(&names, arguments))
        return STATUS_USAGE;
    question.presumed = arguments->operand_count == 5;
    if (option_given(arguments, OPTION_LISTENER))
        return check_as_proxy(&question, settings, arguments, &names);
    question.store = slice_of(arguments->operands[0]);
    question.cn = slice_of(arguments->operands[1]);
    return check(&question, settings, &names);
}

const struct command command_check = {
    .name = "check",
    .operands = "[STORE CN] IDENTITY METHOD TARGET",
    .operand_kind = VALUE_TEXT,
    .operands_min = 3,
    .operands_max = 5,
    .brief = "may the device with this certificate send this request, and which rows decide?",
    .help = "STORE and CN: trust store and common name of the certificate\n"
            "IDENTITY: user@domain of From\n"
            "METHOD: INVITE, MESSAGE, REGISTER, ...\n"
            "TARGET: user@domain, domain or tel:NUMBER; of a REGISTER the user@domain of To\n"
            "With --listener the configuration of the proxy counts too: who is trusted, what the "
            "certificate may say, passwords, routes. It reads what the proxy reads, keys included.",
    .options = OPTIONS,
    .run = run,
};
