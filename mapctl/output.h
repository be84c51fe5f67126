/* SPDX-License-Identifier: Apache-2.0 */
/* What mapctl prints. With --json a command builds one json_t and hands it to output_document();
 * a command that goes on (watch) hands over one for each event, so that a line is a document. Names
 * are lower_case words with the unit at their end (`age_ms`); a number is a number, what is unknown
 * is null, and nothing is left out because it is empty. Complaints stay text on standard error, and
 * the exit status is the same. Without --json it prints what it likes to standard output.
 *
 * Memory that runs out ends the process with STATUS_BAD: nothing here needs a check. */
#ifndef HOLDLINE_MAPCTL_OUTPUT_H
#define HOLDLINE_MAPCTL_OUTPUT_H

#include "common/slice.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

json_t *output_object(void);
json_t *output_array(void);

/* A text of any bytes: what is not UTF-8 becomes U+FFFD. */
json_t *output_text(struct slice text);

/* A number when `text` is decimal digits that fit, else the text; null when it is empty. */
json_t *output_value(struct slice text);

/* `text` may be NULL, which becomes null. */
json_t *output_text_or_null(const char *text);

/* Puts `value` into an object or behind an array, and takes the reference to it. */
void output_set(json_t *object, const char *key, json_t *value);
void output_append(json_t *array, json_t *value);

/* Prints one line of JSON, which is all of the line, flushes, and frees the document. */
void output_document(json_t *document);

/* Flushes standard output. False: something of it could not be written (a full disk, a closed
 * pipe); already said. main calls it at the end. */
bool output_finish(void);

/* `mapctl: ` and the text as one line on standard error, control characters as '?'. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* From now on complaints are not printed: for what shows the same in another way, again and
 * again. */
void complain_no_more(void);

/* Prints a peer's text on standard output, control characters as '?': it forges no line. */
void print_slice(struct slice text);
void print_slice_to(FILE *out, struct slice text);

#endif
