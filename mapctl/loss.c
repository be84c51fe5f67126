/* SPDX-License-Identifier: Apache-2.0 */
/* As much of SQL's grammar as is needed to see where a statement begins and ends. */
#include "mapctl/loss.h"

#include <ctype.h>
#include <stdbool.h>

#define WORDS_MAX 256 /* of a statement; what stands behind them is not looked at */

/* An identifier or keyword folded as PostgreSQL does, or one character that is neither. */
struct word {
    char text[LOSS_NAME_MAX + 1];
    bool quoted; /* never a keyword */
};

struct statement {
    struct word words[WORDS_MAX];
    size_t count;
    void (*found)(void *owner, const struct loss *loss);
    void *owner;
};

static bool is_letter(char c)
{
    return isalpha((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

static bool is_name(char c)
{
    return is_letter(c) || isdigit((unsigned char)c) || c == '$';
}

/* Where `end` stands behind the first `from` characters of s; s.size when it does not. Gives the
 * place behind it. */
static size_t behind(struct slice s, size_t from, struct slice end)
{
    const char *at = from < s.size && end.size > 0
                         ? memmem(s.data + from, s.size - from, end.data, end.size)
                         : NULL;

    return at ? (size_t)(at - s.data) + end.size : s.size;
}

/* Size of `$tag$` at the start of s; 0 = there is none. */
static size_t dollar_tag(struct slice s)
{
    size_t size = 1;

    while (size < s.size && is_name(s.data[size]) && s.data[size] != '$')
        size++;
    return s.size > size && s.data[size] == '$' ? size + 1 : 0;
}

/* Size of what stands for nothing at the start of s: blanks, comments, strings; 0 = nothing. */
static size_t skipped(struct slice s)
{
    size_t tag;

    if (isspace((unsigned char)*s.data) || *s.data == '\0')
        return 1;
    if (s.size > 1 && s.data[0] == '-' && s.data[1] == '-')
        return behind(s, 2, SLICE("\n"));
    if (s.size > 1 && s.data[0] == '/' && s.data[1] == '*')
        return behind(s, 2, SLICE("*/"));
    if (*s.data == '\'')
        return behind(s, 1, SLICE("'"));
    tag = *s.data == '$' ? dollar_tag(s) : 0;
    return tag ? behind(s, tag, (struct slice){ s.data, tag }) : 0;
}

/* Reads the word at the start of s and gives its size. */
static size_t read_word(struct word *word, struct slice s)
{
    size_t size = 1, kept;

    word->quoted = *s.data == '"';
    if (word->quoted) {
        size = behind(s, 1, SLICE("\""));
        kept = size - (size > 1 && s.data[size - 1] == '"' ? 2 : 1);
    } else {
        while (is_letter(*s.data) && size < s.size && is_name(s.data[size]))
            size++;
        kept = size;
    }
    if (kept > LOSS_NAME_MAX)
        kept = LOSS_NAME_MAX;
    for (size_t i = 0; i < kept; i++) {
        char c = s.data[i + word->quoted];
        word->text[i] = (char)(word->quoted ? c : tolower((unsigned char)c));
    }
    word->text[kept] = '\0';
    return size;
}

static bool is(const struct statement *s, size_t at, const char *keyword)
{
    return at < s->count && !s->words[at].quoted && strcmp(s->words[at].text, keyword) == 0;
}

/* Steps over `IF EXISTS`, `ONLY` and a schema to the name itself. */
static size_t to_name(const struct statement *s, size_t at)
{
    if (is(s, at, "if"))
        at += 2;
    if (is(s, at, "only"))
        at++;
    while (is(s, at + 1, "."))
        at += 2;
    return at;
}

static void copy_name(char *name, const struct statement *s, size_t at)
{
    memcpy(name, at < s->count ? s->words[at].text : "", at < s->count ? LOSS_NAME_MAX + 1 : 1);
}

/* A list of tables: a, b, schema.c */
static void read_tables(const struct statement *s, size_t at, enum loss_kind kind)
{
    do {
        struct loss loss = { .kind = kind };
        at = to_name(s, at);
        copy_name(loss.table, s, at);
        if (*loss.table)
            s->found(s->owner, &loss);
        at++;
    } while (is(s, at++, ","));
}

static void read_columns(const struct statement *s)
{
    struct loss loss = { .kind = LOSS_COLUMN };

    copy_name(loss.table, s, to_name(s, 2));
    for (size_t at = 2; at + 1 < s->count; at++) {
        if (!is(s, at, "drop") || !is(s, at + 1, "column"))
            continue;
        copy_name(loss.column, s, to_name(s, at + 2));
        s->found(s->owner, &loss);
    }
}

static void read_statement(const struct statement *s)
{
    if (is(s, 0, "drop") && is(s, 1, "table"))
        read_tables(s, 2, LOSS_TABLE);
    else if (is(s, 0, "alter") && is(s, 1, "table"))
        read_columns(s);
    else if (is(s, 0, "delete") && is(s, 1, "from"))
        read_tables(s, 2, LOSS_ROWS);
    else if (is(s, 0, "truncate"))
        read_tables(s, is(s, 1, "table") ? 2 : 1, LOSS_ROWS);
}

void loss_read(struct slice script, void (*found)(void *owner, const struct loss *loss),
               void *owner)
{
    struct statement statement = { .found = found, .owner = owner };
    struct word last;

    while (script.size > 0) {
        size_t size = skipped(script);
        if (size == 0) {
            struct word *word =
                statement.count < WORDS_MAX ? &statement.words[statement.count] : &last;
            size = read_word(word, script);
            if (!word->quoted && strcmp(word->text, ";") == 0) {
                read_statement(&statement);
                statement.count = 0;
            } else if (word != &last) {
                statement.count++;
            }
        }
        script.data += size;
        script.size -= size;
    }
    read_statement(&statement);
}
