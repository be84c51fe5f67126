/* SPDX-License-Identifier: Apache-2.0 */
/* The one line that each decision leaves in the log, at info. */
#ifndef HOLDLINE_AUTHORIZATION_DECISION_LINE_H
#define HOLDLINE_AUTHORIZATION_DECISION_LINE_H

#include "proxy/authorization/enforce.h"

/* DECIDED, or about to be: decision and admission are set. */
void decision_line_log(const struct authorization *a);

#endif
