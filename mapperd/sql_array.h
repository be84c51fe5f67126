/* SPDX-License-Identifier: Apache-2.0 */
/* One-dimensional arrays as PostgreSQL takes them in binary: a column of a statement that writes or
 * asks for many rows. Pure. */
#ifndef HOLDLINE_MAPPERD_SQL_ARRAY_H
#define HOLDLINE_MAPPERD_SQL_ARRAY_H

#include "common/buffer.h"

enum sql_array_type { SQL_ARRAY_INT8 = 20, SQL_ARRAY_TEXT = 25 }; /* the elements' OIDs */

/* Empties `out`, then elements of one type, then the end, which counts them. out->failed is to be
 * checked. */
void sql_array_start(struct buffer *out, enum sql_array_type type);
void sql_array_add_text(struct buffer *out, struct slice s);
void sql_array_add_int8(struct buffer *out, uint64_t value);
void sql_array_end(struct buffer *out, size_t count);

#endif
