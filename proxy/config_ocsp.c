/* SPDX-License-Identifier: Apache-2.0 */
/* OCSP: files of responses that are stapled to our own certificates, which are not read with the
 * configuration (one that is over or missing keeps nobody from being served); and how peers'
 * certificates are asked about. */
#include "proxy/config_internal.h"

#include "common/mem.h"
#include "proxy/tls/context.h"
#include "proxy/tls/ocsp.h"
#include "proxy/tls/ocsp_question.h"

#include <errno.h>
#include <string.h>

static enum error add_staple(struct config *c, const struct config_listener *listener,
                             const char *path, struct slice pem)
{
    struct config_staple *list =
        mem_grow(c->staples, (c->staple_count + 1) * sizeof(c->staples[0]));
    if (!list)
        return ERROR_MEMORY;
    c->staples = list;
    struct config_staple *one = &list[c->staple_count++];
    *one = (struct config_staple){ .listener = listener->name,
                                   .file = config_keep_text(c, path),
                                   .chain = sk_X509_new_null() };
    if (!one->file || !one->chain)
        return ERROR_MEMORY;
    return certificates_read(pem, one->chain);
}

enum error config_read_staples(struct config *config, const struct config_file *file,
                               const struct config_section *s, const struct tls_own_spec *own,
                               size_t own_count, const struct config_listener *listener)
{
    size_t count = config_section_list_count(s, "ocsp");
    enum error e = ERROR_NONE;
    if (count != 0 && count != own_count)
        return config_complain(
            file, s, "ocsp",
            "%zu files for %zu certificates; name one for each, in their order, or \"\"", count,
            own_count);
    for (size_t i = 0; e == ERROR_NONE && i < count; i++) {
        const char *path = config_section_list_at(s, "ocsp", i);
        if (*path)
            e = add_staple(config, listener, path, own[i].certificate_pem);
    }
    return e;
}

enum error config_read_staple(const struct config_staple *staple, struct slice *der,
                              const char **why)
{
    struct pem_text text = { NULL, 0 };
    enum error e = config_append_file(&text, staple->file);
    *der = (struct slice){ NULL, 0 };
    *why = e == ERROR_SYSTEM ? strerror(errno) : "out of memory";
    if (e != ERROR_NONE)
        return e;
    *der = (struct slice){ text.data, text.size - 1 }; /* without the line end that was added */
    return ERROR_NONE;
}

void config_free_staples(struct config *config)
{
    for (size_t i = 0; i < config->staple_count; i++)
        sk_X509_pop_free(config->staples[i].chain, X509_free);
    mem_free(config->staples);
}

enum error config_read_ocsp_rules(struct config *config, const struct config_file *file,
                                  const struct config_section *s, struct trust_rules *rules)
{
    const char *check = config_section_text(s, "ocsp_check");
    const char *responder = config_section_text(s, "ocsp_responder");
    rules->ocsp = OCSP_REQUIRED;
    if (strcmp(check, "off") == 0)
        rules->ocsp = OCSP_OFF;
    else if (strcmp(check, "if_answered") == 0)
        rules->ocsp = OCSP_IF_ANSWERED;
    else if (strcmp(check, "required") != 0)
        return config_complain(file, s, "ocsp_check", "write off, if_answered or required");
    config->ocsp.wanted |= rules->ocsp != OCSP_OFF;
    rules->ocsp_responder = NULL;
    if (!*responder)
        return ERROR_NONE;
    if (!ocsp_url_fits(responder))
        return config_complain(file, s, "ocsp_responder",
                               "write http://HOST, with a port and a path if need be");
    rules->ocsp_responder = config_keep_text(config, responder);
    return rules->ocsp_responder ? ERROR_NONE : ERROR_MEMORY;
}
