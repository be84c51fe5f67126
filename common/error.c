/* SPDX-License-Identifier: Apache-2.0 */
/* Names of internal outcomes. */
#include "common/error.h"

const char *error_text(enum error e)
{
    switch (e) {
    case ERROR_NONE:
        return "done";
    case ERROR_MEMORY:
        return "out of memory";
    case ERROR_MALFORMED:
        return "malformed";
    case ERROR_TOO_LARGE:
        return "too large";
    case ERROR_INCOMPLETE:
        return "incomplete";
    case ERROR_NOT_FOUND:
        return "not found";
    case ERROR_CLOSED:
        return "closed";
    case ERROR_UNREACHABLE:
        return "unreachable";
    case ERROR_SYSTEM:
        return "refused by the system";
    case ERROR_LIBRARY:
        return "refused by a library";
    case ERROR_CONFIG:
        return "wrong configuration";
    }
    return "unknown error";
}
