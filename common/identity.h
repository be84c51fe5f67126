/* SPDX-License-Identifier: Apache-2.0 */
/* The canonical form of SIP identities and of certificate CNs: pure functions, the same answers as
 * SQL's (tests/corpus proves it). Two spellings of one identity have one canonical text; what has
 * none is refused, never guessed. */
#ifndef HOLDLINE_COMMON_IDENTITY_H
#define HOLDLINE_COMMON_IDENTITY_H

#include "common/error.h"
#include "common/slice.h"

#include <stdbool.h>
#include <stdint.h>

#define IDENTITY_MAX 254 /* octets of user@domain, so that no LMDB key exceeds 511 */
#define CN_MAX_OCTETS \
    192 /* of a CN, canonical or as given; RFC 5280's 64 characters in UTF-8, generously */
#define STORE_NAME_MAX 32

struct identity {
    char text[IDENTITY_MAX + 1]; /* user@domain, domain, or a number; NUL-terminated */
    uint16_t size;
    uint16_t user_size; /* 0: no user part; == size: a number without domain (tel:) */
};

static inline struct slice identity_text(const struct identity *i)
{
    return (struct slice){ i->text, i->size };
}
static inline struct slice identity_user(const struct identity *i)
{
    return (struct slice){ i->text, i->user_size };
}
/* Empty for a number without domain. */
static inline struct slice identity_domain(const struct identity *i)
{
    size_t at = i->user_size < i->size && i->user_size ? (size_t)i->user_size + 1 : i->user_size;
    return (struct slice){ i->text + at, i->size - at };
}

/* From the parts of a sip or sips URI as they stand in it (RFC 3261 19.1.4): user with escapes (''
 * = none), without password; host without port. Escapes of what may stand in a user unescaped are
 * decoded, all others are kept with upper-case digits; case of letters is kept. `number` for
 * ;user=phone and tel:, where the user is what follows the scheme: the visual separators of its
 * number go (RFC 3966 5.1.1), not those of its parameters, nor of a user that is no number.
 * Host: name in lower case without trailing dot, IPv4, or [IPv6] in its shortest form. tel: has an
 * empty host; its text is the bare number with its parameters.
 * ERROR_MALFORMED: a raw character that no user may have, an escape that is broken or gives NUL or
 * a control character, a host that is none, an empty result; ERROR_TOO_LARGE. */
enum error identity_from_parts(struct identity *out, struct slice user, struct slice host,
                               bool number) MUST_CHECK;

/* From what people write: `user@domain`, `domain`, with or without sip:, sips:, spaces around it. A
 * port, parameter, header, password, IPv6 address or tel: is ERROR_MALFORMED. */
enum error identity_from_text(struct identity *out, struct slice text) MUST_CHECK;

/* Whether the text is what identity_from_text() makes of it, so that it is stored as it is. Quick:
 * what has no escape and a host name is only looked at, not made again. */
bool identity_is_canonical(struct slice text);

/* Whether an entry of a PEER answer (canonical `user@domain` or `domain`) covers the identity:
 * equal, or its domain. An identity without domain (tel:) is covered by an equal entry only. False
 * for an empty entry or identity. */
bool identity_covered_by(const struct identity *i, struct slice entry);

/* Whether the user part, or a number without domain, is a plain number: digits with at most one
 * leading '+'. Anything else matches no number rule. */
bool identity_is_number(const struct identity *i);

/* Of the domain anonymous.invalid (RFC 3323 4.1.1.3): says that it says nobody. */
bool identity_is_anonymous(const struct identity *i);

/* A service of RFC 5031 as a target: out is `urn:service:` and the name in lower case (labels of
 * letters, digits and hyphens with dots between them), without user part or domain in the sense of
 * the functions above: nobody holds it. Takes the name, with or without urn:service:.
 * ERROR_MALFORMED, ERROR_TOO_LARGE. */
enum error identity_from_service(struct identity *out, struct slice name) MUST_CHECK;
/* The name, such as sos.fire; empty when it is no service. */
struct slice identity_service(const struct identity *i);

/* Forms of CNs, column cn_form of trust_store. */
enum cn_form { CN_FORM_NONE = 0, CN_FORM_MAC, CN_FORM_EXACT };

/* CN_FORM_MAC: six times two hexadecimal digits with at most one ':', '-' or '.' between two
 * octets; spaces around it are ignored. What is not that as it stands loses the first of `prefixes`
 * that fits (ASCII letters without case) and spaces behind it. Gives twelve upper-case digits.
 * CN_FORM_EXACT: the bytes, if text_is_clean_utf8(), 1..CN_MAX_OCTETS. out has CN_MAX_OCTETS + 1
 * bytes, NUL-terminated; out_size may be NULL. ERROR_MALFORMED: not of the form (such a CN is
 * unknown), *out is
 * "" then; ERROR_TOO_LARGE. */
enum error cn_canonical(enum cn_form form, const struct slice *prefixes, size_t prefix_count,
                        struct slice cn, char *out, size_t *out_size) MUST_CHECK;

/* Valid UTF-8 (no surrogates, no overlong forms) without control characters. */
bool text_is_clean_utf8(struct slice s);

#endif
