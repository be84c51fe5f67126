/* SPDX-License-Identifier: Apache-2.0 */
/* One line an event, key=value. Lines are formatted here and written by one thread of its own: no
 * caller waits for a disk. A full ring drops lines and says how many. Values from peers are quoted,
 * escaped outside printable ASCII and cut at 128 bytes. */
#ifndef HOLDLINE_COMMON_LOG_H
#define HOLDLINE_COMMON_LOG_H

#include "common/error.h"
#include "common/slice.h"

#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG };

#define LOG_LINE_MAX  1024
#define LOG_VALUE_MAX 128

/* path "-" is standard error. Before log_open() and after log_close() lines go to standard error at
 * once. */
enum error log_open(const char *path, enum log_level level) MUST_CHECK;
void log_close(void);  /* writes out what waits, ends the thread */
void log_reopen(void); /* after rotation; from the signal-handling thread */
void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);
bool log_level_from_text(const char *text, enum log_level *level);

/* A line is built on the stack: log_begin(), fields, log_end(). Fields of a disabled line cost a
 * branch. Thread-safe. */
struct log_line {
    bool enabled;
    enum log_level level;
    size_t size;
    char text[LOG_LINE_MAX];
};

void log_begin(struct log_line *line, enum log_level level, const char *event);
void log_word(struct log_line *line, const char *key,
              const char *word); /* our own token, unquoted */
void log_text(struct log_line *line, const char *key,
              struct slice value); /* anything: quoted, escaped, cut */
void log_number(struct log_line *line, const char *key, long long value);
void log_end(struct log_line *line);

/* For messages that are ours alone: event=NAME detail="...". */
void log_write(enum log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A bucket against floods: true for the first `burst` in each second; the number of suppressed ones
 * comes with the next line (log_limited_count). One a call site, static or in the object; one
 * thread each. */
struct log_limit {
    uint64_t second_mono_s;
    unsigned passed, suppressed;
};
bool log_limit_pass(struct log_limit *limit, unsigned burst, uint64_t now_mono_ms);

#endif
