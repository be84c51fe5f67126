/* SPDX-License-Identifier: Apache-2.0 */
/* A token opens in its own dialog with its own bytes, and in no other way. */
#include "proxy/authorization/dialog_token.h"

#include "common/log.h"
#include "common/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64], path[96];
static struct token_keys *keys;
static struct identity alice, bob, carol;
static const struct dialog_token token = {
    .caller = { .device = 1, .entry = 2, .flow = { .worker = 3, .slot = 4, .generation = 5 } },
    .callee = { .device = UINT64_MAX,
                .entry = 7,
                .flow = { .worker = 255,
                          .listener = 255,
                          .slot = UINT32_MAX,
                          .generation = UINT32_MAX } },
};
static struct dialog_names names;

static void write_file(const char *text, mode_t mode)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    chmod(path, mode);
}

static int setup(void **state)
{
    (void)state;
    log_set_level(LOG_ERROR);
    snprintf(folder, sizeof folder, "/tmp/holdline-test-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/token.keys", folder);
    assert_int_equal(token_keys_load(path, &keys), ERROR_NONE);
    assert_int_equal(identity_from_text(&alice, SLICE("alice@example.org")), ERROR_NONE);
    assert_int_equal(identity_from_text(&bob, SLICE("bob@example.org")), ERROR_NONE);
    assert_int_equal(identity_from_text(&carol, SLICE("carol@example.org")), ERROR_NONE);
    names = (struct dialog_names){
        .call_id = SLICE("abc@host"), .caller_tag = SLICE("t1"), .caller = &alice, .callee = &bob
    };
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    token_keys_free(keys);
    unlink(path);
    return rmdir(folder);
}

static void seal(char out[DIALOG_TOKEN_SIZE + 1])
{
    assert_int_equal(dialog_token_seal(keys, &token, &names, out), ERROR_NONE);
}

static bool opens(const char *text, const struct dialog_names *with)
{
    struct dialog_token out;
    bool done = dialog_token_open(keys, slice_of(text), with, &out) == ERROR_NONE;

    if (!done)
        assert_int_equal(out.caller.device | out.callee.device | out.caller.entry, 0);
    return done;
}

static void test_token_comes_back_as_it_was_and_is_short(void **state)
{
    char text[DIALOG_TOKEN_SIZE + 1];
    struct dialog_token out;

    (void)state;
    seal(text);
    assert_int_equal(strlen(text), DIALOG_TOKEN_SIZE);
    assert_true(strlen(text) + strlen(";dlg=") <= 160);
    assert_int_equal(
        strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
        DIALOG_TOKEN_SIZE);
    assert_int_equal(dialog_token_open(keys, slice_of(text), &names, &out), ERROR_NONE);
    assert_int_equal(out.caller.device, 1);
    assert_int_equal(out.caller.entry, 2);
    assert_true(flow_equal(out.caller.flow, token.caller.flow));
    assert_true(out.callee.device == UINT64_MAX);
    assert_int_equal(out.callee.entry, 7);
    assert_true(flow_equal(out.callee.flow, token.callee.flow));
}

static void test_T18_every_flipped_bit_is_refused(void **state)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    char text[DIALOG_TOKEN_SIZE + 1];

    (void)state;
    seal(text);
    for (size_t i = 0; i < DIALOG_TOKEN_SIZE; i++) {
        size_t value = (size_t)(strchr(alphabet, text[i]) - alphabet);
        char kept = text[i];

        for (unsigned bit = 0; bit < 6; bit++) {
            text[i] = alphabet[value ^ 1u << bit];
            assert_false(opens(text, &names));
        }
        text[i] = kept;
    }
    assert_true(opens(text, &names));
}

static void test_T18_other_lengths_and_characters_are_refused(void **state)
{
    char text[2 * DIALOG_TOKEN_SIZE] = "";
    struct dialog_token out;

    (void)state;
    seal(text);
    for (size_t size = 0; size < DIALOG_TOKEN_SIZE; size++)
        assert_int_equal(dialog_token_open(keys, (struct slice){ text, size }, &names, &out),
                         ERROR_MALFORMED);
    strcat(text, "A");
    assert_false(opens(text, &names));
    text[DIALOG_TOKEN_SIZE] = '\0';
    for (const char *c = "+/=%~ \x80"; *c; c++) {
        text[60] = *c;
        assert_false(opens(text, &names));
    }
    text[60] = '\0';
    assert_int_equal(
        dialog_token_open(keys, (struct slice){ text, DIALOG_TOKEN_SIZE }, &names, &out),
        ERROR_MALFORMED);
}

static void test_T18_another_dialog_is_refused(void **state)
{
    char text[DIALOG_TOKEN_SIZE + 1];
    struct dialog_names other;

    (void)state;
    seal(text);
    other = names, other.call_id = SLICE("abd@host");
    assert_false(opens(text, &other));
    other = names, other.caller_tag = SLICE("t2");
    assert_false(opens(text, &other));
    other = names, other.caller = &carol;
    assert_false(opens(text, &other));
    other = names, other.callee = &carol;
    assert_false(opens(text, &other));
    other = names, other.caller = &bob, other.callee = &alice;
    assert_false(opens(text, &other));
    /* No part may reach into the next. */
    other = names, other.call_id = SLICE("abc@hostt"), other.caller_tag = SLICE("1");
    assert_false(opens(text, &other));
    assert_true(opens(text, &names));
}

static enum dialog_party sender_of(const char *text, const char *from_tag, const char *to_tag,
                                   const struct identity *from, const struct identity *to)
{
    struct dialog_request request = { .call_id = SLICE("abc@host"),
                                      .from_tag = slice_of(from_tag),
                                      .to_tag = slice_of(to_tag),
                                      .from = from,
                                      .to = to };
    struct dialog_token out;
    enum dialog_party sender;
    enum error error = dialog_token_open_request(keys, slice_of(text), &request, &out, &sender);

    assert_int_equal(error == ERROR_NONE, sender != DIALOG_NOBODY);
    return sender;
}

static void test_T18_requests_of_both_sides_and_of_nobody_else(void **state)
{
    char text[DIALOG_TOKEN_SIZE + 1];

    (void)state;
    seal(text);
    assert_int_equal(sender_of(text, "t1", "u1", &alice, &bob), DIALOG_CALLER);
    assert_int_equal(sender_of(text, "u1", "t1", &bob, &alice), DIALOG_CALLEE);
    assert_int_equal(sender_of(text, "t1", "", &alice, &bob), DIALOG_NOBODY); /* no To tag */
    assert_int_equal(sender_of(text, "u1", "t1", &alice, &bob),
                     DIALOG_NOBODY); /* wrong side's From */
    assert_int_equal(sender_of(text, "t1", "u1", &bob, &alice), DIALOG_NOBODY);
    assert_int_equal(sender_of(text, "t1", "u1", &carol, &bob), DIALOG_NOBODY);
    assert_int_equal(sender_of(text, "x", "y", &alice, &bob), DIALOG_NOBODY);
}

static void test_which_server_of_a_route_it_is_outlives_the_run(void **state)
{
    const struct dialog_token of_route = { .caller = { .device = 1, .server = UINT32_MAX },
                                           .callee = { .device = 2, .server = 77 } };
    char text[DIALOG_TOKEN_SIZE + 1];
    struct token_keys *later;
    struct dialog_token out;

    (void)state;
    assert_int_equal(dialog_token_seal(keys, &of_route, &names, text), ERROR_NONE);
    assert_int_equal(token_keys_load(path, &later), ERROR_NONE);
    assert_int_equal(dialog_token_open(later, slice_of(text), &names, &out), ERROR_NONE);
    assert_true(out.caller.server == UINT32_MAX && out.callee.server == 77);
    assert_int_equal(out.caller.flow.generation, 0);
    assert_int_equal(out.caller.flow.slot, 0);
    token_keys_free(later);
}

static void test_two_tokens_of_one_dialog_differ(void **state)
{
    char a[DIALOG_TOKEN_SIZE + 1], b[DIALOG_TOKEN_SIZE + 1];

    (void)state;
    seal(a);
    seal(b);
    assert_string_not_equal(a, b);
}

static void test_flows_of_another_run_are_none(void **state)
{
    char text[DIALOG_TOKEN_SIZE + 1];
    struct token_keys *later;
    struct dialog_token out;

    (void)state;
    seal(text);
    assert_int_equal(token_keys_load(path, &later), ERROR_NONE);
    assert_int_equal(dialog_token_open(later, slice_of(text), &names, &out), ERROR_NONE);
    assert_int_equal(out.caller.device, 1);
    assert_int_equal(out.caller.flow.generation, 0);
    assert_int_equal(out.callee.flow.generation, 0);
    assert_int_equal(token_keys_device_hash(keys, SLICE("d")),
                     token_keys_device_hash(later, SLICE("d")));
    token_keys_free(later);
}

#define HASH "hash 000102030405060708090a0b0c0d0e0f\n"
#define KEY1 "key 1 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
#define KEY2 "key 200 ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eff\n"

static void reload(const char *text)
{
    token_keys_free(keys);
    write_file(text, 0600);
    assert_int_equal(token_keys_load(path, &keys), ERROR_NONE);
}

static void test_first_key_seals_and_all_open(void **state)
{
    char by_one[DIALOG_TOKEN_SIZE + 1], by_two[DIALOG_TOKEN_SIZE + 1];
    uint64_t hash;

    (void)state;
    reload(HASH KEY1);
    hash = token_keys_device_hash(keys, SLICE("device:AA"));
    seal(by_one);
    reload(HASH "# new\n" KEY2 KEY1);
    assert_true(token_keys_device_hash(keys, SLICE("device:AA")) == hash); /* rotation keeps it */
    seal(by_two);
    assert_true(opens(by_one, &names));
    assert_true(opens(by_two, &names));
    reload(HASH KEY1);
    assert_true(opens(by_one, &names));
    assert_false(opens(by_two, &names));
    assert_true(token_keys_device_hash(keys, SLICE("a")) !=
                token_keys_entry_hash(keys, SLICE("a")));
}

/* Of the same run: a token's flows are flows of now. */
static void test_T18_keys_that_are_read_again_know_the_run(void **state)
{
    char text[DIALOG_TOKEN_SIZE + 1];
    struct token_keys *again;
    struct dialog_token out;

    (void)state;
    reload(HASH KEY1);
    seal(text);
    assert_int_equal(token_keys_reload(path, keys, &again), ERROR_NONE);
    assert_null(again);
    write_file(HASH KEY2 KEY1, 0600);
    assert_int_equal(token_keys_reload(path, keys, &again), ERROR_NONE);
    assert_non_null(again);
    keys = again; /* and with them those before */
    assert_int_equal(dialog_token_open(keys, slice_of(text), &names, &out), ERROR_NONE);
    assert_true(out.caller.flow.generation != 0);
    write_file("hash ff0102030405060708090a0b0c0d0e0f\n" KEY2, 0600);
    assert_int_equal(token_keys_reload(path, keys, &again), ERROR_CONFIG);
    write_file(HASH, 0600);
    assert_int_equal(token_keys_reload(path, keys, &again), ERROR_CONFIG);
    write_file(HASH KEY1, 0644);
    assert_int_equal(token_keys_reload(path, keys, &again), ERROR_CONFIG);
    assert_null(again);
    unlink(path);
    assert_int_equal(token_keys_reload(path, keys, &again), ERROR_CONFIG);
}

static void test_key_file_is_made_for_its_owner_alone(void **state)
{
    struct stat status;

    (void)state;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
}

static void test_bad_key_files_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "hash 00\n",
        KEY1,
        HASH,
        HASH "key 1 00\n",
        HASH KEY1 KEY1,
        HASH "key 256 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n",
        HASH KEY1 HASH,
        HASH KEY1 "rubbish\n",
        HASH "key 1 g00102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
    };
    struct token_keys *loaded;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_file(bad[i], 0600);
        assert_int_equal(token_keys_load(path, &loaded), ERROR_CONFIG);
        assert_null(loaded);
    }
    write_file(HASH KEY1, 0640);
    assert_int_equal(token_keys_load(path, &loaded), ERROR_CONFIG);
    write_file(HASH KEY1, 0604);
    assert_int_equal(token_keys_load(path, &loaded), ERROR_CONFIG);
    write_file(HASH KEY1, 0600);
    assert_int_equal(token_keys_load(path, &loaded), ERROR_NONE);
    token_keys_free(loaded);
    assert_int_not_equal(token_keys_load("/nonexistent/x/keys", &loaded), ERROR_NONE);
    assert_int_not_equal(token_keys_load(folder, &loaded), ERROR_NONE);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_token_comes_back_as_it_was_and_is_short),
        TEST(test_T18_every_flipped_bit_is_refused),
        TEST(test_T18_other_lengths_and_characters_are_refused),
        TEST(test_T18_another_dialog_is_refused),
        TEST(test_T18_requests_of_both_sides_and_of_nobody_else),
        TEST(test_which_server_of_a_route_it_is_outlives_the_run),
        TEST(test_two_tokens_of_one_dialog_differ),
        TEST(test_flows_of_another_run_are_none),
        TEST(test_first_key_seals_and_all_open),
        TEST(test_T18_keys_that_are_read_again_know_the_run),
        TEST(test_key_file_is_made_for_its_owner_alone),
        TEST(test_bad_key_files_are_refused),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
