/* SPDX-License-Identifier: Apache-2.0 */
/* A value of Authorization: what is accepted keeps its bounds, points into the text and has the
 * forms that the contract names; what is refused leaves nothing behind. */
#include "proxy/sip/credentials.h"

#include "common/identity.h"
#include "proxy/authorization/digest.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                    \
    do {                                                                    \
        if (!(condition)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                        \
        }                                                                   \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_plain(struct slice whole, struct slice part, size_t max)
{
    CHECK(part.size > 0 && part.size <= max);
    CHECK(part.data >= whole.data && part.data + part.size <= whole.data + whole.size);
    for (size_t i = 0; i < part.size; i++)
        CHECK((unsigned char)part.data[i] >= ' ' && part.data[i] != '"' && part.data[i] != '\\');
}

static void check_name(const char *name, size_t size)
{
    CHECK(size > 0 && size <= CREDENTIALS_NAME_MAX && strlen(name) == size);
    CHECK(text_is_clean_utf8((struct slice){ name, size }));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char hash[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const struct digest_request request = { SLICE("INVITE"), SLICE("v=0") };
    struct slice whole = { (const char *)data, size };
    struct digest_credentials c, empty;
    size_t digits;

    if (credentials_parse(whole, &c) != ERROR_NONE) {
        memset(&empty, 0, sizeof(empty));
        CHECK(memcmp(&c, &empty, sizeof(c)) == 0);
        return 0;
    }
    CHECK(size <= CREDENTIALS_VALUE_MAX);
    check_name(c.username, c.username_size);
    check_name(c.realm, c.realm_size);
    check_plain(whole, c.nonce, CREDENTIALS_TEXT_MAX);
    check_plain(whole, c.cnonce, CREDENTIALS_TEXT_MAX);
    check_plain(whole, c.uri, CREDENTIALS_URI_MAX);
    check_plain(whole, c.nc_text, 8);
    check_plain(whole, c.qop_text, 8);
    CHECK(c.qop != DIGEST_QOP_NONE && c.nc > 0 && c.nc_text.size == 8);
    digits = c.algorithm == DIGEST_SHA_256 ? 64 : 32;
    if (c.algorithm != DIGEST_ALGORITHM_NONE)
        CHECK(c.response.size == digits);
    CHECK(!digest_is_right(&c, (struct slice){ hash, digits }, &request));
    return 0;
}
