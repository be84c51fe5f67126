/* SPDX-License-Identifier: Apache-2.0 */
/* What each command does. Names are found without case; a permission stands beside each name. */
#include "mapperd/command.h"

#include "common/clock.h"
#include "common/identity.h"
#include "common/log.h"
#include "mapperd/server.h"

#include <string.h>

/* Octets of the schema's columns; a longer value would be refused there. */
#define DEVICE_KEY_MAX    300
#define INSTANCE_MAX      512
#define CONTACT_MAX       2048
#define CONTACT_ALONE_MAX 1098 /* as part of a key */
#define CALL_ID_MAX       512
#define FLOW_MAX          128
#define PATH_MAX_OCTETS   2048

/* Text that PostgreSQL takes and a log shows: UTF-8 without control characters. */
static bool good_text(struct slice s, size_t minimum, size_t maximum)
{
    return s.size >= minimum && s.size <= maximum && (s.size == 0 || text_is_clean_utf8(s));
}

/* The fields of LOCATE end at a space. */
static bool good_word(struct slice s, size_t minimum, size_t maximum)
{
    return good_text(s, minimum, maximum) && (s.size == 0 || memchr(s.data, ' ', s.size) == NULL);
}

static bool canonical(struct slice text, bool user)
{
    struct identity identity;
    return identity_from_text(&identity, text) == ERROR_NONE &&
           slice_equal(identity_text(&identity), text) && (!user || identity.user_size > 0);
}

/* Copies the fields behind each other into the message, each with a NUL behind it, and points the
 * binding at the copies. */
static enum error keep_fields(struct loop_message *m)
{
    struct record_binding *b = &m->binding;
    struct slice *const fields[] = { &b->aor,   &b->device_key, &b->store,         &b->cn,
                                     &b->entry, &b->instance,   &b->contact,       &b->call_id,
                                     &b->flow,  &b->path,       &b->registered_by, NULL };
    size_t offsets[12], count = 0;
    for (; fields[count] != NULL; count++) {
        offsets[count] = buffer_size(&m->text);
        buffer_add(&m->text, *fields[count]);
        buffer_add_char(&m->text, '\0');
    }
    offsets[count] = buffer_size(&m->text);
    record_instance_key(&m->text, b->instance, b->reg_id, b->contact);
    size_t end = buffer_size(&m->text);
    buffer_add_char(&m->text, '\0');
    if (m->text.failed)
        return ERROR_MEMORY;
    const char *base = buffer_slice(&m->text).data;
    for (size_t i = 0; i < count; i++)
        fields[i]->data = base + offsets[i];
    b->instance_key = (struct slice){ base + offsets[count], end - offsets[count] };
    return ERROR_NONE;
}

static bool number(struct slice text, unsigned long long maximum, uint64_t *value)
{
    unsigned long long read;
    if (!slice_to_u64(text, maximum, &read))
        return false;
    *value = read;
    return true;
}

/* BIND aor device_key store cn ground entry instance reg_id contact expires_unix q call_id cseq
 * flow path [registered_by] */
enum error command_read_bind(const struct resp_command *command, struct loop_message *m,
                             const char **why)
{
    const struct slice *a = command->args;
    struct record_binding *b = &m->binding;
    uint64_t q;
    *b = (struct record_binding){ .aor = a[1],
                                  .device_key = a[2],
                                  .store = a[3],
                                  .cn = a[4],
                                  .entry = a[6],
                                  .instance = a[7],
                                  .contact = a[9],
                                  .call_id = a[12],
                                  .flow = a[14],
                                  .path = a[15],
                                  .registered_by = command->count > 16 ? a[16] : SLICE("") };
    m->bind = BIND_PUT;
    *why = !canonical(a[1], true)                ? "ERR aor is not a canonical user@domain"
           : !good_text(a[2], 1, DEVICE_KEY_MAX) ? "ERR device_key is malformed"
           : !good_word(a[3], 0, STORE_NAME_MAX) ? "ERR store is malformed"
           : !good_text(a[4], 0, CN_MAX_OCTETS)  ? "ERR cn is malformed"
           : !record_ground_from_text(a[5], &b->ground)
               ? "ERR ground is not mapping, name or digest"
           : !canonical(a[6], false)              ? "ERR entry is not a canonical identity"
           : !good_text(a[7], 0, INSTANCE_MAX)    ? "ERR instance is malformed"
           : !number(a[8], INT32_MAX, &b->reg_id) ? "ERR reg_id is not a number"
           : !good_word(a[9], 1, a[7].size > 0 ? CONTACT_MAX : CONTACT_ALONE_MAX)
               ? "ERR contact is malformed or too long"
           : !number(a[10], 253402300799ULL, &b->expires_unix_s) || b->expires_unix_s == 0
               ? "ERR expires_unix is not a time to come"
           : !number(a[11], 1000, &q)              ? "ERR q is not 0 to 1000"
           : !good_text(a[12], 1, CALL_ID_MAX)     ? "ERR call_id is malformed"
           : !number(a[13], UINT32_MAX, &b->cseq)  ? "ERR cseq is not a number"
           : !good_text(a[14], 1, FLOW_MAX)        ? "ERR flow is malformed"
           : !good_text(a[15], 0, PATH_MAX_OCTETS) ? "ERR path is malformed"
           : command->count > 16 && (!canonical(a[16], true) || slice_equal(a[16], a[1]))
               ? "ERR registered_by is not another canonical user@domain"
               : NULL;
    if (*why != NULL)
        return ERROR_MALFORMED;
    b->q = (uint32_t)q;
    return keep_fields(m);
}

/* UNBIND aor device_key instance reg_id contact */
enum error command_read_unbind(const struct resp_command *command, struct loop_message *m,
                               const char **why)
{
    const struct slice *a = command->args;
    struct record_binding *b = &m->binding;
    bool any_device = slice_equal(a[2], SLICE("*")), any_contact = slice_equal(a[5], SLICE("*"));
    *b = (struct record_binding){ .aor = a[1],
                                  .device_key = a[2],
                                  .store = SLICE(""),
                                  .cn = SLICE(""),
                                  .entry = SLICE(""),
                                  .instance = a[3],
                                  .contact = a[5],
                                  .call_id = SLICE(""),
                                  .flow = SLICE(""),
                                  .path = SLICE(""),
                                  .registered_by = SLICE("") };
    *why = !canonical(a[1], true)                 ? "ERR aor is not a canonical user@domain"
           : !good_text(a[2], 1, DEVICE_KEY_MAX)  ? "ERR device_key is malformed"
           : !good_text(a[3], 0, INSTANCE_MAX)    ? "ERR instance is malformed"
           : !number(a[4], INT32_MAX, &b->reg_id) ? "ERR reg_id is not a number"
           : !good_word(a[5], 1, a[3].size > 0 ? CONTACT_MAX : CONTACT_ALONE_MAX)
               ? "ERR contact is malformed or too long"
           : any_device && (!any_contact || a[3].size > 0)
               ? "ERR device_key * takes contact * alone"
               : NULL;
    if (*why != NULL)
        return ERROR_MALFORMED;
    m->bind = any_device                      ? BIND_REMOVE_ALL
              : any_contact && a[3].size == 0 ? BIND_REMOVE_DEVICE
                                              : BIND_REMOVE_ONE;
    return keep_fields(m);
}

static bool may_answer(struct client *client)
{
    struct server *server = client->server;
    if (gate_open(&server->gate) && server->reader.store != NULL)
        return true;
    server->counts.loading++;
    resp_add_failure(client_out(client), "LOADING mapping data are not there yet");
    return false;
}

/* A lookup also needs data that are young enough. */
static bool may_look_up(struct client *client)
{
    struct server *server = client->server;
    if (!may_answer(client))
        return false;
    if (!server_stale(server))
        return true;
    server->counts.stale++;
    resp_add_failure(client_out(client), "STALE mapping data are older than staleness_bound_ms");
    return false;
}

static void run_peer(struct client *client, const struct resp_command *command)
{
    for (size_t i = 3; i < command->count; i++) {
        if (!record_is_sha256(command->args[i])) {
            resp_add_failure(client_out(client), "ERR a certificate is 64 lower-case hexadecimal "
                                                 "digits of SHA-256");
            return;
        }
    }
    if (may_look_up(client))
        reply_peer(client->server, client_out(client), command->args[1], command->args[2],
                   command->args + 3, command->count - 3);
}

static void run_rights(struct client *client, const struct resp_command *command)
{
    if (may_look_up(client))
        reply_rights(client->server, client_out(client), command->args[1]);
}

static void run_locate(struct client *client, const struct resp_command *command)
{
    if (may_look_up(client))
        reply_locate(client->server, client_out(client), command->args[1], clock_unix_s());
}

static void run_credential(struct client *client, const struct resp_command *command)
{
    if (may_look_up(client))
        reply_credential(client->server, client_out(client), command->args[1]);
}

static void run_explain(struct client *client, const struct resp_command *command)
{
    if (may_answer(client))
        reply_explain(client->server, client_out(client), command->args + 1);
}

static void run_bind_either(struct client *client, const struct resp_command *command,
                            enum error (*read)(const struct resp_command *, struct loop_message *,
                                               const char **))
{
    struct server *server = client->server;
    const char *why = NULL;
    if (!may_answer(client))
        return;
    struct loop_message *m = loop_message_new(LOOP_BIND);
    enum error e = m != NULL ? read(command, m, &why) : ERROR_MEMORY;
    struct pending *p = e == ERROR_NONE ? client_add_pending(client) : NULL;
    if (p == NULL) {
        resp_add_failure(client_out(client), why != NULL ? why : "UNCONFIRMED out of memory");
        if (m != NULL)
            loop_message_free(m);
        return;
    }
    m->client = p->client;
    m->request = p->request;
    m->due_mono_ms = p->due_mono_ms - JOURNAL_PATIENCE_MS;
    if (feed_send(server->feed, m) != ERROR_NONE)
        loop_message_free(m); /* its deadline answers */
}

static void run_bind(struct client *client, const struct resp_command *command)
{
    run_bind_either(client, command, command_read_bind);
}

static void run_unbind(struct client *client, const struct resp_command *command)
{
    run_bind_either(client, command, command_read_unbind);
}

/* Nobody waits for what becomes of it: the answer says that it was understood. */
static void run_report(struct client *client, const struct resp_command *command)
{
    struct report report;
    const char *why;
    if (report_read(command, &report, &why) != ERROR_NONE) {
        client->server->counts.malformed++;
        resp_add_failure(client_out(client), why);
        return;
    }
    denial_take(client->server, &report);
    resp_add_status(client_out(client), "OK");
}

static void add_subscription(struct client *client, const char *word, enum channel channel)
{
    struct buffer *out = client_out(client);
    resp_add_array(out, 3);
    resp_add_bulk_text(out, word);
    resp_add_bulk_text(out, channel_text(channel));
    resp_add_integer(out, subscriber_channels(client));
}

static void run_subscribe(struct client *client, const struct resp_command *command)
{
    enum channel channel;
    if (!channel_from_text(command->args[1], &channel)) {
        resp_add_failure(client_out(client), "ERR the channels are changed and denials");
        return;
    }
    subscriber_add(client, channel);
    add_subscription(client, "subscribe", channel);
    if (channel == CHANNEL_CHANGED)
        subscriber_tick(client);
}

static void run_unsubscribe(struct client *client, const struct resp_command *command)
{
    enum channel channel = CHANNEL_CHANGED;
    if (command->count > 1 && !channel_from_text(command->args[1], &channel)) {
        resp_add_failure(client_out(client), "ERR the channels are changed and denials");
        return;
    }
    if (command->count == 1) /* all of them, and one answer */
        subscriber_remove(client, CHANNEL_DENIALS);
    subscriber_remove(client, channel);
    add_subscription(client, "unsubscribe", channel);
}

static void run_ping(struct client *client, const struct resp_command *command)
{
    if (command->count > 1)
        resp_add_bulk(client_out(client), command->args[1]);
    else
        resp_add_status(client_out(client), "PONG");
}

static void run_info(struct client *client, const struct resp_command *command)
{
    info_write(client->server, client_out(client),
               command->count > 1 ? command->args[1] : SLICE(""));
}

static void run_hello(struct client *client, const struct resp_command *command)
{
    (void)command;
    resp_add_failure(client_out(client), "NOPROTO this server speaks RESP2");
}

static void run_select(struct client *client, const struct resp_command *command)
{
    if (slice_equal(command->args[1], SLICE("0")))
        resp_add_status(client_out(client), "OK");
    else
        resp_add_failure(client_out(client), "ERR there is one database, 0");
}

static void run_client(struct client *client, const struct resp_command *command)
{
    (void)command;
    resp_add_status(client_out(client), "OK");
}

static void run_config(struct client *client, const struct resp_command *command)
{
    if (slice_equal_nocase(command->args[1], SLICE("GET")))
        resp_add_array(client_out(client), 0);
    else
        resp_add_failure(client_out(client), "ERR the configuration is a file");
}

static void run_quit(struct client *client, const struct resp_command *command)
{
    (void)command;
    resp_add_status(client_out(client), "OK");
    client->closing = true;
}

static void run_command(struct client *client, const struct resp_command *command);

static const struct command {
    const char *name;
    void (*run)(struct client *client, const struct resp_command *command);
    uint8_t least, most; /* arguments, the name included */
    uint8_t permission;
} COMMANDS[] = {
    /* The most frequent first: the table is searched from the front. */
    { "PEER", run_peer, 3, 3 + RECORD_CHAIN_MAX, PERMISSION_READ },
    { "RIGHTS", run_rights, 2, 2, PERMISSION_READ },
    { "LOCATE", run_locate, 2, 2, PERMISSION_READ },
    { "CREDENTIAL", run_credential, 2, 2, PERMISSION_CREDENTIAL },
    { "BIND", run_bind, 16, 17, PERMISSION_REGISTER },
    { "UNBIND", run_unbind, 6, 6, PERMISSION_REGISTER },
    { "REPORT", run_report, 5, 7, PERMISSION_REGISTER },
    { "EXPLAIN", run_explain, 6, 6, PERMISSION_READ },
    { "SUBSCRIBE", run_subscribe, 2, 2, PERMISSION_READ },
    { "UNSUBSCRIBE", run_unsubscribe, 1, 2, PERMISSION_NONE },
    { "PING", run_ping, 1, 2, PERMISSION_NONE },
    { "INFO", run_info, 1, 2, PERMISSION_READ },
    { "COMMAND", run_command, 1, RESP_ARGS_MAX, PERMISSION_NONE },
    { "HELLO", run_hello, 1, RESP_ARGS_MAX, PERMISSION_NONE },
    { "SELECT", run_select, 2, 2, PERMISSION_NONE },
    { "CLIENT", run_client, 2, RESP_ARGS_MAX, PERMISSION_NONE },
    { "CONFIG", run_config, 2, RESP_ARGS_MAX, PERMISSION_NONE },
    { "QUIT", run_quit, 1, 1, PERMISSION_NONE },
};

#define COMMAND_COUNT (sizeof(COMMANDS) / sizeof(COMMANDS[0]))

/* name, arity (negative: at least), flags, and no keys. */
static void run_command(struct client *client, const struct resp_command *command)
{
    struct buffer *out = client_out(client);
    if (command->count > 1 && slice_equal_nocase(command->args[1], SLICE("COUNT"))) {
        resp_add_integer(out, (int64_t)COMMAND_COUNT);
        return;
    }
    if (command->count > 1) {
        resp_add_array(out, 0);
        return;
    }
    resp_add_array(out, COMMAND_COUNT);
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        const struct command *c = &COMMANDS[i];
        resp_add_array(out, 6);
        resp_add_bulk_text(out, c->name);
        resp_add_integer(out, c->least == c->most ? c->least : -(int64_t)c->least);
        resp_add_array(out, 1);
        resp_add_status(out, c->permission == PERMISSION_REGISTER ? "write" : "readonly");
        for (int zero = 0; zero < 3; zero++)
            resp_add_integer(out, 0);
    }
}

static const struct command *find_command(struct slice name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (slice_equal_nocase(name, slice_of(COMMANDS[i].name)))
            return &COMMANDS[i];
    return NULL;
}

bool command_peer_key(struct client *client, const struct resp_command *command,
                      struct record_key *key)
{
    return command->count >= 3 && slice_equal_nocase(command->args[0], SLICE("PEER")) &&
           (client->permissions & PERMISSION_READ) != 0 && gate_open(&client->server->gate) &&
           reply_peer_key(client->server, command->args[1], command->args[2], key);
}

void command_run(struct client *client, const struct resp_command *command)
{
    const struct command *c = find_command(command->args[0]);
    if (c == NULL) {
        client->server->counts.malformed++;
        resp_add_failure(client_out(client), "ERR unknown command");
    } else if (command->count < c->least || command->count > c->most) {
        client->server->counts.malformed++;
        resp_add_failure(client_out(client), "ERR wrong number of arguments");
    } else if ((client->permissions & c->permission) != c->permission) {
        client->server->counts.denied++;
        resp_add_failure(client_out(client), "DENIED this user may not do that");
    } else {
        c->run(client, command);
    }
}
