/* SPDX-License-Identifier: Apache-2.0 */
/* Lists: what each format takes, and what it says of a line that is wrong. */
#include "tests/unit/mapctl/list/list_run.h"

#include "common/buffer.h"
#include "common/mem.h"

#include <stdio.h>

static struct list_options options_of(enum list_format format, enum cn_form form)
{
    return (struct list_options){ .format = format, .store = { .form = form } };
}

/* ---- repro ---- */

static void test_F29_repro_gives_cn_and_identities(void **state)
{
    struct list_options options = options_of(LIST_REPRO, CN_FORM_MAC);

    (void)state;
    list_must_give(&options,
                   SLICE("# phones\n"
                         "0004F224A6AC\talice@example.org\n"
                         "\n"
                         "  00:04:f2:24:a6:ad\t sip:bob@Example.ORG , example.net.,\n"
                         "   \t\n"
                         "  # more\n"
                         "0004f224a6ae\t\t%61nna@example.org bob@example.org"),
                   "2 0004F224A6AC|alice@example.org\n"
                   "4 0004F224A6AD|bob@example.org,example.net\n"
                   "7 0004F224A6AE|anna@example.org,bob@example.org\n");
}

static void test_F29_each_wrong_line_of_repro_is_named(void **state)
{
    struct list_options options = options_of(LIST_REPRO, CN_FORM_MAC);

    (void)state;
    list_must_give(
        &options,
        SLICE("0004F224A6AC alice@example.org\n"
              "0004F224A6AC\n"
              "0004F224A6AC\t\n"
              "\talice@example.org\n"
              "0004F224A6A\talice@example.org\n"
              "0004F224A6AC\talice@example.org,bob@example.org:5061\n"
              "0004F224A6AC,alice@example.org\n"),
        "1 ! there is a space instead of a TAB; write CN, TAB, identities with commas between "
        "them\n"
        "2 ! there is no TAB and no identity; write CN, TAB, identities, or read a list of MAC "
        "addresses with --identity or --from-sequence\n"
        "3 ! the identity is missing; write user@domain, such as alice@example.org\n"
        "4 ! the CN is missing; write it first\n"
        "5 ! \"0004F224A6A\" is not a MAC address; write twelve hexadecimal digits, such as "
        "0004F224A6AC or 00:04:f2:24:a6:ac\n"
        "6 ! \"bob@example.org:5061\" has a port, parameters or headers; write user@domain alone\n"
        "7 ! there is no TAB; write CN, TAB, identities, or read a CSV list with --format csv\n");
}

static void test_T10_metacharacters_of_an_exact_cn_are_data(void **state)
{
    struct list_options options = options_of(LIST_REPRO, CN_FORM_EXACT);

    (void)state;
    list_must_give(&options,
                   SLICE("'; DROP TABLE cn_mapping; --\ta'b@example.org\n"
                         "\\. \\N $1 %s\ta*b@example.org\n"
                         "J\xc3\xbcrgen \ta@example.org\n"),
                   "1 '; DROP TABLE cn_mapping; --|a'b@example.org\n"
                   "2 \\. \\N $1 %s|a*b@example.org\n"
                   "3 J\xc3\xbcrgen |a@example.org\n");
}

static void test_exact_cn_has_at_most_64_characters(void **state)
{
    struct list_options options = options_of(LIST_REPRO, CN_FORM_EXACT);
    char list[300], expected[300];

    (void)state;
    snprintf(list, sizeof(list), "%064d\ta@example.org\n%065d\ta@example.org\n", 1, 2);
    snprintf(expected, sizeof(expected),
             "1 %064d|a@example.org\n"
             "2 ! CN \"%065d\" is longer than 64 characters; write it as the certificate has it\n",
             1, 2);
    list_must_give(&options, slice_of(list), expected);
}

/* ---- Bytes ---- */

static void test_byte_order_mark_and_every_line_end_are_taken(void **state)
{
    struct list_options options = options_of(LIST_REPRO, CN_FORM_MAC);

    (void)state;
    list_must_give(&options,
                   SLICE("\xef\xbb\xbf"
                         "0004F224A6AC\ta@b.org\r\n\r\n"
                         "0004F224A6AD\ta@b.org\r0004F224A6AE\ta@b.org\n\r0004F224A6AF\ta@b.org"),
                   "1 0004F224A6AC|a@b.org\n3 0004F224A6AD|a@b.org\n"
                   "4 0004F224A6AE|a@b.org\n6 0004F224A6AF|a@b.org\n");
}

static void test_NUL_control_characters_and_broken_utf8_are_named(void **state)
{
    struct list_options options = options_of(LIST_REPRO, CN_FORM_EXACT);
    const char *what = "the line is not UTF-8 or has a control character; save the list as UTF-8 "
                       "or name its encoding with --encoding";
    char expected[1024];

    (void)state;
    snprintf(expected, sizeof(expected), "2 ! %s\n3 ! %s\n4 ! %s\n5 ! %s\n6 ! %s\n7 G|a@b.org\n",
             what, what, what, what, what);
    list_must_give(&options,
                   SLICE("\nA\0\ta@b.org\nB\x1b[31m\ta@b.org\nC\xff\ta@b.org\n"
                         "D\xc0\x80\ta@b.org\nE\xed\xa0\x80\ta@b.org\nG\ta@b.org\n"),
                   expected);
}

static struct slice utf16(char *out, const char *text, bool big, bool mark)
{
    size_t size = 0;

    for (const char *c = mark ? text - 1 : text; c < text || *c; c++) {
        unsigned unit = c < text ? 0xfeff : (unsigned char)*c;
        out[size++] = (char)(big ? unit >> 8 : unit & 255);
        out[size++] = (char)(big ? unit & 255 : unit >> 8);
    }
    return (struct slice){ out, size };
}

static void test_utf16_of_both_orders_with_and_without_mark(void **state)
{
    struct list_options options = options_of(LIST_TSV, CN_FORM_EXACT);
    char bytes[400];

    (void)state;
    for (int i = 0; i < 4; i++) {
        struct slice list = utf16(bytes, "cn\tidentity\r\nJ\xfcrgen\ta@b.org\r\n", i & 1, i & 2);
        list_must_give(&options, list, "2 J\xc3\xbcrgen|a@b.org\n");
    }
}

static void test_broken_utf16_is_named_and_the_rest_is_read(void **state)
{
    struct list_options options = options_of(LIST_REPRO, CN_FORM_EXACT);
    char bytes[400];
    struct slice list = utf16(bytes, "A?\ta@b.org\nB\ta@b.org\nC\ta@b.org", false, true);
    const char *what = "the line is not UTF-8 or has a control character; save the list as UTF-8 "
                       "or name its encoding with --encoding";
    char expected[512];

    (void)state;
    bytes[5] = (char)0xd8; /* half of a surrogate pair */
    list.size--;
    snprintf(expected, sizeof(expected), "1 ! %s\n2 B|a@b.org\n3 ! %s\n", what, what);
    list_must_give(&options, list, expected);
}

static void test_an_encoding_may_be_named(void **state)
{
    struct list_options options = options_of(LIST_REPRO, CN_FORM_EXACT);
    struct list_sink sink = { 0 };
    struct list_reader *reader;
    char why[LIST_WHY_MAX];

    (void)state;
    options.encoding = "WINDOWS-1252";
    list_must_give(&options, SLICE("J\xfcrgen \x80\ta@b.org\n"),
                   "1 J\xc3\xbcrgen \xe2\x82\xac|a@b.org\n");
    options.encoding = "NO-SUCH-ENCODING";
    assert_int_equal(list_reader_new(&reader, &options, &sink, why), ERROR_CONFIG);
    assert_non_null(strstr(why, "--encoding"));
}

/* A list that begins with a line of `size` octets, all but the end of it one identity. */
static char *long_list(size_t size, const char *head, const char *tail)
{
    char *list = malloc(size + strlen(tail) + 1);

    assert_non_null(list);
    memset(list, 'a', size);
    memcpy(list, head, strlen(head));
    memcpy(list + size, tail, strlen(tail) + 1);
    return list;
}

static void test_giant_line_is_named_and_the_next_is_read(void **state)
{
    struct list_options options = options_of(LIST_REPRO, CN_FORM_MAC);
    char *list = long_list((2u << 20) + 5, "0004F224A6AC\t", "\n0004F224A6AD\ta@b.org\n");
    const char *expected = "1 ! the line is longer than 1 MiB; write the rest on a line of its own "
                           "with the same CN\n2 0004F224A6AD|a@b.org\n";

    (void)state;
    assert_string_equal(list_run(&options, slice_of(list), 0), expected);
    assert_string_equal(list_run(&options, slice_of(list), 65536), expected);
    free(list);
}

static void test_at_most_1000_identities_stand_on_a_line(void **state)
{
    struct list_options options = options_of(LIST_REPRO, CN_FORM_MAC);
    struct buffer list;

    (void)state;
    buffer_init(&list, 0);
    for (int line = 0; line < 2; line++) {
        buffer_add_text(&list, "0004F224A6AC\t");
        for (int i = 0; i < LIST_IDENTITIES_MAX + line; i++)
            buffer_add_format(&list, "u%d@b.org,", i);
        buffer_add_char(&list, '\n');
    }
    assert_non_null(strstr(list_run(&options, buffer_slice(&list), 999),
                           ",u999@b.org\n2 ! the line has more than 1,000 identities; "));
    buffer_free(&list);
}

/* ---- mac ---- */

static void test_F30_mac_list_in_any_spelling_with_a_template(void **state)
{
    struct list_options options = options_of(LIST_MAC, CN_FORM_MAC);

    (void)state;
    options.store.prefixes[0] = SLICE("SEP");
    options.store.prefix_count = 1;
    options.identity = "{mac}@example.org";
    list_must_give(&options,
                   SLICE("0004F224A6AC\n 00:04:f2:24:a6:ad \n00-04-F2-24-A6-AE\r\n0004.f224.a6af\n"
                         "sep0004F224A6B0\n# no\nhello\n"),
                   "1 0004F224A6AC|0004F224A6AC@example.org\n"
                   "2 0004F224A6AD|0004F224A6AD@example.org\n"
                   "3 0004F224A6AE|0004F224A6AE@example.org\n"
                   "4 0004F224A6AF|0004F224A6AF@example.org\n"
                   "5 0004F224A6B0|0004F224A6B0@example.org\n"
                   "7 ! \"hello\" is not a MAC address; write twelve hexadecimal digits, such as "
                   "0004F224A6AC or 00:04:f2:24:a6:ac\n");
    options.identity = "phone-{mac-lower}@example.org";
    list_must_give(&options, SLICE("0004F224A6AC"),
                   "1 0004F224A6AC|phone-0004f224a6ac@example.org\n");
}

static void test_F30_sequence_counts_every_device_also_wrong_ones(void **state)
{
    struct list_options options = options_of(LIST_MAC, CN_FORM_MAC);

    (void)state;
    options.sequence = "2000@example.org";
    list_must_give(&options, SLICE("0004F224A6AC\n\n#\nx\n0004F224A6AD\n"),
                   "1 0004F224A6AC|2000@example.org\n"
                   "4 ! \"x\" is not a MAC address; write twelve hexadecimal digits, such as "
                   "0004F224A6AC or 00:04:f2:24:a6:ac\n"
                   "5 0004F224A6AD|2002@example.org\n");
    options.sequence = "+49-098@example.org";
    list_must_give(&options, SLICE("0004F224A6AC\n0004F224A6AD\n0004F224A6AE\n"),
                   "1 0004F224A6AC|+49-098@example.org\n2 0004F224A6AD|+49-099@example.org\n"
                   "3 0004F224A6AE|+49-100@example.org\n");
}

/* ---- csv and tsv ---- */

static void test_F30_csv_columns_by_name_in_any_order(void **state)
{
    struct list_options options = options_of(LIST_CSV, CN_FORM_MAC);

    (void)state;
    options.columns = "cn=MAC,\"identity=Ext, user\",label=Name,site=Place";
    list_must_give(
        &options,
        SLICE("\xef\xbb\xbfPlace,Model,\"ext, USER\", mac ,Name\r\n"
              "Berlin,\"VVX \"\"450\"\"\",\"a@b.org, c@b.org\",00:04:f2:24:a6:ac,\"Desk, 1\"\r\n"
              "# comment\r\n"
              "\r\n"
              ",,,,\r\n"
              "Rome,\"two\r\nlines\",d@b.org,0004F224A6AD,\r\n"
              "Rome,VVX,d@b.org,0004F224A6AE\r\n"),
        "2 0004F224A6AC|a@b.org,c@b.org|Desk, 1|Berlin\n"
        "6 0004F224A6AD|d@b.org||Rome\n"
        "8 0004F224A6AE|d@b.org||Rome\n");
}

static void test_F30_csv_delimiter_is_seen_in_the_header_or_named(void **state)
{
    struct list_options options = options_of(LIST_CSV, CN_FORM_MAC);

    (void)state;
    list_must_give(&options, SLICE("cn;identity\n0004F224A6AC;a@b.org\n"),
                   "2 0004F224A6AC|a@b.org\n");
    list_must_give(&options, SLICE("cn\tidentity\n0004F224A6AC\ta@b.org\n"),
                   "2 0004F224A6AC|a@b.org\n");
    options.delimiter = '|';
    list_must_give(&options, SLICE("cn|identity\n0004F224A6AC|a@b.org\n"),
                   "2 0004F224A6AC|a@b.org\n");
}

static void test_F30_wrong_records_are_named_by_the_line_they_begin_on(void **state)
{
    struct list_options options = options_of(LIST_CSV, CN_FORM_MAC);

    (void)state;
    list_must_give(
        &options,
        SLICE("cn,identity\n"
              "0004F224A6AC\n"
              "0004F224A6AC,a@b.org,more\n"
              "0004F224A6AC,\"a@b\".org\n"
              "0004F224A6AC,a\"@b.org\n"
              "\"0004F224A6AC\n\",a@b.org\n"
              "0004F224A6AC,a\x01@b.org\n"
              "0004F224A6AD,a@b.org\n"
              "0004F224A6AC,\"a@b.org\n"),
        "2 ! the identity is missing; write user@domain, such as alice@example.org\n"
        "3 ! the record has 3 fields, the header 2; put a field in quotes that has the delimiter "
        "in it\n"
        "4 ! a quote stands inside a field; put the whole field in quotes and double the quote\n"
        "5 ! a quote stands inside a field; put the whole field in quotes and double the quote\n"
        "6 ! \"0004F224A6AC\\x0a\" is not a MAC address; write twelve hexadecimal digits, such as "
        "0004F224A6AC or 00:04:f2:24:a6:ac\n"
        "8 ! the record is not UTF-8 or has a control character; save the list as UTF-8 or name "
        "its "
        "encoding with --encoding\n"
        "9 0004F224A6AD|a@b.org\n"
        "10 ! a quote that opens in this record is not closed; close it, and double a quote inside "
        "quotes\n");
}

static void test_open_quote_costs_at_most_one_record_of_bounded_size(void **state)
{
    struct list_options options = options_of(LIST_CSV, CN_FORM_MAC);
    struct buffer list;
    const char *told;

    (void)state;
    buffer_init(&list, 0);
    buffer_add_text(&list, "cn,identity\n\"0004F224A6AC,a@b.org\n");
    for (int i = 0; i < 200000; i++)
        buffer_add_format(&list, "%012X,u%d@b.org\n", i, i);
    assert_false(list.failed);
    told = list_run(&options, buffer_slice(&list), 65536);
    assert_non_null(strstr(told, "2 ! a quote that opens in this record is not closed"));
    assert_non_null(strstr(told, "200002 000000030D3F|u199999@b.org\n"));
    buffer_free(&list);
}

static void header_must_give(struct list_options *options, struct slice list, const char *what)
{
    char expected[LIST_WHY_MAX + 8];

    snprintf(expected, sizeof(expected), "1 ! %s\n", what);
    list_must_give(options, list, expected);
}

static void test_header_that_lacks_a_column_or_has_it_twice_ends_it(void **state)
{
    struct list_options options = options_of(LIST_CSV, CN_FORM_MAC);
    struct buffer names;

    (void)state;
    header_must_give(&options, SLICE("MAC,Ext\n0004F224A6AC,a@b.org\n"),
                     "there is no column \"cn\"; choose with --columns cn=NAME,identity=NAME among "
                     "\"MAC\", \"Ext\"");
    header_must_give(&options, SLICE("cn,identity,CN\n0004F224A6AC,a@b.org,b\n"),
                     "column \"cn\" is there more than once; give each its own name");
    options.columns = "label=Name";
    header_must_give(
        &options, SLICE("cn,identity\n0004F224A6AC,a@b.org\n"),
        "there is no column \"Name\"; choose with --columns cn=NAME,identity=NAME among "
        "\"cn\", \"identity\"");
    buffer_init(&names, 0);
    for (int i = 0; i < 100; i++)
        buffer_add_format(&names, "%s%.*s", i ? "," : "", 3 + i, "a\xc3\xa4 long name of a column");
    assert_non_null(strstr(list_run(&options, buffer_slice(&names), 0), "\", ...\n"));
    buffer_free(&names);
    options = options_of(LIST_CSV, CN_FORM_MAC);
    options.identity = "{Ext}@b.org";
    header_must_give(
        &options, SLICE("cn,identity\n0004F224A6AC,a@b.org\n"),
        "there is no column \"Ext\"; choose with --columns cn=NAME,identity=NAME among "
        "\"cn\", \"identity\"");
}

static void test_template_takes_columns_and_each_stays_one_value(void **state)
{
    struct list_options options = options_of(LIST_CSV, CN_FORM_MAC);

    (void)state;
    options.columns = "cn=MAC,identity=Ext";
    options.identity = "{Site}{identity}@b.org";
    list_must_give(
        &options,
        SLICE("MAC,Ext,Site\n"
              "0004F224A6AC,2000,49\n"
              "0004F224A6AD,,49\n"
              "0004F224A6AE,\"2000,2001\",49\n"
              "0004F224A6AF,boss@evil.org,49\n"
              "0004F224A6B0,20 00,49\n"),
        "2 0004F224A6AC|492000@b.org\n"
        "3 ! column \"identity\" is empty; write its value\n"
        "4 ! column \"identity\" has \"2000,2001\"; write one value without @ and comma, or take "
        "whole identities with --columns identity=...\n"
        "5 ! column \"identity\" has \"boss@evil.org\"; write one value without @ and comma, or "
        "take whole identities with --columns identity=...\n"
        "6 ! \"4920 00@b.org\" has a character that must be escaped; write %20 instead of octet "
        "5\n");
}

static void test_apostrophe_before_a_formula_is_taken_off(void **state)
{
    struct list_options options = options_of(LIST_CSV, CN_FORM_EXACT);

    (void)state;
    list_must_give(&options, SLICE("cn,identity,label\n'=x,'+49@b.org,''quoted'\n'y,'z@b.org,'\n"),
                   "2 =x|+49@b.org|'quoted'|\n3 'y|'z@b.org|'|\n");
}

static void test_record_has_at_most_1024_fields(void **state)
{
    struct list_options options = options_of(LIST_CSV, CN_FORM_MAC);
    char list[2200] = "cn,identity\n";
    size_t head = strlen(list);

    (void)state;
    memset(list + head, ',', 1500);
    list_must_give(&options, (struct slice){ list, head + 1500 },
                   "2 ! the record has more than 1,024 fields; leave columns out\n");
}

/* ---- Options ---- */

struct refusal {
    struct list_options options;
    const char *text;
};

#define MAC  .format = LIST_MAC, .store = { .form = CN_FORM_MAC }
#define CSV  .format = LIST_CSV, .store = { .form = CN_FORM_MAC }
#define MACS "{mac}{mac}{mac}{mac}{mac}{mac}"

static void test_options_that_do_not_go_together_say_so(void **state)
{
    static const struct refusal refusals[] = {
        { { MAC }, "--identity '{mac}@example.org' or --from-sequence" },
        { { MAC, .identity = "a", .sequence = "1@b" }, "do not go together" },
        { { MAC, .identity = "{Ext}@b.org" }, "no columns" },
        { { MAC, .identity = "{mac@b.org" }, "brace" },
        { { MAC, .identity = "mac}@b.org" }, "brace" },
        { { MAC, .identity = "{}@b.org" }, "brace" },
        { { MAC, .identity = "" }, "is empty" },
        { { MAC, .identity = MACS MACS MACS }, "too many" },
        { { MAC, .sequence = "alice@example.org" }, "sequence" },
        { { MAC, .sequence = "2000" }, "sequence" },
        { { MAC, .sequence = "1234567890123456@example.org" }, "sequence" },
        { { MAC, .sequence = "a b1@example.org" }, "sequence" },
        { { MAC, .identity = "{mac}@b.org", .columns = "cn=a" }, "--format csv or tsv" },
        { { .format = LIST_MAC, .identity = "{mac}@b.org", .store = { .form = CN_FORM_EXACT } },
          "cn_form" },
        { { .format = LIST_REPRO, .identity = "{mac}@b.org" }, "--format mac" },
        { { .format = LIST_REPRO, .delimiter = ';' }, "--format csv or tsv" },
        { { .format = LIST_FORMAT_NONE }, "--format" },
        { { CSV, .columns = "" }, "--columns is empty" },
        { { CSV, .columns = "cn=A,cn=B" }, "twice" },
        { { CSV, .columns = "name=A" }, "KEY=NAME" },
        { { CSV, .columns = "cn" }, "KEY=NAME" },
        { { CSV, .columns = "cn=" }, "KEY=NAME" },
        { { CSV, .columns = "cn=\"A\"" }, "--columns: a quote" },
    };
    struct list_sink sink = { 0 };
    struct list_reader *reader;
    char why[LIST_WHY_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        assert_int_equal(list_reader_new(&reader, &refusals[i].options, &sink, why), ERROR_CONFIG);
        assert_null(reader);
        if (!strstr(why, refusals[i].text))
            fail_msg("%s: %s", refusals[i].text, why);
    }
}

/* ---- Memory ---- */

static bool count_row(void *context, const struct list_row *row)
{
    (*(int *)context)++;
    return row->identity_count > 0;
}

static bool ignore_wrong(void *context, uint64_t line, const char *what)
{
    (void)context;
    return line > 0 && what != NULL;
}

static enum error read_once(enum list_format format, const char *columns, int *rows)
{
    struct list_options options = options_of(format, CN_FORM_EXACT);
    struct list_sink sink = { rows, count_row, ignore_wrong };
    struct list_reader *reader;
    char why[LIST_WHY_MAX];
    enum error error;

    options.columns = columns;
    error = list_reader_new(&reader, &options, &sink, why);
    for (int i = 0; error == ERROR_NONE && i < 2; i++)
        error = list_reader_push(reader, i                    ? SLICE("b.org\nx\ta@b.org\n")
                                         : format == LIST_TSV ? SLICE("cn\tidentity\nA\ta@")
                                                              : SLICE("A\ta@"));
    if (error == ERROR_NONE)
        error = list_reader_end(reader);
    list_reader_free(reader);
    return error;
}

static void test_every_allocation_that_fails_is_an_error_and_leaks_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        bool failed = true;
        for (unsigned n = 1; failed; n++) {
            enum error error;
            int rows = 0;
            mem_fail_nth_for_tests(n);
            error = read_once(i ? LIST_TSV : LIST_REPRO, i == 2 ? "cn=cn" : NULL, &rows);
            failed = mem_failed_for_tests();
            mem_fail_nth_for_tests(0);
            /* libcsv tries again with less: then nothing may be missing. */
            assert_true(error == ERROR_NONE ? rows == 2 : failed);
        }
    }
}

static bool stop_row(void *context, const struct list_row *row)
{
    (void)row;
    (*(int *)context)++;
    return false;
}

static void test_sink_that_stops_is_not_called_again(void **state)
{
    struct list_options options = options_of(LIST_REPRO, CN_FORM_MAC);
    int calls = 0;
    struct list_sink sink = { &calls, stop_row, ignore_wrong };
    struct list_reader *reader;
    char why[LIST_WHY_MAX];

    (void)state;
    assert_int_equal(list_reader_new(&reader, &options, &sink, why), ERROR_NONE);
    assert_int_equal(
        list_reader_push(reader, SLICE("0004F224A6AC\ta@b.org\n0004F224A6AC\ta@b.org\n")),
        ERROR_CLOSED);
    assert_int_equal(list_reader_push(reader, SLICE("0004F224A6AC\ta@b.org\n")), ERROR_CLOSED);
    assert_int_equal(list_reader_end(reader), ERROR_CLOSED);
    assert_int_equal(calls, 1);
    list_reader_free(reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_F29_repro_gives_cn_and_identities),
        cmocka_unit_test(test_F29_each_wrong_line_of_repro_is_named),
        cmocka_unit_test(test_T10_metacharacters_of_an_exact_cn_are_data),
        cmocka_unit_test(test_exact_cn_has_at_most_64_characters),
        cmocka_unit_test(test_byte_order_mark_and_every_line_end_are_taken),
        cmocka_unit_test(test_NUL_control_characters_and_broken_utf8_are_named),
        cmocka_unit_test(test_utf16_of_both_orders_with_and_without_mark),
        cmocka_unit_test(test_broken_utf16_is_named_and_the_rest_is_read),
        cmocka_unit_test(test_an_encoding_may_be_named),
        cmocka_unit_test(test_giant_line_is_named_and_the_next_is_read),
        cmocka_unit_test(test_at_most_1000_identities_stand_on_a_line),
        cmocka_unit_test(test_F30_mac_list_in_any_spelling_with_a_template),
        cmocka_unit_test(test_F30_sequence_counts_every_device_also_wrong_ones),
        cmocka_unit_test(test_F30_csv_columns_by_name_in_any_order),
        cmocka_unit_test(test_F30_csv_delimiter_is_seen_in_the_header_or_named),
        cmocka_unit_test(test_F30_wrong_records_are_named_by_the_line_they_begin_on),
        cmocka_unit_test(test_open_quote_costs_at_most_one_record_of_bounded_size),
        cmocka_unit_test(test_header_that_lacks_a_column_or_has_it_twice_ends_it),
        cmocka_unit_test(test_template_takes_columns_and_each_stays_one_value),
        cmocka_unit_test(test_apostrophe_before_a_formula_is_taken_off),
        cmocka_unit_test(test_record_has_at_most_1024_fields),
        cmocka_unit_test(test_options_that_do_not_go_together_say_so),
        cmocka_unit_test(test_every_allocation_that_fails_is_an_error_and_leaks_nothing),
        cmocka_unit_test(test_sink_that_stops_is_not_called_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
