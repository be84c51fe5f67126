/* SPDX-License-Identifier: Apache-2.0 */
/* Reading names out of a certificate: every string is taken with its length and its type, and what
 * does not hold to its type gives no name at all. */
#include "proxy/tls/peer_identity.h"

#include "common/mem.h"
#include "proxy/tls/certificate_text.h"
#include "proxy/tls/trust_store.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

static bool is_ascii(struct slice s)
{
    for (size_t i = 0; i < s.size; i++)
        if ((unsigned char)s.data[i] >= 0x80)
            return false;
    return true;
}

/* The string as UTF-8 into out[CN_MAX_OCTETS + 1]; its size, 0 when it is none that counts. Latin-1
 * is never assumed: a type of 8-bit characters must hold ASCII. */
static size_t utf8_of(const ASN1_STRING *string, char *out)
{
    struct slice raw = { (const char *)ASN1_STRING_get0_data(string),
                         (size_t)ASN1_STRING_length(string) };
    unsigned char *converted = NULL;
    int type = ASN1_STRING_type(string);
    if (raw.size == 0 || raw.size > (size_t)4 * CN_MAX_OCTETS)
        return 0;
    if (type == V_ASN1_BMPSTRING || type == V_ASN1_UNIVERSALSTRING) {
        int size = ASN1_STRING_to_UTF8(&converted, string);
        ERR_clear_error();
        if (size < 0)
            return 0;
        raw = (struct slice){ (const char *)converted, (size_t)size };
    } else if (type != V_ASN1_UTF8STRING &&
               ((type != V_ASN1_PRINTABLESTRING && type != V_ASN1_IA5STRING &&
                 type != V_ASN1_T61STRING) ||
                !is_ascii(raw))) {
        return 0;
    }
    size_t size = raw.size <= CN_MAX_OCTETS && text_is_clean_utf8(raw) ? raw.size : 0;
    memcpy(out, raw.data, size);
    out[size] = 0;
    OPENSSL_free(converted);
    return size;
}

/* The last CN of the subject is the most specific; an earlier one never stands in for it. */
size_t peer_identity_cn(X509 *certificate, char *out)
{
    const X509_NAME *subject = X509_get_subject_name(certificate);
    int last = -1;
    out[0] = 0;
    for (int at = -1; (at = X509_NAME_get_index_by_NID(subject, NID_commonName, at)) >= 0;)
        last = at;
    if (last < 0)
        return 0;
    return utf8_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, last)), out);
}

struct names {
    struct identity list[PEER_NAMES_MAX];
    size_t count;
    const struct identity *wanted; /* NULL: none in particular */
    bool has_wanted;               /* also where the list was full before it came */
};

static void add_name(struct names *names, const struct identity *name)
{
    char text[INET_ADDRSTRLEN];
    struct slice domain = identity_domain(name);
    struct in_addr v4;
    if (domain.size < sizeof(text)) {
        memcpy(text, domain.data, domain.size);
        text[domain.size] = 0;
        if (inet_pton(AF_INET, text, &v4) == 1)
            return; /* RFC 5922 7.1 knows no addresses */
    }
    names->has_wanted |=
        names->wanted && slice_equal(identity_text(names->wanted), identity_text(name));
    for (size_t i = 0; i < names->count; i++)
        if (slice_equal(identity_text(&names->list[i]), identity_text(name)))
            return;
    if (names->count < PEER_NAMES_MAX)
        names->list[names->count++] = *name;
}

static struct slice text_of(const ASN1_IA5STRING *string)
{
    return (struct slice){ (const char *)ASN1_STRING_get0_data(string),
                           (size_t)ASN1_STRING_length(string) };
}

static bool is_sip_uri(struct slice uri)
{
    return uri.size >= 4 && strncasecmp(uri.data, "sip:", 4) == 0;
}

static void add_uri(struct names *names, struct slice uri)
{
    struct identity name;
    struct slice rest = { uri.data + 4, uri.size - 4 };
    /* identity_from_text() is made for people too: it trims, and takes a scheme once. */
    bool plain = rest.size > 0;
    for (size_t i = 0; i < rest.size && plain; i++)
        plain = rest.data[i] > ' ' && rest.data[i] < 0x7f && rest.data[i] != ':';
    if (plain && identity_from_text(&name, rest) == ERROR_NONE)
        add_name(names, &name);
}

/* Whether it could be taken as a sip: URI as it stands. What a SIP user would have to escape, and a
 * percent sign, which means itself in an address, makes it no name (RFC 5321 4.1.2 has quotes and
 * comments besides). */
static bool add_email(struct names *names, struct slice email)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "-_.!~*'&=+$/";
    const char *at = memchr(email.data, '@', email.size);
    struct identity name;
    if (!at || at == email.data)
        return false;
    struct slice user = { email.data, (size_t)(at - email.data) };
    struct slice host = { at + 1, email.size - user.size - 1 };
    for (size_t i = 0; i < user.size; i++)
        if (!user.data[i] || !strchr(plain, user.data[i]))
            return false;
    if (host.size == 0 || host.data[0] == '[' ||
        identity_from_parts(&name, user, host, false) != ERROR_NONE)
        return false;
    add_name(names, &name);
    return true;
}

static void add_dns(struct names *names, struct slice host)
{
    struct identity name;
    if (host.size > 0 && host.data[0] != '[' &&
        identity_from_parts(&name, SLICE(""), host, false) == ERROR_NONE)
        add_name(names, &name);
}

static int compare_names(const void *a, const void *b)
{
    return slice_compare(identity_text(a), identity_text(b));
}

static void read_names(const GENERAL_NAMES *all, unsigned sources, struct names *names)
{
    bool has_sip = false;
    for (int i = 0; i < sk_GENERAL_NAME_num(all); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(all, i);
        if (name->type == GEN_URI && is_sip_uri(text_of(name->d.uniformResourceIdentifier))) {
            has_sip = true;
            if (sources & SOURCE_SAN_URI)
                add_uri(names, text_of(name->d.uniformResourceIdentifier));
        } else if (name->type == GEN_EMAIL && (sources & SOURCE_SAN_EMAIL) &&
                   add_email(names, text_of(name->d.rfc822Name))) {
            has_sip = true;
        }
    }
    for (int i = 0; i < sk_GENERAL_NAME_num(all) && !has_sip && (sources & SOURCE_SAN_DNS); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(all, i);
        if (name->type == GEN_DNS)
            add_dns(names, text_of(name->d.dNSName));
    }
    qsort(names->list, names->count, sizeof(names->list[0]), compare_names);
}

/* critical is -1 when the extension is absent, -2 when it stands twice, >= 0 when it is there. */
static bool read_alternative_names(X509 *certificate, unsigned sources, struct names *names)
{
    int critical;
    GENERAL_NAMES *all = X509_get_ext_d2i(certificate, NID_subject_alt_name, &critical, NULL);
    if (all)
        read_names(all, sources, names);
    GENERAL_NAMES_free(all);
    ERR_clear_error();
    return critical != -1;
}

/* False: there is no subjectAltName, whatever came of the CN instead. */
static bool read_all_names(X509 *certificate, unsigned sources, struct names *names)
{
    char cn[CN_MAX_OCTETS + 1];
    bool has_alternative_name = read_alternative_names(certificate, sources, names);
    if (!has_alternative_name && (sources & SOURCE_CN_DOMAIN))
        add_dns(names, (struct slice){ cn, peer_identity_cn(certificate, cn) });
    return has_alternative_name;
}

bool certificate_is_for_domain(X509 *certificate, unsigned sources, const struct identity *domain)
{
    struct names names = { .count = 0, .wanted = domain };
    if (domain->size == 0 || domain->user_size > 0)
        return false;
    read_all_names(certificate, sources, &names);
    return names.has_wanted;
}

bool certificate_not_after(X509 *certificate, uint64_t *unix_s)
{
    struct tm tm;
    if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &tm) != 1)
        return false;
    time_t t = timegm(&tm);
    *unix_s = t > 0 ? (uint64_t)t : 0;
    return true;
}

static char *write_word(char *out, const unsigned char digest[SHA256_DIGEST_LENGTH])
{
    static const char digits[] = "0123456789abcdef";
    *out++ = ',';
    for (size_t k = 0; k < SHA256_DIGEST_LENGTH; k++) {
        *out++ = digits[digest[k] >> 4];
        *out++ = digits[digest[k] & 15];
    }
    return out;
}

/* By what each of its certificates may be blocked; the size. */
static size_t write_chain(const struct trust_chain *chain, char out[PEER_CHAIN_TEXT_MAX])
{
    char *end = out;
    for (size_t i = 0; chain && i < chain->certificate_count; i++) {
        end = write_word(end, chain->sha256[i]);
        end = write_word(end, chain->naming[i]);
    }
    return (size_t)(end - out);
}

enum error peer_identity_read(X509 *certificate, const char *store, unsigned sources,
                              const struct trust_chain *chain, struct peer_identity **out)
{
    char cn[CN_MAX_OCTETS + 1];
    char issuer[CERTIFICATE_ISSUER_MAX + 1], serial[CERTIFICATE_SERIAL_MAX + 1];
    struct names names = { .count = 0 };
    uint64_t not_after_unix_s;
    *out = NULL;
    if (!certificate_not_after(certificate, &not_after_unix_s))
        return ERROR_MALFORMED;
    size_t cn_size = peer_identity_cn(certificate, cn);
    bool has_alternative_name = read_all_names(certificate, sources, &names);

    certificate_issuer_text(certificate, issuer);
    certificate_serial_text(certificate, serial);
    char words[PEER_CHAIN_TEXT_MAX];
    const struct peer_identity found = { .store = store,
                                         .issuer = issuer,
                                         .serial = serial,
                                         .cn = cn,
                                         .cn_size = cn_size,
                                         .chain = { words, write_chain(chain, words) },
                                         .not_after_unix_s = not_after_unix_s,
                                         .takes_mappings = (sources & SOURCE_MAPPING) != 0,
                                         .has_alternative_name = has_alternative_name,
                                         .name_count = names.count,
                                         .names = names.list };
    return peer_identity_copy(&found, out);
}

/* Gives where the copy is; *at goes behind it. */
static const char *put_text(char **at, const char *text, size_t size)
{
    char *start = *at;
    if (size)
        memcpy(start, text, size);
    start[size] = 0;
    *at = start + size + 1;
    return start;
}

static size_t text_size(const char *text)
{
    return text ? strlen(text) : 0;
}

/* One block: the struct, its names, then the texts, which need no alignment. */
enum error peer_identity_copy(const struct peer_identity *from, struct peer_identity **out)
{
    size_t names_size = from->name_count * sizeof(struct identity);
    size_t store_size = strlen(from->store), issuer_size = text_size(from->issuer);
    size_t serial_size = text_size(from->serial);
    struct peer_identity *p = mem_zero(1, sizeof(*p) + names_size + store_size + from->cn_size +
                                              issuer_size + serial_size + from->chain.size + 5);
    *out = p;
    if (!p)
        return ERROR_MEMORY;
    struct identity *list = (struct identity *)(p + 1);
    char *text = (char *)list + names_size;
    if (names_size)
        memcpy(list, from->names, names_size);
    *p = *from;
    p->names = list;
    p->store = put_text(&text, from->store, store_size);
    p->cn = put_text(&text, from->cn, from->cn_size);
    p->issuer = put_text(&text, from->issuer, issuer_size);
    p->serial = put_text(&text, from->serial, serial_size);
    p->chain.data = put_text(&text, from->chain.data, from->chain.size);
    return ERROR_NONE;
}

void peer_identity_free(struct peer_identity *identity)
{
    mem_free(identity);
}
