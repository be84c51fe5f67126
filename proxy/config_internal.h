/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of reading the configuration share: config.c (values, routes),
 * config_listeners.c (listeners, trust stores, TLS) and config_digest.c (passwords). */
#ifndef HOLDLINE_PROXY_CONFIG_INTERNAL_H
#define HOLDLINE_PROXY_CONFIG_INTERNAL_H

#include "common/config.h"
#include "proxy/config.h"

/* Both complain by config_complain() and go on to the next section, so that one start names every
 * fault. */
enum error config_read_listeners(struct config *config, const struct config_file *file) MUST_CHECK;
void config_free_listeners(struct config *config);

/* The bytes of files, one after the other; to be forgotten. */
struct pem_text {
    char *data;
    size_t size;
};
/* Appends the file and a line end. ERROR_SYSTEM: errno says why; ERROR_MEMORY. */
enum error config_append_file(struct pem_text *text, const char *path) MUST_CHECK;
void config_forget(struct pem_text *text);

/* The CRLs of a section trust_store, whose anchors are `pem`; a store without any is left out. */
enum error config_read_crl_store(struct config *config, const struct config_file *file,
                                 const struct config_section *section, struct slice pem,
                                 struct trust_rules *rules) MUST_CHECK;
enum error config_finish_crls(struct config *config) MUST_CHECK;
void config_free_crls(struct config *config);

/* config_trusted.c */
enum error config_read_trusted_peers(struct config *config,
                                     const struct config_file *file) MUST_CHECK;

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
