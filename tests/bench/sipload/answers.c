/* SPDX-License-Identifier: Apache-2.0 */
/* See answers.h. */
#include "answers.h"

#include "connection.h"
#include "options.h"
#include "outgoing.h"
#include "transactions.h"

#include <errno.h>
#include <netinet/in.h>

#define READ_SIZE 65536

static struct conn udp_uas;
static uint32_t to_tag;
static const char *uas_transport = "tls";

static void respond(struct conn *c, const struct msg *m, const char *status_line)
{
    struct buf *b = &c->out;
    bool invite = is(m->method, "INVITE");
    put(b, status_line);
    for (unsigned i = 0; i < m->nvia; i++) {
        put(b, "Via: ");
        put_str(b, m->via[i]);
        put(b, "\r\n");
    }
    for (unsigned i = 0; invite && i < m->nrr; i++) {
        put(b, "Record-Route: ");
        put_str(b, m->rr[i]);
        put(b, "\r\n");
    }
    put(b, "From: ");
    put_str(b, m->from);
    put(b, "\r\nTo: ");
    put_str(b, m->to);
    if (!has_tag(m->to)) {
        put(b, ";tag=t");
        put_number(b, run_id, 16);
        put(b, ".");
        put_number(b, to_tag, 16);
    }
    put(b, "\r\nCall-ID: ");
    put_str(b, m->call_id);
    put(b, "\r\nCSeq: ");
    put_str(b, m->cseq);
    put(b, "\r\n");
    if (!is(m->method, "MESSAGE")) {
        put_contact(b, c->phone ? c->phone->user : "uas", c->local,
                    c->phone ? "tls" : uas_transport);
        put(b, "\r\n");
    }
    put_body(b, "application/sdp", invite && status_line[8] == '2' ? sdp : "");
    mark_dirty(c);
}

static void on_request(struct conn *c, const struct msg *m)
{
    if (is(m->method, "ACK")) {
        seen.acks_seen++;
        return;
    }
    to_tag++;
    if (opt.ring && is(m->method, "INVITE"))
        respond(c, m, "SIP/2.0 180 Ringing\r\n");
    respond(c, m, "SIP/2.0 200 OK\r\n");
}

void on_message(struct conn *c, const struct msg *m)
{
    if (m->request)
        on_request(c, m);
    else
        on_response(c, m);
}

static void udp_cb(struct ev_loop *l, ev_io *w, int events)
{
    (void)l, (void)events;
    static char data[READ_SIZE];
    for (unsigned i = 0; i < 256; i++) {
        socklen_t n = sizeof udp_uas.udp_peer;
        ssize_t r = recvfrom(w->fd, data, sizeof data, 0, (struct sockaddr *)&udp_uas.udp_peer, &n);
        struct msg m;
        if (r <= 0)
            return;
        if (parse_msg(data, (size_t)r, &m) <= 0)
            continue;
        on_message(&udp_uas, &m);
        if (udp_uas.out.len)
            sendto(w->fd, udp_uas.out.p, udp_uas.out.len, 0, (struct sockaddr *)&udp_uas.udp_peer,
                   n);
        udp_uas.out.len = 0;
    }
}

static void accept_cb(struct ev_loop *l, ev_io *w, int events)
{
    (void)l, (void)events;
    int fd;
    while ((fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
        conn_accepted(fd);
}

void listen_as_next_hop(void)
{
    static ev_io listener;
    bool udp = opt.uas == UAS_UDP;
    int on = 1, size = 4 << 20;
    int fd = socket(AF_INET, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (udp)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    if (bind(fd, (struct sockaddr *)&opt.uas_addr, sizeof opt.uas_addr) ||
        (!udp && listen(fd, 4096)))
        die("next-hop listener: %s", strerror(errno));
    if (udp) {
        udp_uas = (struct conn){ .state = CONN_OPEN,
                                 .udp = true,
                                 .dirty = true }; /* never on the dirty list */
        udp_uas.io.fd = fd;
        set_local(&udp_uas);
    }
    uas_transport = udp ? "udp" : opt.uas == UAS_TCP ? "tcp" : "tls";
    ev_io_init(&listener, udp ? udp_cb : accept_cb, fd, EV_READ);
    ev_io_start(loop, &listener);
}
