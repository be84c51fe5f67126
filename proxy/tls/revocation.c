/* SPDX-License-Identifier: Apache-2.0 */
/* Reading CRLs into digests, and looking certificates up in them. */
#include "proxy/tls/revocation.h"

#include "common/mem.h"
#include "proxy/tls/signature.h"
#include "proxy/tls/trust_store.h"

#include <assert.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CRLS_MAX   64      /* of one store */
#define LISTED_MAX 4000000 /* certificates in them: 64 MB */
#define SET_MAX    64      /* stores */

struct issuer {
    unsigned char digest[REVOCATION_DIGEST_SIZE];
    uint64_t this_update_unix_s, next_update_unix_s;
};

struct revocations {
    atomic_uint references;
    size_t issuer_count, listed_count;
    struct issuer issuers[CRLS_MAX];
    unsigned char (*listed)[REVOCATION_DIGEST_SIZE]; /* sorted */
};

/* ---- Digests ---- */

static bool digest_parts(const struct slice *parts, size_t count, unsigned char *out)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool done = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1;
    for (size_t i = 0; done && i < count; i++)
        done = EVP_DigestUpdate(ctx, parts[i].data, parts[i].size) == 1;
    done = done && EVP_DigestFinal_ex(ctx, digest, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    if (done)
        memcpy(out, digest, REVOCATION_DIGEST_SIZE);
    return done;
}

/* The key's own bits, as in a subjectKeyIdentifier: how its algorithm is written makes no other
 * key. The name in OpenSSL's canonical form, so that its string types do not matter. */
static bool digest_issuer(X509 *issuer, unsigned char *out)
{
    const ASN1_BIT_STRING *key = X509_get0_pubkey_bitstr(issuer);
    int done = 0;
    unsigned long name = X509_NAME_hash_ex(X509_get_subject_name(issuer), NULL, NULL, &done);
    if (!key || !done)
        return false;
    struct slice parts[] = { { (const char *)ASN1_STRING_get0_data(key),
                               (size_t)ASN1_STRING_length(key) },
                             { (const char *)&name, sizeof(name) } };
    return digest_parts(parts, 2, out);
}

static bool digest_serial(const unsigned char *issuer, const ASN1_INTEGER *serial,
                          unsigned char *out)
{
    unsigned char sign = ASN1_STRING_type(serial) == V_ASN1_NEG_INTEGER;
    struct slice parts[] = { { (const char *)issuer, REVOCATION_DIGEST_SIZE },
                             { (const char *)&sign, 1 },
                             { (const char *)ASN1_STRING_get0_data(serial),
                               (size_t)ASN1_STRING_length(serial) } };
    return digest_parts(parts, 3, out);
}

bool chain_link_read(X509 *certificate, X509 *issuer, struct chain_link *out)
{
    return digest_issuer(issuer, out->issuer) &&
           digest_serial(out->issuer, X509_get0_serialNumber(certificate), out->certificate);
}

/* ---- Files ---- */

struct reading {
    const struct trust_store *store;
    STACK_OF(X509) * authorities; /* of the files, and the store's anchors */
    struct {
        X509_CRL *crl;
        size_t file;
    } crls[CRLS_MAX];
    size_t crl_count;
    const char *why;
    size_t which;
};

static enum error fault(struct reading *r, const char *why)
{
    r->why = why;
    return ERROR_MALFORMED;
}

static enum error add_crl(struct reading *r, X509_CRL *crl)
{
    if (r->crl_count == CRLS_MAX)
        return fault(r, "too many CRLs");
    if (X509_CRL_up_ref(crl) != 1)
        return ERROR_LIBRARY;
    r->crls[r->crl_count].crl = crl;
    r->crls[r->crl_count++].file = r->which;
    return ERROR_NONE;
}

static enum error add_authority(struct reading *r, X509 *authority)
{
    if (X509_up_ref(authority) != 1)
        return ERROR_LIBRARY;
    if (sk_X509_push(r->authorities, authority) > 0)
        return ERROR_NONE;
    X509_free(authority);
    return ERROR_MEMORY;
}

static enum error read_der(struct reading *r, struct slice bytes)
{
    const unsigned char *at = (const unsigned char *)bytes.data;
    const unsigned char *end = at + bytes.size;
    X509_CRL *crl = d2i_X509_CRL(NULL, &at, (long)bytes.size);
    if (!crl)
        return fault(r, "it is no CRL, neither PEM nor DER");
    while (at < end && (*at == '\n' || *at == '\r')) /* as whoever read the file may have added */
        at++;
    enum error e = at == end ? add_crl(r, crl) : fault(r, "something follows the CRL");
    X509_CRL_free(crl);
    return e;
}

static int no_password(char *buffer, int size, int writing, void *argument)
{
    (void)buffer, (void)size, (void)writing, (void)argument;
    return -1;
}

static enum error read_pem(struct reading *r, struct slice bytes)
{
    size_t before = r->crl_count;
    BIO *bio = BIO_new_mem_buf(bytes.data, (int)bytes.size);
    STACK_OF(X509_INFO) *all = bio ? PEM_X509_INFO_read_bio(bio, NULL, no_password, NULL) : NULL;
    enum error e = all ? ERROR_NONE : fault(r, "its PEM cannot be read");
    for (int i = 0; e == ERROR_NONE && i < sk_X509_INFO_num(all); i++) {
        const X509_INFO *one = sk_X509_INFO_value(all, i);
        if (one->crl)
            e = add_crl(r, one->crl);
        if (e == ERROR_NONE && one->x509)
            e = add_authority(r, one->x509);
    }
    if (e == ERROR_NONE && r->crl_count == before)
        e = fault(r, "it has no CRL");
    sk_X509_INFO_pop_free(all, X509_INFO_free);
    BIO_free(bio);
    return e;
}

static enum error read_file(struct reading *r, struct slice bytes)
{
    if (bytes.size > INT_MAX)
        return fault(r, "it is too large");
    if (memmem(bytes.data, bytes.size, "-----BEGIN ", 11))
        return read_pem(r, bytes);
    return read_der(r, bytes);
}

/* ---- One CRL ---- */

static bool read_time(const ASN1_TIME *time, uint64_t *unix_s)
{
    struct tm tm;
    if (!time || ASN1_TIME_to_tm(time, &tm) != 1)
        return false;
    time_t t = timegm(&tm);
    *unix_s = t > 0 ? (uint64_t)t : 0;
    return true;
}

/* RFC 5280 5.2, 5.3: what it cannot mean anything else by. */
static bool is_plain_extension(X509_EXTENSION *extension)
{
    switch (OBJ_obj2nid(X509_EXTENSION_get_object(extension))) {
    case NID_authority_key_identifier:
    case NID_crl_number:
    case NID_crl_reason:
    case NID_invalidity_date:
        return true;
    case NID_delta_crl:
    case NID_issuing_distribution_point:
    case NID_certificate_issuer:
        return false;
    default:
        return X509_EXTENSION_get_critical(extension) == 0;
    }
}

static bool is_plain(X509_CRL *crl)
{
    STACK_OF(X509_REVOKED) *entries = X509_CRL_get_REVOKED(crl);
    for (int i = 0; i < X509_CRL_get_ext_count(crl); i++)
        if (!is_plain_extension(X509_CRL_get_ext(crl, i)))
            return false;
    for (int i = 0; i < sk_X509_REVOKED_num(entries); i++) {
        const X509_REVOKED *entry = sk_X509_REVOKED_value(entries, i);
        for (int j = 0; j < X509_REVOKED_get_ext_count(entry); j++)
            if (!is_plain_extension(X509_REVOKED_get_ext(entry, j)))
                return false;
    }
    return true;
}

static bool is_strong(const X509_CRL *crl, int security_level)
{
    const X509_ALGOR *algorithm;
    X509_CRL_get0_signature(crl, NULL, &algorithm);
    return signature_is_strong(algorithm, security_level);
}

static bool has_signed(X509 *authority, X509_CRL *crl)
{
    EVP_PKEY *key = X509_get0_pubkey(authority);
    return key && X509_check_ca(authority) > 0 &&
           (X509_get_key_usage(authority) & KU_CRL_SIGN) != 0 &&
           X509_NAME_cmp(X509_get_subject_name(authority), X509_CRL_get_issuer(crl)) == 0 &&
           X509_CRL_verify(crl, key) == 1;
}

static X509 *find_signer(const struct reading *r, X509_CRL *crl)
{
    for (int i = 0; i < sk_X509_num(r->authorities); i++) {
        X509 *authority = sk_X509_value(r->authorities, i);
        if (has_signed(authority, crl) &&
            trust_store_verify_authority(r->store, authority, r->authorities) == X509_V_OK)
            return authority;
    }
    return NULL;
}

static enum error check_crl(struct reading *r, X509_CRL *crl, struct issuer *out)
{
    X509 *signer;
    if (!read_time(X509_CRL_get0_lastUpdate(crl), &out->this_update_unix_s) ||
        !read_time(X509_CRL_get0_nextUpdate(crl), &out->next_update_unix_s))
        return fault(r, "a CRL without thisUpdate or nextUpdate");
    if (!is_plain(crl))
        return fault(r, "a delta, indirect or partitioned CRL, or one with an unknown extension");
    if (!is_strong(crl, trust_store_rules(r->store)->security_level))
        return fault(r, "a CRL with a weak signature");
    signer = find_signer(r, crl);
    if (!signer)
        return fault(r, "a CRL that no authority of the store has signed; an authority that is no "
                        "anchor must stand in the file beside its CRL");
    return digest_issuer(signer, out->digest) ? ERROR_NONE : ERROR_LIBRARY;
}

static enum error list_entries(struct revocations *list, const struct issuer *issuer, X509_CRL *crl)
{
    STACK_OF(X509_REVOKED) *entries = X509_CRL_get_REVOKED(crl);
    int count = sk_X509_REVOKED_num(entries) > 0 ? sk_X509_REVOKED_num(entries) : 0;
    size_t whole = list->listed_count + (size_t)count;
    if (whole > LISTED_MAX)
        return ERROR_TOO_LARGE;
    void *grown = mem_grow(list->listed, (whole + 1) * sizeof(list->listed[0]));
    if (!grown)
        return ERROR_MEMORY;
    list->listed = grown;
    for (int i = 0; i < count; i++)
        if (!digest_serial(issuer->digest,
                           X509_REVOKED_get0_serialNumber(sk_X509_REVOKED_value(entries, i)),
                           list->listed[list->listed_count++]))
            return ERROR_LIBRARY;
    return ERROR_NONE;
}

/* ---- A reading ---- */

static int compare_digests(const void *a, const void *b)
{
    return memcmp(a, b, REVOCATION_DIGEST_SIZE);
}

static const struct issuer *find_issuer(const struct revocations *list, const unsigned char *digest)
{
    for (size_t i = 0; i < list->issuer_count; i++)
        if (memcmp(list->issuers[i].digest, digest, REVOCATION_DIGEST_SIZE) == 0)
            return &list->issuers[i];
    return NULL;
}

/* Whether another CRL of the same authority is newer, or as new and stands before it. */
static bool is_outdone(const struct issuer *all, size_t count, size_t at)
{
    for (size_t i = 0; i < count; i++)
        if (i != at && compare_digests(all[i].digest, all[at].digest) == 0 &&
            (all[i].this_update_unix_s > all[at].this_update_unix_s ||
             (all[i].this_update_unix_s == all[at].this_update_unix_s && i < at)))
            return true;
    return false;
}

static enum error take_crls(struct reading *r, struct revocations *list)
{
    struct issuer all[CRLS_MAX];
    enum error e = ERROR_NONE;
    for (size_t i = 0; e == ERROR_NONE && i < r->crl_count; i++) {
        r->which = r->crls[i].file;
        e = check_crl(r, r->crls[i].crl, &all[i]);
    }
    for (size_t i = 0; e == ERROR_NONE && i < r->crl_count; i++) {
        if (is_outdone(all, r->crl_count, i))
            continue;
        r->which = r->crls[i].file;
        list->issuers[list->issuer_count++] = all[i];
        e = list_entries(list, &all[i], r->crls[i].crl);
    }
    if (e == ERROR_NONE && list->listed_count)
        qsort(list->listed, list->listed_count, sizeof(list->listed[0]), compare_digests);
    return e == ERROR_TOO_LARGE ? fault(r, "too many revoked certificates") : e;
}

static enum error read_all(struct reading *r, const struct slice *files, size_t file_count,
                           struct revocations *list)
{
    const STACK_OF(X509) *anchors = trust_store_anchors(r->store);
    enum error e = r->authorities ? ERROR_NONE : ERROR_MEMORY;
    for (int i = 0; e == ERROR_NONE && i < sk_X509_num(anchors); i++)
        e = add_authority(r, sk_X509_value(anchors, i));
    for (size_t i = 0; e == ERROR_NONE && i < file_count; i++) {
        r->which = i;
        e = read_file(r, files[i]);
    }
    return e == ERROR_NONE ? take_crls(r, list) : e;
}

enum error revocations_read(const struct trust_store *store, const struct slice *files,
                            size_t file_count, struct revocations **out, const char **why,
                            size_t *which)
{
    struct reading r = { .store = store, .authorities = sk_X509_new_null() };
    struct revocations *list = mem_zero(1, sizeof(*list));
    enum error e = ERROR_MEMORY;
    *out = NULL;
    ERR_clear_error();
    if (list) {
        atomic_init(&list->references, 1);
        e = read_all(&r, files, file_count, list);
    }
    for (size_t i = 0; i < r.crl_count; i++)
        X509_CRL_free(r.crls[i].crl);
    sk_X509_pop_free(r.authorities, X509_free);
    ERR_clear_error();
    *why = r.why ? r.why : "OpenSSL refused";
    *which = r.which;
    if (e == ERROR_NONE)
        *out = list;
    else
        revocations_drop(list);
    return e == ERROR_LIBRARY ? ERROR_MALFORMED : e;
}

struct revocations *revocations_hold(struct revocations *list)
{
    if (list)
        atomic_fetch_add_explicit(&list->references, 1, memory_order_relaxed);
    return list;
}

void revocations_drop(struct revocations *list)
{
    if (!list || atomic_fetch_sub_explicit(&list->references, 1, memory_order_acq_rel) != 1)
        return;
    mem_free(list->listed);
    mem_free(list);
}

/* ---- Asking ---- */

size_t revocations_count(const struct revocations *list)
{
    return list->listed_count;
}

uint64_t revocations_next_update_unix_s(const struct revocations *list)
{
    uint64_t next_unix_s = UINT64_MAX;
    for (size_t i = 0; i < list->issuer_count; i++)
        if (list->issuers[i].next_update_unix_s < next_unix_s)
            next_unix_s = list->issuers[i].next_update_unix_s;
    return next_unix_s;
}

static bool is_listed(const struct revocations *list, const struct chain_link *link)
{
    return list->listed_count && bsearch(link->certificate, list->listed, list->listed_count,
                                         sizeof(list->listed[0]), compare_digests);
}

bool revocations_list_any(const struct revocations *list, const struct chain_link *links,
                          size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (is_listed(list, &links[i]))
            return true;
    return false;
}

static int check_link(const struct revocations *list, const struct trust_rules *rules,
                      const struct chain_link *link, uint64_t now_unix_s)
{
    const struct issuer *issuer = list ? find_issuer(list, link->issuer) : NULL;
    if (!issuer)
        return rules->crl == CRL_IF_PRESENT ? X509_V_OK : X509_V_ERR_UNABLE_TO_GET_CRL;
    if (is_listed(list, link))
        return X509_V_ERR_CERT_REVOKED;
    if (rules->crl_expired_accepted)
        return X509_V_OK;
    if (issuer->this_update_unix_s > now_unix_s)
        return X509_V_ERR_CRL_NOT_YET_VALID;
    return issuer->next_update_unix_s > now_unix_s ? X509_V_OK : X509_V_ERR_CRL_HAS_EXPIRED;
}

int revocations_check(const struct revocations *list, const struct trust_rules *rules,
                      const struct chain_link *links, size_t count, uint64_t now_unix_s)
{
    int worst = X509_V_OK;
    if (rules->crl == CRL_OFF)
        return X509_V_OK;
    for (size_t i = 0; i < count && worst != X509_V_ERR_CERT_REVOKED; i++) {
        int error = check_link(list, rules, &links[i], now_unix_s);
        if (error != X509_V_OK)
            worst = error;
    }
    return worst;
}

/* ---- The set ---- */

struct revocation_set {
    atomic_uint references;
    size_t count;
    struct {
        char *store;
        struct revocations *list;
    } stores[SET_MAX];
};

enum error revocation_set_new(struct revocation_set **out)
{
    *out = mem_zero(1, sizeof(**out));
    if (!*out)
        return ERROR_MEMORY;
    atomic_init(&(*out)->references, 1);
    return ERROR_NONE;
}

struct revocation_set *revocation_set_hold(struct revocation_set *set)
{
    if (set)
        atomic_fetch_add_explicit(&set->references, 1, memory_order_relaxed);
    return set;
}

void revocation_set_drop(struct revocation_set *set)
{
    if (!set || atomic_fetch_sub_explicit(&set->references, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < set->count; i++) {
        revocations_drop(set->stores[i].list);
        mem_free(set->stores[i].store);
    }
    mem_free(set);
}

enum error revocation_set_put(struct revocation_set *set, const char *store,
                              struct revocations *list)
{
    char *name = mem_text(slice_of(store));
    assert(set->count < SET_MAX);
    if (!name)
        return ERROR_MEMORY;
    set->stores[set->count].store = name;
    set->stores[set->count++].list = revocations_hold(list);
    return ERROR_NONE;
}

struct revocations *revocation_set_find(const struct revocation_set *set, const char *store)
{
    for (size_t i = 0; set && i < set->count; i++)
        if (strcmp(set->stores[i].store, store) == 0)
            return set->stores[i].list;
    return NULL;
}
