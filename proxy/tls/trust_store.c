/* SPDX-License-Identifier: Apache-2.0 */
/* Verification in one trust store: OpenSSL's, without its purposes (they know neither
 * id-kp-sipDomain nor any), with our check of key usage, and a floor under security level 0. */
#include "proxy/tls/trust_store.h"

#include "common/mem.h"
#include "proxy/tls/certificate_text.h"
#include "proxy/tls/peer_identity.h"

#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

#define KEY_BITS_FLOOR 1024 /* RSA, DSA, DH: below it a key can be had by anyone */

struct trust_store {
    char *name;
    struct trust_rules rules;
    X509_STORE *store;
    STACK_OF(X509) * anchors;
    unsigned char (*anchor_sha256)[SHA256_DIGEST_LENGTH]; /* of these, in order of bytes */
};

/* PEM_read_bio_X509() tells the end from a fault by its error. */
enum error certificates_read(struct slice pem, STACK_OF(X509) * out)
{
    if (pem.size > INT_MAX)
        return ERROR_TOO_LARGE;
    BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.size);
    if (!bio)
        return ERROR_MEMORY;
    enum error e = ERROR_NONE;
    ERR_clear_error();
    for (X509 *certificate; (certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL));)
        if (sk_X509_push(out, certificate) == 0) {
            X509_free(certificate);
            e = ERROR_MEMORY;
            break;
        }
    if (e == ERROR_NONE && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        e = ERROR_MALFORMED;
    if (e == ERROR_NONE && sk_X509_num(out) == 0)
        e = ERROR_MALFORMED;
    ERR_clear_error();
    BIO_free(bio);
    return e;
}

static int compare_sha256(const void *a, const void *b)
{
    return memcmp(a, b, SHA256_DIGEST_LENGTH);
}

/* Once, while the configuration is read: at a reload every connection asks for its anchor. */
static enum error digest_anchors(struct trust_store *s)
{
    size_t count = (size_t)sk_X509_num(s->anchors);
    s->anchor_sha256 = mem_zero(count, sizeof(*s->anchor_sha256));
    if (!s->anchor_sha256)
        return ERROR_MEMORY;
    for (size_t i = 0; i < count; i++)
        if (X509_digest(sk_X509_value(s->anchors, (int)i), EVP_sha256(), s->anchor_sha256[i],
                        NULL) != 1)
            return ERROR_LIBRARY;
    qsort(s->anchor_sha256, count, sizeof(*s->anchor_sha256), compare_sha256);
    return ERROR_NONE;
}

static enum error fill_store(struct trust_store *s)
{
    for (int i = 0; i < sk_X509_num(s->anchors); i++) {
        X509 *anchor = sk_X509_value(s->anchors, i);
        /* Reads and caches the extensions now, on one thread, and refuses what has unreadable ones.
         */
        if (X509_check_purpose(anchor, -1, 0) != 1)
            return ERROR_MALFORMED;
        if (X509_STORE_add_cert(s->store, anchor) != 1)
            return ERROR_LIBRARY;
    }
    return ERROR_NONE;
}

enum error trust_store_create(const char *name, struct slice pem, const struct trust_rules *rules,
                              struct trust_store **out)
{
    *out = NULL;
    struct trust_store *s = mem_zero(1, sizeof(*s));
    if (!s)
        return ERROR_MEMORY;
    s->rules = *rules;
    s->name = mem_text(slice_of(name));
    s->store = X509_STORE_new();
    s->anchors = sk_X509_new_null();
    enum error e = ERROR_MEMORY;
    if (s->name && s->store && s->anchors)
        e = certificates_read(pem, s->anchors);
    if (e == ERROR_NONE)
        e = fill_store(s);
    if (e == ERROR_NONE)
        e = digest_anchors(s);
    if (e != ERROR_NONE) {
        trust_store_free(s);
        return e;
    }
    *out = s;
    return ERROR_NONE;
}

void trust_store_free(struct trust_store *store)
{
    if (!store)
        return;
    sk_X509_pop_free(store->anchors, X509_free);
    X509_STORE_free(store->store);
    mem_free(store->anchor_sha256);
    mem_free(store->name);
    mem_free(store);
}

const char *trust_store_name(const struct trust_store *store)
{
    return store->name;
}

const struct trust_rules *trust_store_rules(const struct trust_store *store)
{
    return &store->rules;
}

const STACK_OF(X509) * trust_store_anchors(const struct trust_store *store)
{
    return store->anchors;
}

bool trust_store_has_anchor(const struct trust_store *store,
                            const unsigned char sha256[SHA256_DIGEST_LENGTH])
{
    return bsearch(sha256, store->anchor_sha256, (size_t)sk_X509_num(store->anchors),
                   sizeof(*store->anchor_sha256), compare_sha256) != NULL;
}

bool trust_store_overlaps(const struct trust_store *a, const struct trust_store *b)
{
    for (int i = 0; i < sk_X509_num(a->anchors); i++)
        for (int j = 0; j < sk_X509_num(b->anchors); j++) {
            X509 *x = sk_X509_value(a->anchors, i), *y = sk_X509_value(b->anchors, j);
            EVP_PKEY *key = X509_get0_pubkey(x);
            if (X509_NAME_cmp(X509_get_subject_name(x), X509_get_subject_name(y)) == 0)
                return true;
            if (key && X509_get0_pubkey(y) && EVP_PKEY_eq(key, X509_get0_pubkey(y)) == 1)
                return true;
        }
    return false;
}

static bool is_sip_domain(const ASN1_OBJECT *purpose)
{
    static const unsigned char sip_domain[] = { 0x2b, 6, 1, 5, 5, 7, 3, 20 };

    return OBJ_length(purpose) == sizeof(sip_domain) &&
           memcmp(OBJ_get0_data(purpose), sip_domain, sizeof(sip_domain)) == 0;
}

static bool purpose_fits(const ASN1_OBJECT *purpose, const struct trust_rules *rules, bool is_leaf)
{
    int nid = OBJ_obj2nid(purpose);

    if (is_sip_domain(purpose))
        return true;
    if (rules->key_usage == KEY_USAGE_REQUIRE)
        return !is_leaf && nid == NID_anyExtendedKeyUsage;
    return nid == (rules->role == TRUST_OF_SERVERS ? NID_server_auth : NID_client_auth) ||
           nid == NID_anyExtendedKeyUsage;
}

/* An authority's extended key usage limits what it may issue for, as all verifiers read it. */
static bool usage_fits(X509 *certificate, const struct trust_rules *rules, bool is_leaf)
{
    enum key_usage_rule rule = rules->key_usage;
    int critical;
    if (rule == KEY_USAGE_IGNORE)
        return true;
    EXTENDED_KEY_USAGE *usage = X509_get_ext_d2i(certificate, NID_ext_key_usage, &critical, NULL);
    if (!usage) /* critical is -1 if absent, -2 if it stands twice, others if unreadable */
        return critical == -1 && (rule == KEY_USAGE_ACCEPT || !is_leaf);
    bool fits = false;
    for (int i = 0; i < sk_ASN1_OBJECT_num(usage) && !fits; i++)
        fits = purpose_fits(sk_ASN1_OBJECT_value(usage, i), rules, is_leaf);
    sk_ASN1_OBJECT_pop_free(usage, ASN1_OBJECT_free);
    return fits;
}

/* What holds at any security level, also 0, which OpenSSL lets pass everything. */
static int check_floor(X509 *certificate, bool is_anchor)
{
    EVP_PKEY *key = X509_get0_pubkey(certificate);
    if (!key)
        return X509_V_ERR_UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY;
    int type = EVP_PKEY_get_base_id(key);
    if ((type == EVP_PKEY_RSA || type == EVP_PKEY_RSA_PSS || type == EVP_PKEY_DSA) &&
        EVP_PKEY_get_bits(key) < KEY_BITS_FLOOR)
        return X509_V_ERR_EE_KEY_TOO_SMALL;
    int digest;
    if (is_anchor)
        return X509_V_OK; /* nobody relies on its signature */
    if (!X509_get_signature_info(certificate, &digest, NULL, NULL, NULL))
        return X509_V_ERR_CA_MD_TOO_WEAK;
    if (digest == NID_md5 || digest == NID_md4 || digest == NID_md2 || digest == NID_mdc2)
        return X509_V_ERR_CA_MD_TOO_WEAK;
    return X509_V_OK;
}

static int check_chain(const struct trust_store *store, const STACK_OF(X509) * chain)
{
    int last = sk_X509_num(chain) - 1;
    for (int i = 0; i <= last; i++) {
        X509 *certificate = sk_X509_value(chain, i);
        int error = check_floor(certificate, i == last);
        if (error != X509_V_OK)
            return error;
        if (!usage_fits(certificate, &store->rules, i == 0))
            return X509_V_ERR_INVALID_PURPOSE;
    }
    /* The handshake's signature is made with the leaf's key. */
    if (!(X509_get_key_usage(sk_X509_value(chain, 0)) & KU_DIGITAL_SIGNATURE))
        return X509_V_ERR_INVALID_PURPOSE;
    return X509_V_OK;
}

static int keep_chain(const STACK_OF(X509) * certificates, struct trust_chain *chain)
{
    int count = sk_X509_num(certificates);
    chain->not_after_unix_s = UINT64_MAX;
    for (int i = 0; i < count - 1; i++) {
        if (chain->link_count == sizeof(chain->links) / sizeof(chain->links[0]))
            return X509_V_ERR_CERT_CHAIN_TOO_LONG;
        if (!chain_link_read(sk_X509_value(certificates, i), sk_X509_value(certificates, i + 1),
                             &chain->links[chain->link_count++]))
            return X509_V_ERR_OUT_OF_MEM;
    }
    for (int i = 0; i < count; i++) {
        uint64_t not_after_unix_s;
        if (!certificate_not_after(sk_X509_value(certificates, i), &not_after_unix_s))
            return X509_V_ERR_ERROR_IN_CERT_NOT_AFTER_FIELD;
        if (not_after_unix_s < chain->not_after_unix_s)
            chain->not_after_unix_s = not_after_unix_s;
        if (i == CHAIN_CERTIFICATES_MAX)
            return X509_V_ERR_CERT_CHAIN_TOO_LONG;
        if (X509_digest(sk_X509_value(certificates, i), EVP_sha256(), chain->sha256[i], NULL) !=
                1 ||
            !certificate_naming_digest(sk_X509_value(certificates, i), chain->naming[i]))
            return X509_V_ERR_OUT_OF_MEM;
        chain->certificate_count++;
    }
    return X509_V_OK;
}

static int build_chain(const struct trust_store *store, X509_STORE_CTX *ctx)
{
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_depth(param, TRUST_STORE_DEPTH);
    X509_VERIFY_PARAM_set_auth_level(param, store->rules.security_level);
    /* An anchor may be an intermediate: what the operator listed is trusted, its root need not be.
     */
    if (X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN) != 1)
        return X509_V_ERR_UNSPECIFIED;
    if (X509_verify_cert(ctx) == 1)
        return X509_V_OK;
    int error = X509_STORE_CTX_get_error(ctx);
    return error == X509_V_OK ? X509_V_ERR_UNSPECIFIED : error;
}

static int verify(const struct trust_store *store, X509_STORE_CTX *ctx)
{
    int error = build_chain(store, ctx);
    return error == X509_V_OK ? check_chain(store, X509_STORE_CTX_get0_chain(ctx)) : error;
}

static int verify_once(const struct trust_store *store, X509 *leaf, STACK_OF(X509) * untrusted,
                       struct trust_chain *chain)
{
    *chain = (struct trust_chain){ 0 };
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    if (!ctx || X509_STORE_CTX_init(ctx, store->store, leaf, untrusted) != 1) {
        X509_STORE_CTX_free(ctx);
        return X509_V_ERR_OUT_OF_MEM;
    }
    int error = verify(store, ctx);
    if (error == X509_V_OK)
        error = keep_chain(X509_STORE_CTX_get0_chain(ctx), chain);
    if (error != X509_V_OK)
        *chain = (struct trust_chain){ 0 };
    X509_STORE_CTX_free(ctx);
    return error;
}

/* Whether one before it has the same subject: an authority that several others have certified. */
static bool has_twin(const STACK_OF(X509) * certificates, int at)
{
    const X509_NAME *subject = X509_get_subject_name(sk_X509_value(certificates, at));
    for (int i = 0; i < at; i++)
        if (X509_NAME_cmp(X509_get_subject_name(sk_X509_value(certificates, i)), subject) == 0)
            return true;
    return false;
}

/* OpenSSL takes the first issuer that fits and never turns back: each other one of the same name is
 * offered first once. No signature is checked before a chain reaches an anchor. */
int trust_store_verify(const struct trust_store *store, X509 *leaf, STACK_OF(X509) * untrusted,
                       struct trust_chain *chain)
{
    int error = verify_once(store, leaf, untrusted, chain);
    for (int i = 1;
         error == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY && i < sk_X509_num(untrusted); i++) {
        if (!has_twin(untrusted, i))
            continue;
        STACK_OF(X509) *other = sk_X509_dup(untrusted);
        X509 *twin = other ? sk_X509_delete(other, i) : NULL;
        if (twin && sk_X509_unshift(other, twin) > 0 &&
            verify_once(store, leaf, other, chain) == X509_V_OK)
            error = X509_V_OK;
        sk_X509_free(other);
    }
    return error;
}

int trust_store_verify_authority(const struct trust_store *store, X509 *authority,
                                 STACK_OF(X509) * untrusted)
{
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    if (!ctx || X509_STORE_CTX_init(ctx, store->store, authority, untrusted) != 1) {
        X509_STORE_CTX_free(ctx);
        return X509_V_ERR_OUT_OF_MEM;
    }
    int error = build_chain(store, ctx);
    X509_STORE_CTX_free(ctx);
    if (error == X509_V_OK && X509_check_ca(authority) <= 0)
        error = X509_V_ERR_INVALID_CA;
    return error;
}
