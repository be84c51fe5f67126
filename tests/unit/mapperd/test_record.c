/* SPDX-License-Identifier: Apache-2.0 */
/* Records: what is written reads back, what is cut or changed never reads as more than it was. */
#include "mapperd/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static struct record_binding example(void)
{
    return (struct record_binding){ .aor = SLICE("alice@example.org"),
                                    .device_key = SLICE("corp:Big Box"),
                                    .instance_key = SLICE("i:<urn:x>:1"),
                                    .store = SLICE("corp"),
                                    .cn = SLICE("Big Box"),
                                    .entry = SLICE("example.org"),
                                    .instance = SLICE("<urn:x>"),
                                    .contact = SLICE("sip:a@192.0.2.1;transport=tls"),
                                    .call_id = SLICE("a b%c"),
                                    .flow = SLICE("p/1/2/3/4"),
                                    .path = SLICE(""),
                                    .ground = GROUND_MAPPING,
                                    .expires_unix_s = 2000000000,
                                    .reg_id = 1,
                                    .cseq = 7,
                                    .q = 500,
                                    .version = { 1234, 5 } };
}

static void write_all(struct buffer *out, int kind)
{
    struct record_store store = { .state = RECORD_ENABLED,
                                  .form = CN_FORM_MAC,
                                  .prefixes = { SLICE("SEP"), SLICE("") },
                                  .prefix_count = 2 };
    struct record_rule rule = { -5, 3, 9, SLICE("9 allow * * * - - -") };
    struct record_binding binding = example();
    struct record_credential credential = { SLICE("example.org"), SLICE("alice"), SLICE("ab12"),
                                            SLICE("") };
    struct buffer scratch;
    buffer_init(&scratch, 0);
    switch (kind) {
    case 0:
        record_store_write(out, &store);
        break;
    case 1:
        record_domain_write(out, RECORD_DISABLED);
        break;
    case 2:
        record_peer_start(out, RECORD_ENABLED, 2);
        record_peer_add(out, SLICE("alice@example.org"));
        record_peer_add(out, SLICE("example.org"));
        break;
    case 3:
        record_user_start(out, RECORD_ENABLED, 2);
        record_user_add_group(out, SLICE("sales"));
        record_user_add_group(out, SLICE("staff"));
        record_rule_add(out, &rule);
        break;
    case 4:
        record_credential_start(out, 2);
        record_credential_add(out, &scratch, &credential);
        credential.realm = SLICE("two words");
        record_credential_add(out, &scratch, &credential);
        break;
    default:
        record_binding_write(out, &binding);
        break;
    }
    buffer_free(&scratch);
}

static enum error read_any(struct slice value, int kind)
{
    struct record_store store;
    enum record_state domain;
    struct record_peer peer;
    struct record_user user;
    struct record_binding binding;
    struct record_rule rule;
    struct slice identity;
    enum error e;
    switch (kind) {
    case 0:
        return record_store_read(value, &store);
    case 1:
        return record_domain_read(value, &domain);
    case 2:
        e = record_peer_read(value, &peer);
        while (e == ERROR_NONE && record_peer_next(&peer.bulks, &identity))
            assert_true(identity.size <= IDENTITY_MAX);
        return e;
    case 3:
        e = record_user_read(value, &user);
        while (e == ERROR_NONE)
            e = record_rule_next(&user.rules, &rule);
        return e == ERROR_NOT_FOUND ? ERROR_NONE : e;
    case 4:
        return record_credential_read(value, &peer);
    default:
        return record_binding_read(value, &binding);
    }
}

static void test_what_is_cut_anywhere_is_malformed_and_nothing_is_read_behind_it(void **state)
{
    struct buffer out;
    (void)state;
    for (int kind = 0; kind < 6; kind++) {
        buffer_init(&out, 0);
        write_all(&out, kind);
        struct slice whole = buffer_slice(&out);
        assert_int_equal(read_any(whole, kind), ERROR_NONE);
        for (size_t size = 0; size < whole.size; size++) {
            /* A copy of its own, so that a sanitizer sees each byte read too many. */
            char *copy = malloc(size + 1);
            memcpy(copy, whole.data, size);
            char *exact = size > 0 ? realloc(copy, size) : copy;
            enum error e = read_any((struct slice){ exact, size }, kind);
            if (kind != 2 && kind != 3 && kind != 4)
                assert_int_equal(e, ERROR_MALFORMED);
            free(exact);
        }
        buffer_free(&out);
    }
}

static void test_changed_bytes_never_read_outside(void **state)
{
    struct buffer out;
    (void)state;
    for (int kind = 0; kind < 6; kind++) {
        buffer_init(&out, 0);
        write_all(&out, kind);
        size_t size = buffer_size(&out);
        for (size_t at = 0; at < size; at++) {
            for (int value = 0; value < 256; value += 15) {
                char *copy = malloc(size);
                memcpy(copy, buffer_slice(&out).data, size);
                copy[at] = (char)value;
                enum error e = read_any((struct slice){ copy, size }, kind);
                assert_true(e == ERROR_NONE || e == ERROR_MALFORMED);
                free(copy);
            }
        }
        buffer_free(&out);
    }
}

static void test_zero_is_no_state_and_no_ground(void **state)
{
    enum record_state domain;
    struct record_store store;
    struct record_binding binding;
    char zeros[200] = { 0 };
    (void)state;
    assert_int_equal(record_domain_read((struct slice){ zeros, 1 }, &domain), ERROR_MALFORMED);
    assert_int_equal(record_store_read((struct slice){ zeros, 3 }, &store), ERROR_MALFORMED);
    assert_int_equal(record_binding_read((struct slice){ zeros, 100 }, &binding), ERROR_MALFORMED);
}

static void test_a_binding_reads_back_and_its_text_keeps_fields_apart(void **state)
{
    struct record_binding in = example(), out;
    struct buffer value, text;
    (void)state;
    buffer_init(&value, 0);
    buffer_init(&text, 0);
    record_binding_write(&value, &in);
    assert_int_equal(record_binding_read(buffer_slice(&value), &out), ERROR_NONE);
    assert_int_equal(record_version_compare(in.version, out.version), 0);
    assert_false(out.removed);
    record_binding_text(&text, &out, NULL);
    assert_true(slice_equal(
        buffer_slice(&text),
        SLICE("v=1 store=corp cn=Big%20Box device=corp:Big%20Box ground=mapping entry=example.org "
              "flow=p/1/2/3/4 expires=2000000000 instance=<urn:x> reg_id=1 q=500 cseq=7 "
              "call_id=a%20b%25c path=- contact=sip:a@192.0.2.1;transport=tls")));
    in.removed = true;
    buffer_reset(&value);
    record_binding_write(&value, &in);
    assert_int_equal(record_binding_read(buffer_slice(&value), &out), ERROR_NONE);
    assert_true(out.removed);
    buffer_free(&value);
    buffer_free(&text);
}

static void
test_what_a_third_party_has_registered_reads_back_and_never_as_the_others_own(void **state)
{
    struct record_binding in = example(), out;
    struct slice groups[] = { SLICE("desk"), SLICE("staff") };
    struct record_third_party third = { groups, 2, 2000000001 };
    struct buffer value, text, own;
    (void)state;
    buffer_init(&value, 0);
    buffer_init(&text, 0);
    buffer_init(&own, 0);
    record_binding_write(&own, &in);
    in.registered_by = SLICE("desk@example.org");
    for (int removed = 0; removed < 2; removed++) {
        in.removed = removed;
        buffer_reset(&value);
        record_binding_write(&value, &in);
        assert_int_equal(record_binding_read(buffer_slice(&value), &out), ERROR_NONE);
        assert_int_equal(out.removed, removed);
        assert_true(slice_equal(out.registered_by, SLICE("desk@example.org")));
        for (size_t cut = 0; cut < buffer_size(&value); cut++)
            assert_int_equal(
                record_binding_read((struct slice){ buffer_slice(&value).data, cut }, &out),
                ERROR_MALFORMED);
    }
    record_binding_text(&text, &in, &third);
    assert_true(slice_equal(
        buffer_slice(&text),
        SLICE("v=1 store=corp cn=Big%20Box device=corp:Big%20Box ground=mapping entry=example.org "
              "flow=p/1/2/3/4 expires=2000000000 instance=<urn:x> reg_id=1 q=500 cseq=7 "
              "call_id=a%20b%25c path=- registered_by=desk@example.org groups=desk,staff "
              "until=2000000001 contact=sip:a@192.0.2.1;transport=tls")));
    /* Records of before, as journals hold them. */
    assert_int_equal(buffer_slice(&own).data[1], 2);
    assert_int_equal(record_binding_read(buffer_slice(&own), &out), ERROR_NONE);
    assert_int_equal(out.registered_by.size, 0);
    /* One that names nobody is nobody's. */
    buffer_add(&own, (struct slice){ "\0\0\0\0", 4 });
    own.data[own.from + 1] = 4;
    assert_int_equal(record_binding_read(buffer_slice(&own), &out), ERROR_MALFORMED);
    buffer_free(&value);
    buffer_free(&text);
    buffer_free(&own);
}

static void test_credentials_are_bulks_whose_fields_keep_apart(void **state)
{
    struct record_peer credentials;
    struct buffer out;
    (void)state;
    buffer_init(&out, 0);
    write_all(&out, 4);
    assert_int_equal(record_credential_read(buffer_slice(&out), &credentials), ERROR_NONE);
    assert_int_equal(credentials.count, 2);
    assert_true(
        slice_equal(credentials.bulks,
                    SLICE("$54\r\nv=1 realm=example.org username=alice sha256=ab12 md5=-\r\n"
                          "$54\r\nv=1 realm=two%20words username=alice sha256=ab12 md5=-\r\n")));
    buffer_reset(&out);
    record_credential_start(&out, RECORD_REALMS_MAX + 1);
    for (int i = 0; i < 1000; i++)
        buffer_add_char(&out, '$');
    assert_int_equal(record_credential_read(buffer_slice(&out), &credentials), ERROR_MALFORMED);
    buffer_free(&out);
}

static void test_keys_sort_like_columns_and_too_long_ones_fail(void **state)
{
    struct record_key a, b;
    char long_text[600];
    (void)state;
    memset(long_text, 'x', sizeof(long_text));
    record_peer_key(&a, SLICE("ab"), SLICE("z"));
    record_peer_key(&b, SLICE("ab-c"), SLICE("a"));
    assert_true(slice_compare(record_key_slice(&a), record_key_slice(&b)) < 0);
    record_peer_key(&a, SLICE("ab"), (struct slice){ long_text, sizeof(long_text) });
    assert_true(a.failed);
    record_key_start(&a);
    record_key_add_u64(&a, 255);
    record_key_start(&b);
    record_key_add_u64(&b, 256);
    assert_true(slice_compare(record_key_slice(&a), record_key_slice(&b)) < 0);
    assert_int_equal(record_u64_at(b.bytes), 256);
}

static void test_a_disabled_device_has_no_identity_that_could_be_a_yes(void **state)
{
    struct buffer out;
    struct record_peer peer;
    const enum record_state states[] = { RECORD_NONE, RECORD_ENABLED, RECORD_DISABLED };
    (void)state;
    for (size_t s = 0; s < 3; s++) {
        for (uint32_t count = 0; count < 2; count++) {
            buffer_init(&out, 0);
            record_peer_start(&out, states[s], count);
            if (count > 0)
                record_peer_add(&out, SLICE("alice@example.org"));
            bool good = states[s] == RECORD_ENABLED    ? count == 1
                        : states[s] == RECORD_DISABLED ? count == 0
                                                       : false;
            assert_int_equal(record_peer_read(buffer_slice(&out), &peer),
                             good ? ERROR_NONE : ERROR_MALFORMED);
            if (good) {
                assert_int_equal(peer.state, states[s]);
                assert_int_equal(peer.count, count);
                assert_int_equal(peer.bulks.size > 0, count == 1);
            }
            buffer_free(&out);
        }
    }
}

static void test_a_binding_key_separates_device_from_instance(void **state)
{
    struct record_key a, b;
    (void)state;
    record_binding_key(&a, SLICE("u@d"), SLICE("ab"), SLICE("c"));
    record_binding_key(&b, SLICE("u@d"), SLICE("a"), SLICE("bc"));
    assert_false(slice_equal(record_key_slice(&a), record_key_slice(&b)));
    assert_int_equal(a.size, 4 + 16);
}

static void test_the_clock_of_versions_never_goes_back(void **state)
{
    uint64_t seen = 0, before = 0;
    const uint64_t clock[] = { 100, 101, 101, 50, 50, 102, 500, 499, 0, UINT32_MAX };
    (void)state;
    for (size_t i = 0; i < sizeof(clock) / sizeof(clock[0]); i++) {
        seen = record_version_next(clock[i], seen);
        assert_true(seen > before && seen >= clock[i]);
        before = seen;
    }
    struct record_version low = { 5, 9 }, high = { 6, 1 }, other = { 6, 2 };
    assert_true(record_version_compare(low, high) < 0);
    assert_true(record_version_compare(other, high) > 0);
    assert_int_equal(record_version_compare(high, high), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_cut_anywhere_is_malformed_and_nothing_is_read_behind_it),
        cmocka_unit_test(test_changed_bytes_never_read_outside),
        cmocka_unit_test(test_zero_is_no_state_and_no_ground),
        cmocka_unit_test(test_a_binding_reads_back_and_its_text_keeps_fields_apart),
        cmocka_unit_test(
            test_what_a_third_party_has_registered_reads_back_and_never_as_the_others_own),
        cmocka_unit_test(test_credentials_are_bulks_whose_fields_keep_apart),
        cmocka_unit_test(test_keys_sort_like_columns_and_too_long_ones_fail),
        cmocka_unit_test(test_a_disabled_device_has_no_identity_that_could_be_a_yes),
        cmocka_unit_test(test_a_binding_key_separates_device_from_instance),
        cmocka_unit_test(test_the_clock_of_versions_never_goes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
