/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/proxy/authorization/stage.h"

#include "common/log.h"
#include "proxy/config.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

unsigned stage_order;

static const struct config config = { .international = SLICE("00,011") };

static void on_changed(void *owner, uint64_t tag)
{
    struct stage *stage = owner;

    if (stage->changed_count < sizeof stage->changed / sizeof *stage->changed)
        stage->changed[stage->changed_count++] = tag;
    if (stage->on_changed)
        stage->on_changed(tag);
}

void stage_listen(struct stage *stage)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    snprintf(address.sun_path, sizeof address.sun_path, "%s", stage->path);
    unlink(stage->path);
    stage->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(stage->listener >= 0);
    assert_int_equal(bind(stage->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(stage->listener, 16), 0);
}

void stage_stop_listening(struct stage *stage)
{
    close(stage->listener);
    stage->listener = -1;
}

void stage_open(struct stage *stage)
{
    struct ask_options options = { .cache_entries = 1000 };
    struct ask_user user = { .owner = stage, .changed = on_changed };

    log_set_level(LOG_ERROR);
    memset(stage, 0, sizeof *stage);
    stage->questions.fd = stage->writes.fd = -1;
    stage_order = 0;
    snprintf(stage->folder, sizeof stage->folder, "/tmp/holdline-test-XXXXXX");
    assert_non_null(mkdtemp(stage->folder));
    snprintf(stage->path, sizeof stage->path, "%s/socket", stage->folder);
    stage_listen(stage);
    stage->base.loop = ev_loop_new(EVFLAG_AUTO);
    stage->base.now_mono_ms = 1000000;
    stage->base.now_unix_s = 1700000000;
    stage->base.workers = 1;
    stage->base.config = &config;
    timers_init(&stage->base.timers);
    run_queue_init(&stage->base.run_queue);
    options.socket_path = stage->path;
    assert_int_equal(ask_new(&stage->base, &options, &user, &stage->ask), ERROR_NONE);
}

void stage_hang_up(struct stage_end *end)
{
    if (end->fd >= 0) {
        close(end->fd);
        buffer_free(&end->input);
    }
    end->fd = -1;
}

void stage_close(struct stage *stage)
{
    ask_free(stage->ask);
    stage_hang_up(&stage->questions);
    stage_hang_up(&stage->writes);
    if (stage->listener >= 0)
        stage_stop_listening(stage);
    unlink(stage->path);
    rmdir(stage->folder);
    run_queue_drain(&stage->base.run_queue);
    timers_free(&stage->base.timers);
    ev_loop_destroy(stage->base.loop);
}

static void receive(struct stage_end *end)
{
    char text[65536];
    ssize_t got;

    while (end->fd >= 0 && (got = recv(end->fd, text, sizeof text, MSG_DONTWAIT)) > 0)
        buffer_add(&end->input, (struct slice){ text, (size_t)got });
}

/* The connection that says SUBSCRIBE is that of questions. */
static void sort(struct stage *stage, int fd)
{
    char peek[64] = "";
    struct stage_end *end;

    recv(fd, peek, sizeof peek - 1, MSG_PEEK | MSG_DONTWAIT);
    end = strstr(peek, "SUBSCRIBE") ? &stage->questions : &stage->writes;
    stage_hang_up(end);
    end->fd = fd;
    buffer_init(&end->input, 0);
}

void stage_turn(struct stage *stage)
{
    int fd;

    ev_run(stage->base.loop, EVRUN_NOWAIT);
    timers_run(&stage->base.timers, stage->base.now_mono_ms);
    run_queue_drain(&stage->base.run_queue);
    while (stage->listener >= 0 && (fd = accept(stage->listener, NULL, NULL)) >= 0)
        sort(stage, fd);
}

void stage_pass(struct stage *stage, uint64_t ms)
{
    while (ms > 0) {
        uint64_t step = ms < 50 ? ms : 50;

        stage->base.now_mono_ms += step;
        ms -= step;
        stage_turn(stage);
    }
}

void stage_up(struct stage *stage, unsigned epoch, unsigned serial)
{
    static const char confirmed[] = "*3\r\n$9\r\nsubscribe\r\n$7\r\nchanged\r\n:1\r\n";

    for (int i = 0;
         i < 100 && (stage->questions.fd < 0 || ask_state(stage->ask) != ASK_SUBSCRIBING); i++)
        stage_pass(stage, 50);
    assert_int_equal(ask_state(stage->ask), ASK_SUBSCRIBING);
    stage_expect(&stage->questions, "SUBSCRIBE changed");
    stage_send(stage, &stage->questions, confirmed, sizeof confirmed - 1);
    stage_tick(stage, epoch, serial);
    assert_int_equal(ask_state(stage->ask), ASK_UP);
}

void stage_expect(struct stage_end *end, const char *command)
{
    struct resp_command read;
    char text[8192] = "";
    size_t used = 0;

    assert_true(end->fd >= 0);
    receive(end);
    assert_int_equal(resp_read_command(buffer_slice(&end->input), &read, &used), ERROR_NONE);
    for (size_t i = 0; i < read.count; i++) {
        strncat(text, read.args[i].data, read.args[i].size);
        if (i + 1 < read.count)
            strcat(text, " ");
    }
    assert_string_equal(text, command);
    buffer_consume(&end->input, used);
}

void stage_expect_nothing(struct stage_end *end)
{
    receive(end);
    assert_int_equal(buffer_size(&end->input), 0);
}

void stage_send(struct stage *stage, struct stage_end *end, const char *text, size_t size)
{
    while (size) {
        ssize_t put = send(end->fd, text, size, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (put > 0) {
            text += put;
            size -= (size_t)put;
        } else if (errno != EAGAIN)
            break; /* it has closed: what is left goes nowhere */
        stage_turn(stage);
    }
    stage_turn(stage);
}

static void send_buffer(struct stage *stage, struct stage_end *end, struct buffer *out)
{
    struct slice s = buffer_slice(out);

    assert_false(out->failed);
    stage_send(stage, end, s.data, s.size);
    buffer_free(out);
}

void stage_message(struct stage *stage, const char *payload)
{
    struct buffer out;

    buffer_init(&out, 0);
    resp_add_array(&out, 3);
    resp_add_bulk_text(&out, "message");
    resp_add_bulk_text(&out, "changed");
    resp_add_bulk_text(&out, payload);
    send_buffer(stage, &stage->questions, &out);
}

void stage_tick(struct stage *stage, unsigned epoch, unsigned serial)
{
    char text[64];

    snprintf(text, sizeof text, "%u %u tick 12", epoch, serial);
    stage_message(stage, text);
}

static void begin_reply(struct buffer *out, size_t count, unsigned epoch, unsigned serial,
                        const char *state)
{
    buffer_init(out, 0);
    resp_add_array(out, count);
    resp_add_integer(out, epoch);
    resp_add_integer(out, serial);
    resp_add_bulk_text(out, state);
}

void stage_peer(struct stage *stage, unsigned epoch, unsigned serial, const char *state,
                const char *cn, const char *identity)
{
    struct buffer out;

    begin_reply(&out, identity ? 5 : 4, epoch, serial, state);
    resp_add_bulk_text(&out, cn);
    if (identity)
        resp_add_bulk_text(&out, identity);
    send_buffer(stage, &stage->questions, &out);
}

void stage_rights(struct stage *stage, unsigned epoch, unsigned serial, const char *state,
                  const char *group, const char *rule)
{
    struct buffer out;

    begin_reply(&out, rule ? 5 : 4, epoch, serial, state);
    resp_add_array(&out, group ? 1 : 0);
    if (group)
        resp_add_bulk_text(&out, group);
    if (rule)
        resp_add_bulk_text(&out, rule);
    send_buffer(stage, &stage->questions, &out);
}

void stage_locate(struct stage *stage, unsigned epoch, unsigned serial, const char *state,
                  const char *binding)
{
    struct buffer out;

    begin_reply(&out, binding ? 4 : 3, epoch, serial, state);
    if (binding)
        resp_add_bulk_text(&out, binding);
    send_buffer(stage, &stage->questions, &out);
}

static void on_done(struct lookup_waiter *waiter)
{
    struct stage_waiter *own = (struct stage_waiter *)waiter;

    own->done++;
    own->order = ++stage_order;
}

void stage_waiter_init(struct stage_waiter *waiter)
{
    memset(waiter, 0, sizeof *waiter);
    waiter->waiter.done = on_done;
}
