/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes to and from one non-blocking socket, with TLS or without. What a read may cost is bounded:
 * one turn takes at most STREAM_READ_MAX bytes from the kernel, and a short read counts as the last
 * one (a second would only say EAGAIN). Knows no states and no SIP. One thread. */
#ifndef HOLDLINE_NET_STREAM_H
#define HOLDLINE_NET_STREAM_H

#include "common/error.h"
#include "common/slice.h"

#include <openssl/ssl.h>

#define STREAM_READ_MAX 65536

enum stream_result {
    STREAM_NONE = 0,
    STREAM_DONE,
    STREAM_WANTS_READ,  /* nothing more until the socket is readable */
    STREAM_WANTS_WRITE, /* until it is writable */
    STREAM_ENDED,       /* the peer sends no more */
    STREAM_FAILED,      /* connection or TLS is broken */
};

struct stream {
    int fd;
    SSL *ssl;         /* NULL: plain TCP */
    size_t read_left; /* of this turn's STREAM_READ_MAX */
    bool drained;     /* a short read: the kernel has no more in this turn */
    bool ended;
    int error_number; /* errno of the last failure; 0: TLS failed */
};

/* How SSLs reach their socket; one a thread. NULL without memory. */
BIO_METHOD *stream_method_create(void) MUST_CHECK;

/* Takes the descriptor and the SSL (NULL for TCP). ERROR_MEMORY: both stay the caller's. The stream
 * must not move afterwards. */
enum error stream_open(struct stream *s, int fd, SSL *ssl, BIO_METHOD *method) MUST_CHECK;
void stream_close(struct stream *s);

/* To be called when the socket is found readable or writable, before what follows. */
static inline void stream_begin_turn(struct stream *s)
{
    s->read_left = STREAM_READ_MAX;
    s->drained = false;
}

enum stream_result stream_handshake(struct stream *s) MUST_CHECK;

/* STREAM_DONE: *got > 0 bytes. */
enum stream_result stream_read(struct stream *s, char *out, size_t size, size_t *got) MUST_CHECK;
/* STREAM_DONE: *sent > 0 of the bytes. After STREAM_WANTS_* the same bytes must be offered again,
 * more may follow them. */
enum stream_result stream_write(struct stream *s, struct slice bytes, size_t *sent) MUST_CHECK;

/* Says that we send no more: close_notify, then FIN. Never waits; what cannot be sent is not. */
void stream_end(struct stream *s);
/* After stream_end(): reads what still comes and forgets it. STREAM_ENDED or STREAM_FAILED when the
 * peer has ended too. */
enum stream_result stream_discard(struct stream *s, char *scratch, size_t size) MUST_CHECK;

#endif
