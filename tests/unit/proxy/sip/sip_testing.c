/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the SIP core share. */
#include "tests/unit/proxy/sip/sip_testing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct slice torture_message(const char *name)
{
    static char text[65536];
    char path[256];
    FILE *file;
    size_t size;

    snprintf(path, sizeof(path), "tests/fuzz/seeds/sip_message/%s.dat", name);
    file = fopen(path, "rb");
    if (!file)
        fail_msg("%s: run the tests from the repository's root", path);
    size = fread(text, 1, sizeof(text), file);
    fclose(file);
    return (struct slice){ text, size };
}

void assert_slice_is(struct slice got, const char *expected)
{
    if (!slice_equal(got, slice_of(expected)))
        fail_msg("got \"%.*s\", expected \"%s\"", (int)got.size, got.data ? got.data : "",
                 expected);
}

struct slice make_request(const char *start_line, const char *headers, const char *body)
{
    static char text[65536];
    int size = snprintf(text, sizeof(text),
                        "%s\r\n"
                        "Via: SIP/2.0/TLS 192.0.2.1:5061;branch=z9hG4bKtest\r\n"
                        "From: <sip:alice@example.org>;tag=a\r\n"
                        "To: <sip:bob@example.org>\r\n"
                        "Call-ID: c@192.0.2.1\r\n"
                        "CSeq: 1 %.*s\r\n"
                        "%s"
                        "\r\n%s",
                        start_line, (int)strcspn(start_line, " "), start_line, headers, body);

    assert_in_range(size, 1, sizeof(text) - 1);
    return (struct slice){ text, (size_t)size };
}

enum message_fault parse_text(struct message *m, const char *text)
{
    assert_int_not_equal(message_parse(m, slice_of(text)), ERROR_MEMORY);
    return m->fault;
}
