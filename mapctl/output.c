/* SPDX-License-Identifier: Apache-2.0 */
/* Text and JSON on standard output, complaints on standard error. */
#include "mapctl/output.h"

#include "mapctl/command.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static json_t *must(json_t *value)
{
    if (value == NULL) {
        complain("out of memory");
        exit(STATUS_BAD);
    }
    return value;
}

json_t *output_object(void)
{
    return must(json_object());
}

json_t *output_array(void)
{
    return must(json_array());
}

/* How many bytes from the start are one character of UTF-8 as jansson takes it; 0 = none. */
static size_t character_size(struct slice s)
{
    for (size_t size = 1; size <= 4 && size <= s.size; size++) {
        json_t *try = json_stringn(s.data, size);
        if (try != NULL) {
            json_decref(try);
            return size;
        }
    }
    return 0;
}

/* The slow way, for text that is known to be broken. */
static json_t *repaired(struct slice text)
{
    static const char REPLACEMENT[] = "\xef\xbf\xbd";
    char *copy = malloc(text.size * (sizeof(REPLACEMENT) - 1) + 1);
    size_t size = 0;
    json_t *value = NULL;

    while (copy != NULL && text.size > 0) {
        size_t good = character_size(text), taken = good ? good : 1;
        memcpy(copy + size, good ? text.data : REPLACEMENT, good ? good : sizeof(REPLACEMENT) - 1);
        size += good ? good : sizeof(REPLACEMENT) - 1;
        text.data += taken;
        text.size -= taken;
    }
    if (copy != NULL)
        value = json_stringn(copy, size);
    free(copy);
    return value;
}

json_t *output_text(struct slice text)
{
    json_t *value = json_stringn(text.size ? text.data : "", text.size);

    return must(value ? value : repaired(text));
}

json_t *output_value(struct slice text)
{
    unsigned long long number;

    if (text.size == 0)
        return must(json_null());
    if ((text.size == 1 || text.data[0] != '0') && slice_to_u64(text, INT64_MAX, &number))
        return must(json_integer((json_int_t)number));
    return output_text(text);
}

json_t *output_text_or_null(const char *text)
{
    return text ? output_text(slice_of(text)) : must(json_null());
}

void output_set(json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new(object, key, must(value)) != 0)
        must(NULL);
}

void output_append(json_t *array, json_t *value)
{
    if (json_array_append_new(array, must(value)) != 0)
        must(NULL);
}

void output_document(json_t *document)
{
    if (json_dumpf(document, stdout, JSON_COMPACT | JSON_ENCODE_ANY) == 0)
        putchar('\n');
    json_decref(document);
    fflush(stdout);
}

bool output_finish(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return true;
    complain("standard output: %s", errno ? strerror(errno) : "it could not be written");
    return false;
}

static bool silent; /* set before any thread is started */

void complain_no_more(void)
{
    silent = true;
}

void complain(const char *format, ...)
{
    char text[2048];
    va_list arguments;

    if (silent)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    for (char *c = text; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    }
    fprintf(stderr, "mapctl: %s\n", text);
}

void print_slice_to(FILE *out, struct slice text)
{
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        putc(c < 0x20 || c == 0x7f ? '?' : c, out);
    }
}

void print_slice(struct slice text)
{
    print_slice_to(stdout, text);
}
