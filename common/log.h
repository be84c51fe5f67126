/* SPDX-License-Identifier: Apache-2.0 */
/* One line an event, key=value. Lines are formatted here and written by one thread of its own: no
 * caller waits for a disk. A full ring drops lines and says how many. Values from peers are quoted,
 * escaped outside printable ASCII and cut at 128 bytes. */
#ifndef HOLDLINE_COMMON_LOG_H
#define HOLDLINE_COMMON_LOG_H

#include "common/error.h"
#include "common/slice.h"

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG };

#define LOG_LINE_MAX  1024
#define LOG_VALUE_MAX 128

/* path "-" is standard error. Before log_open() and after log_close() lines go to standard error at
 * once. Called once, before other threads log; signals stay blocked in the writing thread.
 * ERROR_SYSTEM (errno): the file can't be opened, or no thread. */
enum error log_open(const char *path, enum log_level level) MUST_CHECK;
/* Writes out what waits, ends the thread. A reader of a pipe that has stopped reading holds it up
 * for two seconds at most. */
void log_close(void);
bool log_is_open(void);
/* Opens the file anew, after rotation; on failure the old one stays in use and that is logged. From
 * the signal-handling thread (it may wait for the disk). */
void log_reopen(void);
void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);
/* "error", "warning", "notice", "info", "debug"; else false. */
bool log_level_from_text(const char *text, enum log_level *level);

/* A line is built on the stack: log_begin(), fields, log_end(). Fields of a disabled line cost a
 * branch. Thread-safe. A field that no longer fits is left out whole and the line says cut=1. */
struct log_line {
    bool enabled, cut;
    enum log_level level;
    size_t size;
    char text[LOG_LINE_MAX];
};

void log_begin(struct log_line *line, enum log_level level, const char *event);
/* Our own token, unquoted; what is none (a space, a quote, '=', not ASCII, empty) is quoted. */
void log_word(struct log_line *line, const char *key, const char *word);
/* Anything: key="…". Quote and backslash get a backslash, bytes outside printable ASCII are \xHH;
 * behind LOG_VALUE_MAX bytes stands \+N, the number of bytes left out. */
void log_text(struct log_line *line, const char *key, struct slice value);
void log_number(struct log_line *line, const char *key, long long value);
void log_end(struct log_line *line);

/* For messages that are ours alone: event=NAME detail="...". The detail is escaped like any value
 * but cut only with the line. */
void log_write(enum log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Against floods: true for the first `burst` in each second. One a call site, static or in the
 * object, zeroed; one thread each. */
struct log_limit {
    uint64_t second_mono_s;
    unsigned passed, suppressed;
};
bool log_limit_pass(struct log_limit *limit, unsigned burst, uint64_t now_mono_ms);
/* How many were suppressed since the last call: log_number(&line, "suppressed", …) of the next line
 * that passes. */
unsigned log_limit_suppressed(struct log_limit *limit);

#endif
