/* SPDX-License-Identifier: Apache-2.0 */
/* holdline-mapperd: keeps the mapping data of PostgreSQL in LMDB and answers from it. */
#include "common/log.h"
#include "common/version.h"
#include "mapperd/options.h"
#include "mapperd/server.h"

#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { USAGE = 2 }; /* exit status */

static void print_usage(FILE *out)
{
    fputs("Usage: holdline-mapperd --config FILE    answer until TERM or INT\n"
          "       holdline-mapperd --config FILE --check-config\n"
          "                                         say what is wrong with FILE\n"
          "       holdline-mapperd --help-config    every option of FILE\n"
          "       holdline-mapperd --help-man       the same as a man page\n"
          "       holdline-mapperd --version        which build this is\n"
          "\n"
          "Exit status: 0 stopped by a signal, or FILE is good; 1 failed, or FILE is not;\n"
          "2 wrong usage.\n",
          out);
}

/* Before the first thread: they all inherit it. The loop alone opens its ears again. */
static void set_signals(void)
{
    sigset_t all;
    struct sigaction ignore = { .sa_handler = SIG_IGN };
    sigaction(SIGPIPE, &ignore, NULL);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
}

static int run(const char *path)
{
    struct options options;
    if (options_read(path, &options) != ERROR_NONE)
        return EXIT_FAILURE;
    set_signals();
    enum error e = log_open(options.log_file, options.log_level);
    if (e == ERROR_NONE) {
        e = server_run(&options, path);
        log_write(e == ERROR_NONE ? LOG_NOTICE : LOG_ERROR, "stopped", "%s", error_text(e));
        log_close();
    } else {
        fprintf(stderr, "holdline-mapperd: log file %s can't be opened\n", options.log_file);
    }
    options_free(&options);
    return e == ERROR_NONE ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int check(const char *path)
{
    struct options options;
    if (options_read(path, &options) != ERROR_NONE)
        return EXIT_FAILURE;
    options_free(&options);
    printf("%s: good\n", path);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    static const struct option OPTIONS[] = {
        { "config", required_argument, NULL, 'c' },
        { "check-config", no_argument, NULL, 'k' },
        { "help-config", no_argument, NULL, 'o' },
        { "help-man", no_argument, NULL, 'm' },
        { "version", no_argument, NULL, 'v' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    const char *path = NULL;
    bool only_check = false;
    for (int option; (option = getopt_long(argc, argv, "c:kh", OPTIONS, NULL)) != -1;) {
        switch (option) {
        case 'c':
            path = optarg;
            break;
        case 'k':
            only_check = true;
            break;
        case 'o':
            options_print_help(stdout);
            return EXIT_SUCCESS;
        case 'm':
            options_print_man(stdout);
            return EXIT_SUCCESS;
        case 'v':
            puts("holdline-mapperd " HOLDLINE_VERSION);
            return EXIT_SUCCESS;
        case 'h':
            print_usage(stdout);
            return EXIT_SUCCESS;
        default:
            print_usage(stderr);
            return USAGE;
        }
    }
    if (path == NULL || optind != argc) {
        print_usage(stderr);
        return USAGE;
    }
    return only_check ? check(path) : run(path);
}
