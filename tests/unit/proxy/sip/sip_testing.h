/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the SIP core share. */
#ifndef HOLDLINE_TESTS_SIP_TESTING_H
#define HOLDLINE_TESTS_SIP_TESTING_H

#include "common/slice.h"
#include "proxy/sip/message.h"

#include <stddef.h>

/* A file of tests/fuzz/seeds/sip_message (the messages of RFC 4475), e.g. "wsinv". Lives until the
 * program's next call. */
struct slice torture_message(const char *name);

/* Fails the test unless they are equal; shows both. */
void assert_slice_is(struct slice got, const char *expected);

/* A request with the headers every message needs, then `headers` (whole lines), then the body.
 * Lives until the next call. */
struct slice make_request(const char *start_line, const char *headers, const char *body);

/* Parses a literal; the test fails when there is no memory. Returns the fault. */
enum message_fault parse_text(struct message *m, const char *text);

#define TEXT(literal) ((struct slice){ "" literal, sizeof(literal) - 1 })

#endif
