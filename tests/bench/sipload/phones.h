/* SPDX-License-Identifier: Apache-2.0 */
/* Phones: identity, certificate, key. */
#ifndef HOLDLINE_BENCH_SIPLOAD_PHONES_H
#define HOLDLINE_BENCH_SIPLOAD_PHONES_H

#include <openssl/ssl.h>

struct phone {
    char mac[32], user[32];
    X509 *cert;
    EVP_PKEY *key;
    SSL_SESSION *session; /* last one the target gave, with --resume */
};

extern struct phone *phones;
extern unsigned nphones;

/* Phone i of the fleet has number base + i: MAC prefix%06X, user prefix%06u. */
void make_phones(unsigned n);

#endif
