/* SPDX-License-Identifier: Apache-2.0 */
/* SipHash-2-4 with a key drawn at start, for tables keyed by bytes that peers choose. Include this
 * header instead of uthash.h: tables then use it, take memory through common/mem, and survive
 * without it. */
#ifndef HOLDLINE_COMMON_HASH_H
#define HOLDLINE_COMMON_HASH_H

#include "common/mem.h"

#include <stddef.h>
#include <stdint.h>

uint64_t hash_siphash(const uint8_t key[16], const void *data, size_t size);

/* With the process's own key, drawn at first use. Thread-safe. */
uint64_t hash_bytes(const void *data, size_t size);

/* After an addition that found no memory the table is as before and the element's hh.tbl is NULL:
 * HASH_ADD…; if (!element->hh.tbl) → ERROR_MEMORY. */
#define HASH_FUNCTION(keyptr, keylen, hashv) ((hashv) = (unsigned)hash_bytes((keyptr), (keylen)))
#define HASH_NONFATAL_OOM                    1
#define uthash_malloc(size)                  mem_alloc(size)
#define uthash_free(block, size)             mem_free(block)
#include <uthash.h>

#endif
