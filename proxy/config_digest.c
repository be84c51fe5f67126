/* SPDX-License-Identifier: Apache-2.0 */
/* What a listener does about passwords. */
#include "proxy/config_internal.h"

#include <string.h>

static enum error read_words(const struct config_file *file, const struct config_section *s,
                             struct config_digest *out)
{
    static const char *const modes[] = { "off", "fallback", "always" };
    static const enum digest_mode mode[] = { DIGEST_OFF, DIGEST_FALLBACK, DIGEST_ALWAYS };
    static const char *const words[] = { "challenge", "accept", "refuse" };
    static const enum third_parties thirds[] = { THIRD_PARTIES_CHALLENGE, THIRD_PARTIES_ACCEPT,
                                                 THIRD_PARTIES_REFUSE };
    const char *digest = config_section_text(s, "digest");
    const char *third_parties = config_section_text(s, "third_parties");
    enum error e = ERROR_NONE;

    for (size_t i = 0; i < 3; i++) {
        if (strcmp(digest, modes[i]) == 0)
            out->mode = mode[i];
        if (strcmp(third_parties, words[i]) == 0)
            out->third_parties = thirds[i];
    }
    if (out->mode == DIGEST_MODE_NONE)
        e = config_complain(file, s, "digest", "\"%s\": write off, fallback or always", digest);
    if (out->third_parties == THIRD_PARTIES_NONE)
        e = config_complain(file, s, "third_parties", "\"%s\": write challenge, accept or refuse",
                            third_parties);
    return e;
}

/* Empty: both, the better one first. */
static enum error read_algorithms(const struct config_file *file, const struct config_section *s,
                                  struct config_digest *out)
{
    size_t count = config_section_list_count(s, "digest_algorithms");

    for (size_t i = 0; i < count && i < DIGEST_ALGORITHMS_MAX; i++) {
        const char *name = config_section_list_at(s, "digest_algorithms", i);
        enum digest_algorithm algorithm = digest_algorithm_of(slice_of(name));

        if (algorithm == DIGEST_ALGORITHM_NONE || (i > 0 && algorithm == out->algorithms[0]))
            return config_complain(
                file, s, "digest_algorithms",
                "\"%s\": write SHA-256 and MD5, each once, in the order in which "
                "they are offered",
                name);
        out->algorithms[out->algorithm_count++] = algorithm;
    }
    if (count == 0) {
        out->algorithms[0] = DIGEST_SHA_256;
        out->algorithms[1] = DIGEST_MD5;
        out->algorithm_count = 2;
    }
    return ERROR_NONE;
}

/* As column realm of table credential. */
static enum error read_realm(struct config *config, const struct config_file *file,
                             const struct config_section *s, struct config_digest *out)
{
    const char *realm = config_section_text(s, "realm");
    struct slice text = slice_of(realm);

    if (text.size && (!text_is_clean_utf8(text) || strpbrk(realm, "\"\\")))
        return config_complain(file, s, "realm",
                               "write text without quotes, backslashes and control characters");
    out->realm = config_keep_text(config, realm);
    return out->realm ? ERROR_NONE : ERROR_MEMORY;
}

enum error config_read_digest(struct config *config, const struct config_file *file,
                              const struct config_section *s, struct config_listener *listener)
{
    struct config_digest *out = &listener->digest;
    enum error e = read_words(file, s, out);

    e = config_worse(e, read_algorithms(file, s, out));
    e = config_worse(e, read_realm(config, file, s, out));
    if (!out->realm) /* complained of, or no memory */
        return e;
    if (listener->transport != TRANSPORT_TLS &&
        (out->mode != DIGEST_OFF || out->third_parties != THIRD_PARTIES_REFUSE || out->realm[0] ||
         config_section_list_count(s, "digest_algorithms")))
        e = config_worse(e, config_complain(file, s, "transport",
                                            "tcp takes no digest, third_parties, realm or "
                                            "digest_algorithms; write tls or remove them"));
    else if (out->mode == DIGEST_OFF &&
             (out->realm[0] || config_section_list_count(s, "digest_algorithms")))
        e = config_worse(e, config_complain(file, s, "digest",
                                            "realm and digest_algorithms are not used with digest "
                                            "= off; write fallback or always, or remove them"));
    return e;
}
