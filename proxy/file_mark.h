/* SPDX-License-Identifier: Apache-2.0 */
/* What tells one writing of a file from another, for who watches files. */
#ifndef HOLDLINE_PROXY_FILE_MARK_H
#define HOLDLINE_PROXY_FILE_MARK_H

#include <stdbool.h>
#include <sys/stat.h>

/* All zero: no file has it, so that the first look finds a change. */
struct file_mark {
    dev_t device;
    ino_t file;
    off_t size;
    struct timespec modified;
};

/* A file that is not there has a mark of its own. */
static inline struct file_mark file_mark_of(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return (struct file_mark){ .size = -1 };
    return (struct file_mark){ st.st_dev, st.st_ino, st.st_size, st.st_mtim };
}

/* To be asked before the file is read: what is written meanwhile is seen at the next look. */
static inline bool file_mark_changes(struct file_mark *mark, const char *path)
{
    const struct file_mark now = file_mark_of(path), then = *mark;
    *mark = now;
    return now.device != then.device || now.file != then.file || now.size != then.size ||
           now.modified.tv_sec != then.modified.tv_sec ||
           now.modified.tv_nsec != then.modified.tv_nsec;
}

#endif
