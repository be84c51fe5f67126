/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/registrar/wanted.h"

/* What one binding may take: mapperd's bounds (docs/protocol.md, BIND). */
#define INSTANCE_MAX      512
#define CONTACT_MAX       2048
#define CONTACT_ALONE_MAX 1098 /* without instance it is part of the key */
#define CALL_ID_MAX       512

/* reg-id counts only from a phone that says that it does outbound (RFC 5626 6). */
static bool does_outbound(const struct message *m)
{
    struct message_values values = message_values(m, HEADER_SUPPORTED);
    struct slice tag;

    while (message_next_value(&values, &tag) == ERROR_NONE)
        if (slice_equal_nocase(tag, SLICE("outbound")))
            return true;
    return false;
}

static bool fits_bounds(const struct contact *contact)
{
    return contact->instance.size <= INSTANCE_MAX &&
           contact->address.uri.size <= (contact->instance.size ? CONTACT_MAX : CONTACT_ALONE_MAX);
}

/* What holds for all contacts of a REGISTER. */
struct common {
    const struct config_registrar *limits;
    bool outbound;
    bool has_expires; /* the header field */
    uint32_t expires_s;
};

static enum reason read_contact(const struct common *common, struct slice value, struct wanted *out,
                                bool *star, bool *brief)
{
    const struct config_registrar *limits = common->limits;
    struct contact contact;
    struct uri uri;
    uint32_t seconds;

    if (header_parse_contact(value, &contact) != ERROR_NONE)
        return REASON_MALFORMED;
    *star = contact.star;
    if (contact.star)
        return REASON_ALLOWED;
    if (uri_parse(contact.address.uri, &uri) != ERROR_NONE || !fits_bounds(&contact))
        return REASON_MALFORMED;
    seconds = contact.has_expires   ? contact.expires_s
              : common->has_expires ? common->expires_s
                                    : limits->expires_default_s;
    *brief = seconds > 0 && seconds < limits->expires_min_s;
    *out = (struct wanted){
        .uri = contact.address.uri,
        .instance = contact.instance,
        .reg_id = contact.instance.size && common->outbound ? contact.reg_id : 0,
        .q = contact.q == CONTACT_Q_NONE ? 1000 : contact.q,
        .granted_s = seconds > limits->expires_max_s ? limits->expires_max_s : seconds,
    };
    return REASON_ALLOWED;
}

/* `*` stands alone and with Expires: 0 (10.2.2). */
static enum reason check_star(const struct common *common, const struct wanted_list *wanted)
{
    if (!wanted->star)
        return REASON_ALLOWED;
    return wanted->count == 0 && common->has_expires && common->expires_s == 0 ? REASON_ALLOWED
                                                                               : REASON_MALFORMED;
}

enum reason wanted_read(const struct message *m, const struct config_registrar *limits,
                        struct wanted_list *out)
{
    struct message_values values = message_values(m, HEADER_CONTACT);
    struct common common = { .limits = limits, .outbound = does_outbound(m) };
    enum error has = message_expires(m, &common.expires_s), error;
    struct slice value;

    common.has_expires = has == ERROR_NONE;
    if (has == ERROR_MALFORMED || m->call_id.len > CALL_ID_MAX)
        return REASON_MALFORMED;
    while ((error = message_next_value(&values, &value)) == ERROR_NONE) {
        bool star = false, brief = false;
        enum reason reason;
        if (out->count == REGISTRAR_CONTACTS_MAX)
            return REASON_BINDINGS_TOO_MANY;
        reason = read_contact(&common, value, &out->list[out->count], &star, &brief);
        if (reason != REASON_ALLOWED)
            return reason;
        if (brief)
            return REASON_EXPIRES_TOO_BRIEF;
        if (star && out->star)
            return REASON_MALFORMED;
        out->star |= star;
        if (!star)
            out->count++;
    }
    if (error != ERROR_NOT_FOUND)
        return REASON_MALFORMED;
    return check_star(&common, out);
}
