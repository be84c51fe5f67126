/* SPDX-License-Identifier: Apache-2.0 */
/* What a phone sends. */
#ifndef HOLDLINE_BENCH_SIPLOAD_OUTGOING_H
#define HOLDLINE_BENCH_SIPLOAD_OUTGOING_H

#include "connection.h"

extern uint32_t run_id; /* tells this run's branches, Call-IDs and tags from another's */

void send_register(struct conn *c, struct slot *s);
void send_options_to_target(struct conn *c, struct slot *s);
/* MESSAGE, OPTIONS or INVITE as the command line says; the callee is fixed for a caller. */
void send_to_callee(struct conn *c, struct slot *s);
/* ACK to a failure: same branch as the INVITE, hop by hop. */
void send_ack_to_failure(struct conn *c, struct slot *s, const struct msg *m);
/* Request inside the dialog that the 200 in m made: RFC 3261 12.2.1.1, with a strict router as
 * first hop too. */
void send_in_dialog(struct conn *c, struct slot *s, const char *method, unsigned cseq,
                    const struct msg *m);

void put_contact(struct buf *b, const char *user, const char *address, const char *transport);
void put_body(struct buf *b, const char *type, const char *body);
extern const char sdp[];

#endif
