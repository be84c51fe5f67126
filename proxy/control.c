/* SPDX-License-Identifier: Apache-2.0 */
/* PING, INFO and what redis-cli needs to feel at home. Answers are small and come from counters. */
#include "proxy/control.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/resp.h"
#include "proxy/authorization/ask.h"
#include "proxy/config.h"
#include "proxy/crl_watch.h"
#include "proxy/ocsp_desk.h"
#include "proxy/staple_watch.h"
#include "proxy/worker_base.h"

#include <errno.h>
#include <ev.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <utlist.h>

#define OUTPUT_MAX (1u << 20)

struct client {
    struct control *control;
    struct client *next, *prev;
    int fd;
    ev_io readable, writable;
    struct buffer in, out;
    bool closing;
};

struct control {
    struct ev_loop *loop;
    const struct control_view *view;
    uint64_t started_mono_ms;
    int fd;
    char *path;
    ev_io acceptable;
    struct client *clients;
    unsigned client_count;
};

static void client_free(struct client *client)
{
    ev_io_stop(client->control->loop, &client->readable);
    ev_io_stop(client->control->loop, &client->writable);
    close(client->fd);
    DL_DELETE(client->control->clients, client);
    client->control->client_count--;
    buffer_free(&client->in);
    buffer_free(&client->out);
    mem_free(client);
}

/* ---- INFO ---- */

static unsigned long long sum(const struct control_view *view, size_t offset)
{
    unsigned long long total = 0;

    for (unsigned i = 0; i < view->config->workers; i++) {
        const char *counters = (const char *)view->counters[i];
        total += atomic_load_explicit((const atomic_ullong *)(const void *)(counters + offset),
                                      memory_order_relaxed);
    }
    return total;
}

static unsigned sum_now(const struct control_view *view, size_t offset)
{
    unsigned total = 0;

    for (unsigned i = 0; i < view->config->workers; i++) {
        const char *counters = (const char *)view->counters[i];
        total += atomic_load_explicit((const atomic_uint *)(const void *)(counters + offset),
                                      memory_order_relaxed);
    }
    return total;
}

#define SUM(view, field)     sum((view), offsetof(struct counters, field))
#define SUM_NOW(view, field) sum_now((view), offsetof(struct counters, field))

static bool is_ready(const struct control_view *view)
{
    for (unsigned i = 0; i < view->config->workers; i++) {
        const struct counters *c = view->counters[i];
        if (!atomic_load(&c->listening) || atomic_load(&c->link) != ASK_UP)
            return false;
    }
    return true;
}

static void add_server(const struct control *control, struct buffer *out)
{
    const struct control_view *view = control->view;
    char text[ADDRESS_TEXT_MAX];

    buffer_add_format(
        out, "# Server\r\nname:%s\r\npid:%ld\r\nuptime_s:%llu\r\nready:%d\r\nworkers:%u\r\n",
        view->config->name, (long)getpid(),
        (unsigned long long)((clock_mono_ms() - control->started_mono_ms) / 1000), is_ready(view),
        view->config->workers);
    for (size_t i = 0; i < view->config->listener_count; i++)
        buffer_add_format(out, "listener.%s.address:%s\r\n", view->config->listeners[i].name,
                          address_text(&view->bound[i], text));
}

static void add_traffic(const struct control_view *view, struct buffer *out)
{
    buffer_add_format(out,
                      "# "
                      "Traffic\r\nconnections:%u\r\nparked:%u\r\nparked_total:%llu\r\nrequests:%"
                      "llu\r\nresponses:%llu\r\n",
                      SUM_NOW(view, connections), SUM_NOW(view, parked), SUM(view, parked_total),
                      SUM(view, requests), SUM(view, responses));
    buffer_add_format(out, "forwarded:%llu\r\nmalformed:%llu\r\ndropped:%llu\r\n",
                      SUM(view, forwarded), SUM(view, malformed), SUM(view, dropped));
    buffer_add_format(out, "handshakes:%llu\r\nhandshakes_resumed:%llu\r\n", SUM(view, handshakes),
                      SUM(view, resumed));
}

static const char *link_text(unsigned state)
{
    switch ((enum ask_state)state) {
    case ASK_UP:
        return "up";
    case ASK_SUBSCRIBING:
        return "subscribing";
    case ASK_CONNECTING:
        return "connecting";
    case ASK_DOWN:
        break;
    }
    return "down";
}

static void add_mapperd(const struct control_view *view, struct buffer *out)
{
    buffer_add_text(out, "# Mapperd\r\n");
    for (unsigned i = 0; i < view->config->workers; i++) {
        const struct counters *c = view->counters[i];
        buffer_add_format(out, "worker.%u.mapperd:%s\r\n", i, link_text(atomic_load(&c->link)));
        if (atomic_load(&c->mapperd_age_known))
            buffer_add_format(out, "worker.%u.mapperd_age_ms:%llu\r\n", i,
                              atomic_load(&c->mapperd_age_ms));
    }
    buffer_add_format(out, "cached:%llu\r\nlookups_waiting:%llu\r\ndenials_dropped:%llu\r\n",
                      SUM(view, cached), SUM(view, lookups_waiting), SUM(view, denials_dropped));
}

static void add_crls(const struct control_view *view, struct buffer *out)
{
    struct crl_figures figures;

    crl_watch_get_figures(view->crls, &figures);
    buffer_add_format(out,
                      "# Revocation\r\ncrl_stores:%u\r\ncrl_revoked:%llu\r\ncrl_expired:%u\r\n"
                      "crl_faulty:%u\r\n",
                      figures.stores, figures.revoked, figures.expired, figures.faulty);
}

static void add_staples(const struct control_view *view, struct buffer *out)
{
    struct staple_figures figures;

    staple_watch_get_figures(view->staples, &figures);
    buffer_add_format(out, "ocsp_stapled:%u\r\nocsp_expired:%u\r\nocsp_faulty:%u\r\n", figures.good,
                      figures.expired, figures.faulty);
}

static void add_ocsp(const struct control_view *view, struct buffer *out)
{
    struct ocsp_figures figures;

    ocsp_desk_get_figures(view->desk, &figures);
    buffer_add_format(out,
                      "ocsp_kept:%u\r\nocsp_asking:%u\r\nocsp_waiting:%u\r\nocsp_good:%llu\r\n"
                      "ocsp_revoked:%llu\r\nocsp_unknown:%llu\r\nocsp_unanswered:%llu\r\n",
                      figures.kept, figures.asked, SUM_NOW(view, ocsp_waiting), figures.good,
                      figures.revoked, figures.unknown, figures.unanswered);
    buffer_add_format(out, "ocsp_passed:%llu\r\nocsp_refused:%llu\r\n", SUM(view, ocsp_passed),
                      SUM(view, ocsp_refused));
}

static void add_reasons(const struct control_view *view, struct buffer *out)
{
    buffer_add_text(out, "# Reasons\r\n");
    for (int r = 0; r < REASON_COUNT; r++) {
        size_t offset = offsetof(struct counters, reasons) + (size_t)r * sizeof(atomic_ullong);
        unsigned long long count = sum(view, offset);
        if (count)
            buffer_add_format(out, "reason.%s:%llu\r\n", reason_name((enum reason)r), count);
    }
}

static void run_info(struct client *client)
{
    struct buffer text;

    buffer_init(&text, 65536);
    add_server(client->control, &text);
    add_traffic(client->control->view, &text);
    add_mapperd(client->control->view, &text);
    add_crls(client->control->view, &text);
    add_staples(client->control->view, &text);
    add_ocsp(client->control->view, &text);
    add_reasons(client->control->view, &text);
    if (text.failed)
        resp_add_failure(&client->out, "ERR out of memory");
    else
        resp_add_bulk(&client->out, buffer_slice(&text));
    buffer_free(&text);
}

/* ---- commands ---- */

static void run_reload(struct client *client)
{
    const struct control_view *view = client->control->view;

    if (view->reload(view->owner) == ERROR_NONE)
        resp_add_status(&client->out, "OK");
    else
        resp_add_failure(&client->out, "ERR not reloaded, the log says why; the old one runs on");
}

static void run_command(struct client *client, const struct resp_command *command)
{
    struct slice name = command->args[0];

    if (slice_equal_nocase(name, SLICE("PING"))) {
        if (command->count > 1)
            resp_add_bulk(&client->out, command->args[1]);
        else
            resp_add_status(&client->out, "PONG");
    } else if (slice_equal_nocase(name, SLICE("INFO"))) {
        run_info(client);
    } else if (slice_equal_nocase(name, SLICE("RELOAD"))) {
        run_reload(client);
    } else if (slice_equal_nocase(name, SLICE("COMMAND"))) {
        resp_add_array(&client->out, 0);
    } else if (slice_equal_nocase(name, SLICE("QUIT"))) {
        resp_add_status(&client->out, "OK");
        client->closing = true;
    } else {
        resp_add_failure(&client->out, "ERR unknown command");
    }
}

/* False: the stream is lost. */
static bool run_commands(struct client *client)
{
    struct resp_command command;
    size_t used;

    while (buffer_size(&client->in) && !client->closing) {
        enum error error = resp_read_command(buffer_slice(&client->in), &command, &used);
        if (error == ERROR_INCOMPLETE)
            return true;
        if (error != ERROR_NONE) {
            resp_add_failure(&client->out, "ERR malformed or too long");
            return false;
        }
        if (command.count)
            run_command(client, &command);
        buffer_consume(&client->in, used);
    }
    return true;
}

/* True: the client lives on. */
static bool flush(struct client *client)
{
    while (buffer_size(&client->out)) {
        struct slice waiting = buffer_slice(&client->out);
        ssize_t n = send(client->fd, waiting.data, waiting.size, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            ev_io_start(client->control->loop, &client->writable);
            return true;
        }
        if (n <= 0)
            return false;
        buffer_consume(&client->out, (size_t)n);
    }
    ev_io_stop(client->control->loop, &client->writable);
    return !client->closing && !client->out.failed;
}

static void on_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct client *client = watcher->data;
    char *room = buffer_reserve(&client->in, 4096);
    ssize_t n = room ? recv(client->fd, room, 4096, 0) : 0;

    (void)loop;
    (void)events;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (n <= 0) {
        client_free(client);
        return;
    }
    buffer_commit(&client->in, (size_t)n);
    if (!run_commands(client))
        client->closing = true;
    if (!flush(client))
        client_free(client);
}

static void on_writable(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct client *client = watcher->data;

    (void)loop;
    (void)events;
    if (!flush(client))
        client_free(client);
}

/* ---- the socket ---- */

static void on_acceptable(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct control *control = watcher->data;
    int fd = accept4(control->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct client *client;

    (void)events;
    if (fd < 0)
        return;
    client = control->client_count < CONTROL_CLIENTS_MAX ? mem_zero(1, sizeof(*client)) : NULL;
    if (!client) {
        close(fd);
        return;
    }
    client->control = control;
    client->fd = fd;
    buffer_init(&client->in, RESP_COMMAND_MAX + 4096);
    buffer_init(&client->out, OUTPUT_MAX);
    ev_io_init(&client->readable, on_readable, fd, EV_READ);
    ev_io_init(&client->writable, on_writable, fd, EV_WRITE);
    client->readable.data = client->writable.data = client;
    DL_APPEND(control->clients, client);
    control->client_count++;
    ev_io_start(loop, &client->readable);
}

static int connect_to(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int connected = fd >= 0 ? connect(fd, (const struct sockaddr *)address, sizeof(*address)) : -1;

    if (fd >= 0)
        close(fd);
    return connected;
}

/* A file that nobody listens behind is left over from a run that was killed. */
static enum error bind_socket(struct control *control)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    if (strlen(control->path) >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        return ERROR_SYSTEM;
    }
    memcpy(address.sun_path, control->path, strlen(control->path));
    control->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (control->fd < 0)
        return ERROR_SYSTEM;
    if (connect_to(&address) == 0) {
        errno = EADDRINUSE;
        return ERROR_SYSTEM;
    }
    unlink(control->path);
    if (bind(control->fd, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
        chmod(control->path, 0660) != 0 || listen(control->fd, 16) != 0)
        return ERROR_SYSTEM;
    return ERROR_NONE;
}

enum error control_new(struct ev_loop *loop, const struct control_view *view, struct control **out)
{
    struct control *control = mem_zero(1, sizeof(*control));
    enum error error;

    *out = NULL;
    if (!control)
        return ERROR_MEMORY;
    control->loop = loop;
    control->view = view;
    control->fd = -1;
    control->started_mono_ms = clock_mono_ms();
    control->path = mem_text(slice_of(view->config->control_socket));
    error = control->path ? bind_socket(control) : ERROR_MEMORY;
    if (error != ERROR_NONE) {
        if (control->fd >= 0)
            close(control->fd);
        mem_free(control->path);
        mem_free(control);
        return error;
    }
    ev_io_init(&control->acceptable, on_acceptable, control->fd, EV_READ);
    control->acceptable.data = control;
    ev_io_start(loop, &control->acceptable);
    *out = control;
    return ERROR_NONE;
}

void control_free(struct control *control)
{
    struct client *client, *next;

    if (!control)
        return;
    DL_FOREACH_SAFE(control->clients, client, next)
    client_free(client);
    ev_io_stop(control->loop, &control->acceptable);
    close(control->fd);
    unlink(control->path);
    mem_free(control->path);
    mem_free(control);
}
