/* SPDX-License-Identifier: Apache-2.0 */
/* Reading configurations: values, defaults, and every complaint with file and line. */
#include "common/config.h"
#include "common/log.h"
#include "common/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static const struct option_spec specs[] = {
    { "", "workers", OPTION_INTEGER, "2", 1, 64, false, "Threads" },
    { "", "offset", OPTION_INTEGER, "0", -10, 10, true, "May be negative" },
    { "", "name", OPTION_TEXT, NULL, 1, 32, false, "Who this is" },
    { "", "verbose", OPTION_BOOLEAN, "no", 0, 1, true, "Says more" },
    { "", "sources", OPTION_LIST, "here", 0, 4, true, "Where from" },
    { "listener", "address", OPTION_TEXT, NULL, 3, 64, false, "IP:PORT" },
    { "listener", "stores", OPTION_LIST, "", 1, 3, true, "Trust stores" },
    { "listener", "limit", OPTION_INTEGER, "10", 1, 100, true, "Bound" },
    { "store", "ca", OPTION_LIST, NULL, 1, 3, true, ".pem files - with \\ in them" },
};
#define SPEC_COUNT (sizeof(specs) / sizeof(*specs))

struct fixture {
    char folder[64], path[96], complaints[8192];
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    strcpy(f->folder, "/tmp/holdline-config-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof(f->path), "%s/a.conf", f->folder);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    char extra[128];

    unlink(f->path);
    snprintf(extra, sizeof(extra), "%s/b.conf", f->folder);
    unlink(extra);
    rmdir(f->folder);
    free(f);
    return 0;
}

static void write_file(const char *path, const char *text)
{
    FILE *out = fopen(path, "w");

    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

/* Standard error is caught while the file is read. */
static enum error read_config(struct fixture *f, const char *text, struct config_file **file)
{
    FILE *caught = tmpfile();
    int saved = dup(STDERR_FILENO);
    enum error error;
    size_t size;

    assert_non_null(caught);
    if (text)
        write_file(f->path, text);
    fflush(stderr);
    dup2(fileno(caught), STDERR_FILENO);
    error = config_file_read(f->path, specs, SPEC_COUNT, file);
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    rewind(caught);
    size = fread(f->complaints, 1, sizeof(f->complaints) - 1, caught);
    f->complaints[size] = '\0';
    fclose(caught);
    return error;
}

/* `at` with %s for nothing: the complaint has to begin a line with PATH:LINE: */
static void assert_refused(void **state, const char *text, int line, const char *complaint)
{
    struct fixture *f = *state;
    struct config_file *file;
    char wanted[256];

    assert_int_equal(read_config(f, text, &file), ERROR_CONFIG);
    assert_null(file);
    if (line)
        snprintf(wanted, sizeof(wanted), "%s:%d: %s", f->path, line, complaint);
    else
        snprintf(wanted, sizeof(wanted), "%s: %s", f->path, complaint);
    if (!strstr(f->complaints, wanted))
        fail_msg("wanted: %s\ngot: %s", wanted, f->complaints);
}

static struct config_file *read_good(void **state, const char *text)
{
    struct fixture *f = *state;
    struct config_file *file = NULL;
    enum error error = read_config(f, text, &file);

    if (error != ERROR_NONE)
        fail_msg("%s: %s", error_text(error), f->complaints);
    assert_string_equal(f->complaints, "");
    return file;
}

static void test_values_and_defaults(void **state)
{
    struct config_file *file = read_good(
        state, "# comment\n"
               "name = \"proxy one\"   # quoted\n"
               "workers = 8\n"
               "offset = -3\n"
               "verbose = On\n"
               "listener tls {\n address = \"127.0.0.1:5061\"\n stores = {\"a\", \"b\"}\n}\n"
               "store b { ca = \"x.pem\" }\n"
               "listener pbx { address = \"[::1]:0\"  limit = 7 }\n");
    const struct config_section *tls = config_section_at(file, "listener", 0);
    const struct config_section *pbx = config_section_at(file, "listener", 1);

    assert_string_equal(config_text(file, "name"), "proxy one");
    assert_int_equal(config_integer(file, "workers"), 8);
    assert_int_equal(config_integer(file, "offset"), -3);
    assert_true(config_boolean(file, "verbose"));
    assert_int_equal(config_list_count(file, "sources"), 1);
    assert_string_equal(config_list_at(file, "sources", 0), "here");
    assert_int_equal(config_section_count(file, "listener"), 2);
    assert_int_equal(config_section_count(file, "store"), 1);
    assert_int_equal(config_section_count(file, "route"), 0);
    assert_string_equal(config_section_title(tls), "tls");
    assert_int_equal(config_section_line(tls), 7);
    assert_int_equal(config_section_list_count(tls, "stores"), 2);
    assert_string_equal(config_section_list_at(tls, "stores", 1), "b");
    assert_int_equal(config_section_integer(tls, "limit"), 10);
    assert_string_equal(config_section_text(pbx, "address"), "[::1]:0");
    assert_int_equal(config_section_list_count(pbx, "stores"), 0);
    assert_int_equal(config_section_integer(pbx, "limit"), 7);
    assert_ptr_equal(config_section_titled(file, "listener", "pbx"), pbx);
    assert_null(config_section_titled(file, "listener", "b"));
    assert_string_equal(config_section_list_at(config_section_titled(file, "store", "b"), "ca", 0),
                        "x.pem");
    config_file_free(file);
}

static void test_all_boolean_words(void **state)
{
    static const char *const words[] = { "yes", "no", "true", "false", "on", "off" };
    char text[64];

    for (size_t i = 0; i < 6; i++) {
        snprintf(text, sizeof(text), "name = a\nverbose = %s\n", words[i]);
        struct config_file *file = read_good(state, text);
        assert_int_equal(config_boolean(file, "verbose"), i % 2 == 0);
        config_file_free(file);
    }
}

static void test_complaints_name_file_line_and_remedy(void **state)
{
    assert_refused(state, "name = a\nworkers = 65\n", 2,
                   "workers = 65 is out of range; write 1 to 64");
    assert_refused(state, "name = a\nworkers = 0\n", 2, "workers = 0 is out of range");
    assert_refused(state, "name = a\n\nworkers = many\n", 3,
                   "workers = \"many\" is no whole number");
    assert_refused(state, "name = a\nworkers = 2x\n", 2, "workers = \"2x\" is no whole number");
    assert_refused(state, "name = a\nworkers = \"\"\n", 2, "workers = \"\" is no whole number");
    assert_refused(state, "name = a\nworkers = 99999999999999999999\n", 2, "workers = ");
    assert_refused(state, "name = a\nverbose = 1\n", 2, "verbose = \"1\" is neither yes nor no");
    assert_refused(state, "name = \"\"\n", 1, "name has 0 characters; write 1 to 32");
    assert_refused(state, "name = \"a\\nb\"\n", 1, "name holds a control character");
    assert_refused(state, "workers = 1\n", 0, "name is missing; write name = ");
    assert_refused(state, "name = a\nworker = 1\n", 2,
                   "unknown option worker; did you mean workers?");
    assert_refused(state, "name = a\nlistner x { }\n", 2,
                   "unknown option listner; did you mean listener?");
    assert_refused(state, "name = a\nquite_other = 1\n", 2,
                   "unknown option quite_other; --help-config");
    assert_refused(state, "name = a\naddress = \"x:1\"\n", 2,
                   "address does not belong here; it stands in a section: listener");
    assert_refused(state, "name = a\nlistener l {\n  address = \"x:1\"\n  workers = 1\n}\n", 4,
                   "workers does not belong here; it stands outside");
    assert_refused(state, "name = a\nlistener l {\n  adress = \"x:1\"\n}\n", 3,
                   "unknown option adress; did you mean address?");
    assert_refused(state, "name = a\nworkers = 1\nworkers = 2\n", 3,
                   "workers is given twice, first in line 2");
    assert_refused(state, "name = a\nlistener l {\n  limit = 1\n}\n", 3,
                   "listener l has no address");
    assert_refused(state, "name = a\nlistener l {\n}\n", 3, "listener l has no address");
    assert_refused(state,
                   "name = a\nlistener l { address = \"x:1\" }\nlistener l { address = \"x:2\" }\n",
                   3, "found duplicate title");
    assert_refused(state, "name = a\nlistener \"a b\" { address = \"x:1\" }\n", 2,
                   "listener \"a b\" is no name");
    assert_refused(state, "name = a\nstore s { ca = {} }\n", 2, "ca has 0 items; write 1 to 3");
    assert_refused(state, "name = a\nstore s { ca = {a,b,c,d} }\n", 2, "ca has 4 items");
    assert_refused(state, "name = a\nstore s { ca = {a,\"\"} }\n", 2, "item 2 of ca is empty");
    assert_refused(state, "name = a\nlistener l { address = \"x:1\"\n", 2,
                   "this brace is not closed");
    assert_refused(state, "name = a\nworkers 2\n", 2, "");
    assert_refused(state, "", 0, "name is missing");
}

static void test_all_complaints_at_once(void **state)
{
    struct fixture *f = *state;

    assert_refused(state, "workers = 100\nverbose = 3\nlistener l { limit = 0 }\n", 1, "workers");
    assert_non_null(strstr(f->complaints, "verbose"));
    assert_non_null(strstr(f->complaints, "limit"));
    assert_non_null(strstr(f->complaints, "address"));
    assert_non_null(strstr(f->complaints, "name is missing"));
}

static void test_missing_file(void **state)
{
    struct fixture *f = *state;
    struct config_file *file;

    unlink(f->path);
    assert_int_equal(read_config(f, NULL, &file), ERROR_CONFIG);
    assert_non_null(strstr(f->complaints, "a.conf: can't be opened: No such file"));
}

static void test_include_is_found_beside_the_file(void **state)
{
    struct fixture *f = *state;
    struct config_file *file;
    char path[128], wanted[160];

    snprintf(path, sizeof(path), "%s/b.conf", f->folder);
    write_file(path, "workers = 5\n\nlistener l { address = \"x:1\" }\n");
    file = read_good(state, "name = a\ninclude(\"b.conf\")\nverbose = yes\n");
    assert_int_equal(config_integer(file, "workers"), 5);
    assert_int_equal(config_section_count(file, "listener"), 1);
    config_file_free(file);

    write_file(path, "\nworkers = 500\n");
    assert_int_equal(read_config(f, "name = a\ninclude(\"b.conf\")\nverbose = yes\n", &file),
                     ERROR_CONFIG);
    snprintf(wanted, sizeof(wanted), "%s:2: workers = 500", path);
    if (!strstr(f->complaints, wanted))
        fail_msg("%s", f->complaints);
    assert_int_equal(read_config(f, "name = a\ninclude(\"none.conf\")\n", &file), ERROR_CONFIG);
    assert_non_null(strstr(f->complaints, "/none.conf: can't be opened"));
    assert_refused(state, "name = a\ninclude(\"a.conf\")\n", 2, "");
}

static void test_later_complaints_look_the_same(void **state)
{
    struct fixture *f = *state;
    struct config_file *file =
        read_good(state, "name = a\nlistener l {\n  limit = 3\n  address = \"x:1\"\n}\n");
    const struct config_section *s = config_section_at(file, "listener", 0);
    FILE *caught = tmpfile();
    int saved = dup(STDERR_FILENO);
    char got[1024] = "", wanted[512];
    size_t size;

    dup2(fileno(caught), STDERR_FILENO);
    assert_int_equal(config_complain(file, s, "address", "not good: %d", 7), ERROR_CONFIG);
    assert_int_equal(config_complain(file, NULL, "workers", "too few"), ERROR_CONFIG);
    assert_int_equal(config_complain(file, s, NULL, "odd"), ERROR_CONFIG);
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    rewind(caught);
    size = fread(got, 1, sizeof(got) - 1, caught);
    got[size] = '\0';
    fclose(caught);
    snprintf(
        wanted, sizeof(wanted),
        "%s:4: listener l: address: not good: 7\n%s: workers: too few\n%s:3: listener l: odd\n",
        f->path, f->path, f->path);
    assert_string_equal(got, wanted);
    config_file_free(file);
}

static void test_comments_everywhere_leave_lines_right(void **state)
{
    struct config_file *file;

    file = read_good(
        state, "#\n# x = {\n// name = b\n/* workers = 3\n */ name = \"a # no // comment /* \"\n"
               "sources = { # one\n  'x\\' # y', // two\n  b # three\n}\n# end");
    assert_string_equal(config_text(file, "name"), "a # no // comment /* ");
    assert_int_equal(config_list_count(file, "sources"), 2);
    assert_string_equal(config_list_at(file, "sources", 0), "x' # y");
    assert_int_equal(config_integer(file, "workers"), 2);
    config_file_free(file);
    assert_refused(state, "#\n# x = {\n// name = b\n/* y\n */ name = a # c\n# d\nworkers = 0 # e\n",
                   7, "workers = 0");
    assert_refused(state, "name = a\n /*/ never ends\nworkers = 5", 2, "this comment has no end");
    assert_refused(state, "name = \"never ends\nworkers = 5", 3, "premature end of file");
}

static void test_an_empty_list_is_not_the_default(void **state)
{
    struct config_file *file = read_good(state, "name = a\nsources = {}\n");

    assert_int_equal(config_list_count(file, "sources"), 0);
    config_file_free(file);
    file = read_good(state, "name = a\nsources = x\nsources += {y}\n");
    assert_int_equal(config_list_count(file, "sources"), 2);
    config_file_free(file);
    assert_refused(state, "name = a\nsources = {x}\nsources = {y}\n", 3,
                   "sources is given twice, first in line 2");
}

static void test_every_failed_allocation_is_reported(void **state)
{
    struct fixture *f = *state;
    struct config_file *file;
    unsigned n = 0;

    write_file(f->path,
               "name = a\nlistener l { address = \"x:1\"  stores = {a, b} }\nsources = {}\n");
    do {
        mem_fail_nth_for_tests(++n);
        enum error error = config_file_read(f->path, specs, SPEC_COUNT, &file);
        if (!mem_failed_for_tests()) {
            assert_int_equal(error, ERROR_NONE);
            config_file_free(file);
            break;
        }
        assert_int_equal(error, ERROR_MEMORY);
        assert_null(file);
    } while (n < 1000);
    mem_fail_nth_for_tests(0);
    assert_in_range(n, 10, 999);
}

static void test_what_needs_a_restart_is_counted(void **state)
{
    struct config_file *a = read_good(state, "name = a\nlistener l { address = \"x:1\" }\n");
    struct config_file *b = read_good(
        state, "name = a\nverbose = yes\nlistener l { address = \"x:1\"  limit = 9 stores = {a} }\n"
               "store s { ca = a }\n");
    struct config_file *c =
        read_good(state, "name = b\nworkers = 3\nlistener m { address = \"x:2\" }\n");

    log_set_level(LOG_ERROR);
    assert_int_equal(config_report_restart(a, b), 0);
    assert_int_equal(config_report_restart(a, c), 4);
    assert_int_equal(config_report_restart(a, a), 0);
    config_file_free(a);
    config_file_free(b);
    config_file_free(c);
}

static void test_help_and_man_page_name_every_option(void **state)
{
    char *help = NULL, *roff = NULL;
    size_t help_size, roff_size;
    FILE *out = open_memstream(&help, &help_size);

    (void)state;
    config_print_help(out, specs, SPEC_COUNT);
    fclose(out);
    out = open_memstream(&roff, &roff_size);
    config_print_man(out, "holdline-test", "tests", specs, SPEC_COUNT);
    fclose(out);
    for (size_t i = 0; i < SPEC_COUNT; i++) {
        assert_non_null(strstr(help, specs[i].name));
        assert_non_null(strstr(help, specs[i].help));
        assert_non_null(strstr(roff, specs[i].name));
    }
    assert_non_null(strstr(help, "(number from 1 to 64; default 2; needs a restart)"));
    assert_non_null(strstr(help, "(text of 3 to 64 characters; required; needs a restart)"));
    assert_non_null(strstr(help, "\nlistener NAME { … }"));
    assert_non_null(strstr(roff, ".TH holdline-test 8\n.SH NAME\nholdline\\-test \\- tests\n"));
    assert_non_null(strstr(roff, "\n\\&.pem files \\- with \\e in them.\n"));
    free(help);
    free(roff);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_values_and_defaults, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_all_boolean_words, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_complaints_name_file_line_and_remedy, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_all_complaints_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_missing_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_include_is_found_beside_the_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_later_complaints_look_the_same, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_every_failed_allocation_is_reported, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_comments_everywhere_leave_lines_right, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_an_empty_list_is_not_the_default, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_needs_a_restart_is_counted, set_up, tear_down),
        cmocka_unit_test(test_help_and_man_page_name_every_option),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
