/* SPDX-License-Identifier: Apache-2.0 */
/* How mapctl status shows what it has found: as text, as one line, again and again. */
#include "mapctl/status.h"

#include "mapctl/interrupt.h"

#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

/* ---- Text ---- */

/* Prints a value of the document; null as '-'. */
static void print_value(const json_t *value, FILE *out)
{
    if (json_is_string(value))
        print_slice_to(out, (struct slice){ json_string_value(value), json_string_length(value) });
    else if (json_is_integer(value))
        fprintf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else
        putc('-', out);
}

static void print_of(const json_t *object, const char *key, FILE *out)
{
    print_value(json_object_get(object, key), out);
}

static void print_migration(const json_t *migration, FILE *out)
{
    json_int_t missing = json_integer_value(json_object_get(migration, "missing"));
    json_int_t newer = json_integer_value(json_object_get(migration, "newer"));

    fputs("  migration: ", out);
    if (!json_is_true(json_object_get(migration, "visible"))) {
        fputs("this role may not see it\n", out);
        return;
    }
    print_of(migration, "deployed", out);
    if (json_is_null(json_object_get(migration, "missing")))
        fputs("; the plan of this program is not found, see --migrations\n", out);
    else if (missing > 0)
        fprintf(out, ", %lld missing up to %s: mapctl migrate\n", (long long)missing,
                json_string_value(json_object_get(migration, "newest")));
    else if (newer > 0)
        fprintf(out, ", %lld newer than this program knows\n", (long long)newer);
    else
        fputs(", the newest\n", out);
}

static void print_database(json_t *database, FILE *out)
{
    const char *name;
    json_t *table, *mapperd;
    size_t at;

    if (!json_is_true(json_object_get(database, "answers"))) {
        fputs("database: does not answer\n", out);
        return;
    }
    fputs("database: answers, ", out);
    print_of(database, "name", out);
    fputs(" as ", out);
    print_of(database, "user", out);
    fputs(", PostgreSQL ", out);
    print_of(database, "server_version", out);
    if (json_is_true(json_object_get(database, "standby")))
        fputs(", a standby", out);
    putc('\n', out);
    if (json_is_string(json_object_get(database, "trouble"))) {
        fputs("  ", out);
        print_of(database, "trouble", out);
        putc('\n', out);
    }
    print_migration(json_object_get(database, "migration"), out);
    json_object_foreach(json_object_get(database, "rows"), name, table)
    {
        bool estimated = json_is_true(json_object_get(table, "estimated"));
        fprintf(out, "  %s: %s", name, estimated ? "about " : "");
        print_of(table, "count", out);
        putc('\n', out);
    }
    json_array_foreach(json_object_get(database, "mapperds"), at, mapperd)
    {
        fputs("  mapperd ", out);
        print_of(mapperd, "name", out);
        fputs(": id ", out);
        print_of(mapperd, "id", out);
        fputs(", seen ", out);
        print_of(mapperd, "seen_s", out);
        fputs(" s ago\n", out);
    }
}

static void print_program(const char *program, json_t *part, FILE *out)
{
    json_t *info = json_object_get(part, "info"), *age_ms, *value;
    const char *trouble = json_string_value(json_object_get(part, "trouble")), *key;

    fprintf(out, "%s: %s", program, trouble ? trouble : "ready");
    age_ms = json_object_get(info, "age_ms");
    if (age_ms != NULL) {
        fputs(", data at most this old in ms: ", out);
        if (json_is_null(age_ms))
            fputs("unknown", out);
        else
            print_value(age_ms, out);
    }
    putc('\n', out);
    json_object_foreach(info, key, value)
    {
        fputs("  ", out);
        print_slice_to(out, slice_of(key));
        fputs(": ", out);
        print_value(value, out);
        putc('\n', out);
    }
}

void status_print(const json_t *document, FILE *out)
{
    print_database(json_object_get(document, "database"), out);
    print_program("mapperd", json_object_get(document, "mapperd"), out);
    print_program("proxy", json_object_get(document, "proxy"), out);
}

/* ---- One line ---- */

/* The trouble in quotes, or `well`. */
static void print_part(const json_t *part, const char *name, const char *well, FILE *out)
{
    const char *trouble = json_string_value(json_object_get(part, "trouble"));

    fprintf(out, trouble ? " %s=\"%s\"" : " %s=%s", name, trouble ? trouble : well);
}

static void print_pairs(const json_t *part, const char *const *keys, FILE *out)
{
    const json_t *info = json_object_get(part, "info");

    for (; *keys != NULL; keys++) {
        const json_t *value = json_object_get(info, *keys);
        if (value == NULL)
            continue;
        fprintf(out, " %s=", *keys);
        print_value(value, out);
    }
}

void status_print_line(const json_t *document, FILE *out)
{
    static const char *const MAPPERD[] = { "state",
                                           "source",
                                           "age_ms",
                                           "keys_waiting",
                                           "devices",
                                           "bindings",
                                           "connected_clients",
                                           "map_bytes",
                                           "map_used_bytes",
                                           "bindings_unconfirmed",
                                           "rows_skipped",
                                           NULL };
    static const char *const PROXY[] = { "connections", "parked", "lookups_waiting", NULL };
    const json_t *mapperd = json_object_get(document, "mapperd");
    const json_t *proxy = json_object_get(document, "proxy");
    time_t now = time(NULL);
    struct tm utc;
    char text[32];

    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    fprintf(out, "time=%s status=%s", text, json_string_value(json_object_get(document, "status")));
    print_part(json_object_get(document, "database"), "database", "answers", out);
    print_part(mapperd, "mapperd", "ready", out);
    print_pairs(mapperd, MAPPERD, out);
    print_part(proxy, "proxy", "ready", out);
    print_pairs(proxy, PROXY, out);
    putc('\n', out);
}

/* ---- Again and again ---- */

/* Where a line ends on the screen: at its width, between two characters of UTF-8. */
static size_t fitting(const char *line, size_t size, size_t width)
{
    if (size <= width)
        return size;
    while (width > 0 && ((unsigned char)line[width] & 0xc0) == 0x80)
        width--;
    return width;
}

/* Draws over what stands there, so that nothing flickers; what does not fit is left out. */
static void draw(const json_t *document, uint64_t interval_ms)
{
    struct winsize window = { 0 };
    char *text = NULL, *line;
    size_t size = 0, row = 1;
    FILE *out = open_memstream(&text, &size);

    if (out == NULL)
        return;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) != 0 || window.ws_row == 0 || window.ws_col == 0)
        window = (struct winsize){ .ws_row = 24, .ws_col = 80 };
    fprintf(out, "every %llu s, Ctrl-C ends; ", (unsigned long long)(interval_ms / 1000));
    status_print_line(document, out);
    status_print(document, out);
    fclose(out);
    fputs("\033[H", stdout);
    for (line = text; *line && row < window.ws_row; row++) {
        size_t end = strcspn(line, "\n");
        printf("%.*s\033[K\n", (int)fitting(line, end, window.ws_col), line);
        line += end + (line[end] == '\n');
    }
    fputs("\033[J", stdout);
    fflush(stdout);
    free(text); /* open_memstream()'s */
}

enum status status_watch(const struct settings *settings, const char *migrations,
                         uint64_t interval_ms, uint64_t count)
{
    bool terminal = !settings->json && isatty(STDOUT_FILENO);
    enum status status;
    uint64_t looks = 0;

    interrupt_catch();
    if (terminal) {
        complain_no_more(); /* it would stand across the screen */
        fputs("\033[2J", stdout);
    }
    do {
        json_t *document = status_gather(settings, migrations, &status);
        if (settings->json) {
            output_document(document);
            continue;
        }
        if (terminal)
            draw(document, interval_ms);
        else
            status_print_line(document, stdout);
        json_decref(document);
    } while (fflush(stdout) == 0 && ++looks != count && interrupt_wait(interval_ms));
    return status;
}
