/* SPDX-License-Identifier: Apache-2.0 */
/* The signals stay blocked and are taken by waiting for them: no handler, no race. */
#include "mapctl/interrupt.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

static void ending_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGHUP);
}

void interrupt_catch(void)
{
    sigset_t set;

    ending_signals(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

bool interrupt_wait(uint64_t ms)
{
    struct timespec limit = { .tv_sec = (time_t)(ms / 1000),
                              .tv_nsec = (long)(ms % 1000) * 1000000 };
    sigset_t set;

    ending_signals(&set);
    return sigtimedwait(&set, NULL, &limit) < 0 && errno == EAGAIN;
}
