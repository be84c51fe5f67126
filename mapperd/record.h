/* SPDX-License-Identifier: Apache-2.0 */
/* The values of the store: how each kind of record is written and read. Pure. A value is data from
 * a disk: every length is checked, and a record that does not read through to its last byte is
 * ERROR_MALFORMED, never half a permission. */
#ifndef HOLDLINE_MAPPERD_RECORD_H
#define HOLDLINE_MAPPERD_RECORD_H

#include "common/buffer.h"
#include "common/error.h"
#include "common/identity.h"
#include "common/slice.h"

#include <stdint.h>

#define RECORD_KEY_MAX        511 /* LMDB's; the schema keeps every key below it */
#define RECORD_PREFIXES_MAX   16
#define RECORD_GROUPS_MAX     64
#define RECORD_IDENTITIES_MAX 4096 /* of one device: further ones are left out */
#define RECORD_RULES_MAX      4096 /* of one block: all is denied behind them */
#define RECORD_CHAIN_MAX      24   /* digests in PEER: two for each certificate of a chain */
#define RECORD_REALMS_MAX     16   /* of one user */

/* Zero is neither: a record whose state byte is anything else does not read. */
enum record_state { RECORD_NONE = 0, RECORD_ENABLED, RECORD_DISABLED };

/* A key under construction; `failed` when it would be too long, which no row that the schema lets
 * in is. */
struct record_key {
    char bytes[RECORD_KEY_MAX];
    uint16_t size;
    bool failed;
};

static inline struct slice record_key_slice(const struct record_key *k)
{
    return (struct slice){ k->bytes, k->size };
}

void record_key_start(struct record_key *k);
void record_key_copy(struct record_key *to, const struct record_key *from);
void record_key_add(struct record_key *k, struct slice s);
void record_key_add_u64(struct record_key *k, uint64_t value); /* big endian: sorts as a number */
uint64_t record_u64_at(const char *at);

void record_peer_key(struct record_key *k, struct slice store,
                     struct slice cn); /* store NUL cn: (store, cn) in byte order */
enum record_rules {
    RECORD_RULES_EVERYONE = 'e',
    RECORD_RULES_DOMAIN = 'd',
    RECORD_RULES_GROUP = 'g'
};
void record_rules_key(struct record_key *k, enum record_rules kind, struct slice who);
/* aor NUL and 16 octets of SHA-256 over device and instance key, which together may be longer than
 * a key. */
void record_binding_key(struct record_key *k, struct slice aor, struct slice device_key,
                        struct slice instance_key);
void record_binding_prefix(struct record_key *k, struct slice aor);

/* trust_store */
struct record_store {
    enum record_state state;
    enum cn_form form;
    struct slice prefixes[RECORD_PREFIXES_MAX];
    size_t prefix_count;
};
void record_store_write(struct buffer *out, const struct record_store *store);
enum error record_store_read(struct slice value, struct record_store *store) MUST_CHECK;

/* domain */
void record_domain_write(struct buffer *out, enum record_state state);
enum error record_domain_read(struct slice value, enum record_state *state) MUST_CHECK;

/* (store, cn): state, a count, and the identities as RESP bulks, ready to be sent. A disabled
 * device has none: whatever becomes of its state on the way, there is nothing to be taken for a
 * yes. */
void record_peer_start(struct buffer *out, enum record_state state, uint32_t count);
void record_peer_add(struct buffer *out, struct slice identity);
struct record_peer {
    enum record_state state;
    uint32_t count; /* 0: disabled; else 1 or more */
    struct slice bulks;
};
enum error record_peer_read(struct slice value, struct record_peer *peer) MUST_CHECK;
/* Walks the identities; *rest starts as peer.bulks. False at the end and on anything malformed. */
bool record_peer_next(struct slice *rest, struct slice *identity);

/* SHA-256 of a certificate, or of its issuer and serial number: 64 hexadecimal digits in lower
 * case. blocked_certificate has records whose key says all there is: record_peer_key() of store and
 * SHA-256. */
bool record_is_sha256(struct slice text);

/* credential: as record_peer, a count and bulks of `realm=… username=… sha256=… md5=…`, ready to be
 * sent. A hash is hexadecimal, or empty where it is missing. */
struct record_credential {
    struct slice realm, username, sha256, md5;
};
void record_credential_start(struct buffer *out, uint32_t count);
/* `scratch` is overwritten: a bulk's length comes before its text. */
void record_credential_add(struct buffer *out, struct buffer *scratch,
                           const struct record_credential *credential);
enum error record_credential_read(struct slice value, struct record_peer *credentials) MUST_CHECK;

/* Rules: a block is a run of (position, number, id, text), in the order of decision: by position,
 * then the longest number first, then by id; the text is the wire's. */
struct record_rule {
    int64_t position;
    uint64_t number; /* octets of a target that is a number; 0: another target */
    uint64_t id;
    struct slice text;
};
void record_rule_add(struct buffer *out, const struct record_rule *rule);
enum error record_rule_next(struct slice *rest,
                            struct record_rule *rule) MUST_CHECK; /* NOT_FOUND at the end */

/* sip_user: state, groups, then its own rules as a block. */
struct record_user {
    enum record_state state;
    struct slice groups[RECORD_GROUPS_MAX];
    size_t group_count;
    struct slice rules;
};
void record_user_start(struct buffer *out, enum record_state state, uint32_t group_count);
void record_user_add_group(struct buffer *out, struct slice group);
enum error record_user_read(struct slice value, struct record_user *user) MUST_CHECK;

/* binding: as the table has it; text of LOCATE is made from it when asked. */
struct record_version {
    uint64_t unix_ms;
    uint32_t by;
};
/* < 0, 0, > 0. The version alone decides between two rows of one key. */
int record_version_compare(struct record_version a, struct record_version b);

/* The hybrid clock: never behind this machine's, always above every version seen. */
uint64_t record_version_next(uint64_t now_unix_ms, uint64_t seen_unix_ms);

enum record_ground { GROUND_NONE = 0, GROUND_MAPPING, GROUND_NAME, GROUND_DIGEST };
bool record_ground_from_text(struct slice text, enum record_ground *ground);
const char *record_ground_text(enum record_ground ground);

/* Of a third party (RFC 3261 10.2) `registered_by` is who registered it for the address of record,
 * and ground and entry are that user's; empty: the address of record itself. */
struct record_binding {
    struct slice aor, device_key, instance_key, store, cn, entry, instance, contact, call_id, flow,
        path, registered_by;
    enum record_ground ground;
    uint64_t expires_unix_s, reg_id, cseq;
    uint32_t q;
    bool removed;
    struct record_version version;
};
void record_binding_write(struct buffer *out, const struct record_binding *binding);
enum error record_binding_read(struct slice value, struct record_binding *binding) MUST_CHECK;
/* What LOCATE says besides of a third party's: on what else its holding rests. */
struct record_third_party {
    const struct slice *groups; /* of who registered it */
    size_t group_count;
    uint64_t until_unix_s; /* until when its rules let it, as they are; UINT64_MAX: no end */
};
/* The bulk of LOCATE, without its RESP frame. third_party: NULL unless it is one's. */
void record_binding_text(struct buffer *out, const struct record_binding *binding,
                         const struct record_third_party *third_party);
/* i:INSTANCE:REG_ID, or c:CONTACT URI as it was registered. */
void record_instance_key(struct buffer *out, struct slice instance, uint64_t reg_id,
                         struct slice contact);

#endif
