/* SPDX-License-Identifier: Apache-2.0 */
/* Commands that go on until somebody ends them. */
#ifndef HOLDLINE_MAPCTL_INTERRUPT_H
#define HOLDLINE_MAPCTL_INTERRUPT_H

#include <stdbool.h>
#include <stdint.h>

/* From now on SIGINT, SIGTERM and SIGHUP do not kill but are seen by interrupt_wait(). Before any
 * thread is started. */
void interrupt_catch(void);

/* Waits; false as soon as one of the signals has come, also before. */
bool interrupt_wait(uint64_t ms);

#endif
