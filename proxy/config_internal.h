/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of reading the configuration share: config.c (values, routes), config_files.c
 * (files that are named), config_stores.c (trust stores), config_listeners.c, config_route_tls.c
 * and config_digest.c (passwords). */
#ifndef HOLDLINE_PROXY_CONFIG_INTERNAL_H
#define HOLDLINE_PROXY_CONFIG_INTERNAL_H

#include "common/config.h"
#include "proxy/config.h"

struct config_stores;
struct trust_store;
struct tls_own_spec;
struct tls_store_spec;

/* All complain by config_complain() and go on to the next section, so that one start names every
 * fault. */

/* The trust stores with their files, to be given to who reads what uses them, and forgotten then;
 * also on failure. */
enum error config_read_stores(struct config *config, const struct config_file *file,
                              struct config_stores **out) MUST_CHECK;
void config_forget_stores(struct config_stores *stores); /* NULL is harmless */
/* Those that option trust_stores of a section names, at least one; chosen has room for
 * CONFIG_TRUST_STORES_MAX. `what_for`: what they verify, for the complaint. */
enum error config_choose_stores(const struct config_file *file, const struct config_section *s,
                                const struct config_stores *stores, const char *what_for,
                                struct tls_store_spec *chosen, size_t *chosen_count) MUST_CHECK;

enum error config_read_listeners(struct config *config, const struct config_file *file,
                                 const struct config_stores *stores) MUST_CHECK;
void config_free_listeners(struct config *config);

/* The bytes of files, one after the other; to be forgotten. */
struct pem_text {
    char *data;
    size_t size;
};
/* Appends the file and a line end. ERROR_SYSTEM: errno says why; ERROR_MEMORY. */
enum error config_append_file(struct pem_text *text, const char *path) MUST_CHECK;
void config_forget(struct pem_text *text);
struct slice config_pem_slice(const struct pem_text *text);
/* For what config_append_file() gave: complains when it is the file's fault. */
enum error config_complain_of_file(const struct config_file *file, const struct config_section *s,
                                   const char *option, const char *path, enum error e);
/* A private key, which must not be open to everybody. */
enum error config_read_key(const struct config_file *file, const struct config_section *s,
                           const char *option, const char *path, struct pem_text *text) MUST_CHECK;

/* The CRLs of a section trust_store, whose anchors are `pem`; a store without any is left out. */
enum error config_read_crl_store(struct config *config, const struct config_file *file,
                                 const struct config_section *section, struct slice pem,
                                 struct trust_rules *rules) MUST_CHECK;
enum error config_finish_crls(struct config *config) MUST_CHECK;
void config_free_crls(struct config *config);

/* config_route_tls.c: what is about TLS, after the listeners. */
enum error config_read_route_tls(struct config *config, const struct config_file *file,
                                 const struct config_stores *stores) MUST_CHECK;
void config_free_route_tls(struct config *config);
void config_warn_of_routes(const struct config *config);
/* A line each for what is weaker than usual; `what` (listener or route) and its name say whose. */
void config_warn_of_store(const char *what, const char *name, const struct trust_store *store);
void config_warn_of_version(const char *what, const char *name, const char *tls_min);

/* TLS1_VERSION and on for "1.0" to "1.3"; 0: none of these. */
int config_tls_version(const char *text);

/* config_ocsp.c: option ocsp of a listener, whose certificates are `own`. */
enum error config_read_staples(struct config *config, const struct config_file *file,
                               const struct config_section *s, const struct tls_own_spec *own,
                               size_t own_count, const struct config_listener *listener) MUST_CHECK;
/* The same file: ocsp_check and ocsp_responder of a section trust_store. */
enum error config_read_ocsp_rules(struct config *config, const struct config_file *file,
                                  const struct config_section *s,
                                  struct trust_rules *rules) MUST_CHECK;
void config_free_staples(struct config *config);

/* config_trusted.c */
enum error config_read_trusted_peers(struct config *config,
                                     const struct config_file *file) MUST_CHECK;

/* config_services.c */
enum error config_read_services(struct config *config, const struct config_file *file,
                                const struct config_section *s,
                                struct config_route *route) MUST_CHECK;

/* config_numbers.c. Needs config->international. */
enum error config_read_numbers(struct config *config, const struct config_file *file,
                               const struct config_section *s,
                               struct config_route *route) MUST_CHECK;

/* Needs the listener's transport. */
enum error config_read_digest(struct config *config, const struct config_file *file,
                              const struct config_section *s,
                              struct config_listener *listener) MUST_CHECK;

/* A copy that lives as long as the configuration; NULL without memory. */
const char *config_keep_text(struct config *config, const char *text);

/* Whether sections of this kind have titles that fit: [A-Za-z0-9_-]{1,32}. */
enum error config_check_titles(const struct config_file *file, const char *section) MUST_CHECK;

/* The worse of two, ERROR_CONFIG counting less than a failure of ours. */
enum error config_worse(enum error a, enum error b);

#endif
