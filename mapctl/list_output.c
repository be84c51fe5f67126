/* SPDX-License-Identifier: Apache-2.0 */
/* Writing lists. */
#include "mapctl/list_output.h"

#include "mapctl/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FLUSH_AT (64 * 1024)

static bool failed(const char *path)
{
    complain("%s: %s", path ? path : "standard output", strerror(errno));
    return false;
}

/* As the shell's > would have made it. */
static void set_mode(int descriptor)
{
    mode_t mask = umask(0);

    umask(mask);
    (void)fchmod(descriptor, 0666 & ~mask);
}

static bool open_beside(struct list_output *output)
{
    int size = snprintf(output->temporary, sizeof(output->temporary), "%s.XXXXXX", output->path);

    if (size < 0 || (size_t)size >= sizeof(output->temporary)) {
        errno = ENAMETOOLONG;
        output->temporary[0] = '\0';
        return failed(output->path);
    }
    output->descriptor = mkostemp(output->temporary, O_CLOEXEC);
    if (output->descriptor < 0) {
        output->temporary[0] = '\0';
        return failed(output->path);
    }
    set_mode(output->descriptor);
    return true;
}

bool list_output_open(struct list_output *output, const char *path)
{
    struct stat about;

    *output = (struct list_output){ .path = path, .descriptor = STDOUT_FILENO };
    buffer_init(&output->bytes, 0);
    if (path == NULL)
        return true;
    if (stat(path, &about) != 0 || S_ISREG(about.st_mode))
        return open_beside(output);
    output->descriptor = open(path, O_WRONLY | O_CLOEXEC);
    return output->descriptor >= 0 || failed(path);
}

bool list_output_flush(struct list_output *output, bool all)
{
    if (output->bytes.failed) {
        errno = ENOMEM;
        return failed(output->path);
    }
    while (buffer_size(&output->bytes) >= (all ? 1 : FLUSH_AT)) {
        struct slice bytes = buffer_slice(&output->bytes);
        ssize_t size = write(output->descriptor, bytes.data, bytes.size);
        if (size < 0 && errno != EINTR)
            return failed(output->path);
        if (size > 0)
            buffer_consume(&output->bytes, (size_t)size);
        else if (!all)
            return true; /* a signal came; the caller looks */
    }
    return true;
}

bool list_output_close(struct list_output *output, bool good)
{
    bool named = output->temporary[0] != '\0';

    buffer_free(&output->bytes);
    if (named && good && fsync(output->descriptor) != 0)
        good = failed(output->path);
    if (output->descriptor != STDOUT_FILENO && close(output->descriptor) != 0 && good)
        good = failed(output->path);
    if (named && good && rename(output->temporary, output->path) != 0)
        good = failed(output->path);
    if (named && !good)
        (void)unlink(output->temporary);
    return good;
}
