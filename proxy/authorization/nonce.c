/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/authorization/nonce.h"

#include "common/random.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#define LABEL    "holdline nonce 1"
#define MAC_SIZE 18
#define RAW_SIZE (4 + 8 + MAC_SIZE)

static const char ALPHABET[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

_Static_assert(RAW_SIZE % 3 == 0 && RAW_SIZE / 3 * 4 == NONCE_SIZE, "no padding");

void nonce_key_draw(struct nonce_key *key)
{
    random_bytes(key->bytes, sizeof(key->bytes));
}

/* ---- Bytes ---- */

static void put_number(unsigned char *at, uint64_t value, unsigned size)
{
    for (unsigned i = size; i-- > 0; value >>= 8)
        at[i] = (unsigned char)value;
}

static uint64_t take_number(const unsigned char *at, unsigned size)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < size; i++)
        value = value << 8 | at[i];
    return value;
}

/* The signature of number and time, which stand in front of its place. */
static bool sign(const struct nonce_key *key, uint64_t connection,
                 const unsigned char raw[RAW_SIZE], unsigned char mac[MAC_SIZE])
{
    unsigned char text[sizeof(LABEL) + 8 + RAW_SIZE - MAC_SIZE], whole[EVP_MAX_MD_SIZE];
    unsigned size = 0;

    memcpy(text, LABEL, sizeof(LABEL));
    put_number(text + sizeof(LABEL), connection, 8);
    memcpy(text + sizeof(LABEL) + 8, raw, RAW_SIZE - MAC_SIZE);
    if (!HMAC(EVP_sha256(), key->bytes, sizeof(key->bytes), text, sizeof(text), whole, &size) ||
        size < MAC_SIZE)
        return false;
    memcpy(mac, whole, MAC_SIZE);
    return true;
}

static void encode(const unsigned char raw[RAW_SIZE], char out[NONCE_SIZE + 1])
{
    for (size_t i = 0; i < RAW_SIZE; i += 3) {
        uint32_t group = (uint32_t)raw[i] << 16 | (uint32_t)raw[i + 1] << 8 | raw[i + 2];

        for (int shift = 18; shift >= 0; shift -= 6)
            *out++ = ALPHABET[group >> shift & 63];
    }
    *out = '\0';
}

static bool decode(struct slice text, unsigned char raw[RAW_SIZE])
{
    if (text.size != NONCE_SIZE)
        return false;
    for (size_t i = 0; i < NONCE_SIZE; i += 4) {
        uint32_t group = 0;

        for (size_t j = i; j < i + 4; j++) {
            const char *at = text.data[j] ? strchr(ALPHABET, text.data[j]) : NULL;

            if (!at)
                return false;
            group = group << 6 | (uint32_t)(at - ALPHABET);
        }
        put_number(raw + i / 4 * 3, group, 3);
    }
    return true;
}

/* ---- Making ---- */

enum error nonce_make(const struct nonce_key *key, struct nonces *nonces, uint64_t now_mono_ms,
                      char out[NONCE_SIZE + 1])
{
    unsigned char raw[RAW_SIZE];

    out[0] = '\0';
    if (nonces->last == UINT32_MAX)
        return ERROR_TOO_LARGE;
    put_number(raw, nonces->last + 1, 4);
    put_number(raw + 4, now_mono_ms, 8);
    if (!sign(key, nonces->connection, raw, raw + RAW_SIZE - MAC_SIZE))
        return ERROR_LIBRARY;
    nonces->last++;
    encode(raw, out);
    return ERROR_NONE;
}

/* ---- Looking ---- */

static struct nonce_window *find_window(struct nonces *nonces, uint32_t number)
{
    for (size_t i = 0; i < NONCE_WINDOWS; i++)
        if (nonces->windows[i].number == number)
            return &nonces->windows[i];
    return NULL;
}

static bool is_spent(const struct nonce_window *window, uint32_t count)
{
    if (count > window->top)
        return false;
    return window->top - count >= NONCE_WINDOW_BITS ||
           (window->spent >> (window->top - count) & 1) != 0;
}

static enum nonce_verdict look(const struct nonces *nonces, uint32_t number, uint32_t count)
{
    const struct nonce_window *window = find_window((struct nonces *)nonces, number);

    if (count == 0)
        return NONCE_REPLAYED;
    if (!window)
        return number > nonces->floor ? NONCE_GOOD : NONCE_STALE;
    return is_spent(window, count) ? NONCE_REPLAYED : NONCE_GOOD;
}

enum nonce_verdict nonce_look(const struct nonce_key *key, const struct nonces *nonces,
                              struct slice nonce, uint32_t count, uint64_t now_mono_ms,
                              uint64_t lifetime_ms, uint32_t *number)
{
    unsigned char raw[RAW_SIZE], mac[MAC_SIZE];
    uint64_t made_mono_ms;

    *number = 0;
    if (!decode(nonce, raw) || !sign(key, nonces->connection, raw, mac) ||
        CRYPTO_memcmp(mac, raw + RAW_SIZE - MAC_SIZE, MAC_SIZE) != 0)
        return NONCE_STALE;
    *number = (uint32_t)take_number(raw, 4);
    made_mono_ms = take_number(raw + 4, 8);
    if (now_mono_ms < made_mono_ms || now_mono_ms - made_mono_ms >= lifetime_ms)
        return NONCE_STALE;
    return look(nonces, *number, count);
}

/* ---- Spending ---- */

/* A free window, else that of the oldest nonce in use, which counts as spent from then on, with all
 * that are older. NULL: this one is older than all that are in use. */
static struct nonce_window *make_window(struct nonces *nonces, uint32_t number)
{
    struct nonce_window *oldest = &nonces->windows[0];

    for (size_t i = 1; i < NONCE_WINDOWS; i++)
        if (nonces->windows[i].number < oldest->number)
            oldest = &nonces->windows[i];
    if (oldest->number > number)
        return NULL;
    if (oldest->number > nonces->floor)
        nonces->floor = oldest->number;
    *oldest = (struct nonce_window){ .number = number };
    return oldest;
}

bool nonce_spend(struct nonces *nonces, uint32_t number, uint32_t count)
{
    struct nonce_window *window;

    assert(number > 0 && number <= nonces->last);
    if (look(nonces, number, count) != NONCE_GOOD)
        return false;
    window = find_window(nonces, number);
    if (!window)
        window = make_window(nonces, number);
    if (!window)
        return false;
    if (count > window->top) {
        uint32_t ahead = count - window->top;

        window->spent = ahead < NONCE_WINDOW_BITS ? window->spent << ahead : 0;
        window->spent |= 1;
        window->top = count;
    } else {
        window->spent |= UINT64_C(1) << (window->top - count);
    }
    return true;
}
