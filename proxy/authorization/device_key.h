/* SPDX-License-Identifier: Apache-2.0 */
/* The name that a device has in bindings and, hashed, in dialog tokens: it outlives connections.
 * Pure; any thread. */
#ifndef HOLDLINE_AUTHORIZATION_DEVICE_KEY_H
#define HOLDLINE_AUTHORIZATION_DEVICE_KEY_H

#include "common/slice.h"
#include "proxy/tls/peer_identity.h"

/* STORE:CN:NAMES, see docs/protocol.md; at most 32 + 1 + 192 + 1 + 16 octets, or route:NAME. */
#define DEVICE_KEY_MAX 300

/* The key that a device has by certificate and canonical CN (empty: not of its store's form). */
void peer_device_key(const struct peer_identity *certificate, struct slice canonical_cn,
                     char out[DEVICE_KEY_MAX + 1]);

#endif
