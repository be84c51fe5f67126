/* SPDX-License-Identifier: Apache-2.0 */
/* The text of a configuration file as libconfuse can take it. */
#include "common/config_internal.h"

#include "common/mem.h"

#include <errno.h>
#include <string.h>

#define FILE_SIZE_MAX (1024 * 1024)

static bool begins_token(const char *text, size_t at)
{
    return at == 0 || strchr(" \t\r\n={}(),;", text[at - 1]) != NULL;
}

/* The end of a quoted string that begins at `at`; both kinds know the backslash. */
static size_t skip_string(const char *text, size_t at)
{
    char quote = text[at++];

    while (text[at] && text[at] != quote)
        at += text[at] == '\\' && text[at + 1] ? 2 : 1;
    return text[at] ? at + 1 : at;
}

static size_t blank_line(char *text, size_t at)
{
    while (text[at] && text[at] != '\n')
        text[at++] = ' ';
    return at;
}

/* 0: it has no end. */
static size_t blank_block(char *text, size_t at)
{
    text[at] = text[at + 1] = ' ';
    at += 2;
    for (; text[at]; at++) {
        bool end = text[at] == '*' && text[at + 1] == '/';
        if (text[at] != '\n')
            text[at] = ' ';
        if (end) {
            text[at + 1] = ' ';
            return at + 2;
        }
    }
    return 0;
}

static int line_of(const char *text, size_t at)
{
    int line = 1;

    while (at-- > 0)
        line += text[at] == '\n';
    return line;
}

/* libconfuse 3.3 counts two lines too many for every comment, refuses comments in lists, and takes
 * the end of the file for a closing brace; so it never sees a comment, nor a brace left open. */
static bool blank_comments(const char *path, char *text)
{
    size_t at = 0, next, outermost = 0, depth = 0;

    while (text[at]) {
        next = at + 1;
        if (text[at] == '"' || text[at] == '\'') {
            next = skip_string(text, at);
        } else if (text[at] == '{') {
            outermost = depth++ ? outermost : at;
        } else if (text[at] == '}') {
            depth -= depth > 0; /* one too many is libconfuse's to refuse */
        } else if (begins_token(text, at)) {
            if (text[at] == '#' || (text[at] == '/' && text[at + 1] == '/'))
                next = blank_line(text, at);
            else if (text[at] == '/' && text[at + 1] == '*')
                next = blank_block(text, at);
        }
        if (next == 0) {
            config_complain_at(path, line_of(text, at),
                               "this comment has no end; write */ behind it");
            return false;
        }
        at = next;
    }
    if (depth)
        config_complain_at(path, line_of(text, outermost),
                           "this brace is not closed; write } where it ends");
    return depth == 0;
}

/* NULL: complained, or no memory (*error). */
static char *read_whole(const char *path, enum error *error)
{
    FILE *in = fopen(path, "re");
    char *text = mem_alloc(FILE_SIZE_MAX + 2);
    size_t size = in && text ? fread(text, 1, FILE_SIZE_MAX, in) : 0;

    *error = text ? ERROR_CONFIG : ERROR_MEMORY;
    if (!text)
        goto fail;
    if (!in)
        config_complain_at(path, 0, "can't be opened: %s", strerror(errno));
    else if (ferror(in))
        config_complain_at(path, 0, "can't be read: %s", strerror(errno));
    else if (size == FILE_SIZE_MAX)
        config_complain_at(path, 0, "is larger than a configuration may be, %d bytes",
                           FILE_SIZE_MAX);
    else if (memchr(text, '\0', size))
        config_complain_at(path, 0, "holds a NUL byte; write text");
    else
        *error = ERROR_NONE;
    if (*error != ERROR_NONE)
        goto fail;
    fclose(in);
    text[size] = '\n'; /* libconfuse wants the last line ended */
    text[size + 1] = '\0';
    return text;
fail:
    if (in)
        fclose(in);
    mem_free(text);
    return NULL;
}

char *config_load_text(const char *path, enum error *error)
{
    char *text = read_whole(path, error);

    if (!text || blank_comments(path, text))
        return text;
    *error = ERROR_CONFIG;
    mem_free(text);
    return NULL;
}
