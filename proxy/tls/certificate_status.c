/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/tls/certificate_status.h"

enum status_verdict status_judge(enum ocsp_rule rule, const struct certificate_status *known,
                                 bool over, uint64_t now_unix_s)
{
    bool in_force = now_unix_s < known->until_unix_s;
    if (rule == OCSP_OFF || (known->said == OCSP_STATUS_GOOD && in_force))
        return STATUS_PASSES;
    if (known->said == OCSP_STATUS_REVOKED && in_force)
        return STATUS_REFUSED;
    if (!over)
        return STATUS_WAITS;
    if (known->said == OCSP_STATUS_REVOKED)
        return STATUS_REFUSED;
    return rule == OCSP_IF_ANSWERED ? STATUS_PASSES_UNANSWERED : STATUS_REFUSED;
}

static bool outdoes(const struct certificate_status *found, const struct certificate_status *kept)
{
    if (found->said == OCSP_STATUS_REVOKED || kept->said == OCSP_STATUS_NONE)
        return true;
    if (kept->said == OCSP_STATUS_REVOKED)
        return found->said == OCSP_STATUS_GOOD &&
               found->this_update_unix_s > kept->this_update_unix_s;
    return found->this_update_unix_s >= kept->this_update_unix_s;
}

bool status_take(struct certificate_status *kept, const struct ocsp_answer *answer,
                 uint64_t now_unix_s)
{
    struct certificate_status found = { .said = answer->status,
                                        .this_update_unix_s = answer->this_update_unix_s };
    if (found.said == OCSP_STATUS_NONE || !ocsp_in_force(answer, now_unix_s, &found.until_unix_s) ||
        !outdoes(&found, kept))
        return false;
    if (found.said == OCSP_STATUS_UNKNOWN && found.until_unix_s > now_unix_s + STATUS_UNKNOWN_S)
        found.until_unix_s = now_unix_s + STATUS_UNKNOWN_S;
    *kept = found;
    return true;
}

const char *status_text(enum ocsp_status said)
{
    static const char *const texts[] = {
        [OCSP_STATUS_NONE] = "none",
        [OCSP_STATUS_GOOD] = "good",
        [OCSP_STATUS_REVOKED] = "revoked",
        [OCSP_STATUS_UNKNOWN] = "unknown",
    };
    return texts[said];
}
