/* SPDX-License-Identifier: Apache-2.0 */
/* Error numbers of a full disk: LMDB's, the journal's and the system's are asked alike. Any thread.
 */
#ifndef HOLDLINE_MAPPERD_DISK_H
#define HOLDLINE_MAPPERD_DISK_H

#include <errno.h>
#include <stdbool.h>

/* Whether the error number says that there is no room: the disk is full, or a quota or a bound on
 * files is reached. A short write is EIO to LMDB. */
static inline bool disk_lacks_room(int code)
{
    return code == ENOSPC || code == EDQUOT || code == EFBIG || code == EIO;
}

#endif
