/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/registrar/registration.h"

#include "common/mem.h"
#include "proxy/authorization/peer.h"
#include "proxy/authorization/tag.h"

#include <stdio.h>
#include <string.h>
#include <utlist.h>

/* ---- Changes ---- */

enum error change_notes_init(struct change_notes *notes)
{
    *notes = (struct change_notes){ .slots = mem_zero(CHANGE_SLOTS, sizeof(notes->slots[0])) };
    return notes->slots ? ERROR_NONE : ERROR_MEMORY;
}

void change_notes_free(struct change_notes *notes)
{
    mem_free(notes->slots);
}

void change_notes_add(struct change_notes *notes, uint64_t tag)
{
    notes->count++;
    if (tag == TAG_ALL)
        notes->all = notes->count;
    else
        notes->slots[tag % CHANGE_SLOTS] = notes->count;
}

/* ---- What is registered ---- */

#define KEY_MAX 3072

static char *key_of(const struct wanted *wanted, char *out, size_t size)
{
    int n = snprintf(out, size, "%u %u %.*s %.*s", wanted->q, wanted->reg_id,
                     (int)wanted->instance.size, wanted->instance.data, (int)wanted->uri.size,
                     wanted->uri.data);

    return n < 0 || (size_t)n >= size ? NULL : out;
}

static struct registration *find_registration(const struct endpoint *endpoint,
                                              const struct identity *aor, const char *key)
{
    struct registration *r;

    DL_FOREACH(endpoint->registrations, r)
    if (slice_equal(identity_text(&r->aor), identity_text(aor)) && !strcmp(r->key, key))
        return r;
    return NULL;
}

static bool is_by(const struct registration *r, const struct identity *from)
{
    return slice_equal(r->from ? slice_of(r->from) : identity_text(&r->aor), identity_text(from));
}

static bool is_untouched(const struct change_notes *notes, const struct registration *r)
{
    if (notes->all > r->noted)
        return false;
    for (size_t i = 0; i < sizeof(r->tags) / sizeof(r->tags[0]); i++)
        if (notes->slots[r->tags[i] % CHANGE_SLOTS] > r->noted)
            return false;
    return true;
}

bool registration_is_older(struct slice call_id, uint32_t cseq, struct slice than_call_id,
                           uint32_t than_cseq)
{
    return slice_equal(call_id, than_call_id) && cseq <= than_cseq;
}

struct registration *registration_refreshed(const struct change_notes *notes,
                                            const struct worker_base *base,
                                            const struct endpoint *endpoint,
                                            const struct message *m, const struct identity *from,
                                            const struct identity *aor, struct wanted *wanted)
{
    struct wanted_list all = { .count = 0 };
    struct registration *r;
    char key[KEY_MAX];

    if (!endpoint->registrations ||
        wanted_read(m, &base->config->registrar, &all) != REASON_ALLOWED || all.star ||
        all.count != 1)
        return NULL;
    *wanted = all.list[0];
    if (!wanted->granted_s || !key_of(wanted, key, sizeof(key)))
        return NULL;
    r = find_registration(endpoint, aor, key);
    if (!r || !is_by(r, from) || !is_untouched(notes, r) ||
        registration_is_older(message_slice(m, m->call_id), m->cseq, slice_of(r->call_id),
                              r->cseq) ||
        base->now_unix_s + wanted->granted_s > r->stored_unix_s)
        return NULL;
    return r;
}

static void registration_free(struct endpoint *endpoint, struct registration *r)
{
    DL_DELETE(endpoint->registrations, r);
    mem_free(r->key);
    mem_free(r->call_id);
    mem_free(r->from);
    mem_free(r);
}

void registrations_free(struct endpoint *endpoint)
{
    struct registration *r, *next;

    DL_FOREACH_SAFE(endpoint->registrations, r, next)
    registration_free(endpoint, r);
}

static void forget(struct endpoint *endpoint, const struct identity *aor, const char *key)
{
    struct registration *r, *next;

    DL_FOREACH_SAFE(endpoint->registrations, r, next)
    if (slice_equal(identity_text(&r->aor), identity_text(aor)) && (!key || !strcmp(r->key, key)))
        registration_free(endpoint, r);
}

void registration_forget(struct endpoint *endpoint, const struct identity *aor,
                         const struct wanted *wanted)
{
    char key[KEY_MAX];

    if (!wanted)
        forget(endpoint, aor, NULL);
    else if (key_of(wanted, key, sizeof(key)))
        forget(endpoint, aor, key);
}

static unsigned count_registrations(const struct endpoint *endpoint)
{
    const struct registration *r;
    unsigned count = 0;

    DL_FOREACH(endpoint->registrations, r)
    count++;
    return count;
}

void registration_remember(const struct registration_input *input)
{
    const struct message *m = input->message;
    struct endpoint *endpoint = input->endpoint;
    const struct peer *peer = endpoint->peer;
    struct registration *r;
    char key[KEY_MAX];

    if (!key_of(input->wanted, key, sizeof(key)))
        return;
    forget(endpoint, input->aor, key);
    if (count_registrations(endpoint) >= input->max)
        return;
    r = mem_zero(1, sizeof(*r));
    if (!r)
        return;
    r->aor = *input->aor;
    if (!slice_equal(identity_text(input->from), identity_text(input->aor)))
        r->from = mem_text(identity_text(input->from));
    r->third_party = input->third_party;
    r->key = mem_text(slice_of(key));
    r->call_id = mem_text(message_slice(m, m->call_id));
    r->cseq = m->cseq;
    r->stored_unix_s = input->stored_unix_s;
    r->noted = input->noted;
    r->tags[0] = peer->tag_peer;
    r->tags[1] = peer->tag_store;
    r->tags[2] = input->aor_tag;
    r->tags[3] = tag_user(identity_text(input->from)); /* disabled, it takes its bindings with it */
    DL_APPEND(endpoint->registrations, r);
    if (!r->key || !r->call_id || !is_by(r, input->from))
        registration_free(endpoint, r);
}
