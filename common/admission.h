/* SPDX-License-Identifier: Apache-2.0 */
/* By what must the sender of a request be known: certificate, password, both, or neither? The table
 * "Digest and certificate" of docs/operating.md as a pure function, a part of decide(). Zero is
 * never yes. */
#ifndef HOLDLINE_COMMON_ADMISSION_H
#define HOLDLINE_COMMON_ADMISSION_H

#include <stdbool.h>

/* What a listener does about passwords. NONE admits nobody. */
enum digest_mode { DIGEST_MODE_NONE = 0, DIGEST_OFF, DIGEST_FALLBACK, DIGEST_ALWAYS };
/* And about From of a domain that is not ours, from who has no certificate for it. NONE is REFUSE.
 */
enum third_parties {
    THIRD_PARTIES_NONE = 0,
    THIRD_PARTIES_CHALLENGE,
    THIRD_PARTIES_ACCEPT,
    THIRD_PARTIES_REFUSE
};

/* What a connection has shown. A bad certificate never comes so far: TLS ends it. */
enum certificate_shown {
    CERTIFICATE_UNKNOWN = 0,
    CERTIFICATE_IGNORED, /* the listener doesn't ask */
    CERTIFICATE_MISSING, /* it asks, and got none */
    CERTIFICATE_VALID
};

struct admission_facts {
    enum digest_mode digest;
    enum third_parties third_parties;
    enum certificate_shown certificate;
    bool permitted; /* From is one of the certificate's, or its mappings', identities */
    bool from_ours; /* From's domain is ours */
};

enum admission {
    ADMISSION_NONE = 0,
    ADMIT_BY_CERTIFICATE, /* it permits From */
    ADMIT_BY_PASSWORD,    /* of somebody who may use From */
    ADMIT_BY_BOTH,        /* the password is a second factor */
    ADMIT_AS_STRANGER,    /* nobody vouches for From: our users may be called, and what the rules
                             of `anonymous` say */
    ADMIT_AS_ANONYMOUS,   /* the same, and what those rules say alone */
    REFUSE_FROM,          /* the certificate doesn't permit it */
    REFUSE_WITHOUT_CERTIFICATE
};

/* Only for a peer whose certificate, mapping and store are not disabled. */
enum admission admission_of(const struct admission_facts *facts);

#endif
