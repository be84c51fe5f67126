/* SPDX-License-Identifier: Apache-2.0 */
/* Drawing progress. */
#include "mapctl/progress.h"

#include "common/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define EACH_MS 100
#define BAR     20

void progress_init(struct progress *progress)
{
    *progress = (struct progress){ .terminal = isatty(STDERR_FILENO) };
}

void progress_begin(struct progress *progress, const char *what)
{
    progress->what = what;
    progress->begun_mono_ms = clock_mono_ms();
    progress->drawn_mono_ms = 0;
    progress_show(progress, 0, 0, 0);
}

static void add_bar(char *out, size_t room, uint64_t done, uint64_t total)
{
    char bar[BAR + 1];
    size_t full = done >= total ? BAR : (size_t)((double)done * BAR / (double)total);

    memset(bar, '.', BAR);
    memset(bar, '#', full);
    bar[BAR] = '\0';
    snprintf(out, room, " [%s] %3" PRIu64 " %%", bar,
             done >= total ? 100 : (uint64_t)((double)done * 100 / (double)total));
}

void progress_text(char *out, const char *what, uint64_t rows, uint64_t done, uint64_t total,
                   uint64_t took_ms)
{
    uint64_t took = took_ms > 0 ? (uint64_t)took_ms : 1;
    char bar[48] = "", count[64] = "", left[48] = "", line[256];

    if (total > 0)
        add_bar(bar, sizeof(bar), done, total);
    if (rows > 0)
        snprintf(count, sizeof(count), "  %" PRIu64 " rows  %" PRIu64 "/s", rows,
                 (uint64_t)((double)rows * 1000 / (double)took));
    if (done > 0 && done < total)
        snprintf(left, sizeof(left), "  %.0f s left",
                 (double)took * (double)(total - done) / (double)done / 1000);
    snprintf(line, sizeof(line), "%.60s%s%s%s", what, bar, count, left);
    line[PROGRESS_WIDTH] = '\0';
    strcpy(out, line);
}

void progress_show(struct progress *progress, uint64_t rows, uint64_t done, uint64_t total)
{
    char text[PROGRESS_WIDTH + 1];
    uint64_t now_mono_ms;

    if (!progress->terminal || progress->what == NULL)
        return;
    now_mono_ms = clock_mono_ms();
    if (now_mono_ms - progress->drawn_mono_ms < EACH_MS)
        return;
    progress->drawn_mono_ms = now_mono_ms;
    progress_text(text, progress->what, rows, done, total, now_mono_ms - progress->begun_mono_ms);
    fprintf(stderr, "\r%s\x1b[K", text);
    fflush(stderr);
}

void progress_clear(struct progress *progress)
{
    if (progress->terminal && progress->what != NULL) {
        fputs("\r\x1b[K", stderr);
        fflush(stderr);
    }
    progress->drawn_mono_ms = 0; /* it is drawn again at once */
}
