/* SPDX-License-Identifier: Apache-2.0 */
/* Encodings and line ends of lists. */
#include "mapctl/list/text.h"

#include "common/identity.h"

#include <errno.h>

#define NO_DECODER ((iconv_t)-1)

/* 0xff stands in no UTF-8: it marks what the decoder could not read. */
#define MARK_UNREADABLE SLICE("\xff")
#define UTF8_MARK       "\xef\xbb\xbf"

enum error list_text_init(struct list_text *text, const char *encoding, list_line_function *on_line,
                          void *context)
{
    *text = (struct list_text){
        .on_line = on_line, .context = context, .number = 1, .decoder = NO_DECODER, .unit = 1
    };
    buffer_init(&text->line, LIST_LINE_MAX);
    buffer_init(&text->encoded, 0);
    if (encoding == NULL)
        return ERROR_NONE;
    text->decoder = iconv_open("UTF-8", encoding);
    return text->decoder == NO_DECODER ? ERROR_NOT_FOUND : ERROR_NONE;
}

void list_text_free(struct list_text *text)
{
    if (text->decoder != NO_DECODER)
        iconv_close(text->decoder);
    text->decoder = NO_DECODER;
    buffer_free(&text->line);
    buffer_free(&text->encoded);
}

/* ---- Lines ---- */

static bool is_ascii(struct slice s)
{
    unsigned char all = 0;

    for (size_t i = 0; i < s.size; i++)
        all |= (unsigned char)s.data[i];
    return all < 0x80;
}

/* A TAB may stand in a line, no other control character. */
static bool is_text(struct slice s)
{
    if (is_ascii(s)) {
        for (size_t i = 0; i < s.size; i++) {
            if (((unsigned char)s.data[i] < 0x20 && s.data[i] != '\t') || s.data[i] == 0x7f)
                return false;
        }
        return true;
    }
    while (s.size > 0) {
        const char *tab = memchr(s.data, '\t', s.size);
        size_t size = tab ? (size_t)(tab - s.data) : s.size;
        if (!text_is_clean_utf8((struct slice){ s.data, size }))
            return false;
        s.data += tab ? size + 1 : size;
        s.size -= tab ? size + 1 : size;
    }
    return true;
}

static enum error give_line(struct list_text *text, struct slice line)
{
    enum list_fault fault = text->too_long   ? LIST_FAULT_TOO_LONG
                            : !is_text(line) ? LIST_FAULT_NOT_TEXT
                                             : LIST_FAULT_NONE;

    if (text->number == 1 && line.size >= 3 && memcmp(line.data, UTF8_MARK, 3) == 0) {
        line.data += 3;
        line.size -= 3;
    }
    text->too_long = false;
    if (!text->on_line(text->context, text->number++, line, fault)) {
        text->stopped = true;
        return ERROR_CLOSED;
    }
    return ERROR_NONE;
}

/* What does not fit is dropped, up to the end of the line. */
static enum error keep_for_later(struct list_text *text, struct slice part)
{
    size_t room = LIST_LINE_MAX - buffer_size(&text->line);

    if (part.size > room) {
        part.size = room;
        text->too_long = true;
    }
    buffer_add(&text->line, part);
    return text->line.failed ? ERROR_MEMORY : ERROR_NONE;
}

static enum error end_line(struct list_text *text, struct slice part)
{
    enum error error;

    if (buffer_size(&text->line) == 0 && !text->too_long && part.size <= LIST_LINE_MAX)
        return give_line(text, part);
    error = keep_for_later(text, part);
    if (error == ERROR_NONE)
        error = give_line(text, buffer_slice(&text->line));
    buffer_reset(&text->line);
    return error;
}

static size_t to_line_end(struct slice s)
{
    size_t at = 0;

    while (at < s.size && s.data[at] != '\n' && s.data[at] != '\r')
        at++;
    return at;
}

static enum error push_utf8(struct list_text *text, struct slice s)
{
    enum error error = ERROR_NONE;

    while (error == ERROR_NONE && s.size > 0) {
        size_t size;
        if (text->after_cr && s.data[0] == '\n') {
            s.data++;
            s.size--;
            text->after_cr = false;
            continue;
        }
        text->after_cr = false;
        size = to_line_end(s);
        if (size == s.size)
            return keep_for_later(text, s);
        text->after_cr = s.data[size] == '\r';
        error = end_line(text, (struct slice){ s.data, size });
        s.data += size + 1;
        s.size -= size + 1;
    }
    return error;
}

/* ---- Encodings ---- */

/* Takes from `encoded` what can be decoded; a character that ends outside stays. */
static enum error decode(struct list_text *text)
{
    char out[4096];
    enum error error = ERROR_NONE;

    while (error == ERROR_NONE && buffer_size(&text->encoded) > 0) {
        struct slice in = buffer_slice(&text->encoded);
        char *from = (char *)in.data, *to = out;
        size_t left = in.size, room = sizeof(out);
        size_t result = iconv(text->decoder, &from, &left, &to, &room);
        int reason = result == (size_t)-1 ? errno : 0;
        buffer_consume(&text->encoded, in.size - left);
        error = push_utf8(text, (struct slice){ out, sizeof(out) - room });
        if (reason == EINVAL)
            break;
        if (reason == EILSEQ && error == ERROR_NONE) {
            buffer_consume(&text->encoded, left < text->unit ? left : text->unit);
            error = push_utf8(text, MARK_UNREADABLE);
        }
    }
    return error;
}

/* By byte order mark; without one, UTF-16 shows itself by a NUL in its first character, which no
 * UTF-8 list has. */
static enum error find_encoding(struct list_text *text)
{
    struct slice first = buffer_slice(&text->encoded);
    const unsigned char *b = (const unsigned char *)first.data;
    const char *name = NULL;
    size_t mark = 0;

    if (first.size >= 2 && b[0] == 0xff && b[1] == 0xfe)
        name = "UTF-16LE", mark = 2;
    else if (first.size >= 2 && b[0] == 0xfe && b[1] == 0xff)
        name = "UTF-16BE", mark = 2;
    else if (first.size >= 2 && b[0] != 0 && b[1] == 0)
        name = "UTF-16LE";
    else if (first.size >= 2 && b[0] == 0 && b[1] != 0)
        name = "UTF-16BE";
    buffer_consume(&text->encoded, mark);
    if (name == NULL)
        return ERROR_NONE;
    text->unit = 2;
    text->decoder = iconv_open("UTF-8", name);
    return text->decoder == NO_DECODER ? ERROR_MEMORY : ERROR_NONE;
}

static enum error take_encoded(struct list_text *text)
{
    enum error error = ERROR_NONE;

    if (text->decoder != NO_DECODER)
        return decode(text);
    error = push_utf8(text, buffer_slice(&text->encoded));
    buffer_reset(&text->encoded);
    return error;
}

static enum error begin(struct list_text *text)
{
    enum error error = ERROR_NONE;

    text->begun = true;
    if (text->decoder == NO_DECODER)
        error = find_encoding(text);
    return error == ERROR_NONE ? take_encoded(text) : error;
}

enum error list_text_push(struct list_text *text, struct slice bytes)
{
    if (text->stopped)
        return ERROR_CLOSED;
    if (text->begun && text->decoder == NO_DECODER)
        return push_utf8(text, bytes);
    buffer_add(&text->encoded, bytes);
    if (text->encoded.failed)
        return ERROR_MEMORY;
    if (text->begun)
        return decode(text);
    return buffer_size(&text->encoded) < 3 ? ERROR_NONE : begin(text);
}

enum error list_text_end(struct list_text *text)
{
    enum error error = text->stopped ? ERROR_CLOSED : ERROR_NONE;

    if (error == ERROR_NONE && !text->begun)
        error = begin(text);
    if (error == ERROR_NONE && buffer_size(&text->encoded) > 0)
        error = push_utf8(text, MARK_UNREADABLE); /* the end of a character is missing */
    if (error == ERROR_NONE && (buffer_size(&text->line) > 0 || text->too_long))
        error = end_line(text, SLICE(""));
    return error;
}
