/* SPDX-License-Identifier: Apache-2.0 */
/* Ctrl-C (and SIGTERM, SIGHUP) during a long statement: the statement is cancelled, the command
 * sees cancelled() and ends by itself, so that it can say what became of its work. One
 * connection. */
#ifndef HOLDLINE_MAPCTL_CANCEL_H
#define HOLDLINE_MAPCTL_CANCEL_H

#include <libpq-fe.h>
#include <stdbool.h>

/* Until cancel_forget(); before that the signals end the process as ever. */
void cancel_watch(PGconn *connection);
/* From now on signals wait: a step begins that must not be cut. */
void cancel_hold(void);
void cancel_forget(void);

bool cancelled(void);

#endif
