/* SPDX-License-Identifier: Apache-2.0 */
/* mapperd's configuration, read once at start and once at each SIGHUP. */
#ifndef HOLDLINE_MAPPERD_OPTIONS_H
#define HOLDLINE_MAPPERD_OPTIONS_H

#include "common/config.h"
#include "common/error.h"
#include "common/log.h"

#include <stdint.h>

#define OPTIONS_IDS_MAX 64

struct options_ids {
    uint32_t ids[OPTIONS_IDS_MAX];
    size_t count;
};

struct options {
    struct config_file *file; /* owns every text below */
    const char *name, *socket, *lmdb_dir, *log_file;
    const char *database, *primary; /* read from, written to */
    uint32_t socket_mode;
    uint64_t map_size, journal_max, poll_ms, log_keep_s, compare_round_s, bind_confirm_ms,
        staleness_bound_ms, staleness_alarm_ms, max_clients, output_max;
    struct options_ids read_uids, read_gids, register_uids, register_gids, credential_uids,
        credential_gids;
    enum log_level log_level;
};

/* ERROR_CONFIG: every complaint is on standard error. Freed with options_free(). */
enum error options_read(const char *path, struct options *options) MUST_CHECK;
void options_free(struct options *options);
void options_print_help(FILE *out); /* --help-config */
void options_print_man(FILE *out);  /* --help-man */

#endif
