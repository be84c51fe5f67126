/* SPDX-License-Identifier: Apache-2.0 */
/* See course.h. */
#include "course.h"

#include "answers.h"
#include "connection.h"
#include "failures.h"
#include "options.h"
#include "outgoing.h"
#include "report.h"
#include "transactions.h"

#include <openssl/err.h>
#include <openssl/rand.h>
#include <stdarg.h>
#include <time.h>
#include <unistd.h>

#define TICK      0.1 /* seconds between scans for time-outs and retries */
#define SETTLE    1.0 /* seconds for the target to come to rest before its memory is read */
#define DRAIN_MAX 3.0 /* seconds to wait for outstanding answers after the measured window */

enum phase { PHASE_SETUP, PHASE_WARMUP, PHASE_COMMANDS, PHASE_MEASURE, PHASE_DRAIN };
static enum phase phase;
static ev_timer phase_timer;
uint64_t begin_ns, end_ns;
struct usage server_begin, server_end;
double own_begin, own_end;
uint64_t quantile_at[4]; /* avalanche: when 50, 90, 99, 100 % were ready */
unsigned nready, nfailed;

static void window_begin(bool memory)
{
    server_begin = measure_servers(memory);
    own_begin = own_cpu();
    begin_ns = now_ns();
    counting = true;
}

static void window_end(bool memory)
{
    end_ns = now_ns();
    counting = false;
    own_end = own_cpu();
    server_end = measure_servers(memory);
}

static void after(double seconds)
{
    ev_now_update(loop);
    ev_timer_stop(loop, &phase_timer);
    ev_timer_set(&phase_timer, seconds, 0);
    ev_timer_start(loop, &phase_timer);
}

static unsigned outstanding(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < nconns; i++)
        for (unsigned s = 0; s < conns[i].nslots; s++)
            n += conns[i].slots[s].state != SLOT_FREE;
    return n;
}

static unsigned issue_on_all(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < opt.connections; i++)
        for (unsigned s = 0; conns[i].ready && s < conns[i].nslots; s++, n++)
            issue(&conns[i], &conns[i].slots[s], now_ns());
    return n;
}

static void begin_load(void)
{
    running = true;
    phase = PHASE_WARMUP;
    after(opt.warmup);
    if (opt.mode == MODE_REQUESTS && opt.rate == 0)
        issue_on_all();
}

/* The report of a window that was asked for on standard input; then the next may begin. */
static void window_report(void)
{
    window_end(false);
    report();
    printf("end\n");
    fflush(stdout);
    memset(&seen, 0, sizeof seen);
    forget_failures();
    phase = PHASE_COMMANDS;
}

static void take_command(const char *line)
{
    if (phase != PHASE_COMMANDS)
        die("a window is open already");
    window_begin(false);
    phase = PHASE_MEASURE;
    if (opt.mode == MODE_BURST)
        printf("sent=%u\n", issue_on_all());
    else
        after(atof(line));
    fflush(stdout);
}

static void commands_cb(struct ev_loop *l, ev_io *w, int events)
{
    (void)events;
    static char line[64];
    static size_t used;
    ssize_t n = read(w->fd, line + used, sizeof line - 1 - used);
    if (n <= 0) {
        ev_io_stop(l, w);
        running = false;
        phase = PHASE_DRAIN;
        after(DRAIN_MAX);
        return;
    }
    used += (size_t)n;
    line[used] = 0;
    char *end = strchr(line, '\n');
    if (!end && used == sizeof line - 1)
        die("a line of standard input is too long");
    if (!end)
        return;
    used = 0;
    take_command(line);
}

/* Whoever drives us says when to measure. */
static void await_commands(void)
{
    static ev_io commands;
    phase = PHASE_COMMANDS;
    running = opt.mode == MODE_REQUESTS;
    if (running && opt.rate == 0)
        issue_on_all();
    printf("ready=%u\n", nready);
    fflush(stdout);
    ev_io_init(&commands, commands_cb, STDIN_FILENO, EV_READ);
    ev_io_start(loop, &commands);
}

/* Everybody is connected, or has given up. */
static void setup_done(void)
{
    if (opt.mode == MODE_AVALANCHE) {
        window_end(true);
        ev_break(loop, EVBREAK_ALL);
    } else if (opt.mode == MODE_IDLE) {
        phase = PHASE_MEASURE;
        after(opt.hold);
    } else if (opt.mode == MODE_BURST || opt.interactive)
        await_commands();
    else
        begin_load();
}

static void phase_cb(struct ev_loop *l, ev_timer *w, int events)
{
    (void)l, (void)w, (void)events;
    switch (phase) {
    case PHASE_SETUP: /* avalanche: ran out of time */
        setup_done();
        break;
    case PHASE_WARMUP:
        phase = PHASE_MEASURE;
        window_begin(false);
        after(opt.duration);
        break;
    case PHASE_COMMANDS:
        break;
    case PHASE_MEASURE:
        if (opt.interactive) {
            window_report();
            break;
        }
        window_end(opt.mode == MODE_IDLE);
        running = false;
        phase = PHASE_DRAIN;
        after(opt.mode == MODE_REQUESTS ? DRAIN_MAX : 0);
        break;
    case PHASE_DRAIN:
        ev_break(loop, EVBREAK_ALL);
    }
}

/* Open loop: requests start when they are due, and their latency counts from then, so a slow target
 * cannot hide. */
static void rate_cb(struct ev_loop *l, ev_timer *w, int events)
{
    (void)l, (void)w, (void)events;
    static uint64_t started, sent, last_tick;
    static unsigned next;
    if (!running)
        return;
    uint64_t now = now_ns();
    if (!started)
        started = now;
    uint64_t due = (uint64_t)((double)(now - started) / 1e9 * opt.rate);
    for (unsigned tried = 0; sent < due && tried < opt.connections;
         next = (next + 1) % opt.connections) {
        struct conn *c = &conns[next];
        struct slot *s = NULL;
        for (unsigned i = 0; c->ready && i < c->nslots && !s; i++)
            if (c->slots[i].state == SLOT_FREE)
                s = &c->slots[i];
        if (!s) {
            tried++;
            continue;
        }
        tried = 0;
        /* What was due since the last tick goes out now: the tick is ours, not the target's
         * slowness. */
        uint64_t when = started + (uint64_t)((double)sent / opt.rate * 1e9);
        issue(c, s, when < last_tick ? when : now);
        sent++;
    }
    last_tick = now;
    seen.late += counting && sent < due;
}

void conn_ready(struct conn *c)
{
    if (counting)
        hist_add(&seen.connect, (c->done ? c->done : now_ns()) - c->t0);
    if (opt.mode == MODE_HANDSHAKE) {
        if (counting && opt.first == FIRST_NONE) {
            seen.handshakes++;
            seen.resumed += SSL_session_reused(c->ssl) != 0;
        }
        conn_close(c);
        if (!running)
            return;
        c->phone += nconns;
        if (c->phone >= phones + nphones)
            c->phone = &phones[c->index];
        start_later(c);
        return;
    }
    c->ready = true;
    c->setup = false;
    in_setup--;
    nready++;
    if (opt.mode == MODE_AVALANCHE) {
        static const double part[] = { 0.50, 0.90, 0.99, 1.00 };
        for (unsigned i = 0; i < 4; i++)
            if (!quantile_at[i] && nready >= part[i] * nconns)
                quantile_at[i] = now_ns();
    }
    if (nready + nfailed == nconns)
        setup_done();
}

void conn_failed(struct conn *c, const char *fmt, ...)
{
    char reason[64];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(reason, sizeof reason, fmt, ap);
    va_end(ap);
    ERR_clear_error();
    bool was_setup = c->setup;
    bool accepted = c->role == ROLE_ACCEPTED;
    bool ours = phase != PHASE_DRAIN && !accepted && (counting || opt.mode != MODE_HANDSHAKE);
    for (unsigned i = 0; i < c->nslots && ours; i++)
        if (c->slots[i].state > SLOT_FIRST)
            count_failure("connection lost with a request outstanding");
    conn_close(c);
    if (accepted || phase == PHASE_DRAIN)
        return;
    if (ours)
        count_failure("%s", reason);
    if (opt.mode == MODE_HANDSHAKE) {
        if (running)
            start_later(c);
    } else if (opt.mode == MODE_AVALANCHE) {
        if (!was_setup)
            nready--;
        c->retry_at = now_ns() + (uint64_t)(opt.retry_after * 1e9);
    } else if (was_setup) {
        nfailed++;
        if (nready + nfailed == nconns)
            setup_done();
    }
}

static void tick_cb(struct ev_loop *l, ev_timer *w, int events)
{
    (void)l, (void)w, (void)events;
    uint64_t now = now_ns(), limit = (uint64_t)(opt.timeout * 1e9);
    for (unsigned i = 0; i < nconns; i++) {
        struct conn *c = &conns[i];
        if (c->retry_at && c->retry_at <= now) {
            c->retry_at = 0;
            start_later(c);
        }
        if (c->setup && now > c->t0 + limit)
            conn_failed(c, "setup timed out");
        for (unsigned s = 0; c->ready && s < c->nslots; s++) {
            struct slot *slot = &c->slots[s];
            if (slot->state <= SLOT_FIRST || now < slot->t0 + limit)
                continue;
            if (counting)
                count_failure("request timed out");
            slot_finished(c, slot);
        }
    }
    if (phase == PHASE_DRAIN && !outstanding())
        ev_break(loop, EVBREAK_ALL);
    if (opt.mode == MODE_BURST && phase == PHASE_MEASURE && !outstanding())
        window_report();
}

static void prepare_mode(void)
{
    unsigned n = opt.connections;
    switch (opt.mode) {
    case MODE_HANDSHAKE:
        opt.ramp = n;
        make_phones(opt.count > n ? opt.count : n);
        make_conns(n, 1);
        begin_load();
        break;
    case MODE_IDLE:
        make_phones(opt.count);
        make_conns(opt.count, 1);
        window_begin(true);
        break;
    case MODE_AVALANCHE:
        opt.ramp = opt.count;
        make_phones(opt.count);
        make_conns(opt.count, 1);
        window_begin(true);
        after(opt.duration);
        break;
    case MODE_BURST:
    case MODE_REQUESTS:
        if (!opt.callees)
            opt.callees = n;
        make_phones(n + opt.callees);
        make_conns(opt.mode == MODE_REQUESTS && opt.uas == UAS_PROXY &&
                           opt.method != METHOD_REGISTER
                       ? n + opt.callees
                       : n,
                   opt.method == METHOD_REGISTER || opt.method == METHOD_MIXED ? 1 : opt.window);
        break;
    }
}

/* Before each wait. */
static void prepare_cb(struct ev_loop *l, ev_prepare *w, int events)
{
    (void)l, (void)w, (void)events;
    conns_turn();
}

/* Memory after every phone has hung up: what the target does not give back. */
static void report_after_close(void)
{
    for (unsigned i = 0; i < nconns; i++)
        conn_close(&conns[i]);
    struct timespec pause = { (time_t)(SETTLE + 1), 0 };
    nanosleep(&pause, NULL);
    if (opt.npids)
        printf("server_pss_after_close=%llu\n", (unsigned long long)measure_servers(true).pss);
}

void run_load(void)
{
    static ev_prepare prepare;
    static ev_timer tick, rate;
    loop = must(ev_default_loop(EVFLAG_AUTO));
    if (RAND_bytes((unsigned char *)&run_id, sizeof run_id) != 1)
        die("no random numbers");
    make_contexts();
    if (opt.uas == UAS_TCP || opt.uas == UAS_UDP || opt.uas == UAS_TLS)
        listen_as_next_hop();
    ev_init(&phase_timer, phase_cb);
    prepare_mode();
    ev_prepare_init(&prepare, prepare_cb);
    ev_prepare_start(loop, &prepare);
    ev_timer_init(&tick, tick_cb, TICK, TICK);
    ev_timer_start(loop, &tick);
    ev_timer_init(&rate, rate_cb, 0.001, 0.001);
    if (opt.rate > 0)
        ev_timer_start(loop, &rate);
    ev_run(loop, 0);
    if (opt.mode == MODE_BURST || opt.interactive)
        return;
    report();
    if (opt.mode == MODE_IDLE)
        report_after_close();
}
