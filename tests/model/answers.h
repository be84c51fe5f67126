/* SPDX-License-Identifier: Apache-2.0 */
/* The two files of one program: answers.c has its form, answers_policy.c the decision. */
#ifndef HOLDLINE_TESTS_MODEL_ANSWERS_H
#define HOLDLINE_TESTS_MODEL_ANSWERS_H

#include "common/slice.h"

#define FIELDS_MAX 24

/* To standard output. */
void put_hex(struct slice s);

/* False: the question is none of these. Ends the program when it is broken. */
bool answer_policy(const char *question, const struct slice *field, size_t count);

#endif
