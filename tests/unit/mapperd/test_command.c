/* SPDX-License-Identifier: Apache-2.0 */
/* The arguments of BIND and UNBIND, and what happens when memory is short. */
#include "common/mem.h"
#include "mapperd/command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static struct resp_command bind_example(void)
{
    static const char *const WORDS[] = { "BIND",
                                         "alice@example.org",
                                         "device:0004F224A6AC",
                                         "device",
                                         "0004F224A6AC",
                                         "mapping",
                                         "alice@example.org",
                                         "<urn:x>",
                                         "3",
                                         "sip:alice@192.0.2.1;transport=tls",
                                         "2000000000",
                                         "700",
                                         "call",
                                         "9",
                                         "p/1/0/2/3",
                                         "",
                                         "desk@example.org" };
    struct resp_command command = { .count = 17 };
    for (size_t i = 0; i < 17; i++)
        command.args[i] = slice_of(WORDS[i]);
    return command;
}

static enum error read_bind(const struct resp_command *command, const char **why)
{
    struct loop_message *m = loop_message_new(LOOP_BIND);
    if (m == NULL)
        return ERROR_MEMORY;
    enum error e = command_read_bind(command, m, why);
    if (e == ERROR_NONE) {
        const struct record_binding *b = &m->binding;
        assert_true(slice_equal(b->aor, SLICE("alice@example.org")));
        assert_true(slice_equal(b->instance_key, SLICE("i:<urn:x>:3")));
        assert_int_equal(b->expires_unix_s, 2000000000);
        assert_int_equal(b->q, 700);
        /* libpq takes texts that end in NUL. */
        assert_int_equal(b->aor.data[b->aor.size], '\0');
        assert_int_equal(b->path.data[b->path.size], '\0');
        assert_int_equal(b->registered_by.data[b->registered_by.size], '\0');
        assert_true(slice_equal(b->registered_by,
                                command->count == 17 ? SLICE("desk@example.org") : SLICE("")));
        assert_int_equal(b->instance_key.data[b->instance_key.size], '\0');
        assert_int_equal(m->bind, BIND_PUT);
    }
    loop_message_free(m);
    return e;
}

static void test_a_bind_is_read_whole(void **state)
{
    struct resp_command command = bind_example();
    const char *why = NULL;
    (void)state;
    assert_int_equal(read_bind(&command, &why), ERROR_NONE);
    assert_null(why);
    command.count = 16; /* the address of record itself */
    assert_int_equal(read_bind(&command, &why), ERROR_NONE);
    assert_null(why);
}

/* Nothing that is said of a third party makes the binding the address of record's own. */
static void test_who_registered_it_is_another_user_or_left_out(void **state)
{
    static const char *const WRONG[] = { "", "alice@example.org", "example.org", "a@B.org",
                                         "a b@x" };
    (void)state;
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++) {
        struct resp_command command = bind_example();
        const char *why = NULL;
        command.args[16] = slice_of(WRONG[i]);
        assert_int_equal(read_bind(&command, &why), ERROR_MALFORMED);
        assert_non_null(why);
    }
}

static void test_each_argument_is_bounded(void **state)
{
    static char long_text[4096];
    const char *why;
    (void)state;
    memset(long_text, 'x', sizeof(long_text));
    for (size_t i = 1; i < 17; i++) {
        struct resp_command command = bind_example();
        command.args[i] = (struct slice){ long_text, sizeof(long_text) };
        why = NULL;
        assert_int_equal(read_bind(&command, &why), ERROR_MALFORMED);
        assert_non_null(why);
        command.args[i] = (struct slice){ "a\0b", 3 };
        assert_int_equal(read_bind(&command, &why), ERROR_MALFORMED);
        command.args[i] = SLICE("\xff\xfe");
        assert_int_equal(read_bind(&command, &why), ERROR_MALFORMED);
        command.args[i] = SLICE("a\r\nb");
        assert_int_equal(read_bind(&command, &why), ERROR_MALFORMED);
    }
}

static enum bind_kind unbind_kind(const char *device, const char *instance, const char *contact)
{
    struct resp_command command = { .args = { SLICE("UNBIND"), SLICE("a@example.org"),
                                              slice_of(device), slice_of(instance), SLICE("1"),
                                              slice_of(contact) },
                                    .count = 6 };
    const char *why = NULL;
    struct loop_message *m = loop_message_new(LOOP_BIND);
    assert_non_null(m);
    enum error e = command_read_unbind(&command, m, &why);
    enum bind_kind kind = m->bind;
    loop_message_free(m);
    return e == ERROR_NONE ? kind : (enum bind_kind)0;
}

static void test_unbind_takes_one_a_device_or_all(void **state)
{
    (void)state;
    assert_int_equal(unbind_kind("d", "<urn:x>", "sip:a"), BIND_REMOVE_ONE);
    assert_int_equal(unbind_kind("d", "<urn:x>", "*"), BIND_REMOVE_ONE);
    assert_int_equal(unbind_kind("d", "", "sip:a"), BIND_REMOVE_ONE);
    assert_int_equal(unbind_kind("d", "", "*"), BIND_REMOVE_DEVICE);
    assert_int_equal(unbind_kind("*", "", "*"), BIND_REMOVE_ALL);
    /* Nothing wider than what was said. */
    assert_int_equal(unbind_kind("*", "", "sip:a"), 0);
    assert_int_equal(unbind_kind("*", "<urn:x>", "*"), 0);
    assert_int_equal(unbind_kind("", "", "*"), 0);
}

static void test_the_nth_allocation_fails(void **state)
{
    (void)state;
    for (unsigned n = 1; n < 50; n++) {
        struct resp_command command = bind_example();
        const char *why = NULL;
        mem_fail_nth_for_tests(n);
        enum error e = read_bind(&command, &why);
        mem_fail_nth_for_tests(0);
        if (e == ERROR_NONE)
            return;
        assert_int_equal(e, ERROR_MEMORY);
    }
    fail();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_bind_is_read_whole),
        cmocka_unit_test(test_who_registered_it_is_another_user_or_left_out),
        cmocka_unit_test(test_each_argument_is_bounded),
        cmocka_unit_test(test_unbind_takes_one_a_device_or_all),
        cmocka_unit_test(test_the_nth_allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
