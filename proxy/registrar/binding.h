/* SPDX-License-Identifier: Apache-2.0 */
/* A binding as mapperd tells it (docs/protocol.md, LOCATE), and the name of a flow in it. Pure. */
#ifndef HOLDLINE_REGISTRAR_BINDING_H
#define HOLDLINE_REGISTRAR_BINDING_H

#include "common/error.h"
#include "common/mem.h"
#include "common/slice.h"
#include "proxy/net/flow.h"

#include <stdint.h>

struct binding {
    struct slice store, cn, device, ground, entry, instance, call_id, path,
        contact;                /* decoded; "" = none */
    struct slice registered_by; /* a third party; "" = the address of record itself */
    struct slice flow;          /* text */
    uint64_t expires_unix_s;
    uint32_t reg_id; /* 0 = none */
    uint32_t cseq;
    uint16_t q; /* 0..1000 */
};

/* Reads one binding of a LOCATE answer. Slices point into `text` or the arena. Fields that are
 * unknown are skipped; ERROR_MALFORMED when one that is needed (device, expires, contact) is
 * missing or wrong. */
enum error binding_parse(struct slice text, struct arena *arena, struct binding *out) MUST_CHECK;

/* Which run of which proxy a flow belongs to. */
struct flow_origin {
    const char *proxy; /* name in the configuration */
    uint64_t epoch;    /* drawn at each start */
};

#define FLOW_TEXT_MAX 128

/* "PROXY/EPOCH/WORKER/SLOT/GENERATION/LISTENER", NUL-terminated, into out[FLOW_TEXT_MAX]. */
void flow_write(const struct flow_origin *origin, struct flow flow, char *out);
/* Only a flow of this very run is one; all else gives generation 0. */
struct flow flow_read(const struct flow_origin *origin, struct slice text);

#endif
