/* SPDX-License-Identifier: Apache-2.0 */
/* INFO as Prometheus' text: whatever it holds, each line is a comment or `name{label="…"} value`,
 * and no metric is declared twice. */
#include "common/mem.h"
#include "mapctl/loss.h"
#include "mapctl/metrics.h"

#include <assert.h>
#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>

static void check_line(const char *line, size_t size)
{
    size_t at = 0;

    assert(size > 0);
    for (size_t i = 0; i < size; i++)
        assert(line[i] >= 0x20 && line[i] < 0x7f);
    if (*line == '#')
        return;
    while (at < size && (isalnum((unsigned char)line[at]) || line[at] == '_'))
        at++;
    assert(at > strlen("holdline_") && memcmp(line, "holdline_", 9) == 0);
    if (at < size && line[at] == '{') {
        while (at < size && line[at] != '"')
            at++;
        for (at++; at < size && line[at] != '"'; at++)
            at += line[at] == '\\';
        assert(at + 2 < size && line[at + 1] == '}');
        at += 2;
    }
    assert(at + 1 < size && line[at] == ' ');
    assert(memchr(line + at + 1, ' ', size - at - 1) == NULL);
}

static void check_once(const char *text, const char *line, size_t size)
{
    if (size > 7 && memcmp(line, "# TYPE ", 7) == 0)
        assert(memmem(text, (size_t)(line - text), line, size) == NULL);
}

static void ignore(void *owner, const struct loss *loss)
{
    (void)owner;
    assert(strlen(loss->table) <= LOSS_NAME_MAX && strlen(loss->column) <= LOSS_NAME_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice input = { (const char *)data, size };
    struct buffer out;

    for (int source = METRICS_MAPPERD; source <= METRICS_PROXY; source++) {
        char *text, *line;
        buffer_init(&out, 0);
        metrics_write(&out, (enum metrics_source)source, true, input);
        assert(!out.failed && buffer_size(&out) > 0);
        text = mem_text(buffer_slice(&out));
        assert(text != NULL && strlen(text) == buffer_size(&out));
        for (line = text; *line; line += strcspn(line, "\n") + 1) {
            assert(strchr(line, '\n') != NULL);
            check_line(line, strcspn(line, "\n"));
            check_once(text, line, strcspn(line, "\n") + 1);
        }
        mem_free(text);
        buffer_free(&out);
    }
    loss_read(input, ignore, NULL); /* the same bytes as a script of a migration */
    return 0;
}
