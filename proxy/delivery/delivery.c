/* SPDX-License-Identifier: Apache-2.0 */
/* Writing to flows. A letter goes at most three ways: to the flow's worker, from there to the
 * device's home, from there to the worker of the device's newest connection. Whoever can't go on
 * tells the first sender. */
#include "proxy/delivery/delivery.h"

#include "common/mem.h"
#include "proxy/authorization/peer.h"
#include "proxy/delivery/endpoint.h"
#include "proxy/delivery/unanswered.h"
#include "proxy/net/connection.h"
#include "proxy/net/net.h"

#include <assert.h>

/* flow's worker, home, the newest connection's worker */
#define HOPS_MAX 3

struct delivery {
    struct worker_base *base;
    struct net *net;
    struct ask *ask;
    struct post_office *office;
    struct delivery_user user;
    struct device_home *home;
    struct queue_batch batch;
};

struct delivery *delivery_new(struct worker_base *base, struct net *net, struct ask *ask,
                              struct post_office *office, const struct delivery_user *user)
{
    struct delivery *delivery = mem_zero(1, sizeof(*delivery));

    if (!delivery)
        return NULL;
    delivery->base = base;
    delivery->net = net;
    delivery->ask = ask;
    delivery->office = office;
    delivery->user = *user;
    delivery->home = device_home_new();
    if (!delivery->home) {
        mem_free(delivery);
        return NULL;
    }
    return delivery;
}

void delivery_free(struct delivery *delivery)
{
    if (!delivery)
        return;
    device_home_free(delivery->home);
    queue_batch_free(&delivery->batch);
    mem_free(delivery);
}

static void count_drop(struct delivery *delivery)
{
    counter_add(&delivery->base->counters->dropped);
}

/* The bytes name a listener by which this peer does not reach us (RFC 3261 16.6, 18.1.1). */
static bool names_another(const struct delivery *delivery, const struct delivery_order *order,
                          const struct endpoint *endpoint)
{
    const struct flow named = { .listener = order->listener };

    return order->ground && order->branch &&
           net_advertised_to(delivery->net, named) !=
               net_advertised_to(delivery->net, endpoint->flow);
}

/* Writes here and now. GONE: the flow is not, or not that device's, or its peer may not be
 * `needed`. */
static enum delivery_outcome write_here(struct delivery *delivery,
                                        const struct delivery_order *order, struct slice bytes)
{
    struct connection *c = net_find(delivery->net, order->flow);
    struct endpoint *endpoint = c ? connection_peer(c) : NULL;
    struct buffer *out;

    if (!endpoint || endpoint->closed)
        return DELIVERY_GONE;
    if (order->device && endpoint->device != order->device &&
        !(endpoint->peer && peer_is_device(endpoint->peer, order->device)))
        return DELIVERY_GONE;
    if (order->ground && (!endpoint->peer || endpoint->peer->condition != PEER_HELD))
        return DELIVERY_GONE; /* a device that holds nothing any more is told nothing either */
    if (order->needed && !peer_covers(endpoint->peer, order->needed))
        return DELIVERY_GONE;
    if (order->ground && !ground_holds(order->ground, delivery->ask))
        return DELIVERY_OUTDATED;
    if (order->group && endpoint->last_group == order->group)
        return DELIVERY_MERGED;
    if (names_another(delivery, order, endpoint))
        return DELIVERY_MOVED;
    out = connection_output(c);
    buffer_add(out, bytes);
    if (order->group)
        endpoint->last_group = order->group;
    connection_flush(c);
    if (out->failed)
        return DELIVERY_FULL;
    if (order->branch)
        unanswered_add(&endpoint->unanswered, order->branch);
    return DELIVERY_WRITTEN;
}

static struct letter *letter_of(unsigned sender, const struct delivery_order *order,
                                struct slice bytes)
{
    struct letter *letter = letter_new(MAIL_SEND, sender, bytes);

    if (!letter)
        return NULL;
    letter->flow = order->flow;
    letter->device = order->device;
    letter->listener = order->listener;
    letter->group = order->group;
    if (order->branch)
        memcpy(letter->branch, order->branch, strnlen(order->branch, MAIL_BRANCH_MAX));
    if (order->needed)
        letter->needed = *order->needed;
    letter->has_ground = order->ground != NULL;
    if (order->ground)
        letter->ground = *order->ground;
    return letter;
}

static struct delivery_order order_of(const struct letter *letter)
{
    return (struct delivery_order){
        .flow = letter->flow,
        .device = letter->device,
        .listener = letter->listener,
        .group = letter->group,
        .branch = letter->branch[0] ? letter->branch : NULL,
        .needed = letter->needed.size ? &letter->needed : NULL,
        .ground = letter->has_ground ? &letter->ground : NULL,
    };
}

static enum delivery_outcome post(struct delivery *delivery, unsigned worker, struct letter *letter)
{
    enum error error;

    if (!letter)
        return DELIVERY_FULL;
    error = post_office_send(delivery->office, worker, letter);
    return error == ERROR_NONE ? DELIVERY_MAILED : DELIVERY_FULL;
}

/* Where to try after `order->flow` failed: the home finds the newest connection, others ask the
 * home. False: nowhere. */
static bool next_worker(struct delivery *delivery, struct delivery_order *order, unsigned hops,
                        unsigned *worker)
{
    unsigned home = device_home_worker(order->device, delivery->base->workers);
    struct flow newest;

    if (!order->device || hops >= HOPS_MAX)
        return false;
    if (home != delivery->base->index) {
        *worker = home;
        return hops + 1 < HOPS_MAX;
    }
    if (!device_home_newest(delivery->home, order->device, order->flow, &newest))
        return false;
    order->flow = newest;
    *worker = newest.worker;
    return true;
}

/* A flow of another worker is that worker's to judge; without a flow the device's home knows. */
static bool is_here(const struct delivery *delivery, struct flow flow)
{
    return flow.generation != 0 && flow.worker == delivery->base->index;
}

/* To this worker itself: who sends hears of it by one way only. */
static enum delivery_outcome tell_moved(struct delivery *delivery,
                                        const struct delivery_order *order)
{
    struct letter *letter = letter_of(delivery->base->index, order, SLICE(""));

    if (letter) {
        letter->kind = MAIL_NOT_SENT;
        letter->outcome = DELIVERY_MOVED;
    }
    return post(delivery, delivery->base->index, letter);
}

enum delivery_outcome delivery_send(struct delivery *delivery, const struct delivery_order *wanted,
                                    struct slice bytes)
{
    struct delivery_order order = *wanted;
    enum delivery_outcome outcome = DELIVERY_GONE;
    unsigned worker;

    if (order.flow.generation && order.flow.worker >= delivery->base->workers)
        order.flow = (struct flow){ 0 };
    if (order.flow.generation && !is_here(delivery, order.flow))
        return post(delivery, order.flow.worker, letter_of(delivery->base->index, &order, bytes));
    if (order.flow.generation)
        outcome = write_here(delivery, &order, bytes);
    if (outcome == DELIVERY_GONE && next_worker(delivery, &order, 0, &worker)) {
        if (worker != delivery->base->index)
            return post(delivery, worker, letter_of(delivery->base->index, &order, bytes));
        outcome = write_here(delivery, &order, bytes);
    }
    return outcome == DELIVERY_MOVED ? tell_moved(delivery, &order) : outcome;
}

void delivery_try(struct delivery *delivery, const struct delivery_order *order, struct slice bytes)
{
    enum delivery_outcome outcome = delivery_send(delivery, order, bytes);

    if (outcome != DELIVERY_WRITTEN && outcome != DELIVERY_MAILED)
        count_drop(delivery);
}

bool delivery_hand_on(struct delivery *delivery, unsigned worker, struct letter *letter)
{
    if (post(delivery, worker, letter) == DELIVERY_MAILED)
        return true;
    count_drop(delivery);
    return false;
}

/* Tells the first sender; takes the letter. */
static void return_letter(struct delivery *delivery, struct letter *letter,
                          enum delivery_outcome outcome)
{
    unsigned sender = letter->sender;

    if (!letter->branch[0]) {
        count_drop(delivery);
        letter_free(letter);
        return;
    }
    letter->kind = MAIL_NOT_SENT;
    letter->outcome = outcome;
    if (post(delivery, sender, letter) != DELIVERY_MAILED)
        count_drop(delivery); /* the client transaction's timer finds out */
}

static void arrived_to_send(struct delivery *delivery, struct letter *letter)
{
    struct delivery_order order = order_of(letter);
    enum delivery_outcome outcome = DELIVERY_GONE;
    unsigned worker;

    letter->hops++;
    if (is_here(delivery, order.flow))
        outcome = write_here(delivery, &order, letter->bytes);
    if (outcome == DELIVERY_GONE && next_worker(delivery, &order, letter->hops, &worker)) {
        letter->flow = order.flow;
        if (worker != delivery->base->index) {
            struct letter *onward = letter;
            (void)post(delivery, worker, onward);
            return;
        }
        outcome = write_here(delivery, &order, letter->bytes);
    }
    if (outcome == DELIVERY_WRITTEN)
        letter_free(letter);
    else
        return_letter(delivery, letter, outcome);
}

static void tell_home(struct delivery *delivery, enum mail_kind kind, uint64_t device,
                      struct flow flow)
{
    unsigned home = device_home_worker(device, delivery->base->workers);
    struct letter *letter;

    if (home == delivery->base->index) {
        if (kind == MAIL_FLOW_OPENED)
            device_home_opened(delivery->home, device, flow);
        else
            device_home_closed(delivery->home, device, flow);
        return;
    }
    letter = letter_new(kind, delivery->base->index, SLICE(""));
    if (!letter)
        return;
    letter->device = device;
    letter->flow = flow;
    if (post(delivery, home, letter) != DELIVERY_MAILED)
        count_drop(delivery);
}

void delivery_flow_opened(struct delivery *delivery, uint64_t device, struct flow flow)
{
    tell_home(delivery, MAIL_FLOW_OPENED, device, flow);
}

void delivery_flow_closed(struct delivery *delivery, uint64_t device, struct flow flow)
{
    tell_home(delivery, MAIL_FLOW_CLOSED, device, flow);
}

void delivery_answered(struct endpoint *endpoint, struct slice branch)
{
    unanswered_remove(endpoint->unanswered, branch);
}

void delivery_endpoint_gone(struct delivery *delivery, struct endpoint *endpoint)
{
    const struct unanswered *list = endpoint->unanswered;
    unsigned worker;

    for (unsigned i = 0; list && i < UNANSWERED_MAX; i++) {
        const char *branch = list->branches[i];
        struct letter *letter;
        if (!transaction_branch_worker(slice_of(branch), delivery->base->workers, &worker))
            continue;
        letter = letter_new(MAIL_NOT_SENT, delivery->base->index, SLICE(""));
        if (!letter)
            break;
        memcpy(letter->branch, branch, strlen(branch) + 1);
        letter->outcome = DELIVERY_LOST;
        if (post(delivery, worker, letter) != DELIVERY_MAILED)
            count_drop(delivery); /* the client transaction's timer finds out */
    }
    mem_free(endpoint->unanswered);
    endpoint->unanswered = NULL;
}

void delivery_tell_removed(struct delivery *delivery, uint64_t tag)
{
    for (unsigned i = 0; i < delivery->base->workers; i++) {
        struct letter *letter;
        if (i == delivery->base->index)
            continue;
        letter = letter_new(MAIL_REMOVED, delivery->base->index, SLICE(""));
        if (letter)
            letter->device = tag;
        if (post(delivery, i, letter) != DELIVERY_MAILED)
            count_drop(delivery);
    }
}

static void close_flow(struct delivery *delivery, struct flow flow)
{
    struct connection *c = net_find(delivery->net, flow);

    if (c)
        connection_close(c, END_BY_US);
}

/* Takes the letter. */
static void read_letter(struct delivery *delivery, struct letter *letter)
{
    const struct delivery_user *user = &delivery->user;

    switch (letter->kind) {
    case MAIL_SEND:
        arrived_to_send(delivery, letter);
        return;
    case MAIL_CANCEL:
        user->cancel(user->owner, letter);
        return;
    case MAIL_NOT_SENT:
        user->not_sent(user->owner, letter->branch, letter->outcome, letter->flow);
        break;
    case MAIL_RESPONSE:
        user->response(user->owner, letter->bytes, letter->device);
        break;
    case MAIL_FLOW_OPENED:
        device_home_opened(delivery->home, letter->device, letter->flow);
        break;
    case MAIL_FLOW_CLOSED:
        device_home_closed(delivery->home, letter->device, letter->flow);
        break;
    case MAIL_REMOVED:
        user->removed(user->owner, letter->device);
        break;
    case MAIL_CLOSE:
        close_flow(delivery, letter->flow);
        break;
    case MAIL_NONE:
        assert(false);
        break;
    }
    letter_free(letter);
}

void delivery_read_box(struct delivery *delivery)
{
    post_office_take(delivery->office, delivery->base->index, &delivery->batch);
    for (size_t i = 0; i < delivery->batch.count; i++)
        read_letter(delivery, delivery->batch.items[i]);
    delivery->batch.count = 0;
}
