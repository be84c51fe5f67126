/* SPDX-License-Identifier: Apache-2.0 */
/* Names a moment between two steps at which mapperd may be killed, so that a test can kill it
 * there.
 *
 * In a build with a sanitizer, which is what the tests run, HOLDLINE_KILL_AT=NAME in the
 * environment ends the process by SIGKILL when it comes by, NAME:N when it comes by for the Nth
 * time. In every other build there is nothing here: no code, no variable that is read. */
#ifndef HOLDLINE_MAPPERD_KILL_POINT_H
#define HOLDLINE_MAPPERD_KILL_POINT_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
void kill_point(const char *name);
#else
static inline void kill_point(const char *name)
{
    (void)name;
}
#endif

#endif
