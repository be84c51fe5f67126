/* SPDX-License-Identifier: Apache-2.0 */
/* mapperd's answer to PEER, RIGHTS, LOCATE or CREDENTIAL, read once and then shared: cache, waiters
 * and peers hold references. Immutable, one block of memory, one thread. That of CREDENTIAL is
 * wiped when its last reference goes. */
#ifndef HOLDLINE_AUTHORIZATION_ANSWER_H
#define HOLDLINE_AUTHORIZATION_ANSWER_H

#include "common/error.h"
#include "common/policy.h"
#include "common/resp.h"
#include "proxy/tls/peer_identity.h"

#include <stdbool.h>

enum lookup_kind { LOOKUP_NONE = 0, LOOKUP_PEER, LOOKUP_RIGHTS, LOOKUP_LOCATE, LOOKUP_CREDENTIAL };

/* Octets of a lookup's key: STORE, certificates, SP CN; or an identity. What may block a
 * certificate of the chain stands behind the store's name, each as a comma and a digest. */
#define LOOKUP_KEY_MAX (STORE_NAME_MAX + PEER_CHAIN_TEXT_MAX + 1 + CN_MAX_OCTETS)

struct answer_peer {
    enum peer_state state;
    struct slice canonical_cn;   /* empty: the CN has not its store's form */
    const struct slice *entries; /* canonical identities, as PEER gave them */
    size_t entry_count;
};

struct answer_rights {
    struct policy_rights rights;
    const struct slice *groups;
    size_t group_count;
};

struct answer_locate {
    enum user_state state;
    const struct slice *bindings; /* texts; answer_binding_field() reads them */
    size_t binding_count;
};

struct answer_credential {
    enum user_state state;
    const struct slice *texts; /* all of them can be read by answer_credential() */
    size_t count;
};

struct answer {
    unsigned references;
    enum lookup_kind kind;
    struct slice
        key; /* what was asked: STORE,SHA256… SP CN (as the certificate has it), or identity */
    uint64_t epoch; /* of mapperd's snapshot that it was read from */
    uint64_t serial;
    uint64_t edge_unix_s; /* it ends here: a rule begins or ends; UINT64_MAX = never */
    const uint64_t *tags; /* the rows it rests on, see tag.h */
    size_t tag_count;
    size_t size; /* bytes of memory */
    union {
        struct answer_peer peer;
        struct answer_rights rights;
        struct answer_locate locate;
        struct answer_credential credential;
    };
};

/* Takes the next word from the first part of PEER's key, STORE,SHA256…: the store, then
 * certificates. False: there is none any more. *words starts as that part, and data NULL is its
 * end. */
bool answer_peer_word(struct slice *words, struct slice *word);

/* Reads a reply; *out has one reference. ERROR_MALFORMED: not the shape of a reply to this kind, so
 * the connection has lost its order and can't be used any more. ERROR_NOT_FOUND: the shape is
 * right, but something in it can't be understood (a rule, an identity): this answer alone is no
 * use. ERROR_MEMORY. `value` is not kept. */
enum error answer_read(enum lookup_kind kind, struct slice key, const struct resp_value *value,
                       uint64_t now_unix_s, struct answer **out) MUST_CHECK;

static inline struct answer *answer_hold(struct answer *answer)
{
    answer->references++;
    return answer;
}
void answer_release(struct answer *answer); /* NULL is harmless */

/* Whether nothing was found: PEER unknown, RIGHTS foreign or unknown. Such answers are kept apart.
 */
bool answer_is_unknown(const struct answer *answer);

/* The value of field `name` of a LOCATE binding's text; `contact` reaches to the end. False, value
 * untouched: not there. The value is as it stands, percent-encoded where the protocol says so. */
bool answer_binding_field(struct slice binding, const char *name, struct slice *value);

#define CREDENTIAL_NAME_MAX 254 /* octets of realm and username, as in the table */

/* One password of a user, as hashes. Hashes point into the answer: hexadecimal digits in lower
 * case, 64 and 32; empty: there is none. */
struct credential {
    char realm[CREDENTIAL_NAME_MAX], username[CREDENTIAL_NAME_MAX];
    size_t realm_size, username_size;
    struct slice ha1_sha256, ha1_md5;
};
/* Of an answer to CREDENTIAL; false beyond the last. */
bool answer_credential(const struct answer *answer, size_t index, struct credential *out);

/* Decodes %XX into out[max]; false when it is malformed or longer. */
bool answer_percent_decode(struct slice text, char *out, size_t max, size_t *size);

#endif
