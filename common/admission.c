/* SPDX-License-Identifier: Apache-2.0 */
#include "common/admission.h"

/* Somebody else's domain, without a certificate for it: never `off`, `always` with a certificate
 * asked for, nor where certificates are ignored. */
static enum admission of_third_party(const struct admission_facts *facts)
{
    bool shown = facts->certificate == CERTIFICATE_VALID;

    switch (facts->third_parties) {
    case THIRD_PARTIES_CHALLENGE:
        return ADMIT_BY_PASSWORD;
    case THIRD_PARTIES_ACCEPT:
        return ADMIT_AS_STRANGER;
    case THIRD_PARTIES_NONE:
    case THIRD_PARTIES_REFUSE:
        break;
    }
    return shown ? REFUSE_FROM : REFUSE_WITHOUT_CERTIFICATE;
}

static enum admission by_certificate_alone(const struct admission_facts *facts)
{
    switch (facts->certificate) {
    case CERTIFICATE_IGNORED:
        return facts->from_ours ? REFUSE_WITHOUT_CERTIFICATE : ADMIT_AS_ANONYMOUS;
    case CERTIFICATE_MISSING:
        if (!facts->from_ours && facts->third_parties == THIRD_PARTIES_ACCEPT)
            return ADMIT_AS_STRANGER;
        return REFUSE_WITHOUT_CERTIFICATE;
    case CERTIFICATE_VALID:
        return facts->permitted ? ADMIT_BY_CERTIFICATE : REFUSE_FROM;
    case CERTIFICATE_UNKNOWN:
        break;
    }
    return ADMISSION_NONE;
}

static enum admission or_password(const struct admission_facts *facts)
{
    switch (facts->certificate) {
    case CERTIFICATE_IGNORED:
        return ADMIT_BY_PASSWORD;
    case CERTIFICATE_MISSING:
        return facts->from_ours ? ADMIT_BY_PASSWORD : of_third_party(facts);
    case CERTIFICATE_VALID:
        if (facts->permitted)
            return ADMIT_BY_CERTIFICATE;
        return facts->from_ours ? ADMIT_BY_PASSWORD : of_third_party(facts);
    case CERTIFICATE_UNKNOWN:
        break;
    }
    return ADMISSION_NONE;
}

static enum admission and_password(const struct admission_facts *facts)
{
    switch (facts->certificate) {
    case CERTIFICATE_IGNORED:
        return ADMIT_BY_PASSWORD;
    case CERTIFICATE_MISSING:
        return REFUSE_WITHOUT_CERTIFICATE;
    case CERTIFICATE_VALID:
        if (!facts->permitted)
            return REFUSE_FROM;
        return facts->from_ours ? ADMIT_BY_BOTH : ADMIT_BY_CERTIFICATE;
    case CERTIFICATE_UNKNOWN:
        break;
    }
    return ADMISSION_NONE;
}

enum admission admission_of(const struct admission_facts *facts)
{
    switch (facts->digest) {
    case DIGEST_OFF:
        return by_certificate_alone(facts);
    case DIGEST_FALLBACK:
        return or_password(facts);
    case DIGEST_ALWAYS:
        return and_password(facts);
    case DIGEST_MODE_NONE:
        break;
    }
    return ADMISSION_NONE;
}
