/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/tls/certificate_text.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

void certificate_issuer_text(X509 *certificate, char out[CERTIFICATE_ISSUER_MAX + 1])
{
    BIO *bio = BIO_new(BIO_s_mem());
    int size = 0;
    if (bio && X509_NAME_print_ex(bio, X509_get_issuer_name(certificate), 0, XN_FLAG_RFC2253) >= 0)
        size = BIO_read(bio, out, CERTIFICATE_ISSUER_MAX);
    out[size > 0 ? size : 0] = 0;
    BIO_free(bio);
    ERR_clear_error();
}

void certificate_serial_text(X509 *certificate, char out[CERTIFICATE_SERIAL_MAX + 1])
{
    static const char digits[] = "0123456789ABCDEF";
    const ASN1_INTEGER *serial = X509_get0_serialNumber(certificate);
    const unsigned char *octets = ASN1_STRING_get0_data(serial);
    int size = ASN1_STRING_length(serial);
    if (size > CERTIFICATE_SERIAL_MAX / 2)
        size = 0;
    for (int i = 0; i < size; i++) {
        *out++ = digits[octets[i] >> 4];
        *out++ = digits[octets[i] & 15];
    }
    *out = 0;
}

/* What OpenSSL escapes with a backslash is ASCII then, and the log's line doubles each: whoever
 * copies from there or from OpenSSL writes the same without them. Escapes are only ASCII. */
static size_t plain_issuer(char *text, size_t size)
{
    size_t to = 0;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (c != '\\')
            text[to++] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
    }
    while (to > 0 && text[to - 1] == ' ') /* which nobody would copy */
        to--;
    return to;
}

static bool add_serial(BIO *bio, const ASN1_INTEGER *serial)
{
    const unsigned char *octets = ASN1_STRING_get0_data(serial);
    int size = ASN1_STRING_length(serial), i = 0;
    while (i < size && octets[i] == 0)
        i++;
    if (i == size)
        return BIO_puts(bio, "0") == 1;
    bool good = BIO_printf(bio, "%X", octets[i]) > 0;
    while (good && ++i < size)
        good = BIO_printf(bio, "%02X", octets[i]) > 0;
    return good;
}

bool certificate_naming_digest(X509 *certificate, unsigned char out[SHA256_DIGEST_LENGTH])
{
    BIO *issuer = BIO_new(BIO_s_mem()), *whole = BIO_new(BIO_s_mem());
    char *text;
    bool good =
        issuer && whole &&
        X509_NAME_print_ex(issuer, X509_get_issuer_name(certificate), 0, XN_FLAG_RFC2253) >= 0;
    if (good) {
        long size = BIO_get_mem_data(issuer, &text);
        int plain = (int)plain_issuer(text, (size_t)size);
        good = (plain == 0 || BIO_write(whole, text, plain) == plain) &&
               BIO_puts(whole, "\n") == 1 && add_serial(whole, X509_get0_serialNumber(certificate));
    }
    if (good) {
        long size = BIO_get_mem_data(whole, &text);
        good = EVP_Digest(text, (size_t)size, out, NULL, EVP_sha256(), NULL) == 1;
    }
    BIO_free(issuer);
    BIO_free(whole);
    ERR_clear_error();
    return good;
}

static size_t add_text(char *out, size_t at, const char *text, size_t size)
{
    if (size > CERTIFICATE_NAMES_MAX - at)
        size = CERTIFICATE_NAMES_MAX - at;
    memcpy(out + at, text, size);
    return at + size;
}

size_t certificate_names_text(X509 *certificate, char out[CERTIFICATE_NAMES_MAX])
{
    GENERAL_NAMES *all = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    size_t at = 0;
    for (int i = 0; all && i < sk_GENERAL_NAME_num(all); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(all, i);
        if (name->type != GEN_URI && name->type != GEN_DNS)
            continue;
        if (at > 0)
            at = add_text(out, at, " ", 1);
        at = add_text(out, at, (const char *)ASN1_STRING_get0_data(name->d.ia5),
                      (size_t)ASN1_STRING_length(name->d.ia5));
    }
    GENERAL_NAMES_free(all);
    ERR_clear_error();
    return at;
}
