/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/tls/ocsp.h"

#include "common/mem.h"
#include "proxy/tls/signature.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/sha.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STAPLES_MAX 1024 /* 32 listeners, 32 certificates each */

/* ---- Reading ---- */

static bool read_time(const ASN1_GENERALIZEDTIME *time, uint64_t *unix_s)
{
    struct tm tm;
    if (!time || ASN1_TIME_to_tm(time, &tm) != 1)
        return false;
    time_t t = timegm(&tm);
    *unix_s = t > 0 ? (uint64_t)t : 0;
    return true;
}

/* The issuer alone is trusted, whatever else leads to it: a responder's certificate must be by it.
 */
static bool is_signed(OCSP_BASICRESP *basic, const STACK_OF(X509) * chain, int security_level)
{
    X509_STORE *store = X509_STORE_new();
    bool good = store && X509_STORE_add_cert(store, sk_X509_value(chain, 1)) == 1;
    if (good)
        X509_VERIFY_PARAM_set_auth_level(X509_STORE_get0_param(store), security_level);
    good =
        good && OCSP_basic_verify(basic, (STACK_OF(X509) *)chain, store, OCSP_PARTIAL_CHAIN) == 1;
    X509_STORE_free(store);
    return good;
}

/* Whether it is about this certificate, by the digest that it names its issuer with. */
static bool is_about(const OCSP_SINGLERESP *single, X509 *certificate, X509 *issuer)
{
    const OCSP_CERTID *id = OCSP_SINGLERESP_get0_id(single);
    ASN1_OBJECT *digest;
    if (OCSP_id_get0_info(NULL, &digest, NULL, NULL, (OCSP_CERTID *)id) != 1)
        return false;
    const EVP_MD *md = EVP_get_digestbyobj(digest);
    OCSP_CERTID *wanted = md ? OCSP_cert_to_id(md, certificate, issuer) : NULL;
    bool about = wanted && OCSP_id_cmp(wanted, id) == 0;
    OCSP_CERTID_free(wanted);
    return about;
}

static const char *read_single(OCSP_SINGLERESP *single, struct ocsp_answer *out)
{
    ASN1_GENERALIZEDTIME *this_update, *next_update;
    int reason;
    int status = OCSP_single_get0_status(single, &reason, NULL, &this_update, &next_update);
    if (OCSP_SINGLERESP_get_ext_by_critical(single, 1, -1) >= 0)
        return "it has a critical extension that is not known";
    if (!read_time(this_update, &out->this_update_unix_s))
        return "it has no thisUpdate";
    if (next_update && !read_time(next_update, &out->next_update_unix_s))
        return "its nextUpdate is no time";
    if (next_update && out->next_update_unix_s <= out->this_update_unix_s)
        return "its nextUpdate is not after its thisUpdate";
    if (status == V_OCSP_CERTSTATUS_GOOD)
        out->status = OCSP_STATUS_GOOD;
    else if (status == V_OCSP_CERTSTATUS_REVOKED)
        out->status = OCSP_STATUS_REVOKED;
    else
        out->status = OCSP_STATUS_UNKNOWN;
    return NULL;
}

static const char *read_singles(OCSP_BASICRESP *basic, const STACK_OF(X509) * chain,
                                struct ocsp_answer *out)
{
    const char *why = "it is not about the certificate";
    for (int i = 0; i < OCSP_resp_count(basic); i++) {
        OCSP_SINGLERESP *single = OCSP_resp_get0(basic, i);
        struct ocsp_answer one = { .status = OCSP_STATUS_NONE };
        if (!is_about(single, sk_X509_value(chain, 0), sk_X509_value(chain, 1)))
            continue;
        why = read_single(single, &one);
        if (why)
            return why;
        if (out->status == OCSP_STATUS_NONE || one.status == OCSP_STATUS_REVOKED)
            *out = one;
    }
    return why;
}

static const char *read_basic(OCSP_BASICRESP *basic, const STACK_OF(X509) * chain,
                              int security_level, struct ocsp_answer *out)
{
    if (OCSP_resp_count(basic) > OCSP_SINGLES_MAX)
        return "it is about too many certificates";
    if (OCSP_BASICRESP_get_ext_by_critical(basic, 1, -1) >= 0)
        return "it has a critical extension that is not known";
    if (!signature_is_strong(OCSP_resp_get0_tbs_sigalg(basic), security_level))
        return "its signature is weak";
    if (!is_signed(basic, chain, security_level))
        return "the certificate's issuer has not signed it, nor given the signer that right";
    return read_singles(basic, chain, out);
}

static const char *read_response(struct slice der, const STACK_OF(X509) * chain, int security_level,
                                 struct ocsp_answer *out)
{
    const unsigned char *at = (const unsigned char *)der.data, *end = at + der.size;
    const char *why = "it is no OCSP response in DER";
    if (sk_X509_num(chain) < 2)
        return "the issuer must stand behind our certificate in its file";
    if (der.size > OCSP_RESPONSE_MAX)
        return "it is too large";
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &at, (long)der.size);
    OCSP_BASICRESP *basic = NULL;
    if (response && at == end) {
        why = "it says that the responder had no answer";
        if (OCSP_response_status(response) == OCSP_RESPONSE_STATUS_SUCCESSFUL)
            basic = OCSP_response_get1_basic(response);
    }
    if (basic)
        why = read_basic(basic, chain, security_level, out);
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(response);
    return why;
}

enum error ocsp_read(struct slice der, const STACK_OF(X509) * chain, int security_level,
                     struct ocsp_answer *out, const char **why)
{
    struct ocsp_answer found = { .status = OCSP_STATUS_NONE };
    ERR_clear_error();
    *why = read_response(der, chain, security_level, &found);
    ERR_clear_error();
    *out = *why ? (struct ocsp_answer){ .status = OCSP_STATUS_NONE } : found;
    return *why ? ERROR_MALFORMED : ERROR_NONE;
}

bool ocsp_in_force(const struct ocsp_answer *answer, uint64_t now_unix_s, uint64_t *until_unix_s)
{
    *until_unix_s = answer->next_update_unix_s ? answer->next_update_unix_s
                                               : answer->this_update_unix_s + OCSP_ENDLESS_S;
    return answer->status != OCSP_STATUS_NONE && now_unix_s < *until_unix_s &&
           answer->this_update_unix_s <= now_unix_s + OCSP_EARLY_MAX_S;
}

/* ---- The set ---- */

struct staple {
    unsigned char certificate[SHA256_DIGEST_LENGTH];
    uint64_t from_unix_s, until_unix_s;
    char *der;
    size_t size;
};

struct staples {
    atomic_uint references;
    size_t count;
    struct staple list[STAPLES_MAX];
};

enum error staples_new(struct staples **out)
{
    *out = mem_zero(1, sizeof(**out));
    if (!*out)
        return ERROR_MEMORY;
    atomic_init(&(*out)->references, 1);
    return ERROR_NONE;
}

struct staples *staples_hold(struct staples *set)
{
    if (set)
        atomic_fetch_add_explicit(&set->references, 1, memory_order_relaxed);
    return set;
}

void staples_drop(struct staples *set)
{
    if (!set || atomic_fetch_sub_explicit(&set->references, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < set->count; i++)
        mem_free(set->list[i].der);
    mem_free(set);
}

static const struct staple *find(const struct staples *set, const unsigned char *certificate)
{
    for (size_t i = 0; set && i < set->count; i++)
        if (memcmp(set->list[i].certificate, certificate, SHA256_DIGEST_LENGTH) == 0)
            return &set->list[i];
    return NULL;
}

enum error staples_put(struct staples *set, X509 *certificate, struct slice der,
                       const struct ocsp_answer *answer)
{
    struct staple one = { .size = der.size,
                          .until_unix_s = answer->next_update_unix_s,
                          .from_unix_s = answer->this_update_unix_s > OCSP_EARLY_MAX_S
                                             ? answer->this_update_unix_s - OCSP_EARLY_MAX_S
                                             : 0 };
    if (X509_digest(certificate, EVP_sha256(), one.certificate, NULL) != 1)
        return ERROR_LIBRARY;
    if (find(set, one.certificate) || set->count == STAPLES_MAX)
        return ERROR_NONE;
    one.der = mem_text(der);
    if (!one.der)
        return ERROR_MEMORY;
    set->list[set->count++] = one;
    return ERROR_NONE;
}

struct slice staples_find(const struct staples *set, X509 *certificate, uint64_t now_unix_s)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    if (!set || !set->count || X509_digest(certificate, EVP_sha256(), digest, NULL) != 1)
        return (struct slice){ NULL, 0 };
    const struct staple *one = find(set, digest);
    if (!one || now_unix_s < one->from_unix_s || now_unix_s >= one->until_unix_s)
        return (struct slice){ NULL, 0 };
    return (struct slice){ one->der, one->size };
}
