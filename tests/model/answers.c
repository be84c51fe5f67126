/* SPDX-License-Identifier: Apache-2.0 */
/* What the pure functions of common/ answer, for models written in another language: reads one
 * question a line from standard input, writes one answer a line. Fields are separated by spaces and
 * hexadecimal, so that any byte may stand in them; "-" is the empty one.
 *
 *   parts USER HOST NUMBER    identity_from_parts()   TEXT USER_SIZE, or !
 *   text TEXT                 identity_from_text()    TEXT USER_SIZE, or !
 *   covers USER HOST NUMBER ENTRY                     yes, no, or ! (no identity)
 *   number USER HOST NUMBER   identity_is_number()    yes, no, or !
 *   cn FORM CN PREFIX...      cn_canonical()          TEXT, or !
 *   utf8 TEXT                 text_is_clean_utf8()    yes, no
 *   service TEXT              identity_from_service() TEXT USER_SIZE, or !
 *   admission, rule, edge, decide                     answers_policy.c
 */
#include "tests/model/answers.h"

#include "common/identity.h"

#include <stdio.h>
#include <stdlib.h>

#define LINE_MAX_SIZE 65536

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    fprintf(stderr, "not hexadecimal: '%c'\n", c);
    exit(2);
}

/* In place; into a block of its own exact size, so that a read past its end is seen. */
static struct slice unhex(const char *text)
{
    size_t size = strcmp(text, "-") == 0 ? 0 : strlen(text) / 2;
    char *data = malloc(size ? size : 1);

    if (!data)
        exit(2);
    for (size_t i = 0; i < size; i++)
        data[i] = (char)(digit(text[2 * i]) * 16 + digit(text[2 * i + 1]));
    return (struct slice){ data, size };
}

void put_hex(struct slice s)
{
    if (s.size == 0)
        putchar('-');
    for (size_t i = 0; i < s.size; i++)
        printf("%02x", (unsigned char)s.data[i]);
}

static void put_identity(enum error error, const struct identity *identity)
{
    if (error == ERROR_NONE) {
        put_hex(identity_text(identity));
        printf(" %u\n", identity->user_size);
    } else {
        puts("!");
    }
}

static void put_truth(bool truth)
{
    puts(truth ? "yes" : "no");
}

static void answer_parts(const char *question, const struct slice *field, size_t count)
{
    struct identity identity;
    enum error error;

    if (count < 3 || field[2].size != 1)
        exit(2);
    error = identity_from_parts(&identity, field[0], field[1], field[2].data[0] == '1');
    if (strcmp(question, "parts") == 0)
        put_identity(error, &identity);
    else if (error != ERROR_NONE)
        puts("!");
    else if (strcmp(question, "number") == 0)
        put_truth(identity_is_number(&identity));
    else if (strcmp(question, "covers") == 0 && count == 4)
        put_truth(identity_covered_by(&identity, field[3]));
    else
        exit(2);
}

static void answer_cn(const struct slice *field, size_t count)
{
    char text[CN_MAX_OCTETS + 1];
    size_t size;
    enum cn_form form;

    if (count < 2)
        exit(2);
    form = slice_equal(field[0], SLICE("mac"))     ? CN_FORM_MAC
           : slice_equal(field[0], SLICE("exact")) ? CN_FORM_EXACT
                                                   : CN_FORM_NONE;
    if (cn_canonical(form, field + 2, count - 2, field[1], text, &size) != ERROR_NONE)
        fputs("!", stdout);
    else
        put_hex((struct slice){ text, size });
    putchar('\n');
}

static void answer(char *line)
{
    struct slice field[FIELDS_MAX];
    struct identity identity;
    const char *question = strsep(&line, " ");
    size_t count = 0;

    for (char *text; count < FIELDS_MAX && (text = strsep(&line, " ")); count++)
        field[count] = unhex(text);
    if (answer_policy(question, field, count)) {
        /* answered */
    } else if (strcmp(question, "service") == 0 && count == 1) {
        enum error error = identity_from_service(&identity, field[0]);
        put_identity(error, &identity);
    } else if (strcmp(question, "text") == 0 && count == 1) {
        enum error error = identity_from_text(&identity, field[0]);
        put_identity(error, &identity);
    } else if (strcmp(question, "cn") == 0) {
        answer_cn(field, count);
    } else if (strcmp(question, "utf8") == 0 && count == 1) {
        put_truth(text_is_clean_utf8(field[0]));
    } else {
        answer_parts(question, field, count);
    }
    for (size_t i = 0; i < count; i++)
        free((char *)field[i].data);
}

int main(void)
{
    static char line[LINE_MAX_SIZE];

    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        answer(line);
    }
    return fflush(stdout) == 0 ? 0 : 1;
}
