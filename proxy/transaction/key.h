/* SPDX-License-Identifier: Apache-2.0 */
/* What the tables of transactions are keyed by: one run of bytes that two messages have in common
 * exactly when 17.1.3 and 17.2.3 say that they match. Private to proxy/transaction. */
#ifndef HOLDLINE_TRANSACTION_KEY_H
#define HOLDLINE_TRANSACTION_KEY_H

#include "proxy/transaction/transaction.h"

#define TRANSACTION_METHOD_MAX 64 /* RFC 4475 3.1.1.2 has one of 44 */

struct transaction_key {
    unsigned hash; /* for uthash's _BYHASHVALUE: found and added with one computation */
    size_t size;
    char bytes[TRANSACTION_KEY_MAX];
};

/* Whether the id has no unique branch, so that RFC 2543's rules hold. */
bool transaction_id_is_old(const struct transaction_id *id);

/* Of a request. Method and To tag are left out: an ACK and a CANCEL must find what they are for, so
 * the caller compares them. Branch and host are without case (7.3.1). ERROR_TOO_LARGE. */
enum error transaction_key_of_request(struct transaction_key *key,
                                      const struct transaction_id *id) MUST_CHECK;

/* Of a response, and of the request of ours that it answers: branch and CSeq's method.
 * ERROR_TOO_LARGE: no branch or method of ours is that long. */
enum error transaction_key_of_response(struct transaction_key *key, struct slice branch,
                                       struct slice method) MUST_CHECK;

#endif
