/* SPDX-License-Identifier: Apache-2.0 */
/* The plain main of a fuzzer outside VARIANT=fuzz: feeds each file named, and each file of a folder
 * named, to LLVMFuzzerTestOneInput() once, so that seeds are replayed with any compiler and under
 * any sanitizer. */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);

static size_t replayed;

static void fail(const char *what, const char *path)
{
    fprintf(stderr, "%s: %s: %s\n", path, what, strerror(errno));
    exit(2);
}

static void replay_file(const char *path, size_t size)
{
    /* Exactly as long as the input: reading one byte past it is then seen by ASan. */
    uint8_t *data = malloc(size ? size : 1);
    FILE *file = fopen(path, "rb");

    if (!data || !file)
        fail("cannot open", path);
    if (fread(data, 1, size, file) != size)
        fail("cannot read", path);
    fclose(file);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    replayed++;
}

static void replay_path(const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0)
        fail("cannot stat", path);
    if (S_ISREG(st.st_mode)) {
        replay_file(path, (size_t)st.st_size);
        return;
    }
    struct dirent **entries;
    int count = scandir(path, &entries, NULL, alphasort);
    if (count < 0)
        fail("cannot list", path);
    for (int i = 0; i < count; i++) {
        char *inner;
        if (entries[i]->d_name[0] != '.') {
            if (asprintf(&inner, "%s/%s", path, entries[i]->d_name) < 0)
                fail("out of memory", path);
            replay_path(inner);
            free(inner);
        }
        free(entries[i]);
    }
    free(entries);
}

int main(int argc, char **argv)
{
    if (LLVMFuzzerInitialize)
        LLVMFuzzerInitialize(&argc, &argv);
    for (int i = 1; i < argc; i++)
        replay_path(argv[i]);
    printf("%zu inputs replayed\n", replayed);
    return 0;
}
