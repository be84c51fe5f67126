/* SPDX-License-Identifier: Apache-2.0 */
/* The dialog token: what admits ACK and in-dialog requests. It stands as a parameter in our
 * Record-Route URI, sealed with AES-256-GCM, and says for each side of the dialog which device it
 * is, by which identity it was admitted and where it is. Call-ID, the caller's tag and both dialog
 * URIs are associated data: they cost no length, and a token opens in its own dialog only. Pure but
 * for reading the key file. Immutable keys, any thread.
 *
 * 90 bytes before base64url, so 120 characters without a bit to spare:
 *   version 1 | key id 1 | salt 16 | sealed: run 4, caller 26, callee 26 | GCM tag 16
 *   side: device hash 8 | entry hash 8 | worker 1 | listener 1 | slot, or server 4 | generation 4
 * Each token is sealed with a key of its own, HMAC-SHA256(master key, salt): so the number of
 * tokens a master key may seal has no practical bound, and the nonce is constant. */
#ifndef HOLDLINE_AUTHORIZATION_DIALOG_TOKEN_H
#define HOLDLINE_AUTHORIZATION_DIALOG_TOKEN_H

#include "common/error.h"
#include "common/identity.h"
#include "proxy/net/flow.h"

#include <stdbool.h>
#include <stdint.h>

#define DIALOG_TOKEN_SIZE 120 /* characters of base64url */

struct token_keys;

/* Reads the key file, or makes it (mode 0600, one key) when there is none. Lines:
 *   hash 32 HEX DIGITS      keys the hashes of devices and entries; never changes, also when keys
 * do key ID 64 HEX DIGITS    ID 0..255; the first seals, all open; at most 16
 * `#` begins a comment line. ERROR_CONFIG: damaged, or open to group or others; ERROR_SYSTEM;
 * ERROR_MEMORY. Each has been logged. A process draws a number of its own run with it, so that
 * flows of an earlier run are never taken for those of this one. */
enum error token_keys_load(const char *path, struct token_keys **out) MUST_CHECK;
/* Reads the file again while the process runs: other `key` lines, the same run. *out is NULL when
 * nothing has changed. The older keys are the newer's from here on: what still points to them may,
 * and one token_keys_free() frees all. ERROR_CONFIG also for another `hash`, by which devices in
 * open calls and the worker's tables are known, and for a file that is gone. */
enum error token_keys_reload(const char *path, struct token_keys *running,
                             struct token_keys **out) MUST_CHECK;
/* Keys of this process alone, in no file: for who only decides. */
enum error token_keys_draw(struct token_keys **out) MUST_CHECK;
void token_keys_free(struct token_keys *keys);

/* Keyed hashes; never 0, which is nobody. */
uint64_t token_keys_device_hash(const struct token_keys *keys, struct slice device_key);
uint64_t token_keys_entry_hash(const struct token_keys *keys, struct slice entry);

struct dialog_side {
    uint64_t device;  /* token_keys_device_hash() of its device key, for a route of `route:NAME` */
    uint64_t entry;   /* token_keys_entry_hash() of the entry it was admitted by */
    struct flow flow; /* generation 0: a route, or of another run: only the device is known */
    uint32_t server;  /* without flow: which server of a route, as who made the token names it */
};

struct dialog_token {
    struct dialog_side caller, callee;
};

/* What a token is bound to: Call-ID, From tag, From and To (canonical) of the request that began
 * the dialog. */
struct dialog_names {
    struct slice call_id, caller_tag;
    const struct identity *caller, *callee;
};

/* Writes DIALOG_TOKEN_SIZE characters and a NUL. ERROR_LIBRARY; ERROR_TOO_LARGE: a number of worker
 * or listener beyond 8 bits. */
enum error dialog_token_seal(const struct token_keys *keys, const struct dialog_token *token,
                             const struct dialog_names *names,
                             char out[DIALOG_TOKEN_SIZE + 1]) MUST_CHECK;

/* ERROR_MALFORMED: not a token of ours for this dialog, whatever the reason; *out is all zero. */
enum error dialog_token_open(const struct token_keys *keys, struct slice text,
                             const struct dialog_names *names, struct dialog_token *out) MUST_CHECK;

enum dialog_party { DIALOG_NOBODY = 0, DIALOG_CALLER, DIALOG_CALLEE };

/* An in-dialog request's names, as they stand in it. */
struct dialog_request {
    struct slice call_id, from_tag, to_tag;
    const struct identity *from, *to;
};

/* Opens it for an in-dialog request: as the caller's (caller's tag in From), else as the callee's
 * (caller's tag in To, URIs the other way round). *sender says whose request it is by its names;
 * that the peer is that side's device is for authorize_begin() to check. Without a To tag:
 * ERROR_MALFORMED. */
enum error dialog_token_open_request(const struct token_keys *keys, struct slice text,
                                     const struct dialog_request *request, struct dialog_token *out,
                                     enum dialog_party *sender) MUST_CHECK;

#endif
