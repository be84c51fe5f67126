/* SPDX-License-Identifier: Apache-2.0 */
/* Handshakes of real clients with a context, in memory: who gets in, as whom, and what is not
 * spoken (T8, T13, T14, T31). */
#include "proxy/tls/context.h"

#include "tests/unit/proxy/tls/certificates.h"

#include <openssl/err.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct test_certificate device_ca, corp_ca, stranger_ca, server;
static struct tls_context *context;

static struct test_certificate make_ca(const char *cn)
{
    return test_certificate_make(&(struct test_certificate_spec){ .cn = cn, .ca = TEST_CA }, NULL);
}

static struct tls_context *make_context_asking(int corp_level, enum client_certificate asked)
{
    char *device = test_certificate_pem(device_ca.certificate);
    char *corp = test_certificate_pem(corp_ca.certificate);
    char *certificate = test_certificate_pem(server.certificate), *key = test_key_pem(server.key);
    struct tls_store_spec stores[] = { { "device", slice_of(device), TRUST_RULES_USUAL },
                                       { "corp", slice_of(corp), TRUST_RULES_USUAL } };
    stores[1].rules.security_level = corp_level;
    struct tls_own_spec own = { slice_of(certificate), slice_of(key) };
    struct tls_context_spec spec = { .own = &own,
                                     .own_count = 1,
                                     .client_certificate = asked,
                                     .stores = stores,
                                     .store_count = asked == CLIENT_CERTIFICATE_IGNORED ? 0 : 2 };
    struct tls_context *made;
    const char *why;
    assert_int_equal(tls_context_create(&spec, &made, &why, &(size_t){ 0 }), ERROR_NONE);
    free(device);
    free(corp);
    free(certificate);
    free(key);
    return made;
}

static struct tls_context *make_context(int corp_level)
{
    return make_context_asking(corp_level, CLIENT_CERTIFICATE_REQUIRED);
}

static int set_up(void **state)
{
    (void)state;
    device_ca = make_ca("Device CA");
    corp_ca = make_ca("Corp CA");
    stranger_ca = make_ca("Stranger CA");
    server = test_certificate_make(&(struct test_certificate_spec){ .cn = "proxy" }, &corp_ca);
    context = make_context(2);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tls_context_free(context);
    test_certificate_free(&device_ca);
    test_certificate_free(&corp_ca);
    test_certificate_free(&stranger_ca);
    test_certificate_free(&server);
    return 0;
}

struct meeting {
    SSL_CTX *client_context;
    SSL *client, *server;
    struct tls_session session;
    bool client_done, server_done;
};

static void meet(struct meeting *m, struct tls_context *with, const struct test_certificate *leaf)
{
    BIO *a, *b;
    memset(m, 0, sizeof(*m));
    m->client_context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_security_level(m->client_context, 0);
    if (leaf) {
        SSL_CTX_use_certificate(m->client_context, leaf->certificate);
        SSL_CTX_use_PrivateKey(m->client_context, leaf->key);
    }
    m->client = SSL_new(m->client_context);
    SSL_set_connect_state(m->client);
    m->server = tls_context_accept(with, &m->session);
    assert_int_equal(BIO_new_bio_pair(&a, 131072, &b, 131072), 1);
    SSL_set_bio(m->client, a, a);
    SSL_set_bio(m->server, b, b);
}

static void shake_hands(struct meeting *m)
{
    for (int i = 0; i < 20; i++) {
        m->client_done = SSL_do_handshake(m->client) == 1;
        m->server_done = SSL_do_handshake(m->server) == 1;
        if (m->client_done && m->server_done)
            return;
    }
}

static void part(struct meeting *m)
{
    tls_session_release(&m->session);
    SSL_free(m->client);
    SSL_free(m->server);
    SSL_CTX_free(m->client_context);
}

/* The store that lets this leaf in; NULL: none. */
static const char *store_for(struct tls_context *with, const struct test_certificate *leaf)
{
    struct meeting m;
    static char name[64];
    meet(&m, with, leaf);
    shake_hands(&m);
    struct peer_identity *identity = NULL;
    enum error e = tls_session_identity(&m.session, m.server, &identity);
    assert_true((e == ERROR_NONE) == m.server_done);
    if (identity)
        snprintf(name, sizeof(name), "%s", identity->store);
    bool in = identity != NULL;
    peer_identity_free(identity);
    part(&m);
    return in ? name : NULL;
}

/* How it ends for a client with this leaf (NULL: none): no handshake, in as nobody, in as a device.
 */
enum outcome { REFUSED, NOBODY, DEVICE };
static enum outcome outcome_of(struct tls_context *with, const struct test_certificate *leaf)
{
    struct meeting m;
    struct peer_identity *identity;
    meet(&m, with, leaf);
    assert_int_equal(tls_session_identity(&m.session, m.server, &identity), ERROR_NOT_FOUND);
    shake_hands(&m);
    enum error e = tls_session_identity(&m.session, m.server, &identity);
    assert_true((e == ERROR_NONE) == m.server_done);
    enum outcome outcome = e != ERROR_NONE ? REFUSED : identity ? DEVICE : NOBODY;
    peer_identity_free(identity);
    part(&m);
    return outcome;
}

static struct test_certificate leaf_of(const struct test_certificate *ca)
{
    return test_certificate_make(&(struct test_certificate_spec){ .cn = "0004F224A6AC" }, ca);
}

static void test_T08_the_store_that_verified_names_the_peer(void **state)
{
    (void)state;
    struct test_certificate device = leaf_of(&device_ca), corp = leaf_of(&corp_ca);
    assert_string_equal(store_for(context, &device), "device");
    assert_string_equal(store_for(context, &corp), "corp");
    test_certificate_free(&device);
    test_certificate_free(&corp);
}

static void test_T13_strangers_and_the_nameless_are_refused(void **state)
{
    (void)state;
    struct test_certificate stranger = leaf_of(&stranger_ca), own = leaf_of(NULL);
    assert_null(store_for(context, &stranger));
    assert_null(store_for(context, &own));
    assert_null(store_for(context, NULL));
    test_certificate_free(&stranger);
    test_certificate_free(&own);
}

static void test_T13_the_alert_says_what_was_wrong(void **state)
{
    (void)state;
    struct test_certificate expired = test_certificate_make(
        &(struct test_certificate_spec){ .cn = "a", .from_s = -7200, .until_s = -3600 }, &corp_ca);
    struct meeting m;
    meet(&m, context, &expired);
    shake_hands(&m);
    assert_false(m.server_done);
    assert_int_equal(m.session.verify_error, X509_V_ERR_CERT_HAS_EXPIRED);
    char cn[CN_MAX_OCTETS + 1];
    assert_int_equal(tls_session_refused_cn(&m.session, cn), 1);
    assert_string_equal(cn, "a");
    char byte;
    ERR_clear_error();
    assert_true(SSL_read(m.client, &byte, 1) <= 0);
    assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED);
    ERR_clear_error();
    part(&m);
    test_certificate_free(&expired);
}

static void test_T13_each_store_has_its_own_security_level(void **state)
{
    (void)state;
    struct tls_context *lenient = make_context(0);
    struct test_certificate_spec old = { .cn = "a", .digest = "SHA1", .key = test_key_rsa(1024) };
    struct test_certificate corp = test_certificate_make(&old, &corp_ca);
    struct test_certificate device = test_certificate_make(&old, &device_ca);
    assert_null(store_for(context, &corp));
    assert_string_equal(store_for(lenient, &corp), "corp");
    assert_null(store_for(lenient, &device));
    test_certificate_free(&device);
    test_certificate_free(&corp);
    EVP_PKEY_free(old.key);
    tls_context_free(lenient);
}

static void test_T31_tls_below_1_2_is_not_spoken(void **state)
{
    (void)state;
    struct test_certificate leaf = leaf_of(&device_ca);
    struct meeting m;
    for (int version = TLS1_VERSION; version <= TLS1_3_VERSION; version++) {
        meet(&m, context, &leaf);
        SSL_set_min_proto_version(m.client, version);
        SSL_set_max_proto_version(m.client, version);
        SSL_set_cipher_list(m.client, "ALL:@SECLEVEL=0");
        shake_hands(&m);
        assert_true(m.server_done == (version >= TLS1_2_VERSION));
        part(&m);
    }
    test_certificate_free(&leaf);
}

static void test_T14_where_tickets_are_off_no_session_is_resumed(void **state)
{
    (void)state;
    struct test_certificate leaf = leaf_of(&device_ca);
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct meeting first, second;
        char byte;
        meet(&first, context, &leaf);
        SSL_set_max_proto_version(first.client, version);
        shake_hands(&first);
        assert_true(first.server_done);
        (void)SSL_read(first.client, &byte, 1); /* where a ticket would come in */
        SSL_SESSION *session = SSL_get1_session(first.client);
        assert_false(SSL_SESSION_is_resumable(session));
        meet(&second, context, &leaf);
        SSL_set_max_proto_version(second.client, version);
        SSL_set_session(second.client, session);
        shake_hands(&second);
        assert_true(second.server_done);
        assert_int_equal(SSL_session_reused(second.server), 0);
        SSL_SESSION_free(session);
        part(&second);
        part(&first);
    }
    test_certificate_free(&leaf);
}

static void test_T31_renegotiation_is_refused(void **state)
{
    (void)state;
    struct test_certificate leaf = leaf_of(&device_ca);
    struct meeting m;
    char byte;
    meet(&m, context, &leaf);
    SSL_set_max_proto_version(m.client, TLS1_2_VERSION);
    shake_hands(&m);
    assert_true(m.server_done);
    assert_int_equal(SSL_renegotiate(m.client), 1);
    (void)SSL_do_handshake(m.client);
    (void)SSL_read(m.server, &byte, 1);
    assert_int_equal(SSL_num_renegotiations(m.server), 0);
    ERR_clear_error();
    assert_int_not_equal(SSL_do_handshake(m.client), 1);
    part(&m);
    test_certificate_free(&leaf);
}

static void test_T31_key_updates_are_counted(void **state)
{
    (void)state;
    struct test_certificate leaf = leaf_of(&device_ca);
    struct meeting m;
    char byte;
    meet(&m, context, &leaf);
    shake_hands(&m);
    assert_true(m.server_done);
    assert_int_equal(m.session.later_messages, 0);
    m.session.established = true;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(SSL_key_update(m.client, SSL_KEY_UPDATE_REQUESTED), 1);
        assert_int_equal(SSL_do_handshake(m.client), 1);
        (void)SSL_read(m.server, &byte, 1);
        (void)SSL_read(m.client, &byte, 1);
    }
    assert_true(m.session.later_messages >= 10);
    part(&m);
    test_certificate_free(&leaf);
}

static void test_T31_a_huge_key_is_refused_before_its_signature_is_checked(void **state)
{
    (void)state;
    /* It need not sign anything: the chain is looked at first. */
    struct test_certificate_spec spec = { .cn = "a", .key = test_key_rsa_noise(16384) };
    struct test_certificate leaf = test_certificate_make(&spec, &device_ca);
    struct meeting m;
    meet(&m, context, NULL);
    EVP_PKEY *real = test_key_rsa(2048);
    SSL_use_certificate(m.client, leaf.certificate);
    /* A client that holds another key than its certificate says cannot be made with OpenSSL: sent
     * as a certificate of the chain, the key is refused the same way. */
    struct test_certificate_spec own = { .cn = "b", .key = real };
    struct test_certificate honest = test_certificate_make(&own, &device_ca);
    SSL_use_certificate(m.client, honest.certificate);
    SSL_use_PrivateKey(m.client, honest.key);
    SSL_add1_chain_cert(m.client, leaf.certificate);
    shake_hands(&m);
    assert_false(m.server_done);
    assert_int_equal(m.session.verify_error, X509_V_ERR_CERT_REJECTED);
    part(&m);
    test_certificate_free(&honest);
    test_certificate_free(&leaf);
    EVP_PKEY_free(real);
    EVP_PKEY_free(spec.key);
}

static void test_T31_a_huge_chain_is_refused(void **state)
{
    (void)state;
    struct test_certificate leaf = leaf_of(&device_ca);
    static char long_cn[20000];
    memset(long_cn, 'A', sizeof(long_cn));
    struct test_certificate large = test_certificate_make(
        &(struct test_certificate_spec){ .raw_cn = { long_cn, sizeof(long_cn) },
                                         .raw_cn_type = V_ASN1_UTF8STRING },
        &device_ca);
    for (int many = 0; many < 2; many++) {
        struct meeting m;
        meet(&m, context, &leaf);
        for (int i = 0; i < (many ? TLS_CLIENT_CERTIFICATES_MAX + 2 : 2); i++)
            SSL_add1_chain_cert(m.client, many ? device_ca.certificate : large.certificate);
        shake_hands(&m);
        assert_false(m.server_done);
        part(&m);
    }
    test_certificate_free(&large);
    test_certificate_free(&leaf);
}

static void test_T09_a_64_kb_cn_does_not_get_in(void **state)
{
    (void)state;
    static char long_cn[65536];
    memset(long_cn, 'A', sizeof(long_cn));
    struct test_certificate leaf = test_certificate_make(
        &(struct test_certificate_spec){ .raw_cn = { long_cn, sizeof(long_cn) },
                                         .raw_cn_type = V_ASN1_UTF8STRING },
        &device_ca);
    assert_null(store_for(context, &leaf));
    test_certificate_free(&leaf);
}

static void expect_refused(struct tls_context_spec spec)
{
    struct tls_context *made;
    const char *why = NULL;
    assert_int_equal(tls_context_create(&spec, &made, &why, &(size_t){ 0 }), ERROR_MALFORMED);
    assert_null(made);
    assert_non_null(why);
}

static void test_a_context_needs_fitting_parts(void **state)
{
    (void)state;
    char *ca = test_certificate_pem(device_ca.certificate),
         *other_key = test_key_pem(device_ca.key);
    char *certificate = test_certificate_pem(server.certificate), *key = test_key_pem(server.key);
    struct tls_store_spec store = { "device", slice_of(ca), TRUST_RULES_USUAL };
    const struct tls_own_spec good_own = { slice_of(certificate), slice_of(key) };
    struct tls_own_spec own = good_own;
    struct tls_context_spec good = {
        .own = &own, .own_count = 1, .stores = &store, .store_count = 1
    };
    struct tls_context_spec bad = good;
    own.key_pem = slice_of(other_key);
    expect_refused(bad);
    bad = good;
    own = good_own;
    own.key_pem = SLICE("nothing");
    expect_refused(bad);
    bad = good;
    own = good_own;
    own.certificate_pem = SLICE("");
    expect_refused(bad);
    bad = good;
    own = good_own;
    bad.ciphers = "NOSUCHCIPHER";
    expect_refused(bad);
    struct tls_store_spec empty = { "device", SLICE(""), TRUST_RULES_USUAL };
    bad = good;
    own = good_own;
    bad.stores = &empty;
    expect_refused(bad);
    free(ca);
    free(other_key);
    free(certificate);
    free(key);
}

static void test_F01_F02_what_a_listener_asks_for(void **state)
{
    (void)state;
    static const enum client_certificate asked[] = { CLIENT_CERTIFICATE_REQUIRED,
                                                     CLIENT_CERTIFICATE_OPTIONAL,
                                                     CLIENT_CERTIFICATE_IGNORED };
    static const enum outcome wanted[][3] = { /* none, good, bad */
                                              { REFUSED, DEVICE, REFUSED },
                                              { NOBODY, DEVICE, REFUSED },
                                              { NOBODY, NOBODY, NOBODY }
    };
    struct test_certificate good = leaf_of(&device_ca), bad = leaf_of(&stranger_ca);
    for (size_t i = 0; i < 3; i++) {
        struct tls_context *with = make_context_asking(2, asked[i]);
        assert_int_equal(outcome_of(with, NULL), wanted[i][0]);
        assert_int_equal(outcome_of(with, &good), wanted[i][1]);
        assert_int_equal(outcome_of(with, &bad), wanted[i][2]);
        tls_context_free(with);
    }
    test_certificate_free(&good);
    test_certificate_free(&bad);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_F01_F02_what_a_listener_asks_for),
        cmocka_unit_test(test_T08_the_store_that_verified_names_the_peer),
        cmocka_unit_test(test_T13_strangers_and_the_nameless_are_refused),
        cmocka_unit_test(test_T13_the_alert_says_what_was_wrong),
        cmocka_unit_test(test_T13_each_store_has_its_own_security_level),
        cmocka_unit_test(test_T31_tls_below_1_2_is_not_spoken),
        cmocka_unit_test(test_T14_where_tickets_are_off_no_session_is_resumed),
        cmocka_unit_test(test_T31_renegotiation_is_refused),
        cmocka_unit_test(test_T31_key_updates_are_counted),
        cmocka_unit_test(test_T31_a_huge_key_is_refused_before_its_signature_is_checked),
        cmocka_unit_test(test_T31_a_huge_chain_is_refused),
        cmocka_unit_test(test_T09_a_64_kb_cn_does_not_get_in),
        cmocka_unit_test(test_a_context_needs_fitting_parts),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
