/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/tls/signature.h"

#include <openssl/rsa.h>

/* NID_undef: its parameters can't be read, or name a digest that is not known. */
static int digest_of_pss(const ASN1_TYPE *parameters)
{
    RSA_PSS_PARAMS *pss =
        parameters ? ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(RSA_PSS_PARAMS), parameters) : NULL;
    int digest = NID_undef;
    if (pss)
        digest = pss->hashAlgorithm ? OBJ_obj2nid(pss->hashAlgorithm->algorithm) : NID_sha1;
    RSA_PSS_PARAMS_free(pss);
    return digest;
}

bool signature_is_strong(const X509_ALGOR *algorithm, int security_level)
{
    int signature = OBJ_obj2nid(algorithm->algorithm), digest = NID_undef;
    if (signature == NID_rsassaPss) {
        digest = digest_of_pss(algorithm->parameter);
        if (digest == NID_undef)
            return false;
    } else if (OBJ_find_sigid_algs(signature, &digest, NULL) != 1) {
        return false;
    }
    if (digest == NID_md5 || digest == NID_md4 || digest == NID_md2 || digest == NID_mdc2)
        return false;
    return digest != NID_sha1 || security_level == 0;
}
