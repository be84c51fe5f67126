/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration is taken whole or refused with file, line and what to write. */
#include "proxy/config.h"

#include "common/mem.h"
#include "proxy/tls/context.h"
#include "tests/unit/proxy/tls/certificates.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/holdline-config-XXXXXX";
static char said[8192];
static const char *const files[] = { "conf",       "ca.pem", "corp.pem", "server.pem",
                                     "server.key", "stderr", "empty.pem" };

static const char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(path_of(name), "w");
    assert_non_null(file);
    assert_int_equal(fchmod(fileno(file), 0600), 0);
    fputs(text, file);
    fclose(file);
}

static void write_pem(const char *name, char *pem)
{
    write_file(name, pem);
    free(pem);
}

static int set_up(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(folder));
    struct test_certificate ca = test_certificate_make(
        &(struct test_certificate_spec){ .cn = "Device CA", .ca = TEST_CA }, NULL);
    struct test_certificate corp = test_certificate_make(
        &(struct test_certificate_spec){ .cn = "Corp CA", .ca = TEST_CA }, NULL);
    struct test_certificate server =
        test_certificate_make(&(struct test_certificate_spec){ .cn = "proxy" }, &corp);
    write_pem("ca.pem", test_certificate_pem(ca.certificate));
    write_pem("corp.pem", test_certificate_pem(corp.certificate));
    write_pem("server.pem", test_certificate_pem(server.certificate));
    write_pem("server.key", test_key_pem(server.key));
    write_file("empty.pem", "");
    test_certificate_free(&ca);
    test_certificate_free(&corp);
    test_certificate_free(&server);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        unlink(path_of(files[i]));
    rmdir(folder);
    return 0;
}

/* Runs config_load() with standard error kept in `said`. */
static enum error load(const char *text, struct config **out)
{
    write_file("conf", text);
    fflush(stderr);
    int old = dup(2), fd = open(path_of("stderr"), O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(old >= 0 && fd >= 0);
    dup2(fd, 2);
    enum error e = config_load(path_of("conf"), out);
    fflush(stderr);
    dup2(old, 2);
    close(old);
    ssize_t size = pread(fd, said, sizeof(said) - 1, 0);
    close(fd);
    assert_true(size >= 0);
    said[size] = 0;
    return e;
}

#define STORES                                      \
    "trust_store device { ca = \"%1$s/ca.pem\" }\n" \
    "trust_store corp { ca = \"%1$s/corp.pem\"\n security_level = 1 }\n"
#define TLS(stores)                                                                    \
    "listener tls {\n address = \"127.0.0.1:0\"\n certificate = \"%1$s/server.pem\"\n" \
    " key = \"%1$s/server.key\"\n trust_stores = {" stores "}\n}\n"
#define TCP "listener pbx { address = \"[::1]:5060\"\n transport = \"tcp\" }\n"
#define ROUTE                                                                                   \
    "route pbx { domain = \"PBX.example.org\"\n address = \"127.0.0.1:5080\"\n inbound = yes\n" \
    " may_assert = {\"pbx.example.org\", \"bob@example.net\"} }\n"

static enum error load_format(const char *format, struct config **out)
{
    char text[8192];
    snprintf(text, sizeof(text), format, folder);
    return load(text, out);
}

/* Refused, with each of the texts (ended by NULL) said. */
static void expect_complaint(const char *format, const char *line, const char *what)
{
    struct config *config;
    assert_int_equal(load_format(format, &config), ERROR_CONFIG);
    assert_null(config);
    if (!strstr(said, what) || !strstr(said, line))
        fail_msg("wanted \"%s\" and \"%s\", got: %s", line, what, said);
}

static void test_the_whole_configuration_is_read(void **state)
{
    (void)state;
    struct config *c;
    enum error e =
        load_format("name = \"proxy1\"\nworkers = 3\nlog_level = \"debug\"\nt1 = 100\n"
                    "park_deadline = 1000\nidle_timeout = 0\nmax_message = 4096\n" STORES TLS(
                        "\"device\", \"corp\"") TCP ROUTE,
                    &c);
    assert_string_equal(said, "");
    assert_int_equal(e, ERROR_NONE);
    assert_string_equal(c->name, "proxy1");
    assert_int_equal(c->workers, 3);
    assert_int_equal(c->log_level, LOG_DEBUG);
    assert_int_equal(c->timers.t1_ms, 100);
    assert_int_equal(c->timers.park_deadline_ms, 1000);
    assert_int_equal(c->timers.idle_timeout_ms, 0);
    assert_int_equal(c->timers.timer_c_ms, 181000);
    assert_int_equal(c->bounds.max_message, 4096);
    assert_int_equal(c->registrar.expires_max_s, 86400);
    assert_int_equal(c->listener_count, 2);
    assert_string_equal(c->listeners[0].name, "tls");
    assert_int_equal(c->listeners[0].transport, TRANSPORT_TLS);
    for (unsigned i = 0; i < 3; i++) {
        const struct tls_context *t = c->listeners[0].tls[i];
        assert_string_equal(trust_store_name(tls_context_store(t, 0)), "device");
        assert_string_equal(trust_store_name(tls_context_store(t, 1)), "corp");
        assert_null(tls_context_store(t, 2));
    }
    assert_ptr_not_equal(c->listeners[0].tls[0], c->listeners[0].tls[1]);
    assert_int_equal(c->listeners[1].transport, TRANSPORT_TCP);
    assert_null(c->listeners[1].tls);
    assert_null(c->listeners[1].advertise);
    const struct config_route *route = config_route_of_domain(c, SLICE("pbx.example.org"));
    assert_non_null(route);
    assert_string_equal(route->name, "pbx");
    assert_true(route->inbound);
    assert_int_equal(route->may_assert_count, 2);
    assert_string_equal(route->may_assert[1].text, "bob@example.net");
    assert_null(config_route_of_domain(c, SLICE("example.org")));
    struct address host;
    assert_int_equal(address_from_text(&host, SLICE("127.0.0.1:40000")), ERROR_NONE);
    assert_ptr_equal(config_route_of_host(c, &host), route);
    assert_int_equal(address_from_text(&host, SLICE("[::ffff:127.0.0.1]:40000")), ERROR_NONE);
    assert_ptr_equal(config_route_of_host(c, &host), route);
    assert_int_equal(address_from_text(&host, SLICE("127.0.0.2:5080")), ERROR_NONE);
    assert_null(config_route_of_host(c, &host));
    assert_ptr_equal(config_hold(c), c);
    config_drop(c);
    config_drop(c);
}

static void test_a_wrong_value_is_named_with_its_line(void **state)
{
    (void)state;
#define GOOD STORES TLS("\"device\"")
    expect_complaint("workers = 2\nname = \"a b\"\n" GOOD, "conf:2", "name");
    expect_complaint("log_level = \"loud\"\n" GOOD, "conf:1", "debug");
    expect_complaint("t1 = 10\n\npark_deadline = 3000\n" GOOD, "conf:3", "64 * t1");
    expect_complaint("workers = 0\n" GOOD, "conf:1", "workers");
    expect_complaint("nosuch = 1\n" GOOD, "conf:1", "nosuch");
    expect_complaint("max_message = 65536\noutput_max = 65536\n" GOOD, "conf:2", "output_max");
    expect_complaint("expires_min = 4000\n" GOOD, "conf", "expires_default");
    expect_complaint("t1 = 600\nt2 = 500\n" GOOD, "conf:2", "t2");
}

static void test_a_wrong_file_is_named(void **state)
{
    (void)state;
    expect_complaint("trust_store device { ca = \"%1$s/none.pem\" }\n" TLS("\"device\""),
                     "none.pem", "No such file");
    expect_complaint("trust_store device { ca = \"%1$s/empty.pem\" }\n" TLS("\"device\""),
                     "empty.pem", "certificate");
    expect_complaint("trust_store device { ca = \"%1$s/server.key\" }\n" TLS("\"device\""),
                     "server.key", "certificate");
    expect_complaint(STORES "listener tls { address = \"127.0.0.1:0\"\n certificate = \"%1$s\"\n"
                            " key = \"%1$s/server.key\"\n trust_stores = {\"device\"} }\n",
                     "conf", "PEM file");
    expect_complaint(STORES
                     "listener tls { address = \"127.0.0.1:0\"\n certificate = \"%1$s/ca.pem\"\n"
                     " key = \"%1$s/server.key\"\n trust_stores = {\"device\"} }\n",
                     "conf", "key cannot be used");
    assert_int_equal(chmod(path_of("server.key"), 0604), 0);
    expect_complaint(STORES TLS("\"device\""), "server.key", "open to everybody");
    assert_int_equal(chmod(path_of("server.key"), 0640), 0);
}

static void link_in_folder(const char *name, const char *target)
{
    char text[128];

    snprintf(text, sizeof(text), "many/%s", name);
    assert_int_equal(symlink(target, path_of(text)), 0);
}

static void unlink_in_folder(const char *name)
{
    char text[128];

    snprintf(text, sizeof(text), "many/%s", name);
    assert_int_equal(unlink(path_of(text)), 0);
}

static void test_a_folder_of_authorities_is_taken_whole_or_not_at_all(void **state)
{
    static const char format[] = "trust_store device { ca = \"%1$s/many\" }\n" TLS("\"device\"");
    struct config *config;

    (void)state;
    assert_int_equal(mkdir(path_of("many"), 0700), 0);
    expect_complaint(format, "conf:1", "many has 0 files *.pem or *.crt");
    link_in_folder("b.crt", "../ca.pem");
    link_in_folder("a.pem", "../corp.pem");
    link_in_folder("notes", "../conf");
    link_in_folder("notes.txt", "../conf");
    link_in_folder(".hidden.pem", "../empty.pem");
    assert_int_equal(load_format(format, &config), ERROR_NONE);
    const struct trust_store *store = tls_context_store(config->listeners[0].tls[0], 0);
    assert_int_equal(sk_X509_num(trust_store_anchors(store)), 2);
    config_drop(config);
    link_in_folder("c.pem", "../empty.pem");
    expect_complaint(format, "conf:1", "many/c.pem has no certificate");
    unlink_in_folder("c.pem");
    link_in_folder("c.pem", "../gone.pem");
    expect_complaint(format, "conf:1", "many/c.pem: No such file");
    for (size_t i = 0; i < 6; i++)
        unlink_in_folder((const char *const[]){ "a.pem", "b.crt", "c.pem", "notes", "notes.txt",
                                                ".hidden.pem" }[i]);
    assert_int_equal(rmdir(path_of("many")), 0);
}

static void test_trust_stores_must_exist_and_differ(void **state)
{
    (void)state;
    expect_complaint(STORES TLS("\"device\", \"home\""), "conf", "trust_store home");
    expect_complaint(STORES TLS("\"device\", \"device\""), "conf", "same key or subject");
    expect_complaint(STORES
                     "trust_store twin { ca = \"%1$s/ca.pem\" }\n" TLS("\"device\", \"twin\""),
                     "conf", "device and twin");
    expect_complaint(STORES TLS(""), "conf", "trust_store");
    expect_complaint("trust_store Device { ca = \"%1$s/ca.pem\" }\n" TLS("\"Device\""), "conf",
                     "small letters");
}

static void test_listeners_must_be_reachable_and_whole(void **state)
{
    (void)state;
    expect_complaint(STORES, "conf", "listener");
    expect_complaint(STORES "listener a { address = \"example.org:5060\"\n transport = \"tcp\" }\n",
                     "conf", "IP:PORT");
    expect_complaint(STORES "listener a { address = \"0.0.0.0:5060\"\n transport = \"tcp\" }\n",
                     "conf", "advertise");
    expect_complaint(STORES "listener a { address = \"[::]:5060\"\n transport = \"tcp\" }\n",
                     "conf", "advertise");
    expect_complaint(STORES "listener a { address = \"127.0.0.1:5060\"\n transport = \"udp\" }\n",
                     "conf", "tls or tcp");
    expect_complaint(STORES "listener a { address = \"127.0.0.1:5061\" }\n", "conf", "certificate");
    expect_complaint(STORES "listener a { address = \"127.0.0.1:5060\"\n transport = \"tcp\"\n"
                            " trust_stores = {\"device\"} }\n",
                     "conf", "tcp takes no");
    expect_complaint("listener a { address = \"127.0.0.1:1\"\n transport = \"tcp\" }\n"
                     "listener a { address = \"127.0.0.1:2\"\n transport = \"tcp\" }\n",
                     "conf", "a");
    expect_complaint(STORES "listener a { address = \"0.0.0.0:5060\"\n transport = \"tcp\"\n"
                            " advertise = \"proxy.example.org\" }\n",
                     "conf", "HOST:PORT");
}

#define TLS_ASKING(asks, more)                                                         \
    "listener tls {\n address = \"127.0.0.1:0\"\n certificate = \"%1$s/server.pem\"\n" \
    " key = \"%1$s/server.key\"\n client_certificate = \"" asks "\"\n" more "}\n"

static void test_F01_a_listener_says_what_it_asks_of_clients(void **state)
{
    (void)state;
    struct config *c;
    assert_int_equal(load_format(TLS_ASKING("ignored", ""), &c), ERROR_NONE);
    assert_int_equal(c->listeners[0].client_certificate, CLIENT_CERTIFICATE_IGNORED);
    config_drop(c);
    assert_int_equal(
        load_format(STORES TLS_ASKING("optional", "trust_stores = {\"device\"}\n"), &c),
        ERROR_NONE);
    assert_int_equal(c->listeners[0].client_certificate, CLIENT_CERTIFICATE_OPTIONAL);
    config_drop(c);
    expect_complaint(STORES TLS_ASKING("no", "trust_stores = {\"device\"}\n"), "conf",
                     "write 7 to 8");
    expect_complaint(STORES TLS_ASKING("optionall", "trust_stores = {\"device\"}\n"), "conf",
                     "write 7 to 8");
    expect_complaint(STORES TLS_ASKING("demanded", "trust_stores = {\"device\"}\n"), "conf",
                     "required, optional or ignored");
    expect_complaint(TLS_ASKING("optional", ""), "conf", "trust_store");
    expect_complaint(STORES TLS_ASKING("ignored", "trust_stores = {\"device\"}\n"), "conf",
                     "not used");
}

static void test_a_name_may_be_advertised(void **state)
{
    (void)state;
    struct config *c;
    expect_complaint("aliases = {\"a b\"}\n" TCP, "conf:1", "no host name");
    assert_int_equal(load_format("aliases = {\"SIP.example.org.\", \"192.0.2.1\"}\n"
                                 "listener a { address = \"0.0.0.0:5060\"\n transport = \"tcp\"\n"
                                 " advertise = \"proxy.example.org:5070\" }\n",
                                 &c),
                     ERROR_NONE);
    assert_string_equal(c->listeners[0].advertise, "proxy.example.org:5070");
    assert_string_equal(c->listeners[0].advertise_host, "proxy.example.org");
    assert_int_equal(c->listeners[0].advertise_port, 5070);
    assert_int_equal(c->alias_count, 2);
    assert_string_equal(c->aliases[0], "sip.example.org");
    assert_string_equal(c->aliases[1], "192.0.2.1");
    config_drop(c);
}

static void test_routes_must_lead_somewhere(void **state)
{
    (void)state;
    expect_complaint(TCP "route a { domain = \"bob@example.org\"\n address = \"127.0.0.1:1\" }\n",
                     "conf", "domain");
    expect_complaint(TCP "route a { domain = \"a.org\"\n address = \"127.0.0.1\" }\n", "conf",
                     "IP:PORT");
    expect_complaint(TCP "route a { domain = \"a.org\"\n address = \"127.0.0.1:0\" }\n", "conf",
                     "IP:PORT");
    expect_complaint(
        TCP "route a { domain = \"a.org\"\n address = \"127.0.0.1:1\"\n transport = \"udp\" }\n",
        "conf", "write tcp or tls");
    expect_complaint(
        TCP "route a { domain = \"a.org\"\n address = \"127.0.0.1:1\"\n transport = \"tls\" }\n",
        "conf", "certificates of the next hop are verified in");
    expect_complaint(TCP "route a { domain = \"a.org\"\n address = \"127.0.0.1:1\" }\n"
                         "route b { domain = \"A.org.\"\n address = \"127.0.0.1:2\" }\n",
                     "conf", "has a route already");
    expect_complaint(TCP "route a { domain = \"a.org\"\n address = \"127.0.0.1:1\"\n"
                         " may_assert = {\"a b\"} }\n",
                     "conf", "no identity");
}

static void test_a_reload_gives_a_new_whole_or_keeps_the_old(void **state)
{
    (void)state;
    struct config *running, *next;
    char text[4096];
    assert_int_equal(load_format("workers = 2\n" STORES TLS("\"device\""), &running), ERROR_NONE);
    snprintf(text, sizeof(text), "workers = 5\nmessage_timeout = 500\n" STORES TLS("\"corp\""),
             folder);
    write_file("conf", text);
    assert_int_equal(config_reload(running, &next), ERROR_NONE);
    assert_int_equal(next->workers, 2); /* needs a restart */
    assert_int_equal(next->timers.message_timeout_ms, 500);
    assert_string_equal(trust_store_name(tls_context_store(next->listeners[0].tls[1], 0)), "corp");
    assert_string_equal(trust_store_name(tls_context_store(running->listeners[0].tls[1], 0)),
                        "device");
    config_drop(running);
    write_file("conf", "workers = \n");
    assert_int_equal(config_reload(next, &running), ERROR_CONFIG);
    assert_null(running);
    assert_string_equal(next->listeners[0].name, "tls");
    config_drop(next);
}

static void test_without_memory_there_is_no_configuration(void **state)
{
    (void)state;
    bool failed = true;
    for (unsigned n = 1; failed; n++) {
        struct config *c;
        char text[4096];
        snprintf(text, sizeof(text),
                 "workers = 1\naliases = {\"a.org\"}\n" STORES TLS("\"device\", \"corp\"")
                     TCP ROUTE,
                 folder);
        write_file("conf", text);
        mem_fail_nth_for_tests(n);
        enum error e = config_load(path_of("conf"), &c);
        failed = mem_failed_for_tests();
        mem_fail_nth_for_tests(0);
        assert_true(failed == (e != ERROR_NONE));
        assert_true(failed == (c == NULL));
        config_drop(c);
    }
}

static void test_every_option_is_explained(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    config_print_options(out);
    fclose(out);
#define OPTION(section, name, type, default_text, minimum, maximum, live, help) \
    assert_non_null(strstr(text, name));
#include "proxy/options.def"
#undef OPTION
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_whole_configuration_is_read),
        cmocka_unit_test(test_a_wrong_value_is_named_with_its_line),
        cmocka_unit_test(test_a_wrong_file_is_named),
        cmocka_unit_test(test_a_folder_of_authorities_is_taken_whole_or_not_at_all),
        cmocka_unit_test(test_trust_stores_must_exist_and_differ),
        cmocka_unit_test(test_listeners_must_be_reachable_and_whole),
        cmocka_unit_test(test_F01_a_listener_says_what_it_asks_of_clients),
        cmocka_unit_test(test_a_name_may_be_advertised),
        cmocka_unit_test(test_routes_must_lead_somewhere),
        cmocka_unit_test(test_a_reload_gives_a_new_whole_or_keeps_the_old),
        cmocka_unit_test(test_without_memory_there_is_no_configuration),
        cmocka_unit_test(test_every_option_is_explained),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
