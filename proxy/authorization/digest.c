/* SPDX-License-Identifier: Apache-2.0 */
/* response = H(HA1:nonce:nc:cnonce:qop:HA2), HA2 = H(method:uri), with auth-int
 * H(method:uri:H(body)).
 */
#include "proxy/authorization/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#define HEX_MAX 64 /* of SHA-256 */

static const EVP_MD *md_of(enum digest_algorithm algorithm)
{
    switch (algorithm) {
    case DIGEST_SHA_256:
        return EVP_sha256();
    case DIGEST_MD5:
        return EVP_md5();
    case DIGEST_ALGORITHM_NONE:
        break;
    }
    return NULL;
}

static void write_hex(const unsigned char *bytes, size_t size, char *out)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < size; i++) {
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 15];
    }
}

/* Lower-case hexadecimal digits of the hash over the parts with a colon between two; their number,
 * 0 when it can't be had. */
static size_t hash_parts(const EVP_MD *md, const struct slice *parts, size_t count,
                         char out[HEX_MAX])
{
    unsigned char bytes[EVP_MAX_MD_SIZE] = { 0 };
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool done = context && EVP_DigestInit_ex(context, md, NULL);
    unsigned size = 0;

    for (size_t i = 0; done && i < count; i++)
        done = (i == 0 || EVP_DigestUpdate(context, ":", 1)) &&
               (parts[i].size == 0 || EVP_DigestUpdate(context, parts[i].data, parts[i].size));
    done = done && EVP_DigestFinal_ex(context, bytes, &size) && 2 * size <= HEX_MAX;
    EVP_MD_CTX_free(context);
    if (done)
        write_hex(bytes, size, out);
    OPENSSL_cleanse(bytes, sizeof(bytes));
    return done ? 2 * size : 0;
}

static size_t hash_request(const EVP_MD *md, const struct digest_credentials *c,
                           const struct digest_request *request, char out[HEX_MAX])
{
    char body[HEX_MAX];
    struct slice parts[3] = { request->method, c->uri, { body, 0 } };

    if (c->qop == DIGEST_QOP_AUTH)
        return hash_parts(md, parts, 2, out);
    if (c->qop != DIGEST_QOP_AUTH_INT)
        return 0;
    parts[2].size = hash_parts(md, &request->body, 1, body);
    return parts[2].size ? hash_parts(md, parts, 3, out) : 0;
}

/* The peer's digits may be in upper case; ours are not. */
static bool same_digits(const char *ours, struct slice theirs)
{
    char lower[HEX_MAX];

    for (size_t i = 0; i < theirs.size; i++) {
        char c = theirs.data[i];
        lower[i] = c >= 'A' && c <= 'F' ? (char)(c | 0x20) : c;
    }
    return CRYPTO_memcmp(ours, lower, theirs.size) == 0;
}

bool digest_is_right(const struct digest_credentials *c, struct slice ha1,
                     const struct digest_request *request)
{
    const EVP_MD *md = md_of(c->algorithm);
    char ha2[HEX_MAX], expected[HEX_MAX];
    size_t size;
    bool right = false;

    if (!md || ha1.size != 2 * (size_t)EVP_MD_get_size(md) || c->response.size != ha1.size)
        return false;
    size = hash_request(md, c, request, ha2);
    if (size) {
        const struct slice parts[] = { ha1,       c->nonce,    c->nc_text,
                                       c->cnonce, c->qop_text, { ha2, size } };
        right = hash_parts(md, parts, sizeof(parts) / sizeof(parts[0]), expected) == ha1.size &&
                same_digits(expected, c->response);
    }
    OPENSSL_cleanse(expected, sizeof(expected));
    return right;
}

void digest_write_challenge(const struct digest_challenge *challenge, struct buffer *out)
{
    buffer_add_text(out, "Digest realm=\"");
    buffer_add(out, challenge->realm);
    buffer_add_text(out, "\", nonce=\"");
    buffer_add(out, challenge->nonce);
    buffer_add_format(out, "\", algorithm=%s, qop=\"auth,auth-int\"",
                      digest_algorithm_name(challenge->algorithm));
    if (challenge->stale)
        buffer_add_text(out, ", stale=true");
}
