/* SPDX-License-Identifier: Apache-2.0 */
/* Complaints, summary and document of mapctl import. */
#include "mapctl/import_report.h"

#include <inttypes.h>

/* Of wrong lines and conflicts in the document of --json; standard error has all. */
#define COMPLAINTS_KEPT 1000

void import_complain(struct import *import, uint64_t line, const char *kind, const char *what)
{
    progress_clear(&import->progress);
    for (const char *c = import->file; *c; c++)
        fputc((unsigned char)*c < 0x20 || *c == 0x7f ? '?' : *c, stderr);
    fprintf(stderr, ":%" PRIu64 ": %s%s\n", line, kind, what);
    if (json_array_size(import->complaints) < COMPLAINTS_KEPT) {
        json_t *complaint = output_object();
        output_set(complaint, "line", json_integer((json_int_t)line));
        output_set(complaint, "conflict", json_boolean(*kind != '\0'));
        output_set(complaint, "text", output_text(slice_of(what)));
        output_append(import->complaints, complaint);
    }
}

static json_t *figure(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static json_t *conflict_document(const struct import *import)
{
    static const char *const NAMES[LOAD_CONFLICTS] = {
        [LOAD_CN_HAS_OTHERS] = "cn_has_others",
        [LOAD_IDENTITY_OF_ANOTHER] = "identity_of_another",
        [LOAD_MAPPING_REPEATED] = "mapping_repeated",
        [LOAD_CN_REPEATED] = "cn_repeated",
        [LOAD_IDENTITY_REPEATED] = "identity_repeated",
    };
    json_t *document = output_object();

    for (size_t i = 0; i < LOAD_CONFLICTS; i++)
        output_set(document, NAMES[i], figure(import->conflicts[i]));
    return document;
}

void import_print_document(struct import *import)
{
    const struct load_summary *s = &import->summary;
    json_t *document = output_object(), *devices = output_object(), *mappings = output_object();

    output_set(devices, "listed", figure(s->devices_listed));
    output_set(devices, "added", figure(s->devices_added));
    output_set(devices, "changed", figure(s->devices_changed));
    output_set(devices, "removed", figure(s->devices_removed));
    output_set(devices, "unchanged", figure(s->devices_unchanged));
    output_set(mappings, "listed", figure(s->mappings_listed));
    output_set(mappings, "added", figure(s->mappings_added));
    output_set(mappings, "removed", figure(s->mappings_removed));
    output_set(mappings, "unchanged", figure(s->mappings_unchanged));
    output_set(document, "file", output_text(slice_of(import->file)));
    output_set(document, "store", output_text(slice_of(import->load.store)));
    output_set(document, "dry_run", json_boolean(import->dry_run));
    output_set(document, "written", json_boolean(import->written));
    output_set(document, "lines", figure(list_reader_lines(import->reader)));
    output_set(document, "wrong_lines", figure(import->wrong));
    output_set(document, "devices", devices);
    output_set(document, "mappings", mappings);
    output_set(document, "labels_and_sites", figure(s->places_changed));
    output_set(document, "conflicts", conflict_document(import));
    output_set(document, "complaints", json_incref(import->complaints));
    output_document(document);
}

uint64_t import_conflicts(const struct import *import)
{
    uint64_t count = 0;

    for (size_t i = 0; i < LOAD_CONFLICTS; i++)
        count += import->conflicts[i];
    return count;
}

void import_print_summary(FILE *out, const struct import *import)
{
    const struct load_summary *s = &import->summary;

    fprintf(out, "store %s: the list has %" PRIu64 " devices with %" PRIu64 " mappings\n",
            import->load.store, s->devices_listed, s->mappings_listed);
    fprintf(out, "  added: %" PRIu64 " devices\n", s->devices_added);
    fprintf(out, "  changed: %" PRIu64 " devices\n", s->devices_changed);
    fprintf(out, "  removed: %" PRIu64 " devices\n", s->devices_removed);
    fprintf(out, "  as they were: %" PRIu64 " devices\n", s->devices_unchanged);
    fprintf(out, "  mappings: %" PRIu64 " added, %" PRIu64 " removed\n", s->mappings_added,
            s->mappings_removed);
    if (s->places_changed > 0)
        fprintf(out, "  labels and sites: %" PRIu64 " devices\n", s->places_changed);
    if (import->wrong > 0)
        fprintf(out, "  wrong lines passed over: %" PRIu64 "\n", import->wrong);
    if (import_conflicts(import) > 0)
        fprintf(out, "  conflicts: %" PRIu64 "\n", import_conflicts(import));
    fflush(out);
}
