/* SPDX-License-Identifier: Apache-2.0 */
/* A value of Session-Expires and Min-SE: what is accepted has its number, a refresher that is one
 * of the two, and parameters that point into the text; written anew with another number it is read
 * the same. What is refused leaves nothing behind. */
#include "proxy/sip/session_expires.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                    \
    do {                                                                    \
        if (!(condition)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                        \
        }                                                                   \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_again(const struct session_expires *first)
{
    struct session_expires second;
    size_t size = first->params.size + 16;
    char *text = malloc(size);
    int written;

    CHECK(text);
    written = snprintf(text, size, "%u", first->seconds);
    memcpy(text + written, first->params.data, first->params.size);
    CHECK(session_expires_parse((struct slice){ text, (size_t)written + first->params.size },
                                &second) == ERROR_NONE);
    CHECK(second.seconds == first->seconds && second.refresher == first->refresher);
    CHECK(slice_equal(second.params, first->params));
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice whole = { (const char *)data, size };
    struct session_expires read;
    uint32_t seconds;

    if (session_expires_parse(whole, &read) != ERROR_NONE) {
        CHECK(read.seconds == 0 && read.refresher == SESSION_REFRESHER_NONE);
        CHECK(read.params.size == 0);
    } else {
        CHECK(read.refresher <= SESSION_REFRESHER_UAS);
        CHECK(read.params.data >= whole.data &&
              read.params.data + read.params.size <= whole.data + whole.size);
        check_again(&read);
        CHECK(session_min_parse(whole, &seconds) == ERROR_NONE && seconds == read.seconds);
    }
    return 0;
}
