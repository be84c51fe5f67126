/* SPDX-License-Identifier: Apache-2.0 */
/* Messages that the proxy makes itself: responses to a request (RFC 3261 8.2.6, 18.2.1; RFC 3581),
 * and the ACK and CANCEL of an INVITE that it has sent (9.1, 17.1.1.3). Pure; the caller owns the
 * buffer. */
#ifndef HOLDLINE_SIP_RESPONSE_H
#define HOLDLINE_SIP_RESPONSE_H

#include "common/buffer.h"
#include "common/error.h"
#include "common/slice.h"
#include "proxy/sip/message.h"

#include <stdint.h>

struct response {
    uint16_t status;      /* 100..699 */
    struct slice reason;  /* empty: the RFCs' phrase */
    struct slice to_tag;  /* put on To when it has no tag and status is above 100; empty: none */
    struct slice source;  /* address, without brackets, that the request came from: received of the
                             topmost Via; empty: none */
    uint16_t source_port; /* value of rport when it was asked for */
    struct slice
        headers; /* further whole lines, each with its CRLF; may be empty. Never Content-Length */
};

/* Appends the response, without body. All Vias, From, To, Call-ID, CSeq, and Timestamp in a 100,
 * are copied as they stand, the first where a bad request has several; what a bad request lacks is
 * left out. ERROR_NOT_FOUND: the request has no Via, or m is no request: nothing to answer.
 * ERROR_MEMORY, ERROR_TOO_LARGE: the buffer's. */
enum error response_write(const struct message *request, const struct response *response,
                          struct buffer *out) MUST_CHECK;

/* The RFCs' phrase, by class when the code is unknown. Static. */
struct slice response_phrase(unsigned status);

/* Both take the INVITE as it was sent (with our Via on top and the Route it left with), parsed
 * again from the octets that were sent. To is the response's in an ACK, the INVITE's in a CANCEL;
 * Via is the topmost alone; Route is copied. `headers`: further whole lines, may be empty.
 * ERROR_NOT_FOUND: no INVITE, or headers that must be there are not. */
enum error request_write_ack(const struct message *invite, const struct message *response,
                             struct buffer *out) MUST_CHECK;
enum error request_write_cancel(const struct message *invite, struct slice headers,
                                struct buffer *out) MUST_CHECK;

#endif
