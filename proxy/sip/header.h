/* SPDX-License-Identifier: Apache-2.0 */
/* Names and values of SIP headers (RFC 3261 20, 25.1). Value parsers take the value as it stands in
 * the message, folds included, read it whole and give slices that point into it: they live as long
 * as the message's text. They allocate nothing and are strict: what they accept has one reading.
 * All are pure; any thread. */
#ifndef HOLDLINE_SIP_HEADER_H
#define HOLDLINE_SIP_HEADER_H

#include "common/error.h"
#include "common/slice.h"
#include "proxy/sip/uri.h"

#include <stdint.h>

enum header_id {
    HEADER_OTHER = 0,
#define HEADER(id, name, first, last, compact, single) HEADER_##id,
#include "proxy/sip/header_names.def"
#undef HEADER
    HEADER_COUNT,
    HEADER_BAD_LINE = HEADER_COUNT /* a line that is no header: no colon, no token before it, or a
                                      forbidden byte */
};

/* By full name or compact form, without case. HEADER_OTHER: not one of ours. */
enum header_id header_id_of(struct slice name);
/* The full name as it is written by us; "" for HEADER_OTHER and HEADER_BAD_LINE. Static. */
struct slice header_name(enum header_id id);
/* Whether a second one in a message is a fault. */
bool header_is_single(enum header_id id);

/* Lists. `rest` is what is left of a value and is moved on. Commas inside quotes and angle brackets
 * separate nothing. The item comes without white space around it. ERROR_NOT_FOUND: the list has
 * ended; ERROR_MALFORMED: an empty item, an unbalanced quote or bracket (and `rest` is empty from
 * then on). An empty value is an empty list. */
enum error header_next_item(struct slice *rest, struct slice *item) MUST_CHECK;
/* The same for lists of tokens (Require, Supported, Allow). */
enum error header_next_token(struct slice *rest, struct slice *token) MUST_CHECK;

/* Parameters: `;name`, `;name=value`, with white space round ';' and '='. */
struct param {
    struct slice name;
    struct slice value; /* token, host, or what is between the quotes (escapes kept) */
    bool has_value;
    bool quoted;
};
/* ERROR_NOT_FOUND at the end, ERROR_MALFORMED (rest empty from then on). */
enum error header_next_param(struct slice *rest, struct param *out) MUST_CHECK;
/* By name, without case. Parameters that a parser below has accepted have no name twice. False: not
 * there. */
bool header_find_param(struct slice params, struct slice name, struct param *out);

/* From, To, Contact, Route, Record-Route, Path, P-Asserted-Identity, Refer-To, Reply-To: one
 * name-addr or addr-spec with parameters (RFC 3261 20.10). Without angle brackets ';' begins the
 * header's parameters, and ',' or '?' is malformed. The URI's own grammar is uri_parse()'s
 * business. */
struct name_addr {
    struct slice display; /* as written, quotes included; empty if there is none */
    struct slice uri;     /* without the angle brackets */
    struct slice params;  /* from the first ';'; empty if there are none */
    struct slice tag; /* of From and To: empty if there is none; a tag without value is malformed */
    bool bracketed;
};
/* `value` holds exactly one. ERROR_MALFORMED: its grammar is broken, more follows, or a parameter
 * stands twice. */
enum error header_parse_name_addr(struct slice value, struct name_addr *out) MUST_CHECK;
/* The same for Route, Record-Route, Path, Service-Route: angle brackets are a must. */
enum error header_parse_route(struct slice value, struct name_addr *out) MUST_CHECK;

/* One value of Contact (RFC 3261 20.10, RFC 5626 11). */
#define CONTACT_Q_NONE 1001
struct contact {
    bool star; /* `*`: nothing else is set then */
    struct name_addr address;
    struct uri uri; /* of the address */
    bool has_expires;
    uint32_t expires_s;
    uint16_t q;            /* 0..1000, or CONTACT_Q_NONE */
    struct slice instance; /* +sip.instance without its quotes, <urn:uuid:…>; empty: none */
    uint32_t reg_id;       /* 1..2^31-1; 0 if there is none */
};
/* ERROR_MALFORMED: also a URI that is none, q, expires or reg-id out of range. */
enum error header_parse_contact(struct slice value, struct contact *out) MUST_CHECK;

/* One value of Via (RFC 3261 20.42, RFC 3581). */
struct via {
    struct slice transport; /* as written: "TLS", "udp", "UNKNOWN" */
    struct slice host;      /* of sent-by; IPv6 with its brackets */
    uint16_t port;          /* of sent-by; 0 if there is none */
    struct slice params;    /* from the first ';' */
    struct slice branch;    /* empty if there is none */
    struct slice received;
    struct slice maddr;
    bool has_rport;
    uint16_t rport; /* 0: no value yet */
};
/* ERROR_MALFORMED: not SIP/2.0, or its grammar is broken. */
enum error header_parse_via(struct slice value, struct via *out) MUST_CHECK;
/* sent-by is the same (RFC 3261 17.2.3): host without case, port with the transport's default (5061
 * for TLS and WSS, else 5060). */
bool via_same_sent_by(const struct via *a, const struct via *b);
/* Whether a server that got the request from `source` (address without brackets; empty: unknown)
 * must write received into its topmost Via (RFC 3261 18.2.1, RFC 3581 4): sent-by is another
 * address, rport was asked for, or the client wrote a received itself. */
bool via_needs_source(const struct via *via, struct slice source);
/* Whether the branch begins with the magic cookie and has something behind it; only then does it
 * identify a transaction by itself. The cookie alone counts as RFC 2543 (RFC 4475 3.2.1). */
bool via_branch_has_cookie(struct slice branch);

/* CSeq: number below 2^31 and method. */
enum error header_parse_cseq(struct slice value, uint32_t *number, struct slice *method) MUST_CHECK;
/* Digits alone, at most `max` (Max-Forwards, Expires, Min-Expires, Content-Length). Leading zeros
 * are fine. */
enum error header_parse_number(struct slice value, uint32_t max, uint32_t *number) MUST_CHECK;

/* The text of a quoted string, its escapes taken off; `quoted` without its quotes. out has
 * quoted.size bytes; returns how many were written. NUL may be among them. */
size_t header_unescape(struct slice quoted, char *out);

/* RFC 3261 25.1 token; false for the empty one. */
bool header_is_token(struct slice s);

#endif
