/* SPDX-License-Identifier: Apache-2.0 */
/* sipload: load of SIP phones with client certificates. It knows its target only by address: every
 * phone it plays has an identity (a MAC address as certificate CN and a SIP user), connects over
 * mutual TLS and speaks plain RFC 3261. The far end of the calls lives in the same process: either
 * as further phones registered through the same target, or as a next hop the target forwards to.
 * `sipload --help` lists modes and options; tests/bench/README.md says how to read the output. */
#include "course.h"
#include "options.h"

#include <signal.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    parse_args(argc, argv);
    run_load();
    return 0;
}
