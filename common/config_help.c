/* SPDX-License-Identifier: Apache-2.0 */
/* The table of options as text for people and as a man page. */
#include "common/config.h"

#include <inttypes.h>
#include <string.h>

static const char *type_name(enum option_type type)
{
    switch (type) {
    case OPTION_INTEGER:
        return "number";
    case OPTION_BOOLEAN:
        return "yes or no";
    case OPTION_TEXT:
        return "text";
    case OPTION_LIST:
        return "list";
    }
    return "";
}

static bool begins_section(const struct option_spec *specs, size_t at)
{
    return at == 0 || strcmp(specs[at].section, specs[at - 1].section) != 0;
}

/* Type, range, default, reload, in words: "number from 1 to 64; default 2; needs a restart". */
static void print_facts(FILE *out, const struct option_spec *spec)
{
    fputs(type_name(spec->type), out);
    switch (spec->type) {
    case OPTION_INTEGER:
        fprintf(out, " from %" PRId64 " to %" PRId64, spec->minimum, spec->maximum);
        break;
    case OPTION_TEXT:
        fprintf(out, " of %" PRId64 " to %" PRId64 " characters", spec->minimum, spec->maximum);
        break;
    case OPTION_LIST:
        fprintf(out, " of %" PRId64 " to %" PRId64 " items", spec->minimum, spec->maximum);
        break;
    case OPTION_BOOLEAN:
        break;
    }
    if (!spec->default_text)
        fputs("; required", out);
    else if (*spec->default_text)
        fprintf(out, "; default %s", spec->default_text);
    fputs(spec->live ? "; SIGHUP changes it" : "; needs a restart", out);
}

void config_print_help(FILE *out, const struct option_spec *specs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (begins_section(specs, i) && *specs[i].section)
            fprintf(out, "\n%s NAME { … }    any number, each with a name of its own\n",
                    specs[i].section);
        fprintf(out, "%s%s\n        %s\n        (", *specs[i].section ? "    " : "", specs[i].name,
                specs[i].help);
        print_facts(out, &specs[i]);
        fputs(")\n", out);
    }
}

/* A hyphen is a minus, and a line may not begin with a control character. */
static void print_roff_text(FILE *out, const char *text)
{
    if (*text == '.' || *text == '\'')
        fputs("\\&", out);
    for (; *text; text++) {
        if (*text == '\\')
            fputs("\\e", out);
        else if (*text == '-')
            fputs("\\-", out);
        else
            fputc(*text, out);
    }
}

static void print_man_head(FILE *out, const char *program, const char *summary)
{
    fprintf(out, ".TH %s 8\n.SH NAME\n", program);
    print_roff_text(out, program);
    fputs(" \\- ", out);
    print_roff_text(out, summary);
    fprintf(out,
            "\n.SH SYNOPSIS\n.B %s\n\\-\\-config\n.I FILE\n[\\-\\-check\\-config]\n"
            ".SH DESCRIPTION\nThe other options of the command line are listed by \\-\\-help.\n"
            "FILE has lines NAME = VALUE, texts in quotes, lists in braces, sections\n"
            "KIND NAME { ... }. TERM and INT end the program, HUP has FILE read again.\n",
            program);
}

void config_print_man(FILE *out, const char *program, const char *summary,
                      const struct option_spec *specs, size_t count)
{
    print_man_head(out, program, summary);
    fputs(".SH OPTIONS IN FILE\n", out);
    for (size_t i = 0; i < count; i++) {
        if (begins_section(specs, i) && *specs[i].section)
            fprintf(out, ".SS \"%s NAME { }\"\n", specs[i].section);
        fprintf(out, ".TP\n.B %s\n", specs[i].name);
        print_roff_text(out, specs[i].help);
        fputs(".\n.br\n", out);
        print_facts(out, &specs[i]);
        fputs(".\n", out);
    }
}
