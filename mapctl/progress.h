/* SPDX-License-Identifier: Apache-2.0 */
/* A line on a terminal that says how far a long command is: what it does, share, rows, rate and the
 * time that is left. Nothing is drawn where standard error is no terminal. One thread. */
#ifndef HOLDLINE_MAPCTL_PROGRESS_H
#define HOLDLINE_MAPCTL_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROGRESS_WIDTH 79

struct progress {
    bool terminal;
    const char *what; /* NULL: nothing is drawn */
    uint64_t begun_mono_ms, drawn_mono_ms;
};

void progress_init(struct progress *progress);
/* From now on it does `what`. */
void progress_begin(struct progress *progress, const char *what);
/* `rows` are counted; `done` of `total` units are through, 0 of 0 when the end is not known. */
void progress_show(struct progress *progress, uint64_t rows, uint64_t done, uint64_t total);
/* Takes the line away, before other text is written. */
void progress_clear(struct progress *progress);

/* The line itself, for tests: `out` has PROGRESS_WIDTH + 1 bytes. */
void progress_text(char *out, const char *what, uint64_t rows, uint64_t done, uint64_t total,
                   uint64_t took_ms);

#endif
