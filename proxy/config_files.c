/* SPDX-License-Identifier: Apache-2.0 */
/* The files that a configuration names: read whole, forgotten when they have served. */
#include "proxy/config_internal.h"

#include "common/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX (16 << 20) /* of all CA files of a store together too */

void config_forget(struct pem_text *text)
{
    if (text->data)
        OPENSSL_cleanse(text->data, text->size);
    mem_free(text->data);
    *text = (struct pem_text){ NULL, 0 };
}

static bool read_fully(int fd, char *out, size_t size)
{
    for (size_t have = 0; have < size;) {
        ssize_t n = read(fd, out + have, size - have);
        if (n == 0)
            errno = EIO; /* shorter than it was a moment ago */
        if (n == 0 || (n < 0 && errno != EINTR))
            return false;
        have += n > 0 ? (size_t)n : 0;
    }
    return true;
}

static enum error append(struct pem_text *text, const char *path, mode_t *mode)
{
    struct stat st;
    enum error e = ERROR_SYSTEM;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0)
        goto out;
    errno = S_ISREG(st.st_mode) ? EFBIG : EINVAL;
    if (!S_ISREG(st.st_mode) || st.st_size > (off_t)(FILE_MAX - text->size))
        goto out;
    size_t size = (size_t)st.st_size;
    char *data = mem_alloc(text->size + size + 2);
    if (!data) {
        e = ERROR_MEMORY;
        goto out;
    }
    if (text->size)
        memcpy(data, text->data, text->size);
    if (!read_fully(fd, data + text->size, size)) {
        mem_free(data);
        goto out;
    }
    size_t whole = text->size + size;
    data[whole++] = '\n';
    config_forget(text);
    *text = (struct pem_text){ data, whole };
    *mode = st.st_mode;
    e = ERROR_NONE;
out:
    if (fd >= 0)
        close(fd);
    return e;
}

enum error config_append_file(struct pem_text *text, const char *path)
{
    mode_t mode;
    return append(text, path, &mode);
}

struct slice config_pem_slice(const struct pem_text *text)
{
    return (struct slice){ text->data, text->size };
}

enum error config_complain_of_file(const struct config_file *file, const struct config_section *s,
                                   const char *option, const char *path, enum error e)
{
    if (e == ERROR_SYSTEM)
        return config_complain(file, s, option, "%s: %s; name a readable PEM file", path,
                               strerror(errno));
    return e;
}

enum error config_read_key(const struct config_file *file, const struct config_section *s,
                           const char *option, const char *path, struct pem_text *text)
{
    mode_t mode;
    enum error e = append(text, path, &mode);
    if (e == ERROR_NONE && mode & S_IRWXO) {
        config_forget(text);
        return config_complain(file, s, option, "%s is open to everybody; write: chmod o= %s", path,
                               path);
    }
    return config_complain_of_file(file, s, option, path, e);
}
