/* SPDX-License-Identifier: Apache-2.0 */
/* See transactions.h. */
#include "transactions.h"

#include "failures.h"
#include "options.h"
#include "outgoing.h"

bool running, counting;
struct seen seen;

void send_first(struct conn *c)
{
    struct slot *s = &c->slots[0];
    s->state = SLOT_FIRST;
    s->forged = false;
    s->t0 = now_ns();
    if (opt.first == FIRST_REGISTER)
        send_register(c, s);
    else
        send_options_to_target(c, s);
}

/* Spreads the forged requests evenly over the run. */
static bool forge_next(void)
{
    static double due;
    due += opt.bad_from;
    if (due < 100)
        return false;
    due -= 100;
    return true;
}

void issue(struct conn *c, struct slot *s, uint64_t t0)
{
    s->forged = forge_next();
    s->t0 = t0;
    s->state = opt.method == METHOD_INVITE ? SLOT_INVITE : SLOT_PLAIN;
    bool refresh = opt.method == METHOD_REGISTER || (opt.method == METHOD_MIXED && c->seq % 2);
    if (refresh)
        send_register(c, s);
    else if (opt.uas == UAS_NONE)
        send_options_to_target(c, s);
    else
        send_to_callee(c, s);
}

void slot_finished(struct conn *c, struct slot *s)
{
    s->state = SLOT_FREE;
    if (running && opt.rate == 0)
        issue(c, s, now_ns());
}

static void count_final(struct slot *s, unsigned status)
{
    if (!counting)
        return;
    seen.transactions++;
    hist_add(s->state == SLOT_BYE ? &seen.bye : &seen.request, now_ns() - s->t0);
    if (s->forged) {
        if (status == 403)
            seen.forged_refused++;
        else if (status < 300)
            seen.forged_accepted++;
        else
            count_failure("status %u to a forged From", status);
    } else if (status != opt.expect)
        count_failure("status %u", status);
}

/* Phones set themselves up with one request; its answer decides whether they are ready. */
static void first_answered(struct conn *c, struct slot *s, unsigned status)
{
    s->state = SLOT_FREE;
    if (opt.first == FIRST_REGISTER ? status / 100 == 2 : status != 403 && status < 500) {
        if (counting) {
            seen.registers++;
            hist_add(&seen.first, now_ns() - s->t0);
        }
        conn_ready(c);
    } else
        conn_failed(c, "first request: status %u", status);
}

/* Finds the slot that a response answers from the branch of its topmost Via. */
static struct slot *slot_of(struct conn *c, const struct msg *m)
{
    static const char mark[] = ";branch=z9hG4bK";
    if (!m->nvia || !c->slots)
        return NULL;
    const char *p = memmem(m->via[0].p, m->via[0].n, mark, sizeof mark - 1);
    if (!p)
        return NULL;
    char *end;
    unsigned long field[4];
    p += sizeof mark - 1;
    for (unsigned i = 0; i < 4; i++, p = end + 1) {
        field[i] = strtoul(p, &end, 16);
        if (i < 3 && *end != '.')
            return NULL;
    }
    if (field[0] != run_id || field[1] != c->index || field[2] >= c->nslots)
        return NULL;
    struct slot *s = &c->slots[field[2]];
    return s->state != SLOT_FREE && s->seq == field[3] ? s : NULL;
}

void on_response(struct conn *c, const struct msg *m)
{
    struct slot *s = slot_of(c, m);
    if (!s) {
        seen.stray += m->status >= 200;
        return;
    }
    if (m->status < 200)
        return;
    switch (s->state) {
    case SLOT_FIRST:
        first_answered(c, s, m->status);
        return;
    case SLOT_INVITE:
        count_final(s, m->status);
        if (m->status >= 300) {
            send_ack_to_failure(c, s, m);
            break;
        }
        send_in_dialog(c, s, "ACK", 1, m);
        seen.acks_sent++;
        send_in_dialog(c, s, "BYE", 2, m);
        s->state = SLOT_BYE;
        s->t0 = now_ns();
        return;
    case SLOT_BYE:
        count_final(s, m->status);
        seen.calls += counting && m->status < 300;
        break;
    case SLOT_FREE:
    case SLOT_PLAIN:
        count_final(s, m->status);
        break;
    }
    slot_finished(c, s);
}
