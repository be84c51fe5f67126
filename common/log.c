/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines. Callers append to one of two buffers under a mutex; the writing thread swaps them and
 * writes what it took without holding anything. */
#include "common/log.h"

#include "common/clock.h"
#include "common/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* What waits: several thousand decisions, which a disk takes in a blink. */
#define RING_SIZE      (1024 * 1024)
#define CLOSE_LIMIT_MS 2000
#define CUT_MARK       " cut=1"
#define TAIL_SIZE      (sizeof(CUT_MARK) - 1 + 1) /* and the line end */
#define LEFT_OUT_MAX   24                         /* \+N with its NUL */
#define FIELD_MIN      (LEFT_OUT_MAX + 8)         /* below this room a value is not begun */
#define DETAIL_MAX     (LOG_LINE_MAX / 2)

struct chunk {
    char *data;
    size_t size;
    unsigned lines;
};

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    pthread_t thread;
    struct chunk waiting;
    unsigned long long dropped; /* since the writer last asked */
    int new_fd;                 /* from log_reopen(), -1: none */
    bool open, closing;
    char *path; /* main thread alone */
} ring = { .mutex = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER, .new_fd = -1 };

/* The thread's own, from its start to its end. */
static struct {
    int fd;
    struct chunk chunk;
    uint64_t give_up_mono_ms; /* while closing; 0: not yet asked */
} writer;

static atomic_int current_level = LOG_INFO;

static const char *const level_names[] = { "error", "warning", "notice", "info", "debug" };

/* ---- Levels ---- */

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&current_level, (int)level, memory_order_relaxed);
}

bool log_enabled(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&current_level, memory_order_relaxed);
}

bool log_level_from_text(const char *text, enum log_level *level)
{
    for (int i = LOG_ERROR; i <= LOG_DEBUG; i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

/* ---- The writing thread ---- */

/* Regular files are written at once. Into a pipe or terminal no more than a pipe surely takes, and
 * only when it has room, so that a reader that stands still can't hold up the end of the program.
 */
static ssize_t write_some(int fd, bool regular, const char *data, size_t size, int timeout_ms)
{
    struct pollfd poller = { .fd = fd, .events = POLLOUT };

    if (!regular) {
        int ready = poll(&poller, 1, timeout_ms);
        if (ready <= 0)
            return ready;
        if (size > PIPE_BUF)
            size = PIPE_BUF;
    }
    return write(fd, data, size);
}

static bool is_closing(void)
{
    pthread_mutex_lock(&ring.mutex);
    bool closing = ring.closing;
    pthread_mutex_unlock(&ring.mutex);
    return closing;
}

/* False when the rest was lost: a full disk, or a reader that does not read while we close. */
static bool write_all(int fd, const char *data, size_t size)
{
    struct stat status;
    bool regular = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);

    while (size > 0) {
        ssize_t written = write_some(fd, regular, data, size, 100);
        if (written > 0) {
            data += written;
            size -= (size_t)written;
            continue;
        }
        if (written < 0 && errno != EINTR && errno != EAGAIN)
            return false;
        if (!is_closing())
            continue;
        if (writer.give_up_mono_ms == 0)
            writer.give_up_mono_ms = clock_mono_ms() + CLOSE_LIMIT_MS;
        if (clock_mono_ms() >= writer.give_up_mono_ms)
            return false;
    }
    return true;
}

static size_t format_time(char *out, size_t size);

static bool write_dropped(int fd, unsigned long long dropped)
{
    char line[128], stamp[32];
    int size;

    format_time(stamp, sizeof(stamp));
    size = snprintf(line, sizeof(line), "%s level=warning event=log-dropped lines=%llu\n", stamp,
                    dropped);
    return write_all(fd, line, (size_t)size);
}

static void count_dropped(unsigned long long lines)
{
    pthread_mutex_lock(&ring.mutex);
    ring.dropped += lines;
    pthread_mutex_unlock(&ring.mutex);
}

/* Waits for lines, a new descriptor or the end. False: it is the end and nothing is left. */
static bool take(struct chunk *chunk, unsigned long long *dropped, int *new_fd)
{
    struct chunk taken;
    bool more;

    pthread_mutex_lock(&ring.mutex);
    while (ring.waiting.size == 0 && ring.new_fd < 0 && !ring.closing)
        pthread_cond_wait(&ring.wake, &ring.mutex);
    taken = ring.waiting;
    ring.waiting = (struct chunk){ chunk->data, 0, 0 };
    *chunk = taken;
    *dropped = ring.dropped;
    ring.dropped = 0;
    *new_fd = ring.new_fd;
    ring.new_fd = -1;
    more = taken.size > 0 || !ring.closing || *new_fd >= 0;
    pthread_mutex_unlock(&ring.mutex);
    return more;
}

static void *write_lines(void *unused)
{
    unsigned long long dropped;
    int new_fd;

    (void)unused;
    pthread_setname_np(pthread_self(), "log");
    while (take(&writer.chunk, &dropped, &new_fd)) {
        if (new_fd >= 0) {
            close(writer.fd);
            writer.fd = new_fd;
        }
        if (writer.chunk.size && !write_all(writer.fd, writer.chunk.data, writer.chunk.size))
            dropped += writer.chunk.lines;
        if (dropped && !write_dropped(writer.fd, dropped))
            count_dropped(dropped);
    }
    return NULL;
}

static int open_path(const char *path)
{
    if (strcmp(path, "-") == 0)
        return fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
}

static int start_thread(void)
{
    sigset_t all, before;
    int error;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&ring.thread, NULL, write_lines, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

enum error log_open(const char *path, enum log_level level)
{
    enum error error = ERROR_MEMORY;

    log_set_level(level);
    writer.fd = -1;
    writer.give_up_mono_ms = 0;
    ring.path = mem_text(slice_of(path));
    ring.waiting.data = mem_alloc(RING_SIZE);
    writer.chunk.data = mem_alloc(RING_SIZE);
    if (!ring.path || !ring.waiting.data || !writer.chunk.data)
        goto fail;
    error = ERROR_SYSTEM;
    writer.fd = open_path(path);
    if (writer.fd < 0)
        goto fail;
    errno = start_thread();
    if (errno)
        goto fail;
    pthread_mutex_lock(&ring.mutex);
    ring.open = true;
    pthread_mutex_unlock(&ring.mutex);
    return ERROR_NONE;
fail:
    if (writer.fd >= 0) {
        int saved = errno;
        close(writer.fd);
        errno = saved;
    }
    mem_free(ring.path);
    mem_free(ring.waiting.data);
    mem_free(writer.chunk.data);
    ring.path = ring.waiting.data = writer.chunk.data = NULL;
    return error;
}

void log_close(void)
{
    pthread_mutex_lock(&ring.mutex);
    bool was_open = ring.open;
    ring.open = false;
    ring.closing = true;
    pthread_cond_signal(&ring.wake);
    pthread_mutex_unlock(&ring.mutex);
    if (was_open) {
        pthread_join(ring.thread, NULL);
        close(writer.fd);
        mem_free(ring.path);
        mem_free(ring.waiting.data);
        mem_free(writer.chunk.data);
        ring.path = NULL;
        ring.waiting = writer.chunk = (struct chunk){ 0 };
    }
    pthread_mutex_lock(&ring.mutex);
    ring.closing = false;
    ring.dropped = 0;
    pthread_mutex_unlock(&ring.mutex);
}

bool log_is_open(void)
{
    pthread_mutex_lock(&ring.mutex);
    bool open = ring.open;
    pthread_mutex_unlock(&ring.mutex);
    return open;
}

void log_reopen(void)
{
    int fd, unused;

    if (!ring.path || strcmp(ring.path, "-") == 0)
        return;
    fd = open_path(ring.path);
    if (fd < 0) {
        log_write(LOG_ERROR, "log-reopen-failed", "%s: %s; the old file stays in use", ring.path,
                  strerror(errno));
        return;
    }
    pthread_mutex_lock(&ring.mutex);
    unused = ring.new_fd; /* two in a row */
    ring.new_fd = fd;
    pthread_cond_signal(&ring.wake);
    pthread_mutex_unlock(&ring.mutex);
    if (unused >= 0)
        close(unused);
}

static void submit(const char *text, size_t size)
{
    bool open;

    pthread_mutex_lock(&ring.mutex);
    open = ring.open;
    if (open && size <= RING_SIZE - ring.waiting.size) {
        if (ring.waiting.size == 0)
            pthread_cond_signal(&ring.wake);
        memcpy(ring.waiting.data + ring.waiting.size, text, size);
        ring.waiting.size += size;
        ring.waiting.lines++;
    } else if (open) {
        ring.dropped++;
    }
    pthread_mutex_unlock(&ring.mutex);
    if (!open && write(STDERR_FILENO, text, size) < 0)
        return; /* there is no one left to tell */
}

/* ---- Lines ---- */

/* time=2026-11-23T19:26:00.123Z; the part down to the second is kept for the next line. */
static size_t format_time(char *out, size_t size)
{
    static _Thread_local uint64_t cached_unix_s = UINT64_MAX;
    static _Thread_local char cached[32];
    uint64_t now_unix_ms = clock_unix_ms();

    if (cached_unix_s != now_unix_ms / 1000) {
        time_t seconds = (time_t)(now_unix_ms / 1000);
        struct tm parts;
        gmtime_r(&seconds, &parts);
        strftime(cached, sizeof(cached), "time=%Y-%m-%dT%H:%M:%S", &parts);
        cached_unix_s = now_unix_ms / 1000;
    }
    return (size_t)snprintf(out, size, "%s.%03uZ", cached, (unsigned)(now_unix_ms % 1000));
}

/* Room for ` key=` and `size` more; the caller fills in behind it. NULL: the field is left out. */
static char *begin_field(struct log_line *line, const char *key, size_t size)
{
    size_t key_size = strlen(key);
    char *at = line->text + line->size;

    if (line->size + key_size + 2 + size > LOG_LINE_MAX - TAIL_SIZE) {
        line->cut = true;
        return NULL;
    }
    *at++ = ' ';
    memcpy(at, key, key_size);
    at += key_size;
    *at++ = '=';
    return at;
}

static void end_field(struct log_line *line, const char *end)
{
    line->size = (size_t)(end - line->text);
}

static void add_plain(struct log_line *line, const char *key, struct slice value)
{
    char *at = begin_field(line, key, value.size);

    if (!at)
        return;
    memcpy(at, value.data, value.size);
    end_field(line, at + value.size);
}

void log_begin(struct log_line *line, enum log_level level, const char *event)
{
    line->enabled = log_enabled(level);
    if (!line->enabled)
        return;
    line->cut = false;
    line->level = level;
    line->size = format_time(line->text, LOG_LINE_MAX);
    add_plain(line, "level", slice_of(level_names[level]));
    log_word(line, "event", event);
}

static size_t escape_byte(char *out, unsigned char byte)
{
    static const char digits[16] = "0123456789abcdef";

    if (byte == '"' || byte == '\\') {
        out[0] = '\\';
        out[1] = (char)byte;
        return 2;
    }
    if (byte >= 0x20 && byte < 0x7f) {
        out[0] = (char)byte;
        return 1;
    }
    out[0] = '\\';
    out[1] = 'x';
    out[2] = digits[byte >> 4];
    out[3] = digits[byte & 15];
    return 4;
}

static void add_quoted(struct log_line *line, const char *key, struct slice value, size_t max)
{
    char escaped[LOG_LINE_MAX], *at;
    size_t used = line->size + strlen(key) + 2 + TAIL_SIZE;
    size_t room = used < LOG_LINE_MAX ? LOG_LINE_MAX - used : 0, size = 0, i;

    if (room < FIELD_MIN) {
        line->cut = true;
        return;
    }
    if (max > value.size)
        max = value.size;
    escaped[size++] = '"';
    for (i = 0; i < max && size + FIELD_MIN <= room; i++)
        size += escape_byte(escaped + size, (unsigned char)value.data[i]);
    if (i < value.size) /* no escaped value can hold a backslash and a plus */
        size += (size_t)snprintf(escaped + size, LEFT_OUT_MAX, "\\+%zu", value.size - i);
    escaped[size++] = '"';
    at = begin_field(line, key, size);
    if (!at)
        return;
    memcpy(at, escaped, size);
    end_field(line, at + size);
}

void log_text(struct log_line *line, const char *key, struct slice value)
{
    if (line->enabled)
        add_quoted(line, key, value, LOG_VALUE_MAX);
}

static bool is_word(struct slice s)
{
    for (size_t i = 0; i < s.size; i++) {
        if (s.data[i] <= ' ' || s.data[i] > '~' || s.data[i] == '"' || s.data[i] == '\\' ||
            s.data[i] == '=')
            return false;
    }
    return s.size > 0 && s.size <= LOG_VALUE_MAX;
}

void log_word(struct log_line *line, const char *key, const char *word)
{
    struct slice value = slice_of(word);

    if (!line->enabled)
        return;
    if (is_word(value))
        add_plain(line, key, value);
    else
        add_quoted(line, key, value, LOG_VALUE_MAX);
}

void log_number(struct log_line *line, const char *key, long long value)
{
    char digits[24];
    int size;

    if (!line->enabled)
        return;
    size = snprintf(digits, sizeof(digits), "%lld", value);
    add_plain(line, key, (struct slice){ digits, (size_t)size });
}

void log_end(struct log_line *line)
{
    if (!line->enabled)
        return;
    if (line->cut) {
        memcpy(line->text + line->size, CUT_MARK, sizeof(CUT_MARK) - 1);
        line->size += sizeof(CUT_MARK) - 1;
    }
    line->text[line->size++] = '\n';
    submit(line->text, line->size);
    line->enabled = false; /* a line is ended once */
}

void log_write(enum log_level level, const char *event, const char *format, ...)
{
    struct log_line line;
    char detail[DETAIL_MAX];
    va_list args;
    int size;

    log_begin(&line, level, event);
    if (!line.enabled)
        return;
    va_start(args, format);
    size = vsnprintf(detail, sizeof(detail), format, args);
    va_end(args);
    if (size >= (int)sizeof(detail)) {
        size = (int)sizeof(detail) - 1;
        line.cut = true;
    }
    if (size > 0)
        add_quoted(&line, "detail", (struct slice){ detail, (size_t)size }, DETAIL_MAX);
    log_end(&line);
}

/* ---- Floods ---- */

bool log_limit_pass(struct log_limit *limit, unsigned burst, uint64_t now_mono_ms)
{
    uint64_t second_mono_s = now_mono_ms / 1000;

    if (limit->second_mono_s != second_mono_s) {
        limit->second_mono_s = second_mono_s;
        limit->passed = 0;
    }
    if (limit->passed < burst) {
        limit->passed++;
        return true;
    }
    if (limit->suppressed < UINT_MAX)
        limit->suppressed++;
    return false;
}

unsigned log_limit_suppressed(struct log_limit *limit)
{
    unsigned suppressed = limit->suppressed;

    limit->suppressed = 0;
    return suppressed;
}
