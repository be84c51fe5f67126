/* SPDX-License-Identifier: Apache-2.0 */
/* Bindings as mapperd tells them, and names of flows. */
#include "proxy/registrar/binding.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct arena arena;

static enum error parse(const char *text, struct binding *out)
{
    arena_free(&arena);
    arena_init(&arena, 4096);
    return binding_parse(slice_of(text), &arena, out);
}

static void test_all_fields_are_read(void **state)
{
    struct binding b;

    (void)state;
    assert_int_equal(
        parse("v=1 store=device cn=0004F224A6AC device=device:0004F224A6AC ground=mapping "
              "entry=alice@example.org flow=p/1/2/3/4 expires=1700000000 instance=%3Curn:uuid:1%3E "
              "reg_id=2 q=500 cseq=7 call_id=a%20b path=- future=x "
              "contact=sip:alice@10.0.0.1:5061;x=a b",
              &b),
        ERROR_NONE);
    assert_true(slice_equal(b.store, SLICE("device")));
    assert_true(slice_equal(b.device, SLICE("device:0004F224A6AC")));
    assert_true(slice_equal(b.entry, SLICE("alice@example.org")));
    assert_true(slice_equal(b.instance, SLICE("<urn:uuid:1>")));
    assert_true(slice_equal(b.call_id, SLICE("a b")));
    assert_true(slice_equal(b.path, SLICE("")));
    assert_true(slice_equal(b.contact, SLICE("sip:alice@10.0.0.1:5061;x=a b")));
    assert_int_equal(b.expires_unix_s, 1700000000);
    assert_int_equal(b.reg_id, 2);
    assert_int_equal(b.q, 500);
    assert_int_equal(b.cseq, 7);
}

static void test_what_is_not_a_binding_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "v=1",
        "device=d expires=1",                 /* no contact */
        "device=d contact=sip:a@b",           /* no expiry */
        "expires=1 contact=sip:a@b",          /* no device */
        "device=d expires=0 contact=sip:a@b", /* long gone */
        "device=d expires=-1 contact=sip:a@b",
        "device=d expires=1x contact=sip:a@b",
        "device=d expires=99999999999999999999 contact=sip:a@b",
        "device=d expires=1 q=1001 contact=sip:a@b",
        "device=d expires=1 instance=%4 contact=sip:a@b",
        "device=d expires=1 instance=%zz contact=sip:a@b",
        "device=d expires=1  contact=sip:a@b", /* two spaces */
        "device=d expires=1 contact",
    };
    struct binding b;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(parse(bad[i], &b), ERROR_MALFORMED);
}

static void test_only_a_flow_of_this_run_is_one(void **state)
{
    const struct flow_origin origin = { "proxy1", 77 };
    const struct flow flow = { .worker = 3, .slot = 12, .generation = 9, .listener = 2 };
    static const char *const foreign[] = { "",
                                           "proxy1",
                                           "proxy2/77/3/12/9/2",
                                           "proxy1/78/3/12/9/2",
                                           "proxy1/77/3/12/9",
                                           "proxy1/77/3/12/9/2/1",
                                           "proxy1/77/3/12/9/x",
                                           "proxy1/77/4294967296/12/9/2",
                                           "proxy1/77/-1/12/9/2" };
    char text[FLOW_TEXT_MAX];

    (void)state;
    flow_write(&origin, flow, text);
    assert_string_equal(text, "proxy1/77/3/12/9/2");
    assert_true(flow_equal(flow_read(&origin, slice_of(text)), flow));
    assert_int_equal(flow_read(&origin, slice_of(text)).listener, 2);
    for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++)
        assert_int_equal(flow_read(&origin, slice_of(foreign[i])).generation, 0);
}

static int end(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_fields_are_read),
        cmocka_unit_test(test_what_is_not_a_binding_is_refused),
        cmocka_unit_test(test_only_a_flow_of_this_run_is_one),
    };
    return cmocka_run_group_tests(tests, NULL, end);
}
