/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/request/session_timer.h"

#include "proxy/sip/session_expires.h"

static uint32_t larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

struct session_plan session_timer_decide(const struct session_offer *offer, uint32_t wanted_s)
{
    struct session_plan plan = { .supported = offer->supported };
    uint32_t floor_s = offer->has_min ? offer->min_s : SESSION_TIMER_MIN_S;

    if (wanted_s == 0)
        return (struct session_plan){ 0 };
    if (offer->has_expires && offer->expires_s < SESSION_TIMER_MIN_S) {
        if (offer->supported) {
            plan.verdict = SESSION_TOO_BRIEF;
            return plan;
        }
        floor_s = larger(floor_s, SESSION_TIMER_MIN_S);
        plan.write_min = !offer->has_min || floor_s != offer->min_s;
        plan.min_s = floor_s;
    }
    plan.verdict = SESSION_TIMED;
    plan.expires_s =
        offer->has_expires && offer->expires_s < wanted_s ? offer->expires_s : wanted_s;
    plan.expires_s = larger(plan.expires_s, floor_s);
    /* What came at or above the floor is never raised: it is the larger one then, or ours is. */
    plan.write_expires = !offer->has_expires || plan.expires_s != offer->expires_s;
    return plan;
}

static bool names_timer(const struct message *m, enum header_id id)
{
    struct message_values values = message_values(m, id);
    struct slice tag;

    while (message_next_value(&values, &tag) == ERROR_NONE)
        if (slice_equal_nocase(tag, SLICE("timer")))
            return true;
    return false;
}

static bool is_refresh(const struct message *m)
{
    return m->method == METHOD_INVITE || m->method == METHOD_UPDATE;
}

enum reason session_timer_read(const struct message *request, uint32_t wanted_s,
                               struct session_plan *plan)
{
    struct slice expires = message_value(request, HEADER_SESSION_EXPIRES);
    struct slice min = message_value(request, HEADER_MIN_SE);
    struct session_offer offer = { .has_expires = expires.data != NULL,
                                   .has_min = min.data != NULL };
    struct session_expires read;

    *plan = (struct session_plan){ 0 };
    if (wanted_s == 0 || !is_refresh(request))
        return REASON_ALLOWED;
    if (message_header_count(request, HEADER_SESSION_EXPIRES) > 1 ||
        message_header_count(request, HEADER_MIN_SE) > 1)
        return REASON_MALFORMED;
    if (offer.has_expires && session_expires_parse(expires, &read) != ERROR_NONE)
        return REASON_MALFORMED;
    if (offer.has_min && session_min_parse(min, &offer.min_s) != ERROR_NONE)
        return REASON_MALFORMED;
    offer.expires_s = offer.has_expires ? read.seconds : 0;
    offer.supported =
        names_timer(request, HEADER_SUPPORTED) || names_timer(request, HEADER_REQUIRE);
    *plan = session_timer_decide(&offer, wanted_s);
    return plan->verdict == SESSION_TOO_BRIEF ? REASON_SESSION_TOO_BRIEF : REASON_ALLOWED;
}

/* Another number; the parameters stay as they were written. */
static void write_number(struct edit_list *edits, const struct message *m, enum header_id id,
                         uint32_t seconds)
{
    const struct header *header = message_header(m, id);
    struct session_expires read;

    if (!header)
        edit_add(edits, id, edit_format(edits, "%u", seconds));
    else if (session_expires_parse(message_header_value(m, header), &read) == ERROR_NONE)
        edit_value(edits, header,
                   edit_format(edits, "%u%.*s", seconds, (int)read.params.size, read.params.data));
    else
        edits->failed = true; /* session_timer_read() has refused it */
}

void session_timer_edit_request(struct edit_list *edits, const struct message *request,
                                const struct session_plan *plan)
{
    if (plan->write_expires)
        write_number(edits, request, HEADER_SESSION_EXPIRES, plan->expires_s);
    if (plan->write_min)
        write_number(edits, request, HEADER_MIN_SE, plan->min_s);
}

void session_timer_edit_response(struct edit_list *edits, const struct message *response,
                                 const struct session_plan *plan)
{
    if (plan->verdict != SESSION_TIMED || !plan->supported || response->status < 200 ||
        response->status > 299 || message_header(response, HEADER_SESSION_EXPIRES))
        return;
    edit_add(edits, HEADER_SESSION_EXPIRES,
             edit_format(edits, "%u;refresher=uac", plan->expires_s));
    if (!names_timer(response, HEADER_REQUIRE))
        edit_add(edits, HEADER_REQUIRE, SLICE("timer"));
}
