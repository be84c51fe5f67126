/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/authorization/device_key.h"

#include "common/random.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <string.h>

/* base64url of the first 12 bytes of SHA-256 over the parts, each with a NUL behind it. */
static void add_digest(char *out, const struct slice *parts, size_t count)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned char digest[EVP_MAX_MD_SIZE] = { 0 };
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool done = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL);

    for (size_t i = 0; done && i < count; i++)
        done = EVP_DigestUpdate(context, parts[i].data, parts[i].size) &&
               EVP_DigestUpdate(context, "", 1);
    if (!done || !EVP_DigestFinal_ex(context, digest, NULL))
        random_bytes(digest, 12); /* without memory: a device like no other */
    EVP_MD_CTX_free(context);
    for (size_t i = 0; i < 12; i += 3) {
        uint32_t group = (uint32_t)digest[i] << 16 | (uint32_t)digest[i + 1] << 8 | digest[i + 2];

        for (int shift = 18; shift >= 0; shift -= 6)
            *out++ = alphabet[group >> shift & 63];
    }
    *out = '\0';
}

void peer_device_key(const struct peer_identity *certificate, struct slice canonical_cn,
                     char out[DEVICE_KEY_MAX + 1])
{
    struct slice names[PEER_NAMES_MAX], cn = { certificate->cn, certificate->cn_size };
    size_t at = strnlen(certificate->store, STORE_NAME_MAX);

    assert(canonical_cn.size <= CN_MAX_OCTETS);
    memcpy(out, certificate->store, at);
    if (canonical_cn.size) {
        out[at++] = ':';
        memcpy(out + at, canonical_cn.data, canonical_cn.size);
        at += canonical_cn.size;
        out[at] = '\0';
    } else { /* no key that a CN could spell: such devices never pass for one with a CN */
        out[at++] = '!';
        add_digest(out + at, &cn, 1);
        at += 16;
    }
    if (certificate->name_count == 0)
        return;
    for (size_t i = 0; i < certificate->name_count; i++)
        names[i] = identity_text(&certificate->names[i]);
    out[at++] = ':';
    add_digest(out + at, names, certificate->name_count);
}
