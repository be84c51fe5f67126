/* SPDX-License-Identifier: Apache-2.0 */
/* The canonical form of SIP identities and of certificate CNs: pure functions, the same answers as
 * SQL's (tests/corpus proves it). Two spellings of one identity have one canonical text; what has
 * none is refused, never guessed. */
#ifndef HOLDLINE_COMMON_IDENTITY_H
#define HOLDLINE_COMMON_IDENTITY_H

#include "common/error.h"
#include "common/slice.h"

#include <stdint.h>

#define IDENTITY_MAX 254 /* octets of user@domain, so that no LMDB key exceeds 511 */
#define CN_MAX_OCTETS \
    192 /* of a CN, canonical or as given; RFC 5280's 64 characters in UTF-8, generously */
#define STORE_NAME_MAX 32

struct identity {
    char text[IDENTITY_MAX + 1]; /* user@domain, or domain; NUL-terminated */
    uint16_t size;
    uint16_t user_size; /* 0: no user part */
};

static inline struct slice identity_text(const struct identity *i)
{
    return (struct slice){ i->text, i->size };
}
static inline struct slice identity_domain(const struct identity *i)
{
    size_t at = i->user_size ? (size_t)i->user_size + 1 : 0;
    return (struct slice){ i->text + at, i->size - at };
}

/* From the parts of a sip or sips URI as they stand in it (RFC 3261 19.1.4): user with escapes (''
 * = none), host; `number` for ;user=phone and tel: (visual separators go, RFC 3966 5.1.1). Host:
 * name lower case without trailing dot, IPv4, or [IPv6]. tel: has an empty host; its text is the
 * bare number. ERROR_MALFORMED: an escape that is broken or gives NUL or a control character, a
 * host that is none, an empty result; ERROR_TOO_LARGE. */
enum error identity_from_parts(struct identity *out, struct slice user, struct slice host,
                               bool number) MUST_CHECK;

/* From what people write: `user@domain`, `domain`, with or without sip:, sips:. A port, parameter,
 * header or password is ERROR_MALFORMED. */
enum error identity_from_text(struct identity *out, struct slice text) MUST_CHECK;

/* Whether an entry of a PEER answer (canonical `user@domain` or `domain`) covers the identity:
 * equal, or its domain. An identity without domain (tel:) is covered by an equal entry only. False
 * for an empty entry or identity. */
bool identity_covered_by(const struct identity *i, struct slice entry);

/* Forms of CNs, column cn_form of trust_store. */
enum cn_form { CN_FORM_NONE = 0, CN_FORM_MAC, CN_FORM_EXACT };

/* CN_FORM_MAC: a prefix of `prefixes` is cut (first that fits, ASCII letters without case), then
 * twelve hexadecimal digits with single ':', '-' or '.' between any groups, surrounding white space
 * ignored: twelve upper-case digits. CN_FORM_EXACT: the bytes, if valid UTF-8 without control
 * characters (U+0000-1F, 7F-9F), 1..CN_MAX_OCTETS. out has CN_MAX_OCTETS + 1 bytes, NUL-terminated.
 * ERROR_MALFORMED: not of the form (such a CN is unknown); ERROR_TOO_LARGE. */
enum error cn_canonical(enum cn_form form, const struct slice *prefixes, size_t prefix_count,
                        struct slice cn, char *out, size_t *out_size) MUST_CHECK;

/* Valid UTF-8 (no surrogates, no overlong forms) without control characters. */
bool text_is_clean_utf8(struct slice s);

#endif
