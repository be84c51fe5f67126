/* SPDX-License-Identifier: Apache-2.0 */
/* The key file: read, checked, or made. */
#include "common/buffer.h"
#include "common/hash.h"
#include "common/log.h"
#include "common/random.h"
#include "proxy/authorization/token_keys_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX 8192

/* ---- Hashes ---- */

static uint64_t keyed_hash(const struct token_keys *keys, uint8_t purpose, struct slice text)
{
    uint8_t key[sizeof keys->hash_key];
    uint64_t hash;

    memcpy(key, keys->hash_key, sizeof key);
    key[0] ^= purpose;
    hash = hash_siphash(key, text.data, text.size);
    return hash ? hash : 1;
}

uint64_t token_keys_device_hash(const struct token_keys *keys, struct slice device_key)
{
    return keyed_hash(keys, 1, device_key);
}

uint64_t token_keys_entry_hash(const struct token_keys *keys, struct slice entry)
{
    return keyed_hash(keys, 2, entry);
}

/* ---- Reading ---- */

static bool read_hex(struct slice text, unsigned char *out, size_t size)
{
    if (text.size != 2 * size)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;

        if (digit < 0)
            return false;
        out[i / 2] = (unsigned char)(i % 2 ? out[i / 2] << 4 | digit : digit);
    }
    return true;
}

/* The run of bytes before the next separator, which is taken off too. */
static struct slice take_until(struct slice *rest, char separator)
{
    const char *end = memchr(rest->data, separator, rest->size);
    struct slice part = { rest->data, end ? (size_t)(end - rest->data) : rest->size };

    rest->data += part.size + (end != NULL);
    rest->size -= part.size + (end != NULL);
    return part;
}

static bool read_key(struct token_keys *keys, struct slice rest)
{
    struct slice id_text = take_until(&rest, ' ');
    struct token_key *key = &keys->keys[keys->count];
    unsigned long long id;

    if (keys->count == TOKEN_KEYS_MAX || !slice_to_u64(id_text, UINT8_MAX, &id) ||
        !read_hex(rest, key->bytes, sizeof key->bytes))
        return false;
    key->id = (uint8_t)id;
    for (size_t i = 0; i < keys->count; i++) {
        if (keys->keys[i].id == key->id)
            return false;
    }
    keys->count++;
    return true;
}

/* The number of the first wrong line, or 0. */
static unsigned read_lines(struct token_keys *keys, struct slice text)
{
    bool has_hash = false;
    unsigned line = 0;

    while (text.size) {
        struct slice rest = slice_trim(take_until(&text, '\n')), word;

        line++;
        if (rest.size == 0 || rest.data[0] == '#')
            continue;
        word = take_until(&rest, ' ');
        if (slice_equal(word, SLICE("hash")) && !has_hash)
            has_hash = read_hex(rest, keys->hash_key, sizeof keys->hash_key);
        else if (!slice_equal(word, SLICE("key")) || !read_key(keys, rest))
            return line;
        if (!has_hash)
            return line; /* damaged, or not the first */
    }
    return keys->count ? 0 : line + 1;
}

static enum error complain(const char *path, enum error error, const char *what)
{
    log_write(LOG_ERROR, "token-keys", "%s: %s", path, what);
    return error;
}

/* What of the file's owner and mode would let others read or write it. */
static const char *fault_of(const struct stat *status)
{
    if (!S_ISREG(status->st_mode))
        return "is not a regular file; remove it, a new one is made at start";
    if (status->st_mode & (S_IRWXG | S_IRWXO))
        return "is open to others; write: chmod 600";
    if (status->st_uid != geteuid() && status->st_uid != 0)
        return "belongs to another user; write: chown";
    if (status->st_size > FILE_MAX)
        return "is too large";
    return NULL;
}

/* Reads what is left of the file; FILE_MAX + 1 in *size when it is larger. */
static bool read_all(int fd, char *text, size_t *size)
{
    *size = 0;
    while (*size <= FILE_MAX) {
        ssize_t got = read(fd, text + *size, FILE_MAX + 1 - *size);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got == 0;
        *size += (size_t)got;
    }
    return true;
}

static enum error read_file(const char *path, int fd, struct token_keys *keys)
{
    char text[FILE_MAX + 1];
    struct stat status;
    size_t size;
    unsigned line;
    const char *fault;

    if (fstat(fd, &status) != 0)
        return complain(path, ERROR_SYSTEM, strerror(errno));
    fault = fault_of(&status);
    if (fault)
        return complain(path, ERROR_CONFIG, fault);
    if (!read_all(fd, text, &size))
        return complain(path, ERROR_SYSTEM, strerror(errno));
    line = size > FILE_MAX ? 1 : read_lines(keys, (struct slice){ text, size });
    OPENSSL_cleanse(text, sizeof text);
    if (line == 0)
        return ERROR_NONE;
    log_write(LOG_ERROR, "token-keys",
              "%s:%u: not `hash` with 32 or `key ID` with 64 hexadecimal digits (hash first, at "
              "least one key, each ID once); restore the file, or remove it: calls in progress "
              "then lose their tokens",
              path, line);
    return ERROR_CONFIG;
}

/* ---- Making ---- */

static size_t write_hex(char *out, size_t size)
{
    unsigned char bytes[TOKEN_KEY_SIZE];

    random_bytes(bytes, size);
    for (size_t i = 0; i < size; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
    OPENSSL_cleanse(bytes, sizeof bytes);
    return 2 * size;
}

static bool write_keys(int fd)
{
    char text[256], hash[2 * 16 + 1], key[2 * TOKEN_KEY_SIZE + 1];
    int size;
    bool done;

    write_hex(hash, 16);
    write_hex(key, TOKEN_KEY_SIZE);
    size = snprintf(text, sizeof text,
                    "# Dialog tokens. The first key seals, all open; `hash` never changes.\n"
                    "hash %s\nkey 1 %s\n",
                    hash, key);
    done = write(fd, text, (size_t)size) == size && fsync(fd) == 0;
    OPENSSL_cleanse(text, sizeof text);
    OPENSSL_cleanse(key, sizeof key);
    return done;
}

/* Written aside and linked into place: a file by that name is always whole, and of two programs
 * that start at once the second reads the first's. */
static enum error make_file(const char *path)
{
    char aside[4096];
    int fd, size = snprintf(aside, sizeof aside, "%s.XXXXXX", path);
    enum error error = ERROR_NONE;

    if (size < 0 || (size_t)size >= sizeof aside)
        return complain(path, ERROR_CONFIG, "the path is too long");
    fd = mkostemp(aside, O_CLOEXEC); /* mode 0600 */
    if (fd < 0)
        return complain(path, ERROR_SYSTEM, strerror(errno));
    if (!write_keys(fd) || (link(aside, path) != 0 && errno != EEXIST))
        error = complain(path, ERROR_SYSTEM, strerror(errno));
    unlink(aside);
    close(fd);
    return error;
}

static int open_file(const char *path)
{
    return open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

enum error token_keys_load(const char *path, struct token_keys **out)
{
    struct token_keys *keys = mem_zero(1, sizeof *keys);
    enum error error = ERROR_NONE;
    int fd = -1;

    *out = NULL;
    if (!keys)
        return complain(path, ERROR_MEMORY, "no memory");
    fd = open_file(path);
    if (fd < 0 && errno == ENOENT) {
        error = make_file(path);
        fd = error == ERROR_NONE ? open_file(path) : -1;
    }
    if (fd < 0 && error == ERROR_NONE)
        error = complain(path, ERROR_SYSTEM, strerror(errno));
    if (error == ERROR_NONE)
        error = read_file(path, fd, keys);
    if (fd >= 0)
        close(fd);
    if (error != ERROR_NONE) {
        token_keys_free(keys);
        return error;
    }
    random_bytes(&keys->run, sizeof keys->run);
    *out = keys;
    return ERROR_NONE;
}

static bool same_keys(const struct token_keys *a, const struct token_keys *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (a->keys[i].id != b->keys[i].id ||
            CRYPTO_memcmp(a->keys[i].bytes, b->keys[i].bytes, TOKEN_KEY_SIZE) != 0)
            return false;
    return true;
}

enum error token_keys_reload(const char *path, struct token_keys *running, struct token_keys **out)
{
    struct token_keys *keys = mem_zero(1, sizeof *keys);
    enum error error;
    int fd;

    *out = NULL;
    if (!keys)
        return complain(path, ERROR_MEMORY, "no memory");
    fd = open_file(path);
    error = fd < 0 ? complain(path, ERROR_CONFIG, strerror(errno)) : read_file(path, fd, keys);
    if (fd >= 0)
        close(fd);
    if (error == ERROR_NONE &&
        CRYPTO_memcmp(keys->hash_key, running->hash_key, sizeof keys->hash_key) != 0)
        error = complain(path, ERROR_CONFIG, "`hash` is another one; it never changes");
    if (error != ERROR_NONE || same_keys(keys, running)) {
        token_keys_free(keys);
        return error;
    }
    keys->run = running->run;
    keys->older = running;
    *out = keys;
    return ERROR_NONE;
}

enum error token_keys_draw(struct token_keys **out)
{
    *out = mem_alloc(sizeof **out);
    if (!*out)
        return ERROR_MEMORY;
    random_bytes(*out, sizeof **out);
    (*out)->count = 0;
    (*out)->older = NULL;
    return ERROR_NONE;
}

void token_keys_free(struct token_keys *keys)
{
    while (keys) {
        struct token_keys *older = keys->older;

        OPENSSL_cleanse(keys, sizeof *keys);
        mem_free(keys);
        keys = older;
    }
}
