/* SPDX-License-Identifier: Apache-2.0 */
/* Any text opened as a dialog token: none opens that was not sealed, and a sealed one that the
 * input changes in any place does not open either. */
#include "proxy/authorization/dialog_token.h"

#include "common/random.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct token_keys *keys;

static void load_keys(void)
{
    char folder[] = "/tmp/holdline-fuzz-XXXXXX", path[64];

    if (!mkdtemp(folder))
        abort();
    snprintf(path, sizeof path, "%s/keys", folder);
    if (token_keys_load(path, &keys) != ERROR_NONE)
        abort();
    unlink(path);
    rmdir(folder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct dialog_token token = { .caller = { .device = 1 },
                                               .callee = { .device = 2 } };
    struct identity alice, bob;
    struct dialog_names names = { SLICE("call"), SLICE("tag"), &alice, &bob };
    struct dialog_token out;
    char text[DIALOG_TOKEN_SIZE + 1], changed[DIALOG_TOKEN_SIZE];

    if (!keys)
        load_keys();
    if (identity_from_text(&alice, SLICE("alice@example.org")) != ERROR_NONE ||
        identity_from_text(&bob, SLICE("bob@example.org")) != ERROR_NONE ||
        dialog_token_seal(keys, &token, &names, text) != ERROR_NONE)
        abort();
    assert(dialog_token_open(keys, (struct slice){ (const char *)data, size }, &names, &out) !=
           ERROR_NONE);
    memcpy(changed, text, sizeof changed);
    for (size_t i = 0; i + 1 < size; i += 2)
        changed[data[i] % DIALOG_TOKEN_SIZE] = (char)data[i + 1];
    assert((dialog_token_open(keys, (struct slice){ changed, sizeof changed }, &names, &out) ==
            ERROR_NONE) == (memcmp(changed, text, sizeof changed) == 0));
    return 0;
}
