/* SPDX-License-Identifier: Apache-2.0 */
/* mapctl import: a list of devices into a trust store, whole or not at all. */
#include "mapctl/cancel.h"
#include "mapctl/command.h"
#include "mapctl/commands.h"
#include "mapctl/import_report.h"
#include "mapctl/list_options.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* Of each kind of conflict; the rest is counted. */
#define CONFLICTS_SHOWN 100

enum import_option {
    IMPORT_DRY_RUN = LIST_OPTION_OWN,
    IMPORT_SKIP_BAD,
    IMPORT_REPLACE,
    IMPORT_REFUSE_CONFLICTS,
    IMPORT_YES
};

static const struct option_row OPTIONS[] = {
    LIST_OPTION_ROWS,
    { LIST_OPTION_COLUMNS, "columns", VALUE_TEXT, "COLUMNS",
      "csv, tsv: which columns are what, by the names in the header: cn=MAC,identity=Ext, also "
      "label=NAME and site=NAME; else those that export writes" },
    { LIST_OPTION_IDENTITY, "identity", VALUE_TEXT, "TEMPLATE",
      "make the identity: {mac} is the CN, {mac-lower} the same in lower case, {Name} a column; "
      "such as '{mac}@example.org'" },
    { LIST_OPTION_SEQUENCE, "from-sequence", VALUE_TEXT, "USER@DOMAIN",
      "count the identities up from this one, such as 2000@example.org" },
    { LIST_OPTION_ENCODING, "encoding", VALUE_TEXT, "NAME",
      "of the list, as iconv names it; else UTF-8, or UTF-16 where the first bytes show it" },
    { IMPORT_DRY_RUN, "dry-run", VALUE_NONE, NULL,
      "do it all and take it back; says what would change" },
    { IMPORT_SKIP_BAD, "skip-bad", VALUE_NONE, NULL,
      "pass over wrong lines; else one wrong line means that nothing is written" },
    { IMPORT_REPLACE, "replace", VALUE_NONE, NULL,
      "make the store equal to the list: what the list lacks is removed" },
    { IMPORT_REFUSE_CONFLICTS, "refuse-conflicts", VALUE_NONE, NULL,
      "write nothing if there is a conflict; else they are reported" },
    { IMPORT_YES, "yes", VALUE_NONE, NULL, "do not ask before --replace acts" },
    { 0 },
};

/* ---- What the list and the loader say ---- */

static bool on_wrong(void *context, uint64_t line, const char *what)
{
    struct import *import = context;

    import->wrong++;
    import_complain(import, line, "", what);
    return !cancelled();
}

static void on_wrong_later(void *context, uint64_t line, const char *what)
{
    (void)on_wrong(context, line, what);
}

static void on_conflict(void *context, uint64_t line, const char *what)
{
    import_complain(context, line, "conflict: ", what);
}

/* ---- Reading ---- */

static bool on_row(void *context, const struct list_row *row)
{
    struct import *import = context;

    import->rows++;
    if (!load_add(&import->load, row))
        import->load_failed = true;
    return !import->load_failed && !cancelled();
}

static bool open_list(struct import *import)
{
    struct stat about;

    import->descriptor = STDIN_FILENO;
    if (strcmp(import->file, "-") != 0)
        import->descriptor = open(import->file, O_RDONLY | O_CLOEXEC);
    if (import->descriptor < 0 || fstat(import->descriptor, &about) != 0) {
        complain("%s: %s", import->file, strerror(errno));
        return false;
    }
    if (S_ISREG(about.st_mode))
        import->size = (uint64_t)about.st_size;
    return true;
}

/* ERROR_CLOSED: the sink stopped it. */
static enum error read_list(struct import *import)
{
    static char bytes[256 * 1024];
    enum error error = ERROR_NONE;

    progress_begin(&import->progress, "reading");
    while (error == ERROR_NONE) {
        ssize_t size = read(import->descriptor, bytes, sizeof(bytes));
        if (cancelled())
            return ERROR_CLOSED;
        if (size < 0) {
            complain("%s: %s", import->file, strerror(errno));
            return ERROR_SYSTEM;
        }
        if (size == 0)
            return list_reader_end(import->reader);
        error = list_reader_push(import->reader, (struct slice){ bytes, (size_t)size });
        import->octets += (uint64_t)size;
        progress_show(&import->progress, import->rows, import->octets, import->size);
    }
    return error;
}

/* ---- Steps ---- */

static bool changes_nothing(const struct import *import)
{
    return import->summary.mappings_added == 0 && import->summary.mappings_removed == 0 &&
           import->summary.places_changed == 0;
}

static bool ask(void)
{
    char answer[16];

    fputs("Write this? [y/N] ", stderr);
    fflush(stderr);
    return fgets(answer, sizeof(answer), stdin) != NULL && !cancelled() &&
           (answer[0] == 'y' || answer[0] == 'Y');
}

static bool on_progress(void *context, uint64_t done, uint64_t total)
{
    struct import *import = context;

    progress_show(&import->progress, total ? import->summary.mappings_added * done / total : 0,
                  done, total);
    return !cancelled();
}

static bool refuse_wrong(const struct import *import)
{
    if (import->wrong == 0 || import->skip_bad)
        return false;
    complain("%" PRIu64 " %s wrong; nothing was written. Mend the list, or pass over them with "
             "--skip-bad",
             import->wrong, import->wrong == 1 ? "line is" : "lines are");
    return true;
}

static bool refuse_conflicts(struct import *import)
{
    uint64_t count = import_conflicts(import);

    if (count == 0 || !import->refuse_conflicts)
        return false;
    complain("%" PRIu64 " %s; nothing was written", count, count == 1 ? "conflict" : "conflicts");
    return true;
}

/* An empty list is far more often a file that failed to arrive than a fleet that is gone. */
static bool refuse_empty(const struct import *import)
{
    if (!import->replace || import->summary.mappings_listed > 0)
        return false;
    complain("the list has no device, and --replace would empty store %s; nothing was written. To "
             "empty it: DELETE FROM cn_mapping WHERE trust_store = '%s'",
             import->load.store, import->load.store);
    return true;
}

/* What was read is compared, shown and asked about. */
static enum status settle(struct import *import)
{
    uint64_t wrong;

    progress_begin(&import->progress, "comparing with the database");
    if (!load_stage(&import->load) || !load_check(&import->load, on_wrong_later, import, &wrong) ||
        !load_compare(&import->load, import->replace, &import->summary) ||
        !load_conflicts(&import->load, import->replace, &import->summary, CONFLICTS_SHOWN,
                        on_conflict, import, import->conflicts))
        return STATUS_BAD;
    progress_clear(&import->progress);
    if (refuse_wrong(import) || refuse_empty(import) || refuse_conflicts(import))
        return STATUS_BAD;
    if (!import->json)
        import_print_summary(stdout, import);
    if (!import->replace || import->yes || import->dry_run || changes_nothing(import))
        return STATUS_GOOD;
    if (import->json)
        import_print_summary(stderr, import);
    if (ask())
        return STATUS_GOOD;
    complain("nothing was written");
    return STATUS_BAD;
}

static enum status write_all(struct import *import)
{
    if (changes_nothing(import)) {
        if (!import->json)
            puts("nothing to write: the store has it all");
        return STATUS_GOOD;
    }
    progress_begin(&import->progress, import->dry_run ? "trying" : "writing");
    if (!load_apply(&import->load, import->replace, on_progress, import) || cancelled())
        return STATUS_BAD;
    progress_clear(&import->progress);
    if (import->dry_run) {
        if (!import->json)
            puts("dry run: nothing was written");
        return STATUS_GOOD;
    }
    cancel_hold(); /* from here on it is one step, whose outcome is known */
    if (!load_commit(&import->load))
        return STATUS_BAD;
    import->written = true;
    if (!import->json)
        puts("written");
    return STATUS_GOOD;
}

static enum status take_list(struct import *import)
{
    enum error error = read_list(import);
    enum status status;

    progress_clear(&import->progress);
    if (error == ERROR_MEMORY)
        complain("out of memory");
    /* Stopped without a cause of its own: the header is wrong, and all lines with it. */
    if (error != ERROR_NONE && error == ERROR_CLOSED && !import->load_failed && !cancelled())
        complain("the list cannot be read; nothing was written");
    if (error != ERROR_NONE)
        return STATUS_BAD;
    status = settle(import);
    return status == STATUS_GOOD ? write_all(import) : status;
}

/* A connection that is gone is another thing than a list that is wrong. */
static enum status outcome(struct import *import, enum status status)
{
    progress_clear(&import->progress);
    if (status == STATUS_GOOD)
        return status;
    if (cancelled())
        complain("interrupted; nothing was written");
    else if (PQstatus(import->load.connection) == CONNECTION_BAD) {
        complain("the connection to the database is gone; run it again: what is there already "
                 "stays as it is");
        return STATUS_UNREACHABLE;
    }
    return status;
}

static enum status with_list(struct import *import)
{
    struct list_sink sink = { import, on_row, on_wrong };
    char why[LIST_WHY_MAX];
    enum status status;

    import->list.store = import->load.form;
    if (list_reader_new(&import->reader, &import->list, &sink, why) != ERROR_NONE) {
        complain("%s", why);
        return STATUS_USAGE;
    }
    cancel_watch(import->load.connection);
    status = load_begin(&import->load) ? take_list(import) : STATUS_BAD;
    status = outcome(import, status);
    if (import->json)
        import_print_document(import);
    cancel_forget();
    list_reader_free(import->reader);
    return status;
}

static enum status with_database(struct import *import, const struct settings *settings,
                                 const char *store)
{
    enum status status = load_open(&import->load, settings->database, store);

    if (status == STATUS_GOOD) {
        import->complaints = output_array();
        status = with_list(import);
        json_decref(import->complaints);
    }
    load_close(&import->load);
    return status;
}

/* ---- The command ---- */

static bool check_flags(const struct import *import)
{
    if (import->skip_bad && import->replace) {
        complain("--replace and --skip-bad do not go together: a device whose line is passed over "
                 "would be removed");
        return false;
    }
    if (import->replace && !import->yes && !import->dry_run &&
        (strcmp(import->file, "-") == 0 || !isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))) {
        complain("--replace asks before it acts, and there is no terminal to ask on; write --yes, "
                 "or look with --dry-run");
        return false;
    }
    return true;
}

static enum status run(const struct settings *settings, const struct arguments *arguments)
{
    struct import import = { .file = arguments->operands[0], .json = settings->json };
    enum status status = STATUS_USAGE;

    import.dry_run = option_given(arguments, IMPORT_DRY_RUN);
    import.skip_bad = option_given(arguments, IMPORT_SKIP_BAD);
    import.replace = option_given(arguments, IMPORT_REPLACE);
    import.refuse_conflicts = option_given(arguments, IMPORT_REFUSE_CONFLICTS);
    import.yes = option_given(arguments, IMPORT_YES);
    progress_init(&import.progress);
    if (!list_options_read(arguments, &import.list) || !check_flags(&import) || !open_list(&import))
        return status;
    status = with_database(&import, settings, list_options_store(arguments));
    if (import.descriptor != STDIN_FILENO)
        close(import.descriptor);
    return status;
}

const struct command command_import = {
    .name = "import",
    .operands = "FILE",
    .operand_kind = VALUE_FILE,
    .operands_min = 1,
    .operands_max = 1,
    .brief = "load a list of devices into the database",
    .help = "FILE is a list of devices, - is standard input. Formats: repro (CN, TAB, identities "
            "with commas between: repro's CommonNameMappings), mac (one MAC address a line), csv "
            "and tsv (with a header). Without --format, --columns means csv, --identity and "
            "--from-sequence mean mac, and else it is repro. Blank lines and lines that begin with "
            "# are passed over.\nA wrong line is named as FILE:LINE: what to write instead, and "
            "then nothing is written. To run it again is harmless.",
    .options = OPTIONS,
    .administers = true,
    .run = run,
};
