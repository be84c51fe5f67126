/* SPDX-License-Identifier: Apache-2.0 */
/* Sealing and opening; the key file is read in token_keys.c. */
#include "proxy/authorization/dialog_token.h"

#include "common/buffer.h"
#include "common/log.h"
#include "common/random.h"
#include "proxy/authorization/token_keys_internal.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

enum {
    VERSION = 1,
    SALT_SIZE = 16,
    SIDE_SIZE = 8 + 8 + 1 + 1 + 4 + 4,
    PLAIN_SIZE = 4 + 2 * SIDE_SIZE,
    GCM_TAG_SIZE = 16,
    HEADER_SIZE = 1 + 1 + SALT_SIZE,
    TOKEN_SIZE = HEADER_SIZE + PLAIN_SIZE + GCM_TAG_SIZE,
};

_Static_assert(TOKEN_SIZE % 3 == 0 && TOKEN_SIZE / 3 * 4 == DIALOG_TOKEN_SIZE,
               "no bit of the text may be without meaning");

/* ---- Numbers and text ---- */

static void put_number(unsigned char **at, uint64_t value, size_t octets)
{
    for (size_t i = octets; i-- > 0; value >>= 8)
        (*at)[i] = (unsigned char)value;
    *at += octets;
}

static uint64_t take_number(const unsigned char **at, size_t octets)
{
    uint64_t value = 0;

    for (size_t i = 0; i < octets; i++)
        value = value << 8 | (*at)[i];
    *at += octets;
    return value;
}

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void encode(const unsigned char *bytes, char *text)
{
    for (size_t i = 0; i < TOKEN_SIZE; i += 3) {
        uint32_t group = (uint32_t)bytes[i] << 16 | (uint32_t)bytes[i + 1] << 8 | bytes[i + 2];

        for (int shift = 18; shift >= 0; shift -= 6)
            *text++ = alphabet[group >> shift & 63];
    }
    *text = '\0';
}

static bool decode(const char *text, unsigned char *bytes)
{
    for (size_t i = 0; i < TOKEN_SIZE; i += 3) {
        uint32_t group = 0;

        for (int k = 0; k < 4; k++, text++) {
            const char *place = *text ? strchr(alphabet, *text) : NULL;

            if (!place)
                return false;
            group = group << 6 | (uint32_t)(place - alphabet);
        }
        bytes[i] = (unsigned char)(group >> 16);
        bytes[i + 1] = (unsigned char)(group >> 8);
        bytes[i + 2] = (unsigned char)group;
    }
    return true;
}

/* ---- Content ---- */

static void put_side(unsigned char **at, const struct dialog_side *side)
{
    put_number(at, side->device, 8);
    put_number(at, side->entry, 8);
    put_number(at, side->flow.worker, 1);
    put_number(at, side->flow.listener, 1);
    put_number(at, side->flow.generation ? side->flow.slot : side->server, 4);
    put_number(at, side->flow.generation, 4);
}

/* Flows of another run of the proxy name nothing here. */
static void take_side(const unsigned char **at, bool same_run, struct dialog_side *side)
{
    side->device = take_number(at, 8);
    side->entry = take_number(at, 8);
    side->flow.worker = (uint32_t)take_number(at, 1);
    side->flow.listener = (uint32_t)take_number(at, 1);
    side->flow.slot = (uint32_t)take_number(at, 4);
    side->flow.generation = (uint32_t)take_number(at, 4);
    if (side->flow.generation == 0)
        side->server = side->flow.slot;
    if (!same_run || side->flow.generation == 0)
        side->flow = (struct flow){ 0 };
}

static bool fits(const struct flow *flow)
{
    return flow->worker <= UINT8_MAX && flow->listener <= UINT8_MAX;
}

/* ---- The cipher ---- */

static bool derive_key(const struct token_key *key, const unsigned char *salt,
                       unsigned char out[TOKEN_KEY_SIZE])
{
    unsigned size = TOKEN_KEY_SIZE;

    return HMAC(EVP_sha256(), key->bytes, TOKEN_KEY_SIZE, salt, SALT_SIZE, out, &size) &&
           size == TOKEN_KEY_SIZE;
}

/* Each part with its length before it, so that no part can reach into the next. */
static bool add_associated(EVP_CIPHER_CTX *context, struct slice part)
{
    unsigned char length[4], *at = length;
    int size;

    put_number(&at, part.size, sizeof length);
    return part.size <= INT32_MAX &&
           EVP_CipherUpdate(context, NULL, &size, length, sizeof length) &&
           (part.size == 0 || EVP_CipherUpdate(context, NULL, &size,
                                               (const unsigned char *)part.data, (int)part.size));
}

static bool add_all_associated(EVP_CIPHER_CTX *context, const unsigned char *header,
                               const struct dialog_names *names)
{
    return add_associated(context, (struct slice){ (const char *)header, HEADER_SIZE }) &&
           add_associated(context, names->call_id) && add_associated(context, names->caller_tag) &&
           add_associated(context, identity_text(names->caller)) &&
           add_associated(context, identity_text(names->callee));
}

/* Seals or opens bytes[HEADER_SIZE, +PLAIN_SIZE) in place; the GCM tag follows them. */
static bool run_cipher(const struct token_key *key, unsigned char *bytes,
                       const struct dialog_names *names, bool seal)
{
    static const unsigned char nonce[12]; /* each salt has its own key */
    unsigned char derived[TOKEN_KEY_SIZE], *plain = bytes + HEADER_SIZE, *tag = plain + PLAIN_SIZE;
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    int size;
    bool done = context && derive_key(key, bytes + 2, derived) &&
                EVP_CipherInit_ex(context, EVP_aes_256_gcm(), NULL, derived, nonce, seal) &&
                (seal || EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, GCM_TAG_SIZE, tag)) &&
                add_all_associated(context, bytes, names) &&
                EVP_CipherUpdate(context, plain, &size, plain, PLAIN_SIZE) &&
                EVP_CipherFinal_ex(context, plain + PLAIN_SIZE, &size) &&
                (!seal || EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, GCM_TAG_SIZE, tag));

    OPENSSL_cleanse(derived, sizeof derived);
    EVP_CIPHER_CTX_free(context);
    return done;
}

enum error dialog_token_seal(const struct token_keys *keys, const struct dialog_token *token,
                             const struct dialog_names *names, char out[DIALOG_TOKEN_SIZE + 1])
{
    unsigned char bytes[TOKEN_SIZE], *at = bytes;
    const struct token_key *key = &keys->keys[0];

    out[0] = '\0';
    if (!fits(&token->caller.flow) || !fits(&token->callee.flow))
        return ERROR_TOO_LARGE;
    put_number(&at, VERSION, 1);
    put_number(&at, key->id, 1);
    random_bytes(at, SALT_SIZE);
    at += SALT_SIZE;
    put_number(&at, keys->run, 4);
    put_side(&at, &token->caller);
    put_side(&at, &token->callee);
    if (!run_cipher(key, bytes, names, true))
        return ERROR_LIBRARY;
    encode(bytes, out);
    return ERROR_NONE;
}

static const struct token_key *find_key(const struct token_keys *keys, unsigned id)
{
    for (size_t i = 0; i < keys->count; i++) {
        if (keys->keys[i].id == id)
            return &keys->keys[i];
    }
    return NULL;
}

enum error dialog_token_open(const struct token_keys *keys, struct slice text,
                             const struct dialog_names *names, struct dialog_token *out)
{
    unsigned char bytes[TOKEN_SIZE];
    const unsigned char *at = bytes + HEADER_SIZE;
    const struct token_key *key;
    bool same_run;

    *out = (struct dialog_token){ 0 };
    if (text.size != DIALOG_TOKEN_SIZE || !decode(text.data, bytes) || bytes[0] != VERSION)
        return ERROR_MALFORMED;
    key = find_key(keys, bytes[1]);
    if (!key || !run_cipher(key, bytes, names, false))
        return ERROR_MALFORMED;
    same_run = take_number(&at, 4) == keys->run;
    take_side(&at, same_run, &out->caller);
    take_side(&at, same_run, &out->callee);
    return ERROR_NONE;
}

enum error dialog_token_open_request(const struct token_keys *keys, struct slice text,
                                     const struct dialog_request *request, struct dialog_token *out,
                                     enum dialog_party *sender)
{
    struct dialog_names by_caller = { .call_id = request->call_id,
                                      .caller_tag = request->from_tag,
                                      .caller = request->from,
                                      .callee = request->to };
    struct dialog_names by_callee = { .call_id = request->call_id,
                                      .caller_tag = request->to_tag,
                                      .caller = request->to,
                                      .callee = request->from };

    *sender = DIALOG_NOBODY;
    *out = (struct dialog_token){ 0 };
    if (request->to_tag.size == 0)
        return ERROR_MALFORMED;
    if (dialog_token_open(keys, text, &by_caller, out) == ERROR_NONE) {
        *sender = DIALOG_CALLER;
        return ERROR_NONE;
    }
    if (dialog_token_open(keys, text, &by_callee, out) == ERROR_NONE) {
        *sender = DIALOG_CALLEE;
        return ERROR_NONE;
    }
    return ERROR_MALFORMED;
}
