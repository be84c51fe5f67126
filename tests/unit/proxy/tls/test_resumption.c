/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of tickets, and handshakes in memory: who gets a ticket, who may use it, and how often one
 * is tried (T14, T31). */
#include "proxy/tls/context.h"
#include "proxy/tls/ticket_keys.h"

#include "tests/unit/proxy/tls/certificates.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static struct test_certificate ca, server;
static struct ticket_keys *keys;

static struct tls_context *make_context(enum client_certificate asked, uint64_t max_s)
{
    char *anchor = test_certificate_pem(ca.certificate);
    char *certificate = test_certificate_pem(server.certificate), *key = test_key_pem(server.key);
    struct tls_store_spec store = { "device", slice_of(anchor), TRUST_RULES_USUAL };
    struct tls_own_spec own = { slice_of(certificate), slice_of(key) };
    struct tls_context_spec spec = { .own = &own,
                                     .own_count = 1,
                                     .client_certificate = asked,
                                     .stores = &store,
                                     .store_count = asked != CLIENT_CERTIFICATE_IGNORED,
                                     .listener = "tls",
                                     .resumption_max_s = max_s };
    struct tls_context *made;
    const char *why;
    assert_int_equal(tls_context_create(&spec, &made, &why, &(size_t){ 0 }), ERROR_NONE);
    free(anchor);
    free(certificate);
    free(key);
    return made;
}

static int set_up(void **state)
{
    (void)state;
    ca = test_certificate_make(&(struct test_certificate_spec){ .cn = "CA", .ca = TEST_CA }, NULL);
    server = test_certificate_make(&(struct test_certificate_spec){ .cn = "proxy" }, &ca);
    return ticket_keys_rotate(NULL, 0, 1000, &keys) == ERROR_NONE ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    test_certificate_free(&ca);
    test_certificate_free(&server);
    ticket_keys_drop(keys);
    return 0;
}

struct meeting {
    SSL_CTX *client_context;
    SSL *client, *server;
    struct tls_session session;
    bool done;
};

static void meet(struct meeting *m, struct tls_context *with, const struct test_certificate *leaf,
                 int version)
{
    BIO *a, *b;
    memset(m, 0, sizeof(*m));
    m->client_context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(m->client_context, version);
    SSL_CTX_set_max_proto_version(m->client_context, version);
    if (leaf) {
        SSL_CTX_use_certificate(m->client_context, leaf->certificate);
        SSL_CTX_use_PrivateKey(m->client_context, leaf->key);
    }
    m->client = SSL_new(m->client_context);
    SSL_set_connect_state(m->client);
    m->server = tls_context_accept(with, &m->session);
    m->session.resumption.keys = &keys;
    assert_int_equal(BIO_new_bio_pair(&a, 131072, &b, 131072), 1);
    SSL_set_bio(m->client, a, a);
    SSL_set_bio(m->server, b, b);
}

/* Gives whether the server was satisfied. */
static bool shake_hands(struct meeting *m)
{
    char byte;
    bool client = false, own = false;
    for (int i = 0; i < 20 && !(client && own); i++) {
        client = SSL_do_handshake(m->client) == 1;
        own = SSL_do_handshake(m->server) == 1;
    }
    (void)SSL_read(m->client, &byte, 1); /* where a ticket comes in, in TLS 1.3 */
    m->done = client && own;
    return m->done;
}

static void part(struct meeting *m)
{
    tls_session_release(&m->session);
    SSL_set_shutdown(m->client, SSL_SENT_SHUTDOWN); /* or its session were spoilt */
    SSL_free(m->client);
    SSL_free(m->server);
    SSL_CTX_free(m->client_context);
}

/* A session of a full handshake; NULL: one that cannot be resumed. */
static SSL_SESSION *session_with(struct tls_context *with, const struct test_certificate *leaf,
                                 int version, uint64_t client_options)
{
    struct meeting m;
    meet(&m, with, leaf, version);
    SSL_set_options(m.client, client_options);
    assert_true(shake_hands(&m));
    SSL_SESSION *session = SSL_get1_session(m.client);
    bool resumable = SSL_SESSION_is_resumable(session) == 1;
    part(&m);
    if (resumable)
        return session;
    SSL_SESSION_free(session);
    return NULL;
}

/* The verdict on the session's ticket; *cn what the peer is known as then, "" without
 * certificate. */
static enum ticket_verdict show(struct tls_context *to, const struct test_certificate *leaf,
                                SSL_SESSION *session, unsigned tried, char *cn)
{
    struct meeting m;
    struct peer_identity *identity = NULL;
    meet(&m, to, leaf, SSL_SESSION_get_protocol_version(session));
    SSL_set_session(m.client, session);
    m.session.resumption.tried = tried;
    cn[0] = 0;
    if (shake_hands(&m)) {
        assert_int_equal(tls_session_identity(&m.session, m.server, &identity), ERROR_NONE);
        assert_true(SSL_session_reused(m.server) ==
                    (m.session.resumption.verdict == TICKET_ADMISSIBLE));
        if (identity) {
            snprintf(cn, CN_MAX_OCTETS + 1, "%s", identity->cn);
            assert_int_equal(identity->chain.size, 2 * PEER_CHAIN_WORDS * PEER_CHAIN_WORD);
        }
        peer_identity_free(identity);
    }
    part(&m);
    return m.session.resumption.verdict;
}

static void test_T14_a_resumed_peer_is_who_it_was(void **state)
{
    (void)state;
    char cn[CN_MAX_OCTETS + 1];
    struct tls_context *context = make_context(CLIENT_CERTIFICATE_REQUIRED, 3600);
    struct test_certificate leaf =
        test_certificate_make(&(struct test_certificate_spec){ .cn = "0004F2000001" }, &ca);
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        SSL_SESSION *session = session_with(context, &leaf, version, 0);
        assert_non_null(session);
        /* Also without its certificate: the ticket says who it is. */
        assert_int_equal(show(context, NULL, session, 0, cn), TICKET_ADMISSIBLE);
        assert_string_equal(cn, "0004F2000001");
        assert_in_range(SSL_SESSION_get_ticket_lifetime_hint(session), 3590, 3600);
        assert_int_equal(SSL_SESSION_get_max_early_data(session), 0);
        SSL_SESSION_free(session);
    }
    test_certificate_free(&leaf);
    tls_context_free(context);
}

/* The lifetime of what the client has after another handshake with it. */
static unsigned long lifetime_after(struct tls_context *with, SSL_SESSION *session, bool *resumed)
{
    struct meeting m;
    meet(&m, with, NULL, SSL_SESSION_get_protocol_version(session));
    SSL_set_session(m.client, session);
    assert_true(shake_hands(&m));
    *resumed = SSL_session_reused(m.client) == 1;
    unsigned long lifetime_s = SSL_SESSION_get_ticket_lifetime_hint(SSL_get_session(m.client));
    part(&m);
    return lifetime_s;
}

static void test_T14_a_ticket_of_a_resumed_session_has_what_is_left_of_the_first(void **state)
{
    (void)state;
    struct tls_context *context = make_context(CLIENT_CERTIFICATE_OPTIONAL, 3600);
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct meeting m;
        bool resumed;
        meet(&m, context, NULL, version);
        m.session.resumption.verified_unix_s = (uint64_t)time(NULL) - 1000;
        assert_true(shake_hands(&m));
        SSL_SESSION *session = SSL_get1_session(m.client);
        part(&m);
        assert_in_range(SSL_SESSION_get_ticket_lifetime_hint(session), 2500, 2600);
        assert_in_range(lifetime_after(context, session, &resumed), 2500, 2600);
        assert_true(resumed);
        SSL_SESSION_free(session);
    }
    tls_context_free(context);
}

/* As a resumed session whose last second ends between the ticket that is shown and the one that is
 * given. */
static void test_T14_a_handshake_ends_well_though_its_ticket_is_over(void **state)
{
    (void)state;
    char cn[CN_MAX_OCTETS + 1];
    struct tls_context *context = make_context(CLIENT_CERTIFICATE_OPTIONAL, 3600);
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct meeting m;
        meet(&m, context, NULL, version);
        m.session.resumption.verified_unix_s = (uint64_t)time(NULL) - 3600;
        assert_true(shake_hands(&m));
        SSL_SESSION *session = SSL_get1_session(m.client);
        part(&m);
        SSL_SESSION_set_timeout(session, 3600); /* a client that shows it all the same */
        assert_int_equal(show(context, NULL, session, 0, cn), TICKET_TOO_OLD);
        SSL_SESSION_free(session);
    }
    tls_context_free(context);
}

static void test_T14_what_a_listener_asks_for_decides_over_its_old_tickets(void **state)
{
    (void)state;
    char cn[CN_MAX_OCTETS + 1];
    struct tls_context *required = make_context(CLIENT_CERTIFICATE_REQUIRED, 3600);
    struct tls_context *optional = make_context(CLIENT_CERTIFICATE_OPTIONAL, 3600);
    struct tls_context *ignored = make_context(CLIENT_CERTIFICATE_IGNORED, 3600);
    struct tls_context *without = make_context(CLIENT_CERTIFICATE_REQUIRED, 0);
    struct test_certificate leaf =
        test_certificate_make(&(struct test_certificate_spec){ .cn = "a" }, &ca);
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        SSL_SESSION *with = session_with(optional, &leaf, version, 0);
        SSL_SESSION *nobodys = session_with(optional, NULL, version, 0);
        assert_null(session_with(without, &leaf, version, 0));
        assert_int_equal(show(ignored, &leaf, with, 0, cn), TICKET_CERTIFICATE);
        assert_string_equal(cn, "");
        assert_int_equal(show(required, NULL, nobodys, 0, cn), TICKET_CERTIFICATE);
        assert_string_equal(cn, "");
        assert_int_equal(show(optional, &leaf, nobodys, 0, cn), TICKET_ADMISSIBLE);
        assert_string_equal(cn, "");
        assert_int_equal(show(without, &leaf, with, 0, cn), TICKET_NONE);
        assert_string_equal(cn, "a");
        SSL_SESSION_free(with);
        SSL_SESSION_free(nobodys);
    }
    test_certificate_free(&leaf);
    tls_context_free(required);
    tls_context_free(optional);
    tls_context_free(ignored);
    tls_context_free(without);
}

static void test_T31_tickets_are_tried_a_few_times_and_large_certificates_get_none(void **state)
{
    (void)state;
    char cn[CN_MAX_OCTETS + 1];
    struct tls_context *context = make_context(CLIENT_CERTIFICATE_REQUIRED, 3600);
    static char names[2 * TICKET_CERTIFICATE_MAX] = "DNS:a.example.org";
    while (strlen(names) < TICKET_CERTIFICATE_MAX * 3 / 2)
        strcat(names, ",DNS:a.example.org");
    struct test_certificate small =
        test_certificate_make(&(struct test_certificate_spec){ .cn = "a" }, &ca);
    struct test_certificate large = test_certificate_make(
        &(struct test_certificate_spec){ .cn = "a", .alternative_names = names }, &ca);
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        SSL_SESSION *session = session_with(context, &small, version, 0);
        assert_int_equal(show(context, &small, session, TICKETS_TRIED_MAX - 1, cn),
                         TICKET_ADMISSIBLE);
        assert_int_equal(show(context, &small, session, TICKETS_TRIED_MAX, cn), TICKET_UNREADABLE);
        assert_string_equal(cn, "a");
        SSL_SESSION_free(session);
        assert_null(session_with(context, &large, version, 0));
    }
    test_certificate_free(&small);
    test_certificate_free(&large);
    tls_context_free(context);
}

static void test_T14_no_ticket_without_keys_or_extended_master_secret(void **state)
{
    (void)state;
    struct tls_context *context = make_context(CLIENT_CERTIFICATE_OPTIONAL, 3600);
    struct ticket_keys *kept = keys;
    assert_null(session_with(context, NULL, TLS1_2_VERSION, SSL_OP_NO_EXTENDED_MASTER_SECRET));
    keys = NULL;
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++)
        assert_null(session_with(context, NULL, version, 0));
    keys = kept;
    tls_context_free(context);
}

static void test_T14_an_old_key_opens_until_its_tickets_are_over(void **state)
{
    (void)state;
    struct ticket_keys *sets[5];
    assert_int_equal(ticket_keys_rotate(NULL, 1000, 250, &sets[0]), ERROR_NONE);
    const struct ticket_key first = *ticket_keys_first(sets[0]);
    for (int i = 1; i < 5; i++) /* retired at 1100 */
        assert_int_equal(ticket_keys_rotate(sets[i - 1], 1000 + 100 * (uint64_t)i, 250, &sets[i]),
                         ERROR_NONE);
    for (int i = 0; i < 4; i++) {
        const struct ticket_key *found = ticket_keys_find(sets[i], first.name);
        assert_non_null(found);
        assert_memory_equal(found, &first, sizeof(first));
        assert_true((found == ticket_keys_first(sets[i])) == (i == 0));
    }
    assert_null(ticket_keys_find(sets[4], first.name)); /* at 1400: more than 250 later */
    assert_non_null(ticket_keys_find(sets[4], ticket_keys_first(sets[1])->name));
    for (int i = 0; i < 5; i++)
        ticket_keys_drop(sets[i]);
}

static void test_T31_the_number_of_keys_is_bounded(void **state)
{
    (void)state;
    struct ticket_keys *set = NULL, *next;
    struct ticket_key first = { .name = { 0 } };
    for (unsigned i = 0; i <= TICKET_KEYS_MAX; i++) {
        assert_int_equal(ticket_keys_rotate(set, i, UINT64_MAX, &next), ERROR_NONE);
        ticket_keys_drop(set);
        set = next;
        if (i == 0)
            first = *ticket_keys_first(set);
        assert_true((ticket_keys_find(set, first.name) != NULL) == (i < TICKET_KEYS_MAX));
    }
    ticket_keys_drop(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_T14_a_resumed_peer_is_who_it_was),
        cmocka_unit_test(test_T14_a_ticket_of_a_resumed_session_has_what_is_left_of_the_first),
        cmocka_unit_test(test_T14_a_handshake_ends_well_though_its_ticket_is_over),
        cmocka_unit_test(test_T14_what_a_listener_asks_for_decides_over_its_old_tickets),
        cmocka_unit_test(test_T31_tickets_are_tried_a_few_times_and_large_certificates_get_none),
        cmocka_unit_test(test_T14_no_ticket_without_keys_or_extended_master_secret),
        cmocka_unit_test(test_T14_an_old_key_opens_until_its_tickets_are_over),
        cmocka_unit_test(test_T31_the_number_of_keys_is_bounded),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
