/* SPDX-License-Identifier: Apache-2.0 */
/* libpq tries the hosts of a connection text one after the other, but goes on to the next only when
 * one has answered or refused: PQconnectPoll() waits for ever for a machine that drops packets or
 * stands still. So each attempt of ours, which has a deadline, begins with another one. */
#ifndef HOLDLINE_MAPPERD_HOSTS_H
#define HOLDLINE_MAPPERD_HOSTS_H

#include "common/buffer.h"
#include "common/slice.h"

#include <libpq-fe.h>

/* The words of a list with commas, from the one at `turn` (modulo their number) on, with the NUL.
 */
void hosts_rotate(struct buffer *out, struct slice list, unsigned turn);
/* PQconnectStart() with host, hostaddr and port from `turn` on, as application holdline-mapperd if
 * `conninfo` names none; PQfinish() ends it. NULL: no memory. */
PGconn *hosts_connect(const char *conninfo, unsigned turn);

#endif
