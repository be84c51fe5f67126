/* SPDX-License-Identifier: Apache-2.0 */
/* From a REGISTER to bindings, in the order of RFC 3261 10.3: read the contacts, check them, write,
 * list. */
#include "proxy/registrar/registrar.h"

#include "common/mem.h"
#include "proxy/authorization/peer.h"
#include "proxy/authorization/tag.h"
#include "proxy/config.h"
#include "proxy/net/net.h"
#include "proxy/registrar/binding.h"
#include "proxy/registrar/registration.h"
#include "proxy/registrar/wanted.h"

#include <inttypes.h>

/* How far the stored expiry may run ahead of the granted one. */
#define AHEAD_MAX_S 1800
#define HEADERS_MAX 16384

struct registrar {
    struct worker_base *base;
    struct net *net;
    struct ask *ask;
    struct registrar_user user;
    struct change_notes notes;
};

struct registrar_write {
    struct registrar_job *job;
    struct write_waiter waiter;
};

struct registrar_job {
    struct registrar *registrar;
    struct registrar_input input;
    registrar_done *done;
    void *owner;
    struct wanted_list wanted;
    bool removes; /* an UNBIND was sent */
    uint64_t aor_tag;
    uint64_t noted;
    uint64_t stored_unix_s[REGISTRAR_CONTACTS_MAX];
    struct registrar_write writes[REGISTRAR_CONTACTS_MAX + BINDINGS_REPLACED_MAX];
    size_t write_count, waiting;
    enum reason failure;
    bool crowded; /* contacts_max is reached: what the phone left on other workers goes too */
    struct lookup_waiter locate; /* the list for the 200, after the writes */
    struct buffer headers;
    struct arena arena;
};

struct registrar *registrar_new(struct worker_base *base, struct net *net, struct ask *ask,
                                const struct registrar_user *user)
{
    struct registrar *registrar = mem_zero(1, sizeof(*registrar));

    if (!registrar)
        return NULL;
    registrar->base = base;
    registrar->net = net;
    registrar->ask = ask;
    registrar->user = *user;
    if (change_notes_init(&registrar->notes) != ERROR_NONE) {
        mem_free(registrar);
        return NULL;
    }
    return registrar;
}

void registrar_free(struct registrar *registrar)
{
    if (!registrar)
        return;
    change_notes_free(&registrar->notes);
    mem_free(registrar);
}

void registrar_changed(struct registrar *registrar, uint64_t tag)
{
    change_notes_add(&registrar->notes, tag);
}

bool registrar_is_refresh(const struct registrar *registrar, const struct endpoint *endpoint,
                          const struct message *message, const struct identity *from,
                          const struct identity *aor)
{
    struct wanted wanted;

    return registration_refreshed(&registrar->notes, registrar->base, endpoint, message, from, aor,
                                  &wanted) != NULL;
}

/* ---- the answer ---- */

static void add_contact(struct buffer *out, struct slice uri, struct slice instance,
                        uint32_t reg_id, uint16_t q, uint64_t expires_s)
{
    buffer_add_text(out, "Contact: <");
    buffer_add(out, uri);
    buffer_add_char(out, '>');
    if (q != 1000)
        buffer_add_format(out, ";q=0.%03u", q);
    buffer_add_format(out, ";expires=%" PRIu64, expires_s);
    if (instance.size) {
        buffer_add_text(out, ";+sip.instance=\"");
        buffer_add(out, instance);
        buffer_add_char(out, '"');
    }
    if (reg_id)
        buffer_add_format(out, ";reg-id=%u", reg_id);
    buffer_add_text(out, "\r\n");
}

static bool is_same_binding(const struct wanted *w, const struct binding *b)
{
    if (w->instance.size)
        return slice_equal(w->instance, b->instance) && w->reg_id == b->reg_id;
    return !b->instance.size && slice_equal(w->uri, b->contact);
}

/* What is stored runs ahead of what was granted; the phone is told what it was granted. */
static uint64_t granted_of(const struct registrar_job *job, const struct binding *binding)
{
    uint64_t now = job->registrar->base->now_unix_s;
    uint64_t left = binding->expires_unix_s > now ? binding->expires_unix_s - now : 0;

    for (size_t i = 0; i < job->wanted.count; i++) {
        const struct wanted *w = &job->wanted.list[i];
        if (is_same_binding(w, binding))
            return w->granted_s < left ? w->granted_s : left;
    }
    return left * 2 / 3; /* another's: not longer than it was granted */
}

static void list_bindings(struct registrar_job *job, const struct answer *located)
{
    for (size_t i = 0; i < located->locate.binding_count; i++) {
        struct binding b;
        if (binding_parse(located->locate.bindings[i], &job->arena, &b) == ERROR_NONE)
            add_contact(&job->headers, b.contact, b.instance, b.reg_id, b.q, granted_of(job, &b));
    }
}

static void finish(struct registrar_job *job, enum reason reason, const char *detail)
{
    struct registrar_result result = { reason, detail, SLICE("") };
    registrar_done *done = job->done;
    void *owner = job->owner;

    if (reason == REASON_EXPIRES_TOO_BRIEF)
        buffer_add_format(&job->headers, "Min-Expires: %u\r\n",
                          job->registrar->base->config->registrar.expires_min_s);
    for (size_t i = 0; i < job->wanted.count && reason == REASON_ALLOWED; i++) {
        if (!job->wanted.list[i].reg_id)
            continue;
        buffer_add_text(&job->headers, "Require: outbound\r\n");
        break;
    }
    if (job->headers.failed) {
        result.reason = REASON_OUT_OF_MEMORY;
        buffer_reset(&job->headers);
    }
    result.headers = buffer_slice(&job->headers);
    job->done = NULL;
    done(owner, &result);
}

static void job_free(struct registrar_job *job)
{
    for (size_t i = 0; i < job->write_count; i++)
        write_leave(&job->writes[i].waiter);
    lookup_leave(&job->locate);
    buffer_free(&job->headers);
    arena_free(&job->arena);
    mem_free(job);
}

void registrar_job_abandon(struct registrar_job *job)
{
    if (job)
        job_free(job);
}

static void end(struct registrar_job *job, enum reason reason, const char *detail)
{
    finish(job, reason, detail);
    /* `done` has taken its pointer back: see registrar_begin(). */
    job_free(job);
}

void registrar_endpoint_gone(struct registrar *registrar, struct endpoint *endpoint)
{
    (void)registrar;
    registrations_free(endpoint);
}

static void remember(struct registrar_job *job, size_t index)
{
    struct registration_input input = {
        .endpoint = job->input.endpoint,
        .message = job->input.message,
        .from = job->input.from,
        .aor = job->input.aor,
        .third_party = job->input.third_party,
        .wanted = &job->wanted.list[index],
        .stored_unix_s = job->stored_unix_s[index],
        .noted = job->noted,
        .aor_tag = job->aor_tag,
        .max = job->registrar->base->config->registrar.contacts_max,
    };

    registration_remember(&input);
}

static void note_results(struct registrar_job *job)
{
    if (job->wanted.star)
        registration_forget(job->input.endpoint, job->input.aor, NULL);
    for (size_t i = 0; i < job->wanted.count; i++) {
        if (job->wanted.list[i].granted_s)
            remember(job, i);
        else
            registration_forget(job->input.endpoint, job->input.aor, &job->wanted.list[i]);
    }
}

/* ---- writing ---- */

static void on_located(struct lookup_waiter *waiter)
{
    struct registrar_job *job = waiter->owner;

    if (!waiter->answer) {
        end(job, waiter->reason == REASON_NONE ? REASON_MAPPERD_UNREACHABLE : waiter->reason,
            "after the write");
        return;
    }
    list_bindings(job, waiter->answer);
    end(job, REASON_ALLOWED, NULL);
}

static enum reason reason_of_write(enum write_outcome outcome)
{
    switch (outcome) {
    case WRITE_STORED:
        return REASON_ALLOWED;
    case WRITE_UNCONFIRMED:
        return REASON_BIND_UNCONFIRMED;
    case WRITE_REFUSED:
        return REASON_MALFORMED;
    case WRITE_FULL:
        return REASON_QUEUE_FULL;
    case WRITE_NONE:
    case WRITE_WAITING:
        break;
    }
    return REASON_INTERNAL;
}

static void written(struct registrar_job *job)
{
    enum lookup_outcome outcome;

    if (job->removes) /* whatever came of it: it may have happened */
        job->registrar->user.removed(job->registrar->user.owner, job->aor_tag);
    if (job->failure != REASON_ALLOWED) {
        end(job, job->failure, NULL);
        return;
    }
    note_results(job);
    outcome = lookup_locate(job->registrar->ask, &job->locate, identity_text(job->input.aor));
    if (outcome == LOOKUP_READY)
        on_located(&job->locate);
    else if (outcome == LOOKUP_FULL)
        end(job, REASON_QUEUE_FULL, NULL);
}

static void on_write(struct write_waiter *waiter)
{
    struct registrar_job *job = waiter->owner;
    enum reason reason = reason_of_write(waiter->outcome);

    if (reason != REASON_ALLOWED)
        job->failure = reason;
    if (--job->waiting == 0)
        written(job);
}

static struct write_waiter *next_write(struct registrar_job *job)
{
    struct write_waiter *waiter = &job->writes[job->write_count++].waiter;

    waiter->done = on_write;
    waiter->owner = job;
    return waiter;
}

static void count_write(struct registrar_job *job, enum write_outcome outcome)
{
    if (outcome == WRITE_WAITING)
        job->waiting++;
    else
        job->failure = reason_of_write(outcome);
}

/* What permits the AoR, or who registers for it: its user's password, or of the peer's entries a
 * mapping or a name in its certificate. */
static bool find_entry(const struct registrar_job *job, struct slice *entry, struct slice *ground)
{
    const struct peer *peer = job->input.endpoint->peer;
    const struct answer *held = job->input.held;
    const struct identity *holder = job->input.third_party ? job->input.from : job->input.aor;

    if (job->input.password_user) {
        *entry = identity_text(holder);
        *ground = SLICE("digest");
        return slice_equal(*entry, identity_text(job->input.password_user));
    }
    for (size_t i = 0; i < peer_entry_count(peer, held); i++) {
        *entry = held->peer.entries[i];
        *ground = SLICE("mapping");
        if (identity_covered_by(holder, *entry))
            return true;
    }
    for (size_t i = 0; peer->certificate && i < peer->certificate->name_count; i++) {
        *entry = identity_text(&peer->certificate->names[i]);
        *ground = SLICE("name");
        if (identity_covered_by(holder, *entry))
            return true;
    }
    return false;
}

/* Stored ahead by half of what is granted, so that refreshes in time need no write; never past the
 * certificate that a name rests on. */
static uint64_t stored_expiry(const struct registrar_job *job, const struct wanted *wanted,
                              struct slice ground)
{
    const struct peer *peer = job->input.endpoint->peer;
    uint64_t ahead = wanted->granted_s / 2 < AHEAD_MAX_S ? wanted->granted_s / 2 : AHEAD_MAX_S;
    uint64_t stored = job->registrar->base->now_unix_s + wanted->granted_s + ahead;

    if (slice_equal(ground, SLICE("name")) && stored > peer->certificate->not_after_unix_s)
        stored = peer->certificate->not_after_unix_s;
    return stored;
}

static void bind_contact(struct registrar_job *job, size_t index)
{
    const struct wanted *wanted = &job->wanted.list[index];
    const struct endpoint *endpoint = job->input.endpoint;
    const struct peer_identity *certificate = endpoint->peer->certificate;
    const struct message *m = job->input.message;
    const struct flow_origin origin = { job->registrar->base->config->name,
                                        job->registrar->base->proxy_epoch };
    struct slice entry, ground;
    char flow[FLOW_TEXT_MAX];
    struct bind_arguments arguments;

    if (!find_entry(job, &entry, &ground)) {
        job->failure = REASON_PERMISSION_LOST;
        return;
    }
    flow_write(&origin, endpoint->flow, flow);
    job->stored_unix_s[index] = stored_expiry(job, wanted, ground);
    arguments = (struct bind_arguments){
        .aor = identity_text(job->input.aor),
        .device_key = slice_of(job->input.device_key),
        .store = certificate ? slice_of(certificate->store) : SLICE(""),
        .cn = job->input.held ? job->input.held->peer.canonical_cn : SLICE(""),
        .ground = ground,
        .entry = entry,
        .instance = wanted->instance,
        .reg_id = wanted->reg_id,
        .contact = wanted->uri,
        .expires_unix_s = job->stored_unix_s[index],
        .q = wanted->q,
        .call_id = message_slice(m, m->call_id),
        .cseq = m->cseq,
        .flow = slice_of(flow),
        .registered_by = job->input.third_party ? identity_text(job->input.from) : SLICE(""),
    };
    count_write(job, ask_bind(job->registrar->ask, &arguments, next_write(job)));
}

static void unbind(struct registrar_job *job, struct slice device_key, struct slice instance,
                   uint32_t reg_id, struct slice contact)
{
    struct unbind_arguments arguments = {
        .aor = identity_text(job->input.aor),
        .device_key = device_key,
        .instance = instance,
        .reg_id = reg_id,
        .contact = contact,
    };

    job->removes = true;
    count_write(job, ask_unbind(job->registrar->ask, &arguments, next_write(job)));
}

static bool is_wanted(const struct registrar_job *job, struct slice contact)
{
    for (size_t i = 0; i < job->wanted.count; i++)
        if (slice_equal(job->wanted.list[i].uri, contact))
            return true;
    return false;
}

/* A phone without instance that comes back with another port leaves its old contact behind
 * (feed.md): what this device registered without instance on a connection that is gone. Whether one
 * of another worker is gone can't be told here: `elsewhere` says what to take it for. */
static bool is_left_behind(const struct registrar_job *job, const struct binding *b, bool elsewhere)
{
    const struct flow_origin origin = { job->registrar->base->config->name,
                                        job->registrar->base->proxy_epoch };
    struct flow flow = flow_read(&origin, b->flow);

    if (b->instance.size || is_wanted(job, b->contact) ||
        !slice_equal(b->device, slice_of(job->input.device_key)))
        return false;
    if (flow.generation && flow.worker != job->registrar->base->index)
        return elsewhere;
    return !net_find(job->registrar->net, flow);
}

static void replace_gone(struct registrar_job *job, const struct binding *b)
{
    if (is_left_behind(job, b, job->crowded) &&
        job->write_count < REGISTRAR_CONTACTS_MAX + BINDINGS_REPLACED_MAX)
        unbind(job, b->device, SLICE(""), 0, b->contact);
}

/* Looks at what stands: order within a Call-ID, the number of contacts, and how many of those are
 * what this phone left behind. */
static enum reason check_standing(struct registrar_job *job, unsigned *others, unsigned *left)
{
    const struct message *m = job->input.message;
    const struct answer *located = job->input.located;

    *others = *left = 0;
    for (size_t i = 0; i < located->locate.binding_count; i++) {
        struct binding b;
        bool same = false;
        if (binding_parse(located->locate.bindings[i], &job->arena, &b) != ERROR_NONE) {
            ++*others; /* it counts, whatever it is */
            continue;
        }
        for (size_t j = 0; j < job->wanted.count && !same; j++)
            same = is_same_binding(&job->wanted.list[j], &b);
        *others += !same;
        *left += !same && is_left_behind(job, &b, true);
        if ((same || job->wanted.star) && slice_equal(b.device, slice_of(job->input.device_key)) &&
            registration_is_older(message_slice(m, m->call_id), m->cseq, b.call_id, b.cseq))
            return REASON_REGISTER_OUT_OF_ORDER;
    }
    return REASON_ALLOWED;
}

static void write_all(struct registrar_job *job)
{
    const struct answer *located = job->input.located;
    bool without_instance = false;

    if (job->wanted.star)
        unbind(job, SLICE("*"), SLICE(""), 0, SLICE("*"));
    for (size_t i = 0; i < job->wanted.count; i++) {
        const struct wanted *w = &job->wanted.list[i];
        without_instance |= !w->instance.size && w->granted_s;
        if (w->granted_s)
            bind_contact(job, i);
        else
            unbind(job, slice_of(job->input.device_key), w->instance, w->reg_id, w->uri);
    }
    for (size_t i = 0; without_instance && i < located->locate.binding_count; i++) {
        struct binding b;
        if (binding_parse(located->locate.bindings[i], &job->arena, &b) == ERROR_NONE)
            replace_gone(job, &b);
    }
}

static enum reason check(struct registrar_job *job)
{
    unsigned max = job->registrar->base->config->registrar.contacts_max;
    unsigned others, left, added = 0;
    enum reason reason =
        wanted_read(job->input.message, &job->registrar->base->config->registrar, &job->wanted);

    if (reason != REASON_ALLOWED)
        return reason;
    if (job->input.located->locate.state == USER_FOREIGN) /* 10.3 step 5 */
        return REASON_TARGET_UNKNOWN;
    reason = check_standing(job, &others, &left);
    for (size_t i = 0; i < job->wanted.count; i++)
        added += job->wanted.list[i].granted_s > 0;
    if (reason != REASON_ALLOWED || !added || others + added <= max)
        return reason;
    /* Rather than lock a phone out by its own past, that goes, wherever its connection was. */
    job->crowded = true;
    return others - left + added <= max && left <= BINDINGS_REPLACED_MAX ? REASON_ALLOWED
                                                                         : REASON_BINDINGS_TOO_MANY;
}

static struct registrar_job *job_new(struct registrar *registrar,
                                     const struct registrar_input *input, registrar_done *done,
                                     void *owner)
{
    struct registrar_job *job = mem_zero(1, sizeof(*job));

    if (!job)
        return NULL;
    job->registrar = registrar;
    job->input = *input;
    job->done = done;
    job->owner = owner;
    job->failure = REASON_ALLOWED;
    job->aor_tag = tag_user(identity_text(input->aor));
    job->noted = registrar->notes.count;
    job->locate.done = on_located;
    job->locate.owner = job;
    buffer_init(&job->headers, HEADERS_MAX);
    arena_init(&job->arena, HEADERS_MAX * 4);
    return job;
}

/* The phone's own contact alone: the list of others would need a question, and this path asks none.
 */
static void answer_refresh(struct registrar *registrar, const struct registrar_input *input,
                           registrar_done *done, void *owner)
{
    struct wanted wanted;
    struct registration *r =
        registration_refreshed(&registrar->notes, registrar->base, input->endpoint, input->message,
                               input->from, input->aor, &wanted);
    struct registrar_result result = { REASON_ALLOWED, NULL, SLICE("") };
    struct buffer headers;

    /* The time has come between the two looks, or the sender's standing is another than then: as if
     * mapperd had been too slow. */
    if (!r || r->third_party != input->third_party) {
        result.reason = REASON_PARK_DEADLINE;
        done(owner, &result);
        return;
    }
    buffer_init(&headers, HEADERS_MAX);
    add_contact(&headers, wanted.uri, wanted.instance, wanted.reg_id, wanted.q, wanted.granted_s);
    if (wanted.reg_id)
        buffer_add_text(&headers, "Require: outbound\r\n");
    r->cseq = input->message->cseq;
    result.headers = buffer_slice(&headers);
    if (headers.failed)
        result.reason = REASON_OUT_OF_MEMORY;
    done(owner, &result);
    buffer_free(&headers);
}

void registrar_begin(struct registrar *registrar, const struct registrar_input *input,
                     registrar_done *done, void *owner, struct registrar_job **out)
{
    struct registrar_result failed = { REASON_OUT_OF_MEMORY, NULL, SLICE("") };
    struct registrar_job *job;
    enum reason reason;

    *out = NULL;
    if (!input->located) {
        answer_refresh(registrar, input, done, owner);
        return;
    }
    job = job_new(registrar, input, done, owner);
    if (!job) {
        done(owner, &failed);
        return;
    }
    reason = check(job);
    if (reason != REASON_ALLOWED) {
        end(job, reason, NULL);
        return;
    }
    write_all(job);
    if (job->write_count == 0) { /* a question: what is registered? (10.2.3) */
        list_bindings(job, input->located);
        end(job, job->failure, NULL);
        return;
    }
    if (job->waiting == 0) {
        end(job, job->failure, NULL);
        return;
    }
    *out = job;
}
