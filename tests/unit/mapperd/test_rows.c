/* SPDX-License-Identifier: Apache-2.0 */
/* Rows as the server sends them (binary) become records: what PEER says of a device. */
#include "mapperd/rows.h"

#include "common/mem.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* A binary text[] of one element. */
static int write_array(char *to, const char *element)
{
    uint32_t head[5] = { htonl(1), 0, htonl(25), htonl(1), htonl(1) };
    uint32_t size = htonl((uint32_t)strlen(element));
    memcpy(to, head, sizeof(head));
    memcpy(to + sizeof(head), &size, sizeof(size));
    memcpy(to + sizeof(head) + sizeof(size), element, strlen(element));
    return (int)(sizeof(head) + sizeof(size) + strlen(element));
}

/* The row of READ_PEER; identity NULL: no mapping; state NULL: no row in device_info. */
static PGresult *make_row(const char *identity, const char *state)
{
    char array[512];
    PGresAttDesc columns[4] = {
        { .name = (char[]){ "store" }, .format = 1, .typid = 25 },
        { .name = (char[]){ "cn" }, .format = 1, .typid = 25 },
        { .name = (char[]){ "identities" }, .format = 1, .typid = 1009 },
        { .name = (char[]){ "state" }, .format = 1, .typid = 25 },
    };
    PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    assert_non_null(result);
    assert_true(PQsetResultAttrs(result, 4, columns));
    assert_true(PQsetvalue(result, 0, 0, (char[]){ "device" }, 6));
    assert_true(PQsetvalue(result, 0, 1, (char[]){ "0004F2000001" }, 12));
    int size = identity != NULL ? write_array(array, identity) : -1;
    assert_true(PQsetvalue(result, 0, 2, identity != NULL ? array : NULL, size));
    char *word = state != NULL ? mem_text(slice_of(state)) : NULL;
    assert_true(PQsetvalue(result, 0, 3, word, state != NULL ? (int)strlen(state) : -1));
    mem_free(word);
    return result;
}

static enum rows_outcome read_row(const char *identity, const char *state, struct record_peer *peer,
                                  uint64_t *skipped)
{
    struct rows_record record;
    PGresult *result = make_row(identity, state);
    rows_init(&record);
    *peer = (struct record_peer){ .state = RECORD_NONE };
    enum rows_outcome outcome = rows_peer(result, 0, &record);
    if (outcome == ROWS_PRESENT)
        assert_int_equal(record_peer_read(buffer_slice(&record.value), peer), ERROR_NONE);
    peer->bulks = SLICE(""); /* its memory goes */
    *skipped = record.skipped;
    rows_free(&record);
    PQclear(result);
    return outcome;
}

static void test_a_mapping_alone_is_a_known_device(void **state)
{
    struct record_peer peer;
    uint64_t skipped;
    (void)state;
    assert_int_equal(read_row("alice@example.org", NULL, &peer, &skipped), ROWS_PRESENT);
    assert_int_equal(peer.state, RECORD_ENABLED);
    assert_int_equal(peer.count, 1);
    assert_int_equal(read_row("alice@example.org", "known", &peer, &skipped), ROWS_PRESENT);
    assert_int_equal(peer.state, RECORD_ENABLED);
    assert_int_equal(skipped, 0);
}

static void test_a_row_without_mapping_is_no_known_device(void **state)
{
    struct record_peer peer;
    uint64_t skipped;
    (void)state;
    assert_int_equal(read_row(NULL, NULL, &peer, &skipped), ROWS_ABSENT);
    assert_int_equal(read_row(NULL, "known", &peer, &skipped), ROWS_ABSENT);
    assert_int_equal(skipped, 0);
}

static void test_a_disabled_device_is_kept_whatever_its_mappings_are(void **state)
{
    static const char *const IDENTITIES[] = { NULL, "alice@example.org", "not canonical@" };
    struct record_peer peer;
    uint64_t skipped;
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(read_row(IDENTITIES[i], "disabled", &peer, &skipped), ROWS_PRESENT);
        assert_int_equal(peer.state, RECORD_DISABLED);
        assert_int_equal(peer.count, 0);
        assert_int_equal(skipped, 0);
    }
}

static void test_T55_an_unknown_state_is_disabled_and_reported(void **state)
{
    static const char *const WORDS[] = { "", "Known", "known ", "enabled", "knowndisabled" };
    struct record_peer peer;
    uint64_t skipped;
    (void)state;
    for (size_t i = 0; i < sizeof(WORDS) / sizeof(WORDS[0]); i++) {
        assert_int_equal(read_row("alice@example.org", WORDS[i], &peer, &skipped), ROWS_PRESENT);
        assert_int_equal(peer.state, RECORD_DISABLED);
        assert_int_equal(skipped, 1);
    }
}

static void test_T55_an_identity_that_is_not_canonical_is_no_identity(void **state)
{
    struct record_peer peer;
    uint64_t skipped;
    (void)state;
    assert_int_equal(read_row("Alice@EXAMPLE.org", NULL, &peer, &skipped), ROWS_ABSENT);
    assert_int_equal(skipped, 1);
}

/* A binary text[] of `count` texts made by `write`. */
static char *make_array(size_t count, void (*write)(char *to, size_t size, size_t i), int *size)
{
    uint32_t head[5] = { htonl(1), 0, htonl(25), htonl((uint32_t)count), htonl(1) };
    struct buffer out;
    char text[64];
    buffer_init(&out, 0);
    buffer_add(&out, (struct slice){ (const char *)head, sizeof(head) });
    for (size_t i = 0; i < count; i++) {
        write(text, sizeof(text), i);
        uint32_t length = htonl((uint32_t)strlen(text));
        buffer_add(&out, (struct slice){ (const char *)&length, sizeof(length) });
        buffer_add_text(&out, text);
    }
    char *copy = mem_alloc(buffer_size(&out));
    assert_non_null(copy);
    memcpy(copy, buffer_slice(&out).data, buffer_size(&out));
    *size = (int)buffer_size(&out);
    buffer_free(&out);
    return copy;
}

static void write_identity(char *to, size_t size, size_t i)
{
    snprintf(to, size, "u%zu@example.org", i);
}

static void write_rule(char *to, size_t size, size_t i)
{
    snprintf(to, size, "%zu %zu allow * * * - - -", i, i + 1);
}

/* A row of two texts, an array, and nothing. */
static PGresult *make_large(const char *first, const char *second, char *array, int size)
{
    PGresult *result = make_row(NULL, NULL);
    assert_true(PQsetvalue(result, 0, 0, (char *)first, (int)strlen(first)));
    assert_true(PQsetvalue(result, 0, 1, (char *)second, (int)strlen(second)));
    assert_true(PQsetvalue(result, 0, 2, array, size));
    return result;
}

static void test_T55_identities_beyond_the_bound_are_left_out(void **state)
{
    const size_t max = RECORD_IDENTITIES_MAX;
    (void)state;
    for (size_t count = max - 1; count <= max + 2; count++) {
        int size;
        char *array = make_array(count, write_identity, &size);
        PGresult *result = make_large("device", "0004F2000001", array, size);
        struct rows_record record;
        struct record_peer peer;
        struct slice identity;
        size_t read = 0;
        rows_init(&record);
        assert_int_equal(rows_peer(result, 0, &record), ROWS_PRESENT);
        assert_int_equal(record_peer_read(buffer_slice(&record.value), &peer), ERROR_NONE);
        assert_int_equal(peer.count, count < max ? count : max);
        while (record_peer_next(&peer.bulks, &identity))
            read++;
        assert_int_equal(read, peer.count);
        assert_int_equal(record.skipped, count > max ? 1 : 0);
        rows_free(&record);
        PQclear(result);
        mem_free(array);
    }
}

static void test_T55_behind_rules_beyond_the_bound_all_is_denied(void **state)
{
    const size_t max = RECORD_RULES_MAX;
    (void)state;
    for (size_t count = max - 1; count <= max + 2; count++) {
        int size;
        char *array = make_array(count, write_rule, &size);
        PGresult *result = make_large("everyone", "", array, size);
        struct rows_record record;
        struct record_rule rule = { 0 };
        size_t read = 0;
        rows_init(&record);
        assert_int_equal(rows_rules(result, 0, &record), ROWS_PRESENT);
        struct slice rest = buffer_slice(&record.value);
        while (record_rule_next(&rest, &rule) == ERROR_NONE)
            read++;
        assert_int_equal(read, count <= max ? count : max + 1);
        assert_int_equal(slice_equal(rule.text, SLICE("0 deny * * * - - -")), count > max);
        assert_true(rule.position == (int64_t)(read - 1));
        rows_free(&record);
        PQclear(result);
        mem_free(array);
    }
}

static void write_group(char *to, size_t size, size_t i)
{
    snprintf(to, size, "g%zu", i);
}

static void write_bad_group(char *to, size_t size, size_t i)
{
    snprintf(to, size, i == 1 ? "g %zu" : "g%zu", i);
}

/* What a row of READ_USER says of the user's state, with so many groups; of the array `cut` octets
 * are missing. */
static enum record_state state_of_user(const char *identity, const char *word, size_t groups,
                                       void (*write)(char *to, size_t size, size_t i), int cut)
{
    int size;
    char *array = make_array(groups, write, &size);
    PGresult *result = make_large(identity, word, array, size - cut);
    struct rows_record record;
    struct record_user user;
    rows_init(&record);
    assert_int_equal(rows_user(result, 0, &record), ROWS_PRESENT);
    assert_int_equal(record_user_read(buffer_slice(&record.value), &user), ERROR_NONE);
    assert_int_equal(record.skipped > 0, user.state != RECORD_ENABLED && strcmp(word, "disabled"));
    rows_free(&record);
    PQclear(result);
    mem_free(array);
    return user.state;
}

/* A group that is left out could be the one whose rule denies. */
static void test_T55_a_user_whose_row_can_not_be_read_whole_is_disabled(void **state)
{
    const char *const alice = "alice@example.org";
    (void)state;
    assert_int_equal(state_of_user(alice, "enabled", 0, write_group, 0), RECORD_ENABLED);
    assert_int_equal(state_of_user(alice, "enabled", RECORD_GROUPS_MAX, write_group, 0),
                     RECORD_ENABLED);
    assert_int_equal(state_of_user(alice, "disabled", 1, write_group, 0), RECORD_DISABLED);
    assert_int_equal(state_of_user(alice, "Enabled", 1, write_group, 0), RECORD_DISABLED);
    assert_int_equal(state_of_user(alice, "enabled", RECORD_GROUPS_MAX + 1, write_group, 0),
                     RECORD_DISABLED);
    assert_int_equal(state_of_user(alice, "enabled", 3, write_bad_group, 0), RECORD_DISABLED);
    assert_int_equal(state_of_user("Alice@EXAMPLE.org", "enabled", 1, write_group, 0),
                     RECORD_DISABLED);
    assert_int_equal(state_of_user(alice, "enabled", 1, write_group, 8), RECORD_DISABLED);
}

static void write_bad_rule(char *to, size_t size, size_t i)
{
    static const char *const RULES[] = { "-5 7 deny what is this", "-5 8 allow what is this",
                                         "-5 9 permit * * * - - -", "nonsense", "" };
    snprintf(to, size, "%s", RULES[i]);
}

/* Left out, a rule that allows takes something away; one that denies would give. */
static void test_T55_a_rule_that_can_not_be_read_denies_everything_unless_it_allows(void **state)
{
    static const struct {
        int64_t position;
        const char *text;
    } WANTED[] = { { -5, "7 deny * * * - - -" },
                   { -5, "9 deny * * * - - -" },
                   { 0, "0 deny * * * - - -" },
                   { 0, "0 deny * * * - - -" } };
    (void)state;
    for (int cut = 0; cut < 2; cut++) {
        int size;
        size_t read = 0;
        char *array = make_array(5, write_bad_rule, &size);
        PGresult *result = make_large("group", "staff", array, cut ? 16 : size);
        struct rows_record record;
        struct record_rule rule;
        rows_init(&record);
        assert_int_equal(rows_rules(result, 0, &record), ROWS_PRESENT);
        struct slice rest = buffer_slice(&record.value);
        for (; record_rule_next(&rest, &rule) == ERROR_NONE; read++) {
            size_t wanted = cut ? 3 : read;
            assert_true(slice_equal(rule.text, slice_of(WANTED[wanted].text)));
            assert_true(rule.position == WANTED[wanted].position);
            assert_true(rule.number == UINT64_MAX); /* before whatever stands at that position */
        }
        assert_int_equal(read, cut ? 1 : 4);
        rows_free(&record);
        PQclear(result);
        mem_free(array);
    }
}

/* Large enough for memory of its own, behind which nothing may be read. */
static void test_T55_an_array_that_is_cut_is_read_to_its_end_and_no_further(void **state)
{
    int size;
    char *array = make_array(300, write_identity, &size);
    (void)state;
    for (int left = size; left > size - 60; left--) {
        PGresult *result = make_large("device", "0004F2000001", array, left);
        struct rows_record record;
        struct record_peer peer;
        rows_init(&record);
        assert_int_equal(rows_peer(result, 0, &record), ROWS_PRESENT);
        assert_int_equal(record_peer_read(buffer_slice(&record.value), &peer), ERROR_NONE);
        assert_true(left == size ? peer.count == 300 : peer.count > 295 && peer.count < 300);
        rows_free(&record);
        PQclear(result);
    }
    mem_free(array);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_mapping_alone_is_a_known_device),
        cmocka_unit_test(test_a_row_without_mapping_is_no_known_device),
        cmocka_unit_test(test_a_disabled_device_is_kept_whatever_its_mappings_are),
        cmocka_unit_test(test_T55_an_unknown_state_is_disabled_and_reported),
        cmocka_unit_test(test_T55_an_identity_that_is_not_canonical_is_no_identity),
        cmocka_unit_test(test_T55_identities_beyond_the_bound_are_left_out),
        cmocka_unit_test(test_T55_behind_rules_beyond_the_bound_all_is_denied),
        cmocka_unit_test(test_T55_a_user_whose_row_can_not_be_read_whole_is_disabled),
        cmocka_unit_test(test_T55_a_rule_that_can_not_be_read_denies_everything_unless_it_allows),
        cmocka_unit_test(test_T55_an_array_that_is_cut_is_read_to_its_end_and_no_further),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
