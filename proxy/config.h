/* SPDX-License-Identifier: Apache-2.0 */
/* The proxy's configuration as one immutable object with everything that was read for it, SSL
 * contexts included: built and checked whole before anything uses it. Reference counted
 * (atomically): main and each worker hold it, and each connection that was accepted under it; a
 * reload builds another. Options: proxy/options.def, syntax: common/config.h. */
#ifndef HOLDLINE_PROXY_CONFIG_H
#define HOLDLINE_PROXY_CONFIG_H

#include "common/admission.h"
#include "common/identity.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/number.h"
#include "proxy/net/address.h"
#include "proxy/sip/digest_algorithm.h"
#include "proxy/tls/client_certificate.h"
#include "proxy/tls/trust_rules.h"

#include <openssl/x509.h>
#include <stdatomic.h>
#include <stdio.h>

#define SESSION_TIMER_MIN_S     90 /* nobody may ask for less (RFC 4028 5) */
#define SESSION_TIMER_MIN_TEXT  "90"
#define PROXY_NAME_MAX          32
#define CONFIG_LISTENERS_MAX    32
#define CONFIG_ROUTES_MAX       1024
#define ROUTE_SERVERS_MAX       8
#define CONFIG_TRUST_STORES_MAX 32
#define CONFIG_WORKERS_MAX      64

struct config_file;
struct peer_identity;
struct revocation_set;
struct revocations;
struct tls_client;
struct tls_context;
struct trust_store;

/* A trust store with revocation lists, for who watches their files. */
struct config_crl_store {
    const char *name;
    const char **files;
    size_t file_count;
    struct trust_rules rules;
    struct trust_store *anchors; /* main's, to verify the lists with */
    struct revocations *list;    /* as it was read with the configuration */
};

/* A file with an OCSP response for a certificate of ours. */
struct config_staple {
    const char *listener, *file;
    STACK_OF(X509) * chain; /* the certificate, then what leads to its root; main's */
};

#define DIGEST_ALGORITHMS_MAX 2

/* Passwords, and who has neither one nor a certificate. */
struct config_digest {
    enum digest_mode mode; /* OFF on TCP */
    enum third_parties third_parties;
    const char *realm;                                       /* "": From's domain */
    enum digest_algorithm algorithms[DIGEST_ALGORITHMS_MAX]; /* in the order of challenges */
    size_t algorithm_count;
};

struct config_listener {
    const char *name;
    unsigned index;             /* in config->listeners */
    struct address address;     /* as configured; port 0: the kernel chooses */
    const char *advertise;      /* "host:port"; NULL = where it is bound, see net_advertised() */
    const char *advertise_host; /* its parts; NULL and 0 without */
    uint16_t advertise_port;
    enum transport transport; /* TLS: for devices; TCP: for routes' peers only */
    enum client_certificate client_certificate;
    const char *tls_min; /* "1.0" to "1.3" */
    bool tickets;        /* whether sessions may be resumed */
    struct config_digest digest;
    struct tls_context **tls; /* one a worker, by its index; NULL on TCP */
};

/* How a route's next hop wants a number written. */
enum number_form { NUMBER_AS_DIALLED = 0, NUMBER_E164, NUMBER_NATIONAL };

/* A next hop for a domain. As a peer it is `route:NAME`. */
struct config_route {
    const char *name;
    unsigned index; /* in config->routes */
    struct identity domain;
    struct address servers[ROUTE_SERVERS_MAX]; /* in the order in which they are asked */
    size_t server_count;
    enum transport transport;        /* TCP or TLS */
    const char *listener;            /* that it reaches us by; NULL: the first of the transport */
    struct identity tls_name;        /* whom the server's certificate must name; a domain. TLS */
    const char *tls_min;             /* as of a listener; TLS */
    const char *const *trust_stores; /* names of those that it is verified in; TLS */
    size_t trust_store_count;
    struct tls_client **tls;           /* one a worker, by its index; NULL on TCP */
    bool tls_is_anothers;              /* of a route before it that says the same */
    bool inbound;                      /* may send new requests */
    bool trusted;                      /* of our trust domain (RFC 3325): honours Privacy */
    const struct identity *may_assert; /* domains or users that its From may name */
    size_t may_assert_count;
    const struct identity *services; /* that leave by it, with what is below them (RFC 5031) */
    size_t service_count;
    struct slice service_number;   /* that these become; empty: they stay as they are */
    const struct number *prefixes; /* of numbers that leave by it, read by its plan */
    size_t prefix_count;
    struct number_plan plan;
    enum number_form number_form;
    struct slice outside_line; /* digits before each number that is written */
};

/* A peer that names users of other domains in From, known by its certificate (F13). */
struct config_trusted_peer {
    const char *name, *store;
    char cn[CN_MAX_OCTETS + 1]; /* "": any */
    struct identity san;        /* size 0: any */
    const struct identity *may_assert;
    size_t may_assert_count; /* 0: all that are not ours */
    bool own_domains;        /* what is listed counts where it is ours, too */
};

struct config_timers {
    uint64_t t1_ms, t2_ms, t4_ms, timer_c_ms;
    uint64_t park_deadline_ms, nonfinal_100_after_ms, next_hop_pause_ms;
    uint64_t handshake_timeout_ms, message_timeout_ms, output_timeout_ms;
    uint64_t idle_timeout_ms; /* 0 = never */
};

struct config_bounds {
    size_t max_message, output_max;
    unsigned max_connections; /* of the proxy; each worker takes its share */
    unsigned max_handshakes;  /* of these unfinished at once; shared the same way */
    unsigned park_per_device, park_total, park_per_trusted_peer, cache_entries;
};

struct config_passwords {
    uint64_t nonce_lifetime_ms;
    unsigned failures, failures_per_minute; /* see authorization/brake.h */
};

struct config_resumption {
    uint64_t max_ms;      /* since the full handshake */
    uint64_t rotation_ms; /* how long a key seals tickets */
};

/* How peers' certificates are asked about. */
struct config_ocsp {
    uint64_t timeout_ms, refresh_ms;
    bool wanted; /* a trust store has ocsp_check */
};

struct config_registrar {
    unsigned expires_min_s, expires_default_s, expires_max_s;
    unsigned contacts_max;
};

struct config {
    atomic_uint references;
    struct arena arena; /* texts */
    char name[PROXY_NAME_MAX + 1];
    unsigned workers;
    struct config_file *file;   /* as it was read, for the comparison at a reload */
    const char *path;           /* of the file that was read */
    struct slice international; /* prefixes that mean + in a number */
    const char *mapperd_socket, *control_socket, *token_keys, *log_file;
    enum log_level log_level;
    const char *const *aliases; /* further hosts that mean this proxy, canonical */
    size_t alias_count;
    struct config_timers timers;
    struct config_bounds bounds;
    struct config_registrar registrar;
    struct config_passwords passwords;
    struct config_resumption resumption;
    struct config_ocsp ocsp;
    struct config_listener *listeners;
    size_t listener_count;
    struct config_route *routes;
    size_t route_count;
    struct config_crl_store *crl_stores;
    size_t crl_store_count;
    struct revocation_set *revocations; /* of these, as read with the configuration */
    struct config_staple *staples;
    size_t staple_count;
    struct config_trusted_peer *trusted_peers;
    size_t trusted_peer_count;
    bool pass_diversion;      /* of peers that are not trusted */
    unsigned session_timer_s; /* 0: off; else at least 90 */
};

/* Reads and checks: files can be read, key fits certificate, names that are used exist, no anchor
 * stands in two trust stores of a listener, addresses are literal. *out has one reference.
 * ERROR_CONFIG: every complaint is on standard error as FILE:LINE: what is wrong; what to write.
 * ERROR_MEMORY, ERROR_LIBRARY. */
enum error config_load(const char *path, struct config **out) MUST_CHECK;

/* Reads running->path again, for the workers that run. What differs and is not live is named in the
 * log and keeps its old value until a restart. Errors as above, complained of in the log: the
 * running configuration then stays. Main's thread. */
enum error config_reload(const struct config *running, struct config **out) MUST_CHECK;

/* Any thread. The last drop frees it. */
const struct config *config_hold(const struct config *config);
void config_drop(const struct config *config);

/* The route for a canonical domain; NULL: none. */
const struct config_route *config_route_of_domain(const struct config *config, struct slice domain);
/* The route that has a server on this host, whatever the port; the first in file order; NULL: none.
 */
const struct config_route *config_route_of_host(const struct config *config,
                                                const struct address *host);

/* Reads the store's lists from their files again. On failure *file and *why say what is wrong.
 * Main's thread. */
enum error config_read_crls(const struct config_crl_store *store, struct revocations **out,
                            const char **file, const char **why) MUST_CHECK;

/* Reads the file; the caller frees der->data (mem_free). ERROR_SYSTEM, ERROR_MEMORY: *why says what
 * is wrong. Main's thread. */
enum error config_read_staple(const struct config_staple *staple, struct slice *der,
                              const char **why) MUST_CHECK;

/* Names in the log what the configuration permits and should not for longer than needed: old
 * versions of TLS, stores of a low security level. Main's thread, at start and after a reload. */
void config_warn(const struct config *config);

/* The first in file order whose store, CN and name are this certificate's; NULL: not trusted. */
const struct config_trusted_peer *config_trusted_peer_of(const struct config *config,
                                                         const struct peer_identity *certificate);
/* Whether the trusted peer's word is enough for this From. `foreign`: its domain is not ours. */
bool config_trusted_peer_asserts(const struct config_trusted_peer *trusted,
                                 const struct identity *identity, bool foreign);

/* --help-config, --help-man. */
void config_print_options(FILE *out);
void config_print_page(FILE *out);

#endif
