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
