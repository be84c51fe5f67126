/* SPDX-License-Identifier: Apache-2.0 */
/* A tag names a row of the mapping data that an answer rests on, as mapperd's messages name it:
 * `peer STORE CN`, `store S`, `user U@D`, `domain D`, `group G`, `rules`. Kept as a 64-bit hash
 * with the process's key, so it means the same on every worker; two texts with one hash cost a
 * question more, never a permission. */
#ifndef HOLDLINE_AUTHORIZATION_TAG_H
#define HOLDLINE_AUTHORIZATION_TAG_H

#include "common/slice.h"

#include <stdint.h>

#define TAG_NONE UINT64_C(0) /* names nothing; no tag below is it */
#define TAG_ALL  UINT64_C(1) /* message `*`: names everything; no tag below is it */

uint64_t tag_peer(struct slice store, struct slice canonical_cn);
/* A certificate of a store, by its SHA-256 as text. */
uint64_t tag_certificate(struct slice store, struct slice sha256);
uint64_t tag_store(struct slice store);
uint64_t tag_user(struct slice identity);
uint64_t tag_domain(struct slice domain);
uint64_t tag_group(struct slice group);
uint64_t tag_rules(void);

/* Of a message's text behind epoch and serial. A kind that is not known here, or text longer than
 * any key may be, is TAG_ALL: what can't be understood may concern everything. */
uint64_t tag_of_message(struct slice text);

#endif
