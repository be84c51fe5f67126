/* SPDX-License-Identifier: Apache-2.0 */
/* SipHash-2-4 with a key drawn at start, for tables keyed by bytes that peers choose. */
#ifndef HOLDLINE_COMMON_HASH_H
#define HOLDLINE_COMMON_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t hash_siphash(const uint8_t key[16], const void *data, size_t size);

/* With the process's own key, drawn at first use (thread-safe). What uthash calls: include this header before uthash.h. */
uint64_t hash_bytes(const void *data, size_t size);

#define HASH_FUNCTION(keyptr, keylen, hashv) ((hashv) = (unsigned)hash_bytes((keyptr), (keylen)))

#endif
