/* SPDX-License-Identifier: Apache-2.0 */
/* Any DER: what is read from a certificate keeps to its contract, whatever stands in it. */
#include "proxy/tls/peer_identity.h"

#include <assert.h>
#include <openssl/err.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct peer_identity *p)
{
    assert(p->cn_size <= CN_MAX_OCTETS && p->cn[p->cn_size] == 0);
    assert(strlen(p->cn) == p->cn_size);
    assert(text_is_clean_utf8((struct slice){ p->cn, p->cn_size }));
    assert(p->name_count <= PEER_NAMES_MAX);
    assert(p->name_count == 0 || p->has_alternative_name);
    for (size_t i = 0; i < p->name_count; i++) {
        struct identity again;
        struct slice text = identity_text(&p->names[i]);
        assert(
            !memchr(identity_domain(&p->names[i]).data, '*', identity_domain(&p->names[i]).size));
        assert(identity_from_text(&again, text) == ERROR_NONE);
        assert(slice_equal(identity_text(&again), text) &&
               again.user_size == p->names[i].user_size);
        assert(i == 0 || slice_compare(identity_text(&p->names[i - 1]), text) < 0);
    }
}

/* A server is taken for its own domains and for nobody else's: not for those of its users, and none
 * that a pattern or an address would cover. */
static void check_domains(X509 *certificate, const struct peer_identity *p)
{
    struct identity wanted;
    for (size_t i = 0; i < p->name_count; i++) {
        struct slice domain = identity_domain(&p->names[i]);
        bool listed = false;
        for (size_t k = 0; k < p->name_count; k++)
            listed |= slice_equal(identity_text(&p->names[k]), domain);
        assert(p->names[i].user_size == 0 ||
               !certificate_is_for_domain(certificate, SOURCES_USUAL, &p->names[i]));
        assert(identity_from_text(&wanted, domain) == ERROR_NONE);
        if (listed || p->name_count < PEER_NAMES_MAX)
            assert(certificate_is_for_domain(certificate, SOURCES_USUAL, &wanted) == listed);
    }
    assert(identity_from_text(&wanted, SLICE("192.0.2.1")) == ERROR_NONE);
    assert(!certificate_is_for_domain(certificate, SOURCES_USUAL, &wanted));
    wanted.size = wanted.user_size = 0;
    assert(!certificate_is_for_domain(certificate, SOURCES_USUAL, &wanted));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const unsigned char *at = data;
    X509 *certificate = d2i_X509(NULL, &at, (long)size);
    if (certificate) {
        struct peer_identity *p;
        if (peer_identity_read(certificate, "device", SOURCES_USUAL, NULL, &p) == ERROR_NONE)
            check(p);
        if (p)
            check_domains(certificate, p);
        peer_identity_free(p);
    }
    X509_free(certificate);
    ERR_clear_error();
    return 0;
}
