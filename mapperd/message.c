/* SPDX-License-Identifier: Apache-2.0 */
/* Making and freeing the messages between the two threads. */
#include "mapperd/message.h"

#include "common/mem.h"

struct feed_message *feed_message_new(enum feed_message_kind kind)
{
    struct feed_message *m = mem_zero(1, sizeof(*m));
    if (m != NULL) {
        m->kind = kind;
        buffer_init(&m->text, 0);
    }
    return m;
}

void feed_message_free(struct feed_message *m)
{
    buffer_free(&m->text);
    mem_free(m);
}

struct loop_message *loop_message_new(enum loop_message_kind kind)
{
    struct loop_message *m = mem_zero(1, sizeof(*m));
    if (m != NULL) {
        m->kind = kind;
        buffer_init(&m->text, 0);
    }
    return m;
}

void loop_message_free(struct loop_message *m)
{
    reports_free(m->reports);
    buffer_free(&m->text);
    mem_free(m);
}
