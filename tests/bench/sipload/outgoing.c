/* SPDX-License-Identifier: Apache-2.0 */
/* See outgoing.h. */
#include "outgoing.h"

#include "options.h"

uint32_t run_id;

static void put_call(struct buf *b, const struct conn *c, uint32_t call)
{
    put_number(b, run_id, 16);
    put(b, ".");
    put_number(b, c->index, 16);
    put(b, ".");
    put_number(b, call, 16);
}

static void put_branch(struct buf *b, const struct conn *c, const struct slot *s)
{
    put(b, "z9hG4bK");
    put_number(b, run_id, 16);
    put(b, ".");
    put_number(b, c->index, 16);
    put(b, ".");
    put_number(b, (uint64_t)(s - c->slots), 16);
    put(b, ".");
    put_number(b, s->seq, 16);
}

static void put_request_head(struct buf *b, const struct conn *c, const struct slot *s,
                             const char *method, struct str uri)
{
    put(b, method);
    put(b, " ");
    put_str(b, uri);
    put(b, " SIP/2.0\r\nVia: SIP/2.0/TLS ");
    put(b, c->local);
    put(b, ";branch=");
    put_branch(b, c, s);
    put(b, ";rport\r\nMax-Forwards: 70\r\n");
}

static void put_aor(struct buf *b, const char *user, const char *domain)
{
    put(b, "<sip:");
    put(b, user);
    put(b, "@");
    put(b, domain);
    put(b, ">");
}

static void put_dialog(struct buf *b, const struct conn *c, uint32_t call, const char *from_user,
                       unsigned cseq, const char *method)
{
    put(b, "From: ");
    put_aor(b, from_user, opt.domain);
    put(b, ";tag=f");
    put_call(b, c, call);
    put(b, "\r\nCall-ID: ");
    put_call(b, c, call);
    put(b, "@sipload\r\nCSeq: ");
    put_number(b, cseq, 10);
    put(b, " ");
    put(b, method);
    put(b, "\r\n");
}

void put_contact(struct buf *b, const char *user, const char *address, const char *transport)
{
    put(b, "Contact: <sip:");
    put(b, user);
    put(b, "@");
    put(b, address);
    put(b, ";transport=");
    put(b, transport);
    put(b, ">");
}

void put_body(struct buf *b, const char *type, const char *body)
{
    if (*body) {
        put(b, "Content-Type: ");
        put(b, type);
        put(b, "\r\n");
    }
    put(b, "Content-Length: ");
    put_number(b, strlen(body), 10);
    put(b, "\r\n\r\n");
    put(b, body);
}

const char sdp[] =
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 40000 RTP/AVP 9 8 101\r\na=rtpmap:9 G722/8000\r\na=rtpmap:8 PCMA/8000\r\n"
    "a=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n";

static const char *method_name[] = { "MESSAGE", "OPTIONS", "INVITE", "REGISTER" };

static const char *from_user(const struct conn *c, const struct slot *s)
{
    return s->forged ? phones[(size_t)(c->phone - phones + 1) % nphones].user : c->phone->user;
}

/* One Call-ID for all registrations of a phone, as RFC 3261 10.2 asks; the forged ones are another
 * UA's. */
void send_register(struct conn *c, struct slot *s)
{
    char uri[300];
    const char *user = from_user(c, s);
    struct buf *b = &c->out;
    s->seq = ++c->seq;
    snprintf(uri, sizeof uri, "sip:%s", opt.domain);
    put_request_head(b, c, s, "REGISTER", str_of(uri));
    put_dialog(b, c, s->forged ? UINT32_MAX : 0, user, ++c->reg_cseq, "REGISTER");
    put(b, "To: ");
    put_aor(b, user, opt.domain);
    put(b, "\r\n");
    put_contact(b, user, c->local, "tls");
    if (opt.outbound) {
        put(b, ";reg-id=1;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-");
        put(b, c->phone->mac);
        put(b, ">\"\r\nSupported: path, outbound");
    }
    put(b, "\r\nExpires: 3600\r\n");
    put_body(b, "", "");
    mark_dirty(c);
}

void send_options_to_target(struct conn *c, struct slot *s)
{
    char uri[300];
    struct buf *b = &c->out;
    s->seq = s->call = ++c->seq;
    snprintf(uri, sizeof uri, "sip:%s", opt.domain);
    put_request_head(b, c, s, "OPTIONS", str_of(uri));
    put_dialog(b, c, s->call, from_user(c, s), 1, "OPTIONS");
    put(b, "To: <");
    put(b, uri);
    put(b, ">\r\n");
    put_contact(b, c->phone->user, c->local, "tls");
    put(b, "\r\nAccept: application/sdp\r\n");
    put_body(b, "", "");
    mark_dirty(c);
}

/* The callee is fixed for a caller; callees are the phones after the callers. */
static const char *callee_of(const struct conn *c)
{
    return phones[opt.connections + c->index % opt.callees].user;
}

static void callee_uri(const struct conn *c, char *uri, size_t size)
{
    snprintf(uri, size, "sip:%s@%s", callee_of(c), opt.callee_domain);
}

void send_to_callee(struct conn *c, struct slot *s)
{
    char uri[300];
    const char *method = method_name[opt.method];
    struct buf *b = &c->out;
    s->seq = s->call = ++c->seq;
    callee_uri(c, uri, sizeof uri);
    put_request_head(b, c, s, method, str_of(uri));
    put_dialog(b, c, s->call, from_user(c, s), 1, method);
    put(b, "To: <");
    put(b, uri);
    put(b, ">\r\n");
    if (opt.method != METHOD_MESSAGE) {
        put_contact(b, c->phone->user, c->local, "tls");
        put(b, "\r\n");
    }
    if (opt.method == METHOD_INVITE)
        put_body(b, "application/sdp", sdp);
    else if (opt.method == METHOD_MESSAGE)
        put_body(b, "text/plain", "Are you there?");
    else
        put_body(b, "", "");
    mark_dirty(c);
}

void send_ack_to_failure(struct conn *c, struct slot *s, const struct msg *m)
{
    char uri[300];
    struct buf *b = &c->out;
    callee_uri(c, uri, sizeof uri);
    put_request_head(b, c, s, "ACK", str_of(uri));
    put_dialog(b, c, s->call, from_user(c, s), 1, "ACK");
    put(b, "To: ");
    put_str(b, m->to);
    put(b, "\r\n");
    put_body(b, "", "");
    mark_dirty(c);
}

void send_in_dialog(struct conn *c, struct slot *s, const char *method, unsigned cseq,
                    const struct msg *m)
{
    struct str routes[MAX_HOPS], target = uri_of(m->contact), uri = target;
    unsigned n = split_routes(m, routes);
    struct buf *b = &c->out;
    bool strict = n && !memmem(routes[n - 1].p, routes[n - 1].n, ";lr", 3);
    if (strict)
        uri = uri_of(routes[--n]);
    s->seq = ++c->seq;
    put_request_head(b, c, s, method, uri);
    while (n) {
        put(b, "Route: ");
        put_str(b, routes[--n]);
        put(b, "\r\n");
    }
    if (strict) {
        put(b, "Route: <");
        put_str(b, target);
        put(b, ">\r\n");
    }
    put_dialog(b, c, s->call, from_user(c, s), cseq, method);
    put(b, "To: ");
    put_str(b, m->to);
    put(b, "\r\n");
    put_body(b, "", "");
    mark_dirty(c);
}
