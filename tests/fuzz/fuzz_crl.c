/* SPDX-License-Identifier: Apache-2.0 */
/* Any file of revocation lists: it is read or refused with a reason, and what was read answers. The
 * seeds are signed by this root, so that entries and rules are reached, too. */
#include "proxy/tls/revocation.h"
#include "proxy/tls/trust_store.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char root[] = "-----BEGIN CERTIFICATE-----\n"
                           "MIIBOzCB4qADAgECAgEHMAoGCCqGSM49BAMCMBQxEjAQBgNVBAMMCUZ1enogcm9v\n"
                           "dDAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowFDESMBAGA1UEAwwJ\n"
                           "RnV6eiByb290MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEE4Pg+f11or9tAdzS\n"
                           "zMZoE55mDlzzCW2MRGYGxZXMY0CDcCL1eAiMLoqXsUZkLkWudZpJkU1jyN8dttw2\n"
                           "zyLA9qMjMCEwDwYDVR0TAQH/BAUwAwEB/zAOBgNVHQ8BAf8EBAMCAQYwCgYIKoZI\n"
                           "zj0EAwIDSAAwRQIgJVcKnDXolvlFODqI6QCgutSSnNSn4QfGnLnqgCcDn1ICIQDA\n"
                           "44f5UHTx5Pon3KdrQGqrg6sBZT1ld7C+7Uls4q0u1A==\n"
                           "-----END CERTIFICATE-----\n";

static void check(const struct revocations *list)
{
    const struct chain_link link = { { 0 }, { 0 } };
    struct trust_rules rules = TRUST_RULES_USUAL;
    assert(!revocations_list_any(list, &link, 1));
    rules.crl = CRL_REQUIRED;
    assert(revocations_check(list, &rules, &link, 1, 0) == X509_V_ERR_UNABLE_TO_GET_CRL);
    rules.crl = CRL_IF_PRESENT;
    assert(revocations_check(list, &rules, &link, 1, 0) == X509_V_OK);
    assert(revocations_count(list) == 0 || revocations_next_update_unix_s(list) != UINT64_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct trust_store *store;
    const struct slice file = { (const char *)data, size };
    struct revocations *list;
    const char *why;
    size_t which;
    if (!store &&
        trust_store_create("device", slice_of(root), &TRUST_RULES_USUAL, &store) != ERROR_NONE)
        abort();
    if (revocations_read(store, &file, 1, &list, &why, &which) == ERROR_NONE)
        check(list);
    else
        assert(!list && why && which == 0);
    revocations_drop(list);
    return 0;
}
