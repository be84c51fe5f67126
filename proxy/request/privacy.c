/* SPDX-License-Identifier: Apache-2.0 */
/* What a request says of its sender and of who was called before, as it leaves: asserted identity,
 * Privacy, Diversion, History-Info (RFC 3323, 3325, 7044). */
#include "proxy/request/request_internal.h"

#include "proxy/authorization/questions.h"

/* ---- Privacy ---- */

/* The next of a list, parted by semicolons; some send commas. */
static struct slice next_of(struct slice *rest)
{
    size_t size = 0;
    struct slice value;

    while (size < rest->size && rest->data[size] != ';' && rest->data[size] != ',')
        size++;
    value = slice_trim((struct slice){ rest->data, size });
    size += size < rest->size;
    *rest = (struct slice){ rest->data + size, rest->size - size };
    return value;
}

static bool is_one_of(struct slice value, const char *const *list)
{
    for (; *list; list++)
        if (slice_equal_nocase(value, slice_of(*list)))
            return true;
    return false;
}

/* Whether one of the list is asked for, or with `but` something besides the list. */
static bool asks_for(const struct message *message, const char *const *list, bool but)
{
    for (const struct header *h = message_header(message, HEADER_PRIVACY); h;
         h = message_header_next(message, h)) {
        struct slice rest = message_header_value(message, h);

        while (rest.size) {
            struct slice value = next_of(&rest);

            if (value.size && is_one_of(value, list) != but)
                return true;
        }
    }
    return false;
}

/* RFC 3325 7. */
static bool asks_to_hide(const struct message *message)
{
    static const char *const hides[] = { "id", "user", NULL };

    return asks_for(message, hides, false);
}

/* Who hides in From wants to stay hidden, unless it says that it does not. */
static bool wants_privacy(const struct request *request)
{
    static const char *const none[] = { "none", NULL };

    return asks_to_hide(&request->message) ||
           (identity_is_anonymous(&request->from) && !asks_for(&request->message, none, false));
}

static bool is_of_trust_domain(const struct config_route *route)
{
    return route && route->trusted;
}

static const struct config_route *next_hop(const struct request *request)
{
    return request->authorization.leaves_as_number || request->target.kind == REQUEST_TARGET_NUMBER
               ? request->target.number_route
               : request->target.route;
}

bool privacy_can_be_given(const struct request *request)
{
    static const char *const critical[] = { "critical", NULL };
    static const char *const given[] = { "none", "id", "history", "critical", NULL };

    return !asks_for(&request->message, critical, false) ||
           !asks_for(&request->message, given, true) || is_of_trust_domain(next_hop(request)) ||
           request->target.kind == REQUEST_TARGET_SERVICE; /* help comes first */
}

/* ---- Who is asserted (RFC 3325) ---- */

static bool read_identity(struct slice value, struct identity *out)
{
    struct name_addr address;
    struct uri uri;

    return value.data && header_parse_name_addr(value, &address) == ERROR_NONE &&
           uri_parse(address.uri, &uri) == ERROR_NONE && uri.scheme != URI_SERVICE &&
           uri_identity(&uri, out) == ERROR_NONE && out->user_size > 0;
}

bool privacy_read_preferred(const struct request *request, struct identity *out)
{
    const struct message *message = &request->message;
    struct message_values values = message_values(message, HEADER_P_ASSERTED_IDENTITY);
    struct slice value = message_value(message, HEADER_P_PREFERRED_IDENTITY);

    if (!value.data && request->of_trusted && message_next_value(&values, &value) != ERROR_NONE)
        return false;
    return read_identity(value, out);
}

/* Nobody has proved who he is. In a dialog his connection is all that he is. */
static bool is_unproved(const struct request *request)
{
    const struct authorization *a = &request->authorization;
    const struct peer *peer = request->endpoint ? request->endpoint->peer : NULL;

    return a->decision.admission == ADMIT_AS_STRANGER ||
           a->decision.admission == ADMIT_AS_ANONYMOUS ||
           (request->in_dialog && peer && peer->kind == PEER_WITHOUT_CERTIFICATE && peer->device &&
            a->device == peer->device);
}

/* What a trusted peer, or a trusted route, may say itself. Only of From's domain is it known
 * whether it is ours. */
static bool sender_may_assert(const struct branch *branch, const struct identity *identity)
{
    const struct request *request = branch->request;
    const struct peer *peer = request->endpoint ? request->endpoint->peer : NULL;
    struct slice domain = identity_domain(identity);
    bool foreign = domain.size == 0 || (slice_equal(domain, identity_domain(&request->speaker)) &&
                                        questions_is_foreign(&request->authorization));

    return request->of_trusted && peer && !identity_is_anonymous(identity) &&
           (peer_covers(peer, identity) ||
            (peer->trusted && config_trusted_peer_asserts(peer->trusted, identity, foreign)));
}

/* Of who answers: a next hop of our trust domain, within what it may say in requests. */
static bool callee_may_assert(const struct branch *branch, const struct identity *identity)
{
    const struct config_route *route = branch->target.route;

    for (size_t i = 0; is_of_trust_domain(route) && i < route->may_assert_count; i++)
        if (identity_covered_by(identity, identity_text(&route->may_assert[i])))
            return !identity_is_anonymous(identity);
    return false;
}

/* A sip or sips URI and a tel URI at most (9.1), as they came. False: it has none that counts. */
static bool pass_asserted(struct edit_list *edits, const struct branch *branch,
                          const struct message *message,
                          bool (*may_assert)(const struct branch *, const struct identity *))
{
    struct message_values values = message_values(message, HEADER_P_ASSERTED_IDENTITY);
    bool passed[2] = { false, false };
    struct identity identity;
    struct slice value;

    while (message_next_value(&values, &value) == ERROR_NONE) {
        bool tel;

        if (!read_identity(value, &identity))
            continue;
        tel = identity_domain(&identity).size == 0;
        if (passed[tel] || !may_assert(branch, &identity))
            continue;
        edit_add(edits, HEADER_P_ASSERTED_IDENTITY, value);
        passed[tel] = true;
    }
    return passed[0] || passed[1];
}

/* P-Preferred-Identity chooses among what the peer may use; anything else in it is ignored (RFC
 * 3325 9.2). */
static struct identity asserted_identity(const struct request *request)
{
    struct slice value = message_value(&request->message, HEADER_P_PREFERRED_IDENTITY);
    struct identity preferred;

    if (request->endpoint && read_identity(value, &preferred) &&
        peer_covers(request->endpoint->peer, &preferred))
        return preferred;
    return request->speaker;
}

static void remove_claims(struct edit_list *edits)
{
    edit_remove(edits, HEADER_P_ASSERTED_IDENTITY);
    edit_remove(edits, HEADER_P_PREFERRED_IDENTITY);
    edit_remove(edits, HEADER_REMOTE_PARTY_ID);
}

/* What the peer claims about itself goes; what was proved is written. */
static void edit_asserted_identity(struct edit_list *edits, const struct branch *branch)
{
    const struct request *request = branch->request;
    struct identity asserted = asserted_identity(request);

    remove_claims(edits);
    if (request->message.method == METHOD_ACK || is_unproved(request) ||
        (wants_privacy(request) && !is_of_trust_domain(branch->target.route)))
        return;
    if (pass_asserted(edits, branch, &request->message, sender_may_assert) ||
        identity_is_anonymous(&asserted) ||
        identity_service(&asserted).size) /* who answers an emergency call */
        return;
    edit_add(edits, HEADER_P_ASSERTED_IDENTITY,
             edit_format(edits, "<%s:%s>",
                         identity_is_number(&asserted) && identity_domain(&asserted).size == 0
                             ? "tel"
                             : "sip",
                         asserted.text));
}

/* ---- Who was called before ---- */

/* An entry of History-Info asks for privacy in the headers of its URI (RFC 7044 10.1.1). One that
 * can't be read might. */
static bool history_is_private(const struct message *message)
{
    static const char *const hides[] = { "history", "header", "session", NULL };
    struct message_values values = message_values(message, HEADER_HISTORY_INFO);
    struct name_addr address;
    struct slice value;
    struct uri uri;
    enum error error;

    if (asks_for(message, hides, false))
        return true;
    while ((error = message_next_value(&values, &value)) == ERROR_NONE) {
        if (header_parse_name_addr(value, &address) != ERROR_NONE ||
            uri_parse(address.uri, &uri) != ERROR_NONE || uri_has_header(&uri, SLICE("privacy")))
            return true;
    }
    return error != ERROR_NOT_FOUND;
}

static bool asks_for_privacy(struct slice params)
{
    struct param param;

    while (header_next_param(&params, &param) == ERROR_NONE)
        if (slice_equal_nocase(param.name, SLICE("privacy")) &&
            !slice_equal_nocase(param.value, SLICE("off")))
            return true;
    return false;
}

/* RFC 5806 6.4: one of them must not be seen outside. */
static bool diversion_is_private(const struct message *message)
{
    struct message_values values = message_values(message, HEADER_DIVERSION);
    struct name_addr address;
    struct slice value;
    enum error error;

    while ((error = message_next_value(&values, &value)) == ERROR_NONE) {
        if (header_parse_name_addr(value, &address) != ERROR_NONE ||
            asks_for_privacy(address.params))
            return true;
    }
    return error != ERROR_NOT_FOUND;
}

/* It is not for a phone to say, and not for everybody to know. */
static void edit_history(struct edit_list *edits, const struct branch *branch)
{
    const struct request *request = branch->request;
    bool passes = request->of_trusted || request->layer->base->config->pass_diversion;
    bool within = is_of_trust_domain(branch->target.route);

    if (!passes || (!within && diversion_is_private(&request->message)))
        edit_remove(edits, HEADER_DIVERSION);
    if (!passes || (!within && history_is_private(&request->message)))
        edit_remove(edits, HEADER_HISTORY_INFO);
}

void privacy_edit(struct edit_list *edits, const struct branch *branch)
{
    edit_asserted_identity(edits, branch);
    edit_history(edits, branch);
}

void privacy_edit_response(struct edit_list *edits, const struct branch *branch,
                           const struct message *response)
{
    remove_claims(edits);
    if (!asks_to_hide(response) || branch->request->of_trusted)
        (void)pass_asserted(edits, branch, response, callee_may_assert);
}
