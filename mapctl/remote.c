/* SPDX-License-Identifier: Apache-2.0 */
/* Asking mapperd and proxy, one command at a time. */
#include "mapctl/remote.h"

#include "common/clock.h"
#include "mapctl/command.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define READ_SIZE 65536

/* A user with a thousand rules of 4 KB is far below. */
static const struct resp_limits LIMITS = { .value_max = 16u << 20, .items_max = 1u << 20 };

static enum error give_up(const struct remote *remote, const char *why)
{
    if (!remote->quiet)
        complain("%s at %s: %s", remote->program, remote->path, why);
    return ERROR_UNREACHABLE;
}

static enum error open_socket(struct remote *remote)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct timeval limit = { .tv_sec = remote->timeout_ms / 1000,
                             .tv_usec = (remote->timeout_ms % 1000) * 1000 };

    if (strlen(remote->path) >= sizeof(address.sun_path))
        return give_up(remote, "the path of a socket has at most 107 octets");
    memcpy(address.sun_path, remote->path, strlen(remote->path));
    remote->descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (remote->descriptor >= 0 &&
        setsockopt(remote->descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) == 0 &&
        connect(remote->descriptor, (const struct sockaddr *)&address, sizeof(address)) == 0)
        return ERROR_NONE;
    if (!remote->quiet)
        complain("%s does not answer at %s: %s", remote->program, remote->path, strerror(errno));
    remote_close(remote);
    return ERROR_UNREACHABLE;
}

enum error remote_open(struct remote *remote, const char *program, const char *path)
{
    *remote = (struct remote){
        .program = program, .path = path, .descriptor = -1, .timeout_ms = REMOTE_TIMEOUT_MS
    };
    return open_socket(remote);
}

enum error remote_open_quietly(struct remote *remote, const char *program, const char *path,
                               unsigned timeout_ms)
{
    *remote = (struct remote){
        .program = program, .path = path, .descriptor = -1, .timeout_ms = timeout_ms, .quiet = true
    };
    return open_socket(remote);
}

void remote_close(struct remote *remote)
{
    if (remote->descriptor >= 0)
        close(remote->descriptor);
    remote->descriptor = -1;
}

static bool send_all(struct remote *remote, struct slice bytes)
{
    while (bytes.size > 0) {
        ssize_t sent = send(remote->descriptor, bytes.data, bytes.size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        bytes.data += sent;
        bytes.size -= (size_t)sent;
    }
    return true;
}

/* Reads some bytes, or is woken for nothing; false with errno when none come before `due_mono_ms`.
 */
static bool receive(struct remote *remote, struct buffer *bytes, uint64_t due_mono_ms)
{
    struct pollfd wait = { .fd = remote->descriptor, .events = POLLIN };
    uint64_t now = clock_mono_ms();
    char *room = buffer_reserve(bytes, READ_SIZE);
    ssize_t size;

    errno = ETIMEDOUT;
    if (room == NULL || now >= due_mono_ms || poll(&wait, 1, (int)(due_mono_ms - now)) == 0)
        return false;
    size = recv(remote->descriptor, room, READ_SIZE, MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return true; /* poll() was interrupted */
    if (size == 0)
        errno = ECONNRESET;
    if (size <= 0)
        return false;
    buffer_commit(bytes, (size_t)size);
    return true;
}

enum error remote_ask(struct remote *remote, struct reply *reply, const struct slice *words,
                      size_t count)
{
    uint64_t due_mono_ms = clock_mono_ms() + remote->timeout_ms;
    struct buffer command;
    enum error error;
    size_t used;
    bool sent;

    buffer_init(&reply->bytes, 0);
    buffer_init(&command, 0);
    resp_add_array(&command, count);
    for (size_t i = 0; i < count; i++)
        resp_add_bulk(&command, words[i]);
    sent = !command.failed && send_all(remote, buffer_slice(&command));
    buffer_free(&command);
    if (!sent)
        return give_up(remote, strerror(errno));
    do {
        if (!receive(remote, &reply->bytes, due_mono_ms))
            return give_up(remote, strerror(errno));
        error = resp_read_value(buffer_slice(&reply->bytes), &LIMITS, &reply->value, &used);
    } while (error == ERROR_INCOMPLETE);
    if (error != ERROR_NONE)
        return give_up(remote, "what it answers is not RESP2");
    if (reply->value.type == RESP_FAILURE) {
        if (!remote->quiet)
            complain("%s at %s answers: %.*s", remote->program, remote->path,
                     (int)reply->value.text.size, reply->value.text.data);
        return ERROR_UNREACHABLE;
    }
    return ERROR_NONE;
}

void reply_free(struct reply *reply)
{
    buffer_free(&reply->bytes);
}
