/* SPDX-License-Identifier: Apache-2.0 */
/* Whose passwords a connection has proved, and its nonces. A user stays proved until the connection
 * closes or the password is another or gone: looked at again at once when a message names the user,
 * within 10 s for his domain, `*`, a new epoch or a new subscription. A new request needs
 * credentials of its own all the same; what was proved makes a connection without certificate the
 * device `digest:USER@DOMAIN`, so that dialogs, calls and responses find it, and stands for the
 * password inside dialogs. One thread: the worker's. */
#ifndef HOLDLINE_AUTHORIZATION_PROVED_H
#define HOLDLINE_AUTHORIZATION_PROVED_H

#include "proxy/authorization/nonce.h"
#include "proxy/authorization/peer.h"
#include "proxy/sip/credentials.h"

/* Lines of one connection. */
#define PROVED_MAX 64

struct proved_user;

/* The connection's nonces, made at the first call; NULL without memory. */
struct nonces *peer_nonces(struct peer *peer);

/* digest:USER@DOMAIN. */
void proved_device_key(const struct identity *user, char out[DEVICE_KEY_MAX + 1]);

/* He has proved it, with this HA1. ERROR_TOO_LARGE beyond PROVED_MAX, ERROR_MEMORY, ERROR_CLOSED:
 * the connection is gone. */
enum error proved_add(struct peer *peer, const struct identity *user,
                      enum digest_algorithm algorithm, struct slice ha1) MUST_CHECK;

bool proved_has(const struct peer *peer, const struct identity *user);
uint64_t proved_device(const struct peer *peer,
                       const struct identity *user); /* 0: none of his own */
/* NULL: none. Valid until the next turn of the loop. With a certificate the device is the
 * certificate's, and no user has one of his own. */
const struct proved_user *proved_find_device(const struct peer *peer, uint64_t device);
const struct proved_user *proved_find_entry(const struct peer *peer, const struct token_keys *keys,
                                            uint64_t entry);
const struct proved_user *proved_at(const struct peer *peer, size_t index); /* NULL at the end */
uint64_t proved_device_at(const struct peer *peer, size_t index);           /* 0 at the end */
const struct identity *proved_identity(const struct proved_user *user);

/* Whether his password is still the one that was proved, by an answer to CREDENTIAL. */
bool proved_holds(const struct proved_user *user, const struct answer *credential);

#endif
