/* SPDX-License-Identifier: Apache-2.0 */
/* Any OCSP response: it is read or refused with a reason, and what was read is whole. The seeds are
 * signed by this root, or by a responder of its, for this certificate, so that all is reached. */
#include "proxy/tls/certificate_status.h"
#include "proxy/tls/trust_store.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char pem[] = "-----BEGIN CERTIFICATE-----\n"
                          "MIIBFzCBvqADAgECAgEIMAoGCCqGSM49BAMCMBQxEjAQBgNVBAMMCUZ1enogcm9v\n"
                          "dDAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowFTETMBEGA1UEAwwK\n"
                          "RnV6eiBwcm94eTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABBhj5er7QDPR9tGB\n"
                          "bauvgHdVuhWbZzI0HEK0gR3bTMHLaCYY/abeFo4oKcrF+dSTSTYhGmh7uMhtEblp\n"
                          "wRJ72QswCgYIKoZIzj0EAwIDSAAwRQIhAOYzqWGnyAnyGTllhf8LCZbVTEhGRz6N\n"
                          "cw3d46Lv++++AiB20AWQyUloFbG28gF/w7bpVp2a51Omy4Jq6My9CCdgIQ==\n"
                          "-----END CERTIFICATE-----\n"
                          "-----BEGIN CERTIFICATE-----\n"
                          "MIIBKzCB0qADAgECAgEHMAoGCCqGSM49BAMCMBQxEjAQBgNVBAMMCUZ1enogcm9v\n"
                          "dDAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowFDESMBAGA1UEAwwJ\n"
                          "RnV6eiByb290MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEtQoyEOfVJs83i9MV\n"
                          "Si/YcmR+Ab/dHeV0UnCtiNcUlO5J7r4U7FWIPrkt1E41XKnR5xJLs/cOWqNTf2+y\n"
                          "W9PY/KMTMBEwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiEAhI6A\n"
                          "jmk2topilPbD5dMh/R9/uyCxQXZQKiFgJLlo79gCIBvl6aHeoLbwE4cWauJ4k/yj\n"
                          "SaHZZ1CzNsl0ZmQR3w4H\n"
                          "-----END CERTIFICATE-----\n";

static STACK_OF(X509) * make_chain(void)
{
    STACK_OF(X509) *chain = sk_X509_new_null();
    if (!chain || certificates_read(slice_of(pem), chain) != ERROR_NONE)
        abort();
    return chain;
}

static void staple(const STACK_OF(X509) * chain, struct slice der, const struct ocsp_answer *answer)
{
    X509 *leaf = sk_X509_value(chain, 0);
    struct staples *set;
    if (staples_new(&set) != ERROR_NONE || staples_put(set, leaf, der, answer) != ERROR_NONE)
        abort();
    struct slice found = staples_find(set, leaf, answer->next_update_unix_s - 1);
    assert(slice_equal(found, der));
    assert(!staples_find(set, leaf, answer->next_update_unix_s).data);
    assert(!staples_find(set, sk_X509_value(chain, 1), answer->next_update_unix_s - 1).data);
    staples_drop(set);
}

/* What a desk and a worker make of it at any time, whatever they knew before: a good that is in
 * force alone lets in where an answer is required, and a revocation is lifted by a later good
 * alone. */
static void judge(const struct ocsp_answer *answer, uint64_t now_unix_s)
{
    for (int said = OCSP_STATUS_NONE; said <= OCSP_STATUS_UNKNOWN; said++) {
        const struct certificate_status before = { (enum ocsp_status)said, now_unix_s - 60,
                                                   now_unix_s + 60 };
        struct certificate_status known = before;
        bool took = status_take(&known, answer, now_unix_s);
        assert(took || (known.said == before.said && known.until_unix_s == before.until_unix_s));
        assert(!took || (known.said == answer->status && known.until_unix_s > now_unix_s));
        assert(!took || before.said != OCSP_STATUS_REVOKED || known.said == OCSP_STATUS_REVOKED ||
               (known.said == OCSP_STATUS_GOOD &&
                answer->this_update_unix_s > before.this_update_unix_s));
        assert((status_judge(OCSP_REQUIRED, &known, true, now_unix_s) == STATUS_PASSES) ==
               (known.said == OCSP_STATUS_GOOD));
        assert((status_judge(OCSP_IF_ANSWERED, &known, true, now_unix_s) == STATUS_REFUSED) ==
               (known.said == OCSP_STATUS_REVOKED));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static STACK_OF(X509) * chain;
    const struct slice der = { (const char *)data, size };
    struct ocsp_answer answer;
    const char *why;
    if (!chain)
        chain = make_chain();
    if (ocsp_read(der, chain, 2, &answer, &why) == ERROR_NONE) {
        assert(!why && answer.status != OCSP_STATUS_NONE);
        assert(!answer.next_update_unix_s || answer.next_update_unix_s > answer.this_update_unix_s);
        if (answer.next_update_unix_s)
            staple(chain, der, &answer);
        judge(&answer, answer.this_update_unix_s + 1);
        judge(&answer, answer.next_update_unix_s + 60);
        judge(&answer, answer.this_update_unix_s > 86400 ? answer.this_update_unix_s - 86400 : 60);
    } else {
        assert(why && answer.status == OCSP_STATUS_NONE && answer.next_update_unix_s == 0);
    }
    return 0;
}
