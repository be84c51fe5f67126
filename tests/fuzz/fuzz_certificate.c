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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const unsigned char *at = data;
    X509 *certificate = d2i_X509(NULL, &at, (long)size);
    if (certificate) {
        struct peer_identity *p;
        if (peer_identity_read(certificate, "device", SOURCES_USUAL, NULL, &p) == ERROR_NONE)
            check(p);
        peer_identity_free(p);
    }
    X509_free(certificate);
    ERR_clear_error();
    return 0;
}
