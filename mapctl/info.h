/* SPDX-License-Identifier: Apache-2.0 */
/* The text of INFO, of mapperd and of the proxy: lines `key:value`, and `# Section`. Pure. */
#ifndef HOLDLINE_MAPCTL_INFO_H
#define HOLDLINE_MAPCTL_INFO_H

#include "common/slice.h"

/* The next key and value of *rest, which moves on; lines that are neither are passed over. False:
 * there is none left. */
bool info_next(struct slice *rest, struct slice *key, struct slice *value);

/* The value of a key; empty when it is not there. */
struct slice info_value(struct slice info, const char *key);

#endif
