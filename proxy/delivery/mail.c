/* SPDX-License-Identifier: Apache-2.0 */
/* Boxes of letters, one a worker. */
#include "proxy/delivery/mail.h"

#include "common/mem.h"

#include <assert.h>
#include <stdint.h>

struct post_box {
    struct queue queue;
    void (*wake)(void *owner);
    void *owner;
};

struct post_office {
    unsigned workers;
    struct post_box boxes[];
};

struct letter *letter_new(enum mail_kind kind, unsigned sender, struct slice bytes)
{
    struct letter *letter;
    char *text;

    if (bytes.size > SIZE_MAX - sizeof(*letter))
        return NULL;
    letter = mem_alloc(sizeof(*letter) + bytes.size);
    if (!letter)
        return NULL;
    memset(letter, 0, sizeof(*letter));
    letter->kind = kind;
    letter->sender = sender;
    text = (char *)(letter + 1);
    if (bytes.size)
        memcpy(text, bytes.data, bytes.size);
    letter->bytes = (struct slice){ text, bytes.size };
    return letter;
}

void letter_free(struct letter *letter)
{
    mem_free(letter);
}

struct post_office *post_office_new(unsigned workers)
{
    struct post_office *office = mem_zero(1, sizeof(*office) + workers * sizeof(office->boxes[0]));

    if (!office)
        return NULL;
    office->workers = workers;
    for (unsigned i = 0; i < workers; i++) {
        if (queue_init(&office->boxes[i].queue, MAIL_BOX_MAX) == ERROR_NONE)
            continue;
        while (i-- > 0)
            queue_destroy(&office->boxes[i].queue);
        mem_free(office);
        return NULL;
    }
    return office;
}

static void empty(struct queue *queue)
{
    struct queue_batch batch = { 0 };

    queue_close(queue);
    queue_take(queue, &batch);
    for (size_t i = 0; i < batch.count; i++)
        letter_free(batch.items[i]);
    queue_batch_free(&batch);
    queue_destroy(queue);
}

void post_office_free(struct post_office *office)
{
    if (!office)
        return;
    for (unsigned i = 0; i < office->workers; i++)
        empty(&office->boxes[i].queue);
    mem_free(office);
}

void post_office_close(struct post_office *office)
{
    for (unsigned i = 0; i < office->workers; i++)
        queue_close(&office->boxes[i].queue);
}

void post_office_listen(struct post_office *office, unsigned worker, void (*wake)(void *owner),
                        void *owner)
{
    assert(worker < office->workers);
    office->boxes[worker].wake = wake;
    office->boxes[worker].owner = owner;
}

enum error post_office_send(struct post_office *office, unsigned worker, struct letter *letter)
{
    struct post_box *box;
    bool was_empty = false;
    enum error error;

    assert(worker < office->workers);
    box = &office->boxes[worker];
    error = queue_put(&box->queue, letter, &was_empty);
    if (error != ERROR_NONE) {
        letter_free(letter);
        return error;
    }
    if (was_empty)
        box->wake(box->owner);
    return ERROR_NONE;
}

void post_office_take(struct post_office *office, unsigned worker, struct queue_batch *batch)
{
    assert(worker < office->workers);
    queue_take(&office->boxes[worker].queue, batch);
}
