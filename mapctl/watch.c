/* SPDX-License-Identifier: Apache-2.0 */
/* mapctl watch: denials and changes as they happen, from mapperd's two channels. */
#include "mapctl/commands.h"
#include "mapctl/interrupt.h"
#include "mapctl/remote.h"

#include "common/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { WATCH_COUNT = 1 };

/* mapperd ticks twice a second; while it may not answer it does not, for a second or so. */
#define SILENT_MAX_MS 5000
#define TURN_MS       200

static const struct resp_limits LIMITS = { .value_max = 65536, .items_max = 16 };

struct watch {
    const struct settings *settings;
    struct remote remote;
    struct buffer bytes;
    uint64_t left; /* events to come; UINT64_MAX = no end */
    unsigned confirmed;
};

static void time_text(uint64_t unix_ms, char out[32])
{
    time_t second = (time_t)(unix_ms / 1000);
    struct tm tm;
    size_t size;

    gmtime_r(&second, &tm);
    size = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + size, 32 - size, ".%03uZ", (unsigned)(unix_ms % 1000));
}

/* The next word; the rest stands behind its space. */
static struct slice take_word(struct slice *rest)
{
    const char *space = rest->size > 0 ? memchr(rest->data, ' ', rest->size) : NULL;
    size_t size = space != NULL ? (size_t)(space - rest->data) : rest->size;
    struct slice word = { rest->data, size };

    size += space != NULL;
    rest->data += size;
    rest->size -= size;
    return word;
}

/* `-` stands for what is not known. */
static struct slice known(struct slice word)
{
    return slice_equal(word, SLICE("-")) ? SLICE("") : word;
}

static void put(json_t *document, const char *key, struct slice text)
{
    output_set(document, key, text.size > 0 ? output_text(text) : json_null());
}

static void say(const char *before, struct slice text)
{
    if (text.size == 0)
        return;
    fputs(before, stdout);
    print_slice(text);
}

static json_t *start_event(const char *kind, uint64_t unix_ms)
{
    json_t *document = output_object();
    char at[32];

    time_text(unix_ms, at);
    output_set(document, "at", output_text(slice_of(at)));
    output_set(document, "event", output_text(slice_of(kind)));
    return document;
}

static void start_line(const char *kind, uint64_t unix_ms)
{
    char at[32];

    time_text(unix_ms, at);
    printf("%s %s", at, kind);
}

static void end_line(void)
{
    putchar('\n');
    fflush(stdout);
}

static void show_denial(const struct watch *watch, uint64_t unix_ms, struct slice rest)
{
    struct slice count = take_word(&rest), reason = take_word(&rest),
                 store = known(take_word(&rest)), address = known(take_word(&rest)),
                 from = known(take_word(&rest)), cn = rest;

    if (watch->settings->json) {
        json_t *document = start_event("denial", unix_ms);
        output_set(document, "count", output_value(count));
        put(document, "reason", reason);
        put(document, "trust_store", store);
        put(document, "cn", cn);
        put(document, "from", from);
        put(document, "address", address);
        output_document(document);
        return;
    }
    start_line("denial", unix_ms);
    say(" ", reason);
    say(": ", store);
    say(" ", cn);
    say(", as ", from);
    say(", from ", address);
    if (!slice_equal(count, SLICE("1")))
        say(", times ", count);
    end_line();
}

static void show_dropped(const struct watch *watch, uint64_t unix_ms, struct slice count)
{
    if (watch->settings->json) {
        json_t *document = start_event("dropped", unix_ms);
        output_set(document, "count", output_value(count));
        output_document(document);
        return;
    }
    start_line("dropped", unix_ms);
    say(": more denials than are shown: ", count);
    end_line();
}

/* UNIX_MS denial … or UNIX_MS dropped COUNT. */
static bool on_denial(struct watch *watch, struct slice rest)
{
    unsigned long long unix_ms;
    struct slice kind;

    if (!slice_to_u64(take_word(&rest), INT64_MAX, &unix_ms))
        return false;
    kind = take_word(&rest);
    if (slice_equal(kind, SLICE("denial")))
        show_denial(watch, unix_ms, rest);
    else if (slice_equal(kind, SLICE("dropped")))
        show_dropped(watch, unix_ms, rest);
    else
        return false;
    return true;
}

/* EPOCH SERIAL kind key. False: a tick, which is no event. */
static bool on_change(struct watch *watch, struct slice rest)
{
    struct slice epoch = take_word(&rest), serial = take_word(&rest), kind = take_word(&rest);
    uint64_t unix_ms = clock_unix_ms();

    if (slice_equal(kind, SLICE("tick")))
        return false;
    if (slice_equal(kind, SLICE("*")))
        kind = SLICE("everything");
    if (watch->settings->json) {
        json_t *document = start_event("change", unix_ms);
        put(document, "kind", kind);
        put(document, "key", rest);
        output_set(document, "epoch", output_value(epoch));
        output_set(document, "serial", output_value(serial));
        output_document(document);
        return true;
    }
    start_line("change", unix_ms);
    say(" ", kind);
    say(" ", rest);
    end_line();
    return true;
}

/* False: it is nothing that mapperd says. */
static bool on_value(struct watch *watch, const struct resp_value *value)
{
    struct slice rest = value->text;
    struct resp_value item[3];
    bool shown;

    if (value->type == RESP_FAILURE) {
        complain("mapperd answers: %.*s", (int)value->text.size, value->text.data);
        return false;
    }
    if (value->type != RESP_ARRAY || value->count != 3 || !resp_item(&rest, &item[0]) ||
        !resp_item(&rest, &item[1]) || !resp_item(&rest, &item[2])) {
        complain("what mapperd says can't be understood");
        return false;
    }
    if (slice_equal(item[0].text, SLICE("subscribe")) && ++watch->confirmed == 2)
        complain("watching; Ctrl-C ends");
    if (!slice_equal(item[0].text, SLICE("message")))
        return true;
    shown = slice_equal(item[1].text, SLICE("denials")) ? on_denial(watch, item[2].text)
                                                        : on_change(watch, item[2].text);
    if (shown && watch->left != UINT64_MAX)
        watch->left--;
    return true;
}

static enum status read_values(struct watch *watch)
{
    while (watch->left > 0 && buffer_size(&watch->bytes) > 0) {
        struct resp_value value;
        size_t used;
        enum error error = resp_read_value(buffer_slice(&watch->bytes), &LIMITS, &value, &used);

        if (error == ERROR_INCOMPLETE)
            return STATUS_GOOD;
        if (error != ERROR_NONE || !on_value(watch, &value))
            return STATUS_UNREACHABLE;
        buffer_consume(&watch->bytes, used);
    }
    return STATUS_GOOD;
}

static enum status follow(struct watch *watch)
{
    uint64_t heard_mono_ms = clock_mono_ms();
    enum status status = STATUS_GOOD;

    while (status == STATUS_GOOD && watch->left > 0 && interrupt_wait(0)) {
        struct pollfd wait = { .fd = watch->remote.descriptor, .events = POLLIN };
        char *room = buffer_reserve(&watch->bytes, 65536);
        ssize_t size;

        if (poll(&wait, 1, TURN_MS) <= 0) {
            if (clock_mono_ms() - heard_mono_ms <= SILENT_MAX_MS)
                continue;
            complain("mapperd has said nothing for %d s", SILENT_MAX_MS / 1000);
            return STATUS_UNREACHABLE;
        }
        size = room == NULL ? 0 : recv(watch->remote.descriptor, room, 65536, MSG_DONTWAIT);
        if (size < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (size <= 0) {
            complain("mapperd has closed the connection");
            return STATUS_UNREACHABLE;
        }
        heard_mono_ms = clock_mono_ms();
        buffer_commit(&watch->bytes, (size_t)size);
        status = read_values(watch);
    }
    return status;
}

static enum status run(const struct settings *settings, const struct arguments *arguments)
{
    static const char SUBSCRIBE[] = "SUBSCRIBE denials\r\nSUBSCRIBE changed\r\n";
    struct watch watch = { .settings = settings, .left = UINT64_MAX };
    enum status status = STATUS_UNREACHABLE;

    if (!option_number(arguments, WATCH_COUNT, 1, UINT32_MAX, &watch.left))
        return STATUS_USAGE;
    interrupt_catch();
    if (remote_open(&watch.remote, "mapperd", settings->mapperd_socket) != ERROR_NONE)
        return STATUS_UNREACHABLE;
    buffer_init(&watch.bytes, 1u << 20);
    if (send(watch.remote.descriptor, SUBSCRIBE, sizeof(SUBSCRIBE) - 1, MSG_NOSIGNAL) ==
        (ssize_t)sizeof(SUBSCRIBE) - 1)
        status = follow(&watch);
    else
        complain("mapperd has closed the connection");
    buffer_free(&watch.bytes);
    remote_close(&watch.remote);
    return status;
}

static const struct option_row OPTIONS[] = {
    { WATCH_COUNT, "count", VALUE_TEXT, "N", "end after so many events" },
    { 0 },
};

const struct command command_watch = {
    .name = "watch",
    .operands = "",
    .operand_kind = VALUE_NONE,
    .brief = "denials and changes as they happen",
    .help = "One line an event, with its time, until Ctrl-C: what was denied to whom and why, and "
            "which rows have changed. With --json each line is a document.",
    .options = OPTIONS,
    .run = run,
};
