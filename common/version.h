/* SPDX-License-Identifier: Apache-2.0 */
/* Which build a program is: what `git describe` says of its tree. The Makefile tells it to the few
 * files that print it, so that a commit compiles no others anew. */
#ifndef HOLDLINE_COMMON_VERSION_H
#define HOLDLINE_COMMON_VERSION_H

#ifndef HOLDLINE_VERSION
#define HOLDLINE_VERSION "unknown"
#endif

#endif
