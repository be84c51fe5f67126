/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/tls/certificate_text.h"

#include <openssl/err.h>

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
