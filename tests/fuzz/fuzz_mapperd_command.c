/* SPDX-License-Identifier: Apache-2.0 */
/* What a client sends to mapperd, through a real connection to the code that answers, over a real
 * store. Each command gets one reply that reads as RESP, in order; a device is known only if it is;
 * what reaches the feed is bounded and whole; and nothing is left of a client that is gone. */
#include "common/clock.h"
#include "common/mem.h"
#include "mapperd/feed_internal.h"
#include "mapperd/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define INPUT_MAX ((size_t)60000)
#define CN        "0004F2000001"
#define ALICE     "alice@example.org"

static const struct resp_limits limits = { (size_t)4 << 20, 65536 };
static struct options options = {
    .name = "fuzz", .max_clients = 4, .output_max = (uint64_t)64 << 20, .bind_confirm_ms = 3600000
};
static struct server server = { .options = &options, .listener = -1 };
static struct folder folder;
static struct store *store;

/* What the input is owed, one reply a command, and what has come. */
static struct {
    size_t owed, came;
    bool is_peer[INPUT_MAX + 1];
} replies;

static void must(bool condition)
{
    if (!condition)
        abort();
}

/* ---- The world ---- */

static void on_nothing(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop;
    (void)w;
    (void)events;
}

static void on_woken(struct ev_loop *loop, ev_async *w, int events)
{
    (void)loop;
    (void)w;
    (void)events;
}

static void put(struct store_writer *writer, enum store_table table, const struct record_key *key,
                struct buffer *value)
{
    must(!key->failed && !value->failed);
    store_put(writer, table, record_key_slice(key), buffer_slice(value));
    buffer_reset(value);
}

static void put_named(struct store_writer *writer, enum store_table table, const char *name,
                      struct buffer *value)
{
    struct record_key key;
    record_key_start(&key);
    record_key_add(&key, slice_of(name));
    put(writer, table, &key, value);
}

static void put_user(struct store_writer *writer, struct buffer *value)
{
    const struct record_rule rule = { .position = 1,
                                      .id = 7,
                                      .text = SLICE("7 allow * INVITE,REGISTER ours - - -") };
    const struct record_credential credential = { SLICE("example.org"), SLICE("alice"), SLICE(""),
                                                  SLICE("00000000000000000000000000000000") };
    struct record_key key;
    struct buffer scratch;
    buffer_init(&scratch, 0);
    record_user_start(value, RECORD_ENABLED, 1);
    record_user_add_group(value, SLICE("staff"));
    put_named(writer, STORE_USER, ALICE, value);
    record_rule_add(value, &rule);
    record_rules_key(&key, RECORD_RULES_GROUP, SLICE("staff"));
    put(writer, STORE_RULES, &key, value);
    record_credential_start(value, 1);
    record_credential_add(value, &scratch, &credential);
    put_named(writer, STORE_CREDENTIAL, ALICE, value);
    buffer_free(&scratch);
}

static void put_device(struct store_writer *writer, struct buffer *value)
{
    const struct record_binding binding = { .aor = SLICE(ALICE),
                                            .device_key = SLICE("device:" CN),
                                            .instance_key = SLICE("i:<urn:x>:1"),
                                            .store = SLICE("device"),
                                            .cn = SLICE(CN),
                                            .entry = SLICE(ALICE),
                                            .instance = SLICE("<urn:x>"),
                                            .contact = SLICE("sip:alice@192.0.2.1"),
                                            .call_id = SLICE("call 1%"),
                                            .flow = SLICE("p/1/0/2/3"),
                                            .path = SLICE(""),
                                            .ground = GROUND_MAPPING,
                                            .expires_unix_s = 4000000000,
                                            .reg_id = 1,
                                            .version = { 1, 1 } };
    struct record_key key;
    record_peer_start(value, RECORD_ENABLED, 2);
    record_peer_add(value, SLICE(ALICE));
    record_peer_add(value, SLICE("example.net"));
    record_peer_key(&key, SLICE("device"), SLICE(CN));
    put(writer, STORE_PEER, &key, value);
    record_peer_start(value, RECORD_DISABLED, 0);
    record_peer_key(&key, SLICE("device"), SLICE("0004F2000002"));
    put(writer, STORE_PEER, &key, value);
    buffer_add_char(value, 'b');
    record_peer_key(&key, SLICE("device"),
                    SLICE("00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"));
    put(writer, STORE_BLOCKED, &key, value);
    record_binding_write(value, &binding);
    record_binding_key(&key, binding.aor, binding.device_key, binding.instance_key);
    put(writer, STORE_BINDING, &key, value);
    struct record_binding of_third = binding;
    of_third.registered_by = SLICE(ALICE);
    of_third.aor = SLICE("guest@example.org");
    record_binding_write(value, &of_third);
    record_binding_key(&key, of_third.aor, of_third.device_key, of_third.instance_key);
    put(writer, STORE_BINDING, &key, value);
}

static void fill_store(void)
{
    const struct record_store device = { .state = RECORD_ENABLED,
                                         .form = CN_FORM_MAC,
                                         .prefixes = { SLICE("Polycom ") },
                                         .prefix_count = 1 };
    const struct record_store corp = { .state = RECORD_ENABLED, .form = CN_FORM_EXACT };
    struct meta meta;
    struct store_writer writer;
    struct buffer value;
    buffer_init(&value, 0);
    meta_init(&meta);
    meta.serial = (struct store_serial){ 1, 1 };
    must(store_begin(store, &writer) == ERROR_NONE);
    meta_write(&writer, &meta);
    record_store_write(&value, &device);
    put_named(&writer, STORE_TRUST, "device", &value);
    record_store_write(&value, &corp);
    put_named(&writer, STORE_TRUST, "corp", &value);
    record_domain_write(&value, RECORD_ENABLED);
    put_named(&writer, STORE_DOMAIN, "example.org", &value);
    put_user(&writer, &value);
    put_device(&writer, &value);
    must(store_commit(&writer) == ERROR_NONE);
    meta_free(&meta);
    buffer_free(&value);
}

static void end_world(void)
{
    store_reader_close(&server.reader);
    folder_close_store(&folder, store, true);
    unlinkat(folder.descriptor, "lock", 0);
    rmdir(folder.path);
    folder_close(&folder);
}

/* Everything but the feed's thread and the database. */
static void make_world(void)
{
    char path[] = "/tmp/holdline-fuzz-XXXXXX";
    struct feed *feed = mem_zero(1, sizeof(*feed));
    must(feed != NULL && mkdtemp(path) != NULL);
    must(folder_open(&folder, path, (size_t)16 << 20) == ERROR_NONE);
    must(folder_create(&folder, &store) == ERROR_NONE);
    fill_store();
    must(queue_init(&feed->to_feed, 65536) == ERROR_NONE);
    server.feed = feed;
    server.loop = feed->loop = ev_loop_new(EVFLAG_AUTO);
    must(server.loop != NULL);
    ev_async_init(&feed->woken, on_woken);
    ev_async_start(feed->loop, &feed->woken);
    ev_timer_init(&server.deadline, on_nothing, 0., 0.);
    ev_timer_init(&server.reporting, on_nothing, 0., 0.);
    buffer_init(&server.text, 0);
    must(store_reader_open(store, &server.reader) == ERROR_NONE);
    must(journal_reader_open(&feed->journal, &server.journal) == ERROR_NONE); /* holds nothing */
    atexit(end_world);
}

/* ---- What must hold ---- */

static bool ended(struct slice s)
{
    return s.data != NULL && s.data[s.size] == '\0' && memchr(s.data, '\0', s.size) == NULL;
}

static void check_bind(const struct loop_message *m)
{
    const struct record_binding *b = &m->binding;
    must(m->bind >= BIND_PUT && m->bind <= BIND_REMOVE_ALL);
    must(ended(b->aor) && b->aor.size > 0 && ended(b->device_key) && b->device_key.size > 0);
    must(ended(b->instance) && ended(b->contact) && ended(b->instance_key));
    if (m->bind != BIND_PUT)
        return;
    must(ended(b->store) && ended(b->cn) && ended(b->entry) && ended(b->call_id));
    must(ended(b->flow) && ended(b->path) && b->ground != GROUND_NONE && b->expires_unix_s > 0);
    must(b->q <= 1000 && b->contact.size > 0);
    must(ended(b->registered_by) && !slice_equal(b->registered_by, b->aor));
    struct buffer record;
    struct record_binding again;
    buffer_init(&record, 0);
    record_binding_write(&record, b);
    must(!record.failed && record_binding_read(buffer_slice(&record), &again) == ERROR_NONE);
    must(slice_equal(again.contact, b->contact) && again.ground == b->ground);
    must(slice_equal(again.registered_by, b->registered_by));
    buffer_free(&record);
}

/* As the feed would: every outcome comes. */
static bool take_messages(void)
{
    static unsigned turn;
    static const enum bind_outcome OUTCOMES[] = { BIND_DONE, BIND_REFUSED, BIND_UNCONFIRMED };
    static struct queue_batch batch;
    queue_take(&server.feed->to_feed, &batch);
    for (size_t i = 0; i < batch.count; i++) {
        struct loop_message *m = batch.items[i];
        if (m->kind == LOOP_BIND) {
            check_bind(m);
            client_answer_pending(&server, m->client, m->request, OUTCOMES[turn++ % 3],
                                  SLICE("why\r\n\xff"));
        } else {
            must(m->kind == LOOP_GATE); /* this machine stood still */
            gate_event(&server.gate, GATE_EVENT_APPLIED, m->gate, clock_mono_ms());
        }
        loop_message_free(m);
    }
    size_t count = batch.count;
    batch.count = 0;
    return count > 0;
}

static void check_peer(const struct resp_value *reply)
{
    struct slice rest = reply->text;
    struct resp_value items[4];
    for (int i = 0; i < 4; i++)
        if (!resp_item(&rest, &items[i]))
            return;
    if (items[0].type == RESP_INTEGER && items[2].type == RESP_BULK &&
        slice_equal(items[2].text, SLICE("known")))
        must(slice_equal(items[3].text, SLICE(CN)));
}

/* Takes whole values off the front. A message of a channel is no reply. */
static void take_replies(struct buffer *received)
{
    size_t used;
    struct resp_value value, first;
    while (buffer_size(received) > 0 &&
           resp_read_value(buffer_slice(received), &limits, &value, &used) == ERROR_NONE) {
        struct slice rest = value.text;
        bool pushed = value.type == RESP_ARRAY && resp_item(&rest, &first) &&
                      first.type == RESP_BULK && slice_equal(first.text, SLICE("message"));
        if (!pushed) {
            must(replies.came < replies.owed);
            if (replies.is_peer[replies.came++] && value.type == RESP_ARRAY)
                check_peer(&value);
        }
        buffer_consume(received, used);
    }
}

static void look_what_is_owed(struct slice rest)
{
    struct resp_command command;
    size_t used;
    replies.owed = replies.came = 0;
    bool ends = false;
    while (!ends) {
        enum error e = resp_read_command(rest, &command, &used);
        if (e == ERROR_INCOMPLETE)
            return;
        rest.data += used;
        rest.size -= used;
        bool empty = e == ERROR_NONE && command.count == 0;
        bool quits =
            e == ERROR_NONE && !empty && slice_equal_nocase(command.args[0], SLICE("QUIT"));
        ends = e != ERROR_NONE || (quits && command.count == 1);
        replies.is_peer[replies.owed] =
            e == ERROR_NONE && !empty && slice_equal_nocase(command.args[0], SLICE("PEER"));
        replies.owed += !empty;
    }
}

/* ---- One input ---- */

static bool receive(int descriptor, struct buffer *received)
{
    char *at = buffer_reserve(received, 65536);
    must(at != NULL);
    ssize_t size = recv(descriptor, at, 65536, MSG_DONTWAIT);
    if (size > 0)
        buffer_commit(received, (size_t)size);
    return size > 0;
}

/* Turns of the loop until nothing happens any more. */
static void turn(int descriptor, struct buffer *received)
{
    for (bool busy = true; busy;) {
        server.looked_boot_ms = clock_boot_ms();
        server.now_mono_ms = clock_mono_ms();
        server.stood_in_turn = false;
        ev_run(server.loop, EVRUN_NOWAIT);
        client_flush_all(&server);
        store_reader_rest(&server.reader);
        busy = take_messages() || server.flush != NULL;
        while (receive(descriptor, received))
            busy = true;
        take_replies(received);
    }
}

static void say(int descriptor, struct slice s)
{
    must(s.size == 0 || send(descriptor, s.data, s.size, MSG_NOSIGNAL) == (ssize_t)s.size);
}

static void serve(struct slice input)
{
    struct buffer received;
    int pair[2];
    buffer_init(&received, 0);
    gate_init(&server.gate, clock_mono_ms());
    gate_event(&server.gate, GATE_EVENT_STORE, 0, clock_mono_ms());
    gate_event(&server.gate, GATE_EVENT_APPLIED, 1, clock_mono_ms());
    server.proof_boot_ms = clock_boot_ms();
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
    client_accept(&server, pair[1]);
    must(server.client_count == 1);
    /* In two parts: what is not whole yet waits, and is not answered twice. */
    size_t half = input.size / 2;
    look_what_is_owed(input);
    say(pair[0], (struct slice){ input.data, half });
    turn(pair[0], &received);
    if (server.client_count == 1)
        say(pair[0], (struct slice){ input.data + half, input.size - half });
    turn(pair[0], &received);
    must(replies.came == replies.owed && buffer_size(&received) == 0);
    close(pair[0]);
    turn(-1, &received);
    must(server.client_count == 0 && server.subscriber_count == 0 && server.pending_first == NULL);
    buffer_free(&received);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (server.loop == NULL)
        make_world();
    if (size <= INPUT_MAX)
        serve((struct slice){ (const char *)data, size });
    reports_free(server.reports);
    server.reports = NULL;
    return 0;
}
