/* SPDX-License-Identifier: Apache-2.0 */
/* Signals that end a long command. */
#include "mapctl/cancel.h"

#include <signal.h>
#include <string.h>

static const int SIGNALS[] = { SIGINT, SIGTERM, SIGHUP };
#define SIGNAL_COUNT (sizeof(SIGNALS) / sizeof(SIGNALS[0]))

static volatile sig_atomic_t came;
static PGcancel *volatile cancel;
static struct sigaction before[SIGNAL_COUNT];

/* PQcancel() is made for signal handlers. */
static void on_signal(int number)
{
    char message[256];

    (void)number;
    came = 1;
    if (cancel != NULL)
        (void)PQcancel(cancel, message, sizeof(message));
}

/* Without SA_RESTART: a read from a terminal or a pipe ends. */
void cancel_watch(PGconn *connection)
{
    struct sigaction action = { .sa_handler = on_signal };

    came = 0;
    cancel = PQgetCancel(connection);
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < SIGNAL_COUNT; i++) {
        sigaction(SIGNALS[i], NULL, &before[i]);
        if (before[i].sa_handler != SIG_IGN)
            sigaction(SIGNALS[i], &action, NULL);
    }
}

static void set_mask(int how)
{
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < SIGNAL_COUNT; i++)
        sigaddset(&set, SIGNALS[i]);
    sigprocmask(how, &set, NULL);
}

void cancel_hold(void)
{
    set_mask(SIG_BLOCK);
}

void cancel_forget(void)
{
    PGcancel *done = cancel;

    set_mask(SIG_BLOCK);
    cancel = NULL;
    PQfreeCancel(done);
    for (size_t i = 0; i < SIGNAL_COUNT; i++)
        sigaction(SIGNALS[i], &before[i], NULL);
    set_mask(SIG_UNBLOCK);
}

bool cancelled(void)
{
    return came != 0;
}
