/* SPDX-License-Identifier: Apache-2.0 */
/* Ids and branches. */
#include "proxy/transaction/transaction.h"

#include "common/random.h"
#include "proxy/sip/header.h"
#include "proxy/sip/message.h"

#include <assert.h>

#define COOKIE       "z9hG4bK"
#define RANDOM_COUNT 20 /* 5 bits each */
#define WORKERS_MAX  65535

#define PORT_PLAIN 5060
#define PORT_TLS   5061

static unsigned sent_by_port(const struct via *via)
{
    if (via->port)
        return via->port;
    return slice_equal_nocase(via->transport, SLICE("TLS")) ? PORT_TLS : PORT_PLAIN;
}

void transaction_id_of(struct transaction_id *id, const struct message *message, uint64_t device)
{
    struct via via;

    *id = (struct transaction_id){
        .device = device,
        .method = message_method(message),
        .via = message_slice(message, message->via),
        .request_uri = message_slice(message, message->request_uri),
        .from_tag = message_slice(message, message->from_tag),
        .to_tag = message_slice(message, message->to_tag),
        .call_id = message_slice(message, message->call_id),
        .cseq = message->cseq,
    };
    if (message_via(message, &via) != ERROR_NONE)
        return;
    id->branch = via.branch;
    id->sent_by_host = via.host;
    id->sent_by_port = sent_by_port(&via);
}

void transaction_branch_make(char *out, unsigned worker)
{
    char digits[5];
    size_t count = 0;

    assert(worker <= WORKERS_MAX);
    do {
        digits[count++] = (char)('0' + worker % 10);
        worker /= 10;
    } while (worker > 0);
    memcpy(out, COOKIE, sizeof(COOKIE) - 1);
    out += sizeof(COOKIE) - 1;
    while (count > 0)
        *out++ = digits[--count];
    *out++ = '.';
    random_token(out, RANDOM_COUNT);
}

bool transaction_branch_worker(struct slice branch, unsigned workers, unsigned *worker)
{
    const size_t cookie = sizeof(COOKIE) - 1, tail = RANDOM_COUNT + 1;
    struct slice number;
    unsigned long long value;

    if (branch.size <= cookie + tail || branch.size > TRANSACTION_BRANCH_MAX)
        return false;
    if (!slice_equal_nocase((struct slice){ branch.data, cookie }, SLICE(COOKIE)))
        return false;
    number = (struct slice){ branch.data + cookie, branch.size - cookie - tail };
    if (number.data[number.size] != '.' || !slice_to_u64(number, WORKERS_MAX, &value))
        return false;
    if (number.size > 1 && number.data[0] == '0')
        return false;
    if (value >= workers)
        return false;
    *worker = (unsigned)value;
    return true;
}
