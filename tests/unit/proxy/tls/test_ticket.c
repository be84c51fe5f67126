/* SPDX-License-Identifier: Apache-2.0 */
/* What a ticket says against what holds now: each rule by itself, and every octet of the format. */
#include "proxy/tls/ticket.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define NOW     2000000000u
#define MAX_S   86400u
#define LISTED  X509_V_ERR_CERT_REVOKED
#define TRUST_A ((const unsigned char *)"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")

static struct ticket good_ticket(void)
{
    struct ticket t = { .verified_unix_s = NOW - 100, .store = "device" };
    memset(t.listener, 'l', sizeof(t.listener));
    memset(t.host, 'h', sizeof(t.host));
    memset(t.trust, 'a', sizeof(t.trust));
    t.chain = (struct trust_chain){ .certificate_count = 3,
                                    .link_count = 2,
                                    .not_after_unix_s = NOW + 1000 };
    memset(t.chain.sha256, 's', sizeof(t.chain.sha256));
    memset(t.chain.naming, 'n', sizeof(t.chain.naming));
    memset(t.chain.links, 'k', sizeof(t.chain.links));
    return t;
}

static const unsigned char *const listener =
    (const unsigned char *)"llllllllllllllllllllllllllllllll";
static const unsigned char *const host = (const unsigned char *)"hhhhhhhhhhhhhhhh";

static struct ticket_ground good_ground(void)
{
    return (struct ticket_ground){ .listener = listener,
                                   .host = host,
                                   .trust = TRUST_A,
                                   .revocation = X509_V_OK,
                                   .status_good = true,
                                   .now_unix_s = NOW,
                                   .max_s = MAX_S };
}

static void test_T14_a_ticket_that_fits_in_everything_is_admissible(void **state)
{
    (void)state;
    struct ticket ticket = good_ticket();
    struct ticket_ground ground = good_ground();
    assert_int_equal(ticket_judge(&ticket, &ground), TICKET_ADMISSIBLE);
    ground.client_certificate = CLIENT_CERTIFICATE_OPTIONAL;
    assert_int_equal(ticket_judge(&ticket, &ground), TICKET_ADMISSIBLE);
}

static void test_T14_each_rule_alone_makes_the_handshake_a_full_one(void **state)
{
    (void)state;
    static const unsigned char other[32] = "other";
    const struct ticket fits = good_ticket();
    const struct ticket_ground holds = good_ground();
    struct ticket ticket = fits;
    struct ticket_ground ground = holds;

    ground.listener = other;
    assert_int_equal(ticket_judge(&ticket, &ground), TICKET_OTHER_LISTENER);
    ground = holds;
    ground.host = other;
    assert_int_equal(ticket_judge(&ticket, &ground), TICKET_OTHER_HOST);
    ground = holds;
    ground.client_certificate = CLIENT_CERTIFICATE_IGNORED;
    assert_int_equal(ticket_judge(&ticket, &ground), TICKET_CERTIFICATE);
    ground.client_certificate = (enum client_certificate)77;
    assert_int_equal(ticket_judge(&ticket, &ground), TICKET_CERTIFICATE);
    ground = holds;
    ground.trust = NULL;
    assert_int_equal(ticket_judge(&ticket, &ground), TICKET_STORE);
    ground.trust = other;
    assert_int_equal(ticket_judge(&ticket, &ground), TICKET_STORE);
    ground = holds;
    ground.revocation = X509_V_ERR_CERT_REVOKED;
    assert_int_equal(ticket_judge(&ticket, &ground), TICKET_REVOKED);
    ground.revocation = X509_V_ERR_CRL_HAS_EXPIRED;
    assert_int_equal(ticket_judge(&ticket, &ground), TICKET_REVOKED);
    ground = holds;
    ticket.chain.not_after_unix_s = NOW;
    assert_int_equal(ticket_judge(&ticket, &ground), TICKET_EXPIRED);
    ticket.chain.not_after_unix_s = NOW + 1;
    assert_int_equal(ticket_judge(&ticket, &ground), TICKET_ADMISSIBLE);
    ticket = fits;
    ground.status_good = false;
    assert_int_equal(ticket_judge(&ticket, &ground), TICKET_STATUS);
    ground = holds;
    ticket.verified_unix_s = NOW - MAX_S;
    assert_int_equal(ticket_judge(&ticket, &ground), TICKET_TOO_OLD);
    ticket.verified_unix_s = NOW - MAX_S + 1;
    assert_int_equal(ticket_judge(&ticket, &ground), TICKET_ADMISSIBLE);
    ticket.verified_unix_s = NOW + 1; /* the clock was set back */
    assert_int_equal(ticket_judge(&ticket, &ground), TICKET_TOO_OLD);
    ticket = fits;
    ground.max_s = 0;
    assert_int_equal(ticket_judge(&ticket, &ground), TICKET_TOO_OLD);
}

static void test_T14_a_session_without_certificate_fits_only_where_none_is_required(void **state)
{
    (void)state;
    struct ticket ticket = good_ticket();
    struct ticket_ground ground = good_ground();
    memset(&ticket.chain, 0, sizeof(ticket.chain));
    memset(ticket.store, 0, sizeof(ticket.store));
    ground.trust = NULL;
    ground.revocation = LISTED; /* of no store: not looked at */
    ground.status_good = false;
    assert_int_equal(ticket_judge(&ticket, &ground), TICKET_CERTIFICATE);
    ground.client_certificate = CLIENT_CERTIFICATE_OPTIONAL;
    assert_int_equal(ticket_judge(&ticket, &ground), TICKET_ADMISSIBLE);
    ground.client_certificate = CLIENT_CERTIFICATE_IGNORED;
    assert_int_equal(ticket_judge(&ticket, &ground), TICKET_ADMISSIBLE);
    ticket.verified_unix_s = NOW - MAX_S;
    assert_int_equal(ticket_judge(&ticket, &ground), TICKET_TOO_OLD);
}

static void test_what_is_left_ends_with_the_chain_or_the_limit(void **state)
{
    (void)state;
    struct ticket ticket = good_ticket();
    assert_int_equal(ticket_left_s(&ticket, NOW, MAX_S), 1000);
    ticket.chain.not_after_unix_s = NOW + 10 * MAX_S;
    assert_int_equal(ticket_left_s(&ticket, NOW, MAX_S), MAX_S - 100);
    assert_int_equal(ticket_left_s(&ticket, NOW, 100), 0);
    assert_int_equal(ticket_left_s(&ticket, NOW - 101, MAX_S), 0);
    ticket.chain.not_after_unix_s = NOW - 1;
    assert_int_equal(ticket_left_s(&ticket, NOW, MAX_S), 0);
    memset(&ticket.chain, 0, sizeof(ticket.chain));
    memset(ticket.store, 0, sizeof(ticket.store));
    assert_int_equal(ticket_left_s(&ticket, NOW, MAX_S), MAX_S - 100);
}

static void expect_same(const struct ticket *wanted)
{
    unsigned char data[TICKET_DATA_MAX];
    struct ticket found;
    size_t size = ticket_write(wanted, data);
    assert_int_equal(ticket_read((struct slice){ (char *)data, size }, &found), ERROR_NONE);
    const struct trust_chain *a = &wanted->chain, *b = &found.chain;
    assert_memory_equal(found.listener, wanted->listener, sizeof(found.listener));
    assert_memory_equal(found.host, wanted->host, sizeof(found.host));
    assert_memory_equal(found.trust, wanted->trust, sizeof(found.trust));
    assert_string_equal(found.store, wanted->store);
    assert_int_equal(found.verified_unix_s, wanted->verified_unix_s);
    assert_int_equal(b->not_after_unix_s, a->not_after_unix_s);
    assert_int_equal(b->certificate_count, a->certificate_count);
    assert_int_equal(b->link_count, a->link_count);
    assert_memory_equal(b->sha256, a->sha256, a->certificate_count * sizeof(a->sha256[0]));
    assert_memory_equal(b->naming, a->naming, a->certificate_count * sizeof(a->naming[0]));
    assert_memory_equal(b->links, a->links, a->link_count * sizeof(a->links[0]));
}

static void test_what_is_written_is_read(void **state)
{
    (void)state;
    struct ticket ticket = good_ticket();
    expect_same(&ticket);
    ticket.chain.certificate_count = CHAIN_CERTIFICATES_MAX;
    ticket.chain.link_count = TRUST_STORE_DEPTH + 1;
    memset(ticket.store, 'x', STORE_NAME_MAX);
    expect_same(&ticket);
    memset(&ticket.chain, 0, sizeof(ticket.chain));
    memset(ticket.store, 0, sizeof(ticket.store));
    expect_same(&ticket);
}

static void expect_malformed(const unsigned char *data, size_t size)
{
    struct ticket found;
    assert_int_equal(ticket_read((struct slice){ (const char *)data, size }, &found),
                     ERROR_MALFORMED);
    assert_int_equal(found.chain.certificate_count, 0);
    assert_int_equal(found.verified_unix_s, 0);
}

static void test_T14_what_is_no_ticket_is_refused(void **state)
{
    (void)state;
    unsigned char data[TICKET_DATA_MAX + 1] = { 0 };
    struct ticket ticket = good_ticket();
    size_t size = ticket_write(&ticket, data);
    const unsigned char ours = data[0];
    for (size_t cut = 0; cut < size; cut++)
        expect_malformed(data, cut);
    expect_malformed(data, size + 1);
    for (unsigned format = 0; format < 256; format++) {
        data[0] = (unsigned char)format;
        if (format != ours)
            expect_malformed(data, size);
    }
    data[0] = ours;
    for (unsigned count = 0; count < 256; count++) {
        data[1] = (unsigned char)count;
        if (count != ticket.chain.certificate_count)
            expect_malformed(data, size);
    }
    ticket.store[0] = 0; /* certificates, and nobody who verified them */
    size = ticket_write(&ticket, data);
    expect_malformed(data, size);
    ticket = good_ticket();
    ticket.chain.certificate_count = ticket.chain.link_count = 0; /* and the other way round */
    size = ticket_write(&ticket, data);
    expect_malformed(data, size);
}

/* As long as its counts say, and longer than there is room for. */
static void test_T31_a_ticket_of_more_certificates_than_a_chain_has_is_refused(void **state)
{
    (void)state;
    unsigned char data[2 * TICKET_DATA_MAX] = { 0 };
    struct ticket ticket = good_ticket();
    ticket.chain.certificate_count = CHAIN_CERTIFICATES_MAX;
    ticket.chain.link_count = TRUST_STORE_DEPTH + 1;
    const size_t size = ticket_write(&ticket, data);
    struct ticket found;
    assert_int_equal(ticket_read((struct slice){ (char *)data, size }, &found), ERROR_NONE);
    data[2]++;
    expect_malformed(data, size + sizeof(struct chain_link));
    ticket.chain.link_count = 0;
    const size_t without_links = ticket_write(&ticket, data);
    memset(data + without_links, 0, 2 * SHA256_DIGEST_LENGTH);
    data[1]++;
    expect_malformed(data, without_links + 2 * SHA256_DIGEST_LENGTH);
    memset(ticket.store, 'x', sizeof(ticket.store)); /* a name without end */
    assert_int_equal(ticket_write(&ticket, data), without_links);
    expect_malformed(data, without_links);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_T31_a_ticket_of_more_certificates_than_a_chain_has_is_refused),
        cmocka_unit_test(test_T14_a_ticket_that_fits_in_everything_is_admissible),
        cmocka_unit_test(test_T14_each_rule_alone_makes_the_handshake_a_full_one),
        cmocka_unit_test(test_T14_a_session_without_certificate_fits_only_where_none_is_required),
        cmocka_unit_test(test_what_is_left_ends_with_the_chain_or_the_limit),
        cmocka_unit_test(test_what_is_written_is_read),
        cmocka_unit_test(test_T14_what_is_no_ticket_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
