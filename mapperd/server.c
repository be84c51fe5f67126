/* SPDX-License-Identifier: Apache-2.0 */
/* The loop thread: the socket, the gate, what the feed says, the turns of the loop. */
#include "mapperd/server.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static void process_all(struct server *server)
{
    for (size_t i = 0; i < server->slot_count; i++)
        if (server->clients[i] != NULL)
            client_process(server->clients[i]);
}

/* Every event of the gate goes through here, so that its opening is never missed. */
static void gate_raise(struct server *server, enum gate_event event, uint64_t number)
{
    bool was_open = gate_open(&server->gate);
    bool waited = gate_waits(&server->gate, server->now_mono_ms);
    server->now_mono_ms = clock_mono_ms();
    gate_event(&server->gate, event, number, server->now_mono_ms);
    bool open = gate_open(&server->gate);
    if (open && !was_open) {
        log_write(LOG_NOTICE, "answering", "after %" PRIu64 " ms",
                  server->now_mono_ms - server->gate.shut_mono_ms);
        subscriber_tick_all(server);
    }
    if ((open && !was_open) || (waited && !gate_waits(&server->gate, server->now_mono_ms)))
        process_all(server);
}

uint64_t server_age_ms(const struct server *server)
{
    uint64_t now = clock_boot_ms();
    if (server->proof_boot_ms == UINT64_MAX || now < server->proof_boot_ms)
        return UINT64_MAX;
    return now - server->proof_boot_ms;
}

static void rest(struct server *server)
{
    store_reader_rest(&server->reader);
    journal_reader_rest(&server->journal);
}

bool server_stale(const struct server *server)
{
    return staleness_beyond(server_age_ms(server), server_live(server)->staleness_bound_ms);
}

static void release_store(struct server *server)
{
    if (server->reader.store == NULL)
        return;
    struct loop_message *m = loop_message_new(LOOP_RELEASE);
    struct store *store = server->reader.store;
    store_reader_close(&server->reader);
    if (m == NULL)
        return; /* it stays open until the end; no reader is left */
    m->store = store;
    if (feed_send(server->feed, m) != ERROR_NONE)
        loop_message_free(m);
}

void server_damaged(struct server *server)
{
    struct store *store = server->reader.store;
    if (store == NULL)
        return;
    log_write(LOG_ERROR, "store-damaged", "nothing is answered until a new one is filled");
    gate_event(&server->gate, GATE_EVENT_DAMAGED, 0, server->now_mono_ms);
    struct loop_message *m = loop_message_new(LOOP_DAMAGED);
    if (m != NULL) {
        m->store = store;
        if (feed_send(server->feed, m) != ERROR_NONE)
            loop_message_free(m);
    }
    release_store(server);
}

bool server_snapshot(struct server *server)
{
    if (server->reader.store == NULL)
        return false;
    if (server->reader.held)
        return true;
    /* First: what leaves the journal was in the store before. */
    (void)journal_reader_renew(&server->journal);
    if (store_reader_renew(&server->reader) != ERROR_NONE) {
        server_damaged(server);
        return false;
    }
    if (server->head_size > 0 && server->head_serial.epoch == server->reader.serial.epoch &&
        server->head_serial.serial == server->reader.serial.serial)
        return true;
    int size = snprintf(server->head, sizeof(server->head), ":%" PRIu64 "\r\n:%" PRIu64 "\r\n",
                        server->reader.serial.epoch, server->reader.serial.serial);
    server->head_size = (size_t)size;
    server->head_serial = server->reader.serial;
    return true;
}

/* Nothing is answered from what is older than this moment, if the database can be asked. */
static void ask_first(struct server *server)
{
    gate_raise(server, GATE_EVENT_STANDSTILL, 0);
    struct loop_message *m = loop_message_new(LOOP_GATE);
    if (m == NULL)
        return; /* the gate's patience ends it */
    m->gate = server->gate.number;
    if (feed_send(server->feed, m) != ERROR_NONE)
        loop_message_free(m);
}

/* A new generation: from here on everybody is answered from it, and everything counts as changed.
 */
static void take_store(struct server *server, struct feed_message *m)
{
    char text[80];
    release_store(server);
    if (m->ask_first)
        ask_first(server);
    if (store_reader_open(m->store, &server->reader) != ERROR_NONE) {
        log_write(LOG_ERROR, "store-unreadable", "the new generation can't be read");
        server->reader.store = NULL;
        return;
    }
    server->published = m->serial;
    int size = snprintf(text, sizeof(text), "%" PRIu64 " %" PRIu64 " *\n", m->serial.epoch,
                        m->serial.serial);
    subscriber_publish(server, CHANNEL_CHANGED, (struct slice){ text, (size_t)size });
    if (gate_open(&server->gate))
        subscriber_tick_all(server);
    gate_raise(server, GATE_EVENT_STORE, 0);
}

static void take_changes(struct server *server, struct feed_message *m)
{
    /* Answers after the message must not be older than it. */
    rest(server);
    server->published = m->serial;
    subscriber_publish(server, CHANNEL_CHANGED, buffer_slice(&m->text));
}

static void take_message(struct server *server, struct feed_message *m)
{
    switch (m->kind) {
    case FEED_STORE:
        take_store(server, m);
        break;
    case FEED_ANSWERED:
        gate_raise(server, GATE_EVENT_ANSWERED, m->gate);
        break;
    case FEED_APPLIED:
        /* What was applied is in the next snapshot, not in one taken before. */
        rest(server);
        gate_raise(server, GATE_EVENT_APPLIED, m->gate);
        break;
    case FEED_DISTRUST:
        gate_raise(server, GATE_EVENT_DISTRUST, 0);
        break;
    case FEED_LOST:
        gate_raise(server, GATE_EVENT_LOST, 0);
        break;
    case FEED_CHANGED:
        take_changes(server, m);
        break;
    case FEED_PROOF:
        server->proof_boot_ms = m->written_boot_ms;
        break;
    case FEED_BOUND:
        rest(server);
        client_answer_pending(server, m->client, m->request, m->outcome, buffer_slice(&m->text));
        break;
    case FEED_REPORTED:
        denial_written(server);
        break;
    case FEED_DAMAGED:
        gate_raise(server, GATE_EVENT_DAMAGED, 0);
        release_store(server);
        break;
    }
    feed_message_free(m);
}

static void on_woken(struct ev_loop *loop, ev_async *w, int events)
{
    struct server *server = w->data;
    (void)loop;
    (void)events;
    feed_take(server->feed, &server->taken);
    for (size_t i = 0; i < server->taken.count; i++)
        take_message(server, server->taken.items[i]);
    server->taken.count = 0;
}

static void wake(void *context)
{
    struct server *server = context;
    ev_async_send(server->loop, &server->woken);
}

void server_look(struct server *server)
{
    uint64_t now_boot_ms = clock_boot_ms(), stood_ms = now_boot_ms - server->looked_boot_ms;
    server->looked_boot_ms = now_boot_ms;
    if (stood_ms <= GATE_STANDSTILL_MS)
        return;
    server->stood_in_turn = true;
    server->counts.standstills++;
    log_write(LOG_WARNING, "stood-still", "for %" PRIu64 " ms; asking the database first",
              stood_ms);
    ask_first(server);
}

/* Before anything of this turn is handled. */
static void on_turn_begin(struct ev_loop *loop, ev_check *w, int events)
{
    struct server *server = w->data;
    (void)loop;
    (void)events;
    server->now_mono_ms = clock_mono_ms();
    server_look(server);
    server->stood_in_turn = false; /* nothing was answered in it yet */
}

static void on_turn_end(struct ev_loop *loop, ev_prepare *w, int events)
{
    struct server *server = w->data;
    (void)loop;
    (void)events;
    client_flush_all(server);
    rest(server);
    server_look(server);
}

static void on_turning(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop;
    (void)events;
    gate_raise(w->data, GATE_EVENT_TIME, 0);
}

static void look_at_age(struct server *server)
{
    uint64_t age_ms = server_age_ms(server);
    switch (staleness_look(&server->staleness, age_ms, server_live(server)->staleness_alarm_ms,
                           server->now_mono_ms)) {
    case STALENESS_ALARM:
        if (age_ms == UINT64_MAX)
            log_write(LOG_WARNING, "data-old", "of unknown age");
        else
            log_write(LOG_WARNING, "data-old", "for %" PRIu64 " ms nothing has proved them current",
                      age_ms);
        return;
    case STALENESS_OVER:
        log_write(LOG_NOTICE, "data-current", "age %" PRIu64 " ms", age_ms);
        return;
    case STALENESS_SAME:
        return;
    }
}

static void on_tick(struct ev_loop *loop, ev_timer *w, int events)
{
    struct server *server = w->data;

    (void)loop;
    (void)events;
    look_at_age(server);
    rate_sample(&server->commands_rate, server->counts.commands, clock_mono_ms());
    subscriber_tick_all(server);
    denial_tick(server);
}

static void on_report(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop;
    (void)events;
    denial_send(w->data);
}

static void on_deadline(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop;
    (void)events;
    client_expire_pending(w->data);
}

static void on_accept(struct ev_loop *loop, ev_io *w, int events)
{
    struct server *server = w->data;
    (void)events;
    for (int i = 0; i < 64; i++) {
        int descriptor = accept4(server->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (descriptor >= 0) {
            client_accept(server, descriptor);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            /* The listener stays readable: without a pause the loop would do nothing else. */
            log_write(LOG_ERROR, "accept-failed", "%s", strerror(errno));
            ev_io_stop(loop, &server->accept);
            ev_timer_set(&server->accept_again, 0.1, 0.);
            ev_timer_start(loop, &server->accept_again);
        }
        return;
    }
}

static void on_accept_again(struct ev_loop *loop, ev_timer *w, int events)
{
    struct server *server = w->data;
    (void)events;
    ev_io_start(loop, &server->accept);
}

static void on_end(struct ev_loop *loop, ev_signal *w, int events)
{
    (void)events;
    log_write(LOG_NOTICE, "stopping", "signal %d", w->signum);
    ev_break(loop, EVBREAK_ALL);
}

/* Rotates the log and takes what can change without a restart; a bad file keeps the old options. */
static void on_hangup(struct ev_loop *loop, ev_signal *w, int events)
{
    struct server *server = w->data;
    struct options next;
    (void)loop;
    (void)events;
    log_reopen();
    log_write(LOG_NOTICE, "log-reopened", "after SIGHUP");
    if (options_read(server->config_path, &next) != ERROR_NONE) {
        log_write(LOG_ERROR, "reload-failed", "%s has errors; nothing was changed",
                  server->config_path);
        return;
    }
    options_free(&server->reloaded);
    server->reloaded = next;
    log_set_level(next.log_level);
    log_write(LOG_NOTICE, "reloaded", "%s", server->config_path);
}

/* Whether somebody answers on the path: a second mapperd must not take the first one's place. */
static bool answers(const struct sockaddr_un *address)
{
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe < 0)
        return false;
    bool alive =
        connect(probe, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN;
    close(probe);
    return alive;
}

static enum error listen_on(struct server *server)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct stat file;
    const char *path = server->options->socket;
    if (strlen(path) >= sizeof(address.sun_path)) {
        log_write(LOG_ERROR, "socket", "%s is longer than 107 bytes", path);
        return ERROR_TOO_LARGE;
    }
    strcpy(address.sun_path, path);
    if (answers(&address)) {
        log_write(LOG_ERROR, "socket", "somebody answers on %s already", path);
        return ERROR_CLOSED;
    }
    if (lstat(path, &file) == 0 && S_ISSOCK(file.st_mode))
        unlink(path);
    server->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t old = umask(0777); /* nobody in before the mode is set */
    bool bound = server->listener >= 0 &&
                 bind(server->listener, (struct sockaddr *)&address, sizeof(address)) == 0;
    umask(old);
    if (!bound || chmod(path, (mode_t)server->options->socket_mode) != 0 ||
        stat(path, &file) != 0 || listen(server->listener, 511) != 0) {
        log_write(LOG_ERROR, "socket", "%s: %s", path, strerror(errno));
        return ERROR_SYSTEM;
    }
    server->socket_gid = file.st_gid;
    return ERROR_NONE;
}

static void init_watchers(struct server *server)
{
    struct ev_loop *loop = server->loop;
    ev_io_init(&server->accept, on_accept, server->listener, EV_READ);
    ev_async_init(&server->woken, on_woken);
    ev_prepare_init(&server->turn_end, on_turn_end);
    ev_check_init(&server->turn_begin, on_turn_begin);
    /* Before every other watcher of the turn; what the feed says before what clients ask. */
    ev_set_priority(&server->turn_begin, EV_MAXPRI);
    ev_set_priority(&server->woken, EV_MAXPRI - 1);
    ev_timer_init(&server->turning, on_turning, 0.1, 0.1);
    ev_timer_init(&server->ticking, on_tick, TICK_S, TICK_S);
    ev_timer_init(&server->deadline, on_deadline, 0., 0.);
    ev_timer_init(&server->accept_again, on_accept_again, 0., 0.);
    ev_timer_init(&server->reporting, on_report, 0., 0.);
    ev_signal_init(&server->terminate, on_end, SIGTERM);
    ev_signal_init(&server->interrupt, on_end, SIGINT);
    ev_signal_init(&server->hangup, on_hangup, SIGHUP);
    server->accept.data = server->woken.data = server->turn_end.data = server->turn_begin.data =
        server->turning.data = server->ticking.data = server->deadline.data =
            server->accept_again.data = server->reporting.data = server->hangup.data = server;
    ev_async_start(loop, &server->woken);
    ev_prepare_start(loop, &server->turn_end);
    ev_check_start(loop, &server->turn_begin);
    ev_timer_start(loop, &server->turning);
    ev_timer_start(loop, &server->ticking);
    ev_signal_start(loop, &server->terminate);
    ev_signal_start(loop, &server->interrupt);
    ev_signal_start(loop, &server->hangup);
    ev_io_start(loop, &server->accept);
}

static void free_server(struct server *server)
{
    for (size_t i = 0; i < server->slot_count; i++)
        if (server->clients[i] != NULL)
            client_close(server->clients[i]);
    mem_free(server->clients);
    mem_free(server->generations);
    mem_free(server->free_slots);
    store_reader_close(&server->reader);
    journal_reader_close(&server->journal);
    if (server->feed != NULL)
        feed_stop(server->feed);
    queue_batch_free(&server->taken);
    reports_free(server->reports);
    buffer_free(&server->text);
    buffer_free(&server->rules);
    options_free(&server->reloaded);
    if (server->listener >= 0) {
        close(server->listener);
        unlink(server->options->socket);
    }
    ev_loop_destroy(server->loop);
}

enum error server_run(const struct options *options, const char *config_path)
{
    struct server server = { .options = options, .listener = -1, .config_path = config_path };
    server.proof_boot_ms = UINT64_MAX;
    server.started_mono_ms = server.now_mono_ms = clock_mono_ms();
    server.looked_boot_ms = clock_boot_ms();
    gate_init(&server.gate, server.now_mono_ms);
    buffer_init(&server.text, 0);
    buffer_init(&server.rules, 0);
    server.loop = ev_default_loop(EVFLAG_AUTO);
    if (server.loop == NULL)
        return ERROR_MEMORY;
    enum error e = listen_on(&server);
    if (e == ERROR_NONE) {
        init_watchers(&server);
        e = feed_start(options, wake, &server, &server.feed);
    }
    if (e == ERROR_NONE)
        e = journal_reader_open(feed_journal(server.feed), &server.journal);
    if (e == ERROR_NONE) {
        log_write(LOG_NOTICE, "started", "name %s, socket %s", options->name, options->socket);
        /* Opening the store took its time; that was no standstill. */
        server.looked_boot_ms = clock_boot_ms();
        sigset_t none;
        sigemptyset(&none);
        pthread_sigmask(SIG_SETMASK, &none, NULL);
        ev_run(server.loop, 0);
    }
    free_server(&server);
    return e;
}
