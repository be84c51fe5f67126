/* SPDX-License-Identifier: Apache-2.0 */
/* The keys themselves, for dialog_token.c and token_keys.c alone. */
#ifndef HOLDLINE_AUTHORIZATION_TOKEN_KEYS_INTERNAL_H
#define HOLDLINE_AUTHORIZATION_TOKEN_KEYS_INTERNAL_H

#include "proxy/authorization/dialog_token.h"

#define TOKEN_KEY_SIZE 32
#define TOKEN_KEYS_MAX 16

struct token_key {
    uint8_t id;
    unsigned char bytes[TOKEN_KEY_SIZE];
};

struct token_keys {
    struct token_keys *older; /* that these replaced; owned */
    uint32_t run;             /* of this process */
    uint8_t hash_key[16];
    size_t count;
    struct token_key keys[TOKEN_KEYS_MAX]; /* the first seals */
};

#endif
