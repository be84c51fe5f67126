/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines: nothing forges a line or a field; a full buffer drops and says so; many threads. */
#include "common/log.h"
#include "common/mem.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    char folder[64], path[96], *content;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    strcpy(f->folder, "/tmp/holdline-log-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof(f->path), "%s/log", f->folder);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    char other[128];

    log_close();
    unlink(f->path);
    snprintf(other, sizeof(other), "%s.1", f->path);
    unlink(other);
    rmdir(f->folder);
    free(f->content);
    free(f);
    return 0;
}

static char *read_all(struct fixture *f, const char *path)
{
    FILE *in = fopen(path, "r");
    size_t size;

    assert_non_null(in);
    free(f->content);
    f->content = calloc(1, 8 * 1024 * 1024);
    size = fread(f->content, 1, 8 * 1024 * 1024 - 1, in);
    assert_true(size < 8 * 1024 * 1024 - 1);
    fclose(in);
    return f->content;
}

static size_t count_of(const char *text, const char *what)
{
    size_t count = 0;

    for (; (text = strstr(text, what)); text += strlen(what))
        count++;
    return count;
}

/* One line with one value; gives what stands behind event=x. */
static const char *line_with(void **state, struct slice value)
{
    struct fixture *f = *state;
    struct log_line line;
    char *at;

    unlink(f->path);
    assert_int_equal(log_open(f->path, LOG_INFO), ERROR_NONE);
    log_begin(&line, LOG_INFO, "x");
    log_text(&line, "cn", value);
    log_end(&line);
    log_close();
    at = strstr(read_all(f, f->path), "event=x ");
    assert_non_null(at);
    return at + strlen("event=x ");
}

static void test_fields_and_form(void **state)
{
    struct fixture *f = *state;
    struct log_line line;
    int year, month, day, hour, minute, second, ms, end = 0;

    assert_int_equal(log_open(f->path, LOG_INFO), ERROR_NONE);
    assert_true(log_is_open());
    log_begin(&line, LOG_WARNING, "decision");
    log_word(&line, "reason", "no-right");
    log_text(&line, "cn", SLICE("a b"));
    log_number(&line, "rule", -7);
    log_word(&line, "odd", "two words");
    log_word(&line, "empty", "");
    log_end(&line);
    log_end(&line); /* once is enough */
    log_write(LOG_NOTICE, "ready", "%d workers \"up\"", 2);
    log_close();
    assert_false(log_is_open());
    char *text = read_all(f, f->path);
    assert_int_equal(sscanf(text, "time=%4d-%2d-%2dT%2d:%2d:%2d.%3dZ %n", &year, &month, &day,
                            &hour, &minute, &second, &ms, &end),
                     7);
    assert_ptr_equal(strstr(text, "level=warning event=decision reason=no-right cn=\"a b\" rule=-7 "
                                  "odd=\"two words\" empty=\"\"\n"),
                     text + end);
    assert_non_null(strstr(text, "level=notice event=ready detail=\"2 workers \\\"up\\\"\"\n"));
    assert_int_equal(count_of(text, "\n"), 2);
}

static void test_T9_a_value_forges_no_line_and_no_field(void **state)
{
    assert_string_equal(line_with(state, SLICE("a\nlevel=error event=forged")),
                        "cn=\"a\\x0alevel=error event=forged\"\n");
    assert_string_equal(line_with(state, SLICE("a\" reason=\"allowed")),
                        "cn=\"a\\\" reason=\\\"allowed\"\n");
    assert_string_equal(line_with(state, SLICE("a\\")), "cn=\"a\\\\\"\n");
    assert_string_equal(line_with(state, (struct slice){ "a\0b\r\x7f\x1b[2J", 9 }),
                        "cn=\"a\\x00b\\x0d\\x7f\\x1b[2J\"\n");
    assert_string_equal(line_with(state, SLICE("\xc3\xa9")), "cn=\"\\xc3\\xa9\"\n");
    assert_string_equal(line_with(state, SLICE("")), "cn=\"\"\n");
    assert_string_equal(line_with(state, (struct slice){ NULL, 0 }), "cn=\"\"\n");
}

static void test_long_values_are_cut_and_say_so(void **state)
{
    char value[65536], wanted[256];

    memset(value, 'a', sizeof(value));
    snprintf(wanted, sizeof(wanted), "cn=\"%.128s\\+65408\"\n", value);
    assert_string_equal(line_with(state, (struct slice){ value, sizeof(value) }), wanted);
    snprintf(wanted, sizeof(wanted), "cn=\"%.128s\"\n", value);
    assert_string_equal(line_with(state, (struct slice){ value, 128 }), wanted);
}

/* Whatever fields there are, a line ends in one line end, has its bound and no open quote. */
static void test_full_lines_stay_whole(void **state)
{
    struct fixture *f = *state;
    char value[200];
    char *rest, *text;
    size_t lines = 0;

    memset(value, '\n', sizeof(value));
    assert_int_equal(log_open(f->path, LOG_INFO), ERROR_NONE);
    for (size_t first = 0; first < 128; first++) {
        struct log_line line;
        log_begin(&line, LOG_INFO, "x");
        log_text(&line, "first", (struct slice){ value, first });
        for (int i = 0; i < 12; i++) {
            log_text(&line, "key", (struct slice){ value, 100 });
            log_number(&line, "n", 1234567890123456789);
        }
        log_end(&line);
    }
    log_write(LOG_INFO, "x", "%0900d", 1);
    log_close();
    text = read_all(f, f->path);
    while ((rest = strsep(&text, "\n")) && *rest) {
        size_t quotes = 0;
        assert_true(strlen(rest) < LOG_LINE_MAX);
        assert_string_equal(rest + strlen(rest) - 6, " cut=1");
        for (const char *c = rest; *c; c++)
            quotes += *c == '"' && c[-1] != '\\';
        assert_int_equal(quotes % 2, 0);
        lines++;
    }
    assert_int_equal(lines, 129);
}

static void test_levels(void **state)
{
    struct fixture *f = *state;
    enum log_level level = LOG_INFO;
    struct log_line line;

    assert_int_equal(log_open(f->path, LOG_WARNING), ERROR_NONE);
    assert_true(log_enabled(LOG_ERROR) && log_enabled(LOG_WARNING) && !log_enabled(LOG_NOTICE));
    log_write(LOG_INFO, "hidden", "x");
    log_begin(&line, LOG_DEBUG, "hidden");
    log_text(&line, "cn", SLICE("x"));
    log_end(&line);
    log_set_level(LOG_DEBUG);
    log_write(LOG_DEBUG, "shown", "x");
    log_close();
    assert_null(strstr(read_all(f, f->path), "hidden"));
    assert_non_null(strstr(f->content, "level=debug event=shown"));
    assert_true(log_level_from_text("debug", &level) && level == LOG_DEBUG);
    assert_true(log_level_from_text("error", &level) && level == LOG_ERROR);
    assert_false(log_level_from_text("Debug", &level));
    assert_false(log_level_from_text("", &level));
}

static void test_rotation(void **state)
{
    struct fixture *f = *state;
    char old[128];

    snprintf(old, sizeof(old), "%s.1", f->path);
    assert_int_equal(log_open(f->path, LOG_INFO), ERROR_NONE);
    log_reopen(); /* twice in a row closes the first */
    log_reopen();
    log_write(LOG_INFO, "first", "x");
    log_close();
    assert_int_equal(log_open(f->path, LOG_INFO), ERROR_NONE);
    assert_int_equal(rename(f->path, old), 0);
    log_reopen();
    log_write(LOG_INFO, "second", "x");
    log_close();
    assert_non_null(strstr(read_all(f, f->path), "second"));
    assert_non_null(strstr(read_all(f, old), "first"));
}

static void test_a_file_that_cannot_be_opened(void **state)
{
    (void)state;
    assert_int_equal(log_open("/nonexistent/folder/log", LOG_INFO), ERROR_SYSTEM);
    log_close();
    log_close();
}

static void test_every_failed_allocation(void **state)
{
    struct fixture *f = *state;
    unsigned n = 0;

    for (;;) {
        mem_fail_nth_for_tests(++n);
        enum error error = log_open(f->path, LOG_INFO);
        bool failed = mem_failed_for_tests();
        mem_fail_nth_for_tests(0);
        log_close();
        if (!failed)
            break;
        assert_int_equal(error, ERROR_MEMORY);
    }
    assert_int_equal(n, 4);
}

#define THREADS 4
#define LINES   2000

static atomic_int next_thread;

static void *write_many(void *unused)
{
    int thread = atomic_fetch_add(&next_thread, 1);

    (void)unused;
    for (int i = 0; i < LINES; i++) {
        struct log_line line;
        log_begin(&line, LOG_INFO, "work");
        log_number(&line, "thread", thread);
        log_number(&line, "n", i);
        log_end(&line);
    }
    return NULL;
}

static void run_threads(void)
{
    pthread_t threads[THREADS];

    atomic_store(&next_thread, 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

/* Each thread's lines are whole and in order; what is missing was counted. */
static void test_threads_write_whole_lines_in_order(void **state)
{
    struct fixture *f = *state;
    int next[THREADS] = { 0 };
    unsigned long long lines = 0, dropped = 0;
    char *rest, *text;

    assert_int_equal(log_open(f->path, LOG_INFO), ERROR_NONE);
    run_threads();
    log_close();
    text = read_all(f, f->path);
    while ((rest = strsep(&text, "\n")) && *rest) {
        int thread, n;
        char *at = strstr(rest, "thread=");
        if (!at) {
            assert_non_null(at = strstr(rest, "event=log-dropped lines="));
            dropped += strtoull(at + strlen("event=log-dropped lines="), NULL, 10);
            continue;
        }
        assert_int_equal(sscanf(at, "thread=%d n=%d", &thread, &n), 2);
        assert_in_range(thread, 0, THREADS - 1);
        assert_true(n >= next[thread]);
        next[thread] = n + 1;
        lines++;
    }
    assert_true(lines + dropped == THREADS * LINES);
}

/* A pipe that nobody reads: writers go on, the lines that don't fit are counted, closing ends. */
static void test_a_full_buffer_drops_and_says_how_many(void **state)
{
    struct fixture *f = *state;
    unsigned long long got = 0, dropped = 0;
    char *text, *rest;
    int reader, flags;
    ssize_t size, at = 0;

    assert_int_equal(mkfifo(f->path, 0600), 0);
    reader = open(f->path, O_RDONLY | O_NONBLOCK);
    assert_true(reader >= 0);
    assert_int_equal(log_open(f->path, LOG_INFO), ERROR_NONE);
    for (int i = 0; i < 5; i++)
        run_threads(); /* 3 MB */
    flags = fcntl(reader, F_GETFL);
    assert_int_equal(fcntl(reader, F_SETFL, flags & ~O_NONBLOCK), 0);
    /* Now it reads: some was kept, the rest is told. */
    f->content = calloc(1, 8 * 1024 * 1024);
    log_write(LOG_INFO, "after", "x");
    while (!dropped && (size = read(reader, f->content + at, 65536)) > 0) {
        at += size;
        dropped = strstr(f->content, "event=log-dropped lines=") != NULL;
    }
    log_close();
    while ((size = read(reader, f->content + at, 65536)) > 0)
        at += size;
    close(reader);
    text = f->content;
    f->content = NULL;
    char *all = text;
    dropped = 0;
    while ((rest = strsep(&text, "\n")) && *rest) {
        char *told = strstr(rest, "event=log-dropped lines=");
        if (told)
            dropped += strtoull(told + strlen("event=log-dropped lines="), NULL, 10);
        else
            got++;
    }
    free(all);
    assert_true(dropped > 0);
    assert_true(got + dropped == 5 * THREADS * LINES + 1);
}

static void test_closing_does_not_wait_for_a_reader_that_stands_still(void **state)
{
    struct fixture *f = *state;
    int reader;

    assert_int_equal(mkfifo(f->path, 0600), 0);
    reader = open(f->path, O_RDONLY | O_NONBLOCK);
    assert_int_equal(log_open(f->path, LOG_INFO), ERROR_NONE);
    run_threads();
    log_close();
    close(reader);
}

static void test_floods_are_limited_by_second(void **state)
{
    struct log_limit limit = { 0 };
    unsigned passed = 0;

    (void)state;
    for (uint64_t ms = 5000; ms < 8000; ms++)
        passed += log_limit_pass(&limit, 10, ms);
    assert_int_equal(passed, 30);
    assert_int_equal(log_limit_suppressed(&limit), 2970);
    assert_int_equal(log_limit_suppressed(&limit), 0);
    assert_false(log_limit_pass(&limit, 0, 9000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_fields_and_form, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_T9_a_value_forges_no_line_and_no_field, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_long_values_are_cut_and_say_so, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full_lines_stay_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_levels, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rotation, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_file_that_cannot_be_opened, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_every_failed_allocation, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_threads_write_whole_lines_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_full_buffer_drops_and_says_how_many, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_closing_does_not_wait_for_a_reader_that_stands_still,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_floods_are_limited_by_second, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
