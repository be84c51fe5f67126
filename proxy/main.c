/* SPDX-License-Identifier: Apache-2.0 */
/* holdline-proxy: reads the configuration, opens the sockets, starts the workers, handles signals,
 * stops in order. */
#include "common/log.h"
#include "common/mem.h"
#include "common/random.h"
#include "common/reason.h"
#include "common/version.h"
#include "proxy/authorization/call_rates.h"
#include "proxy/authorization/dialog_token.h"
#include "proxy/config.h"
#include "proxy/control.h"
#include "proxy/crl_watch.h"
#include "proxy/delivery/mail.h"
#include "proxy/net/listener.h"
#include "proxy/ocsp_desk.h"
#include "proxy/staple_watch.h"
#include "proxy/ticket_rotation.h"
#include "proxy/worker.h"

#include <errno.h>
#include <ev.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

struct proxy {
    struct worker_shared shared;
    const struct config *config;   /* that it was started with */
    const struct config *reloaded; /* that new connections are served by; NULL = the same */
    struct token_keys *keys;
    struct address *bound; /* one a listener */
    struct worker **workers;
    const struct counters **counters;
    struct control_view view;
    struct control *control;
    struct crl_watch *crls;
    struct ticket_rotation *tickets;
    struct staple_watch *staples;
    struct ev_loop *loop;
};

static void print_usage(FILE *out)
{
    fputs("Usage: holdline-proxy --config FILE    serve until TERM or INT\n"
          "       holdline-proxy --config FILE --check-config\n"
          "                                       say what is wrong with FILE\n"
          "       holdline-proxy --help-config    every option of FILE\n"
          "       holdline-proxy --help-man       the same as a man page\n"
          "       holdline-proxy --help-reasons   why requests are refused, and what to do\n"
          "       holdline-proxy --version        which build this is\n"
          "\n"
          "Exit status: 0 stopped by a signal, or FILE is good; 1 failed, or FILE is not;\n"
          "2 wrong usage.\n",
          out);
}

/* Before the first thread: all inherit it. main's loop alone hears signals. */
static void block_signals(void)
{
    sigset_t all;
    struct sigaction ignore = { .sa_handler = SIG_IGN };

    sigaction(SIGPIPE, &ignore, NULL);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
}

static void unblock_signals(void)
{
    sigset_t mine;

    sigemptyset(&mine);
    sigaddset(&mine, SIGTERM);
    sigaddset(&mine, SIGINT);
    sigaddset(&mine, SIGHUP);
    pthread_sigmask(SIG_UNBLOCK, &mine, NULL);
}

/* A connection is a descriptor: the soft limit is only a default. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        log_write(LOG_WARNING, "descriptor-limit", "can't be raised: errno %d", errno);
}

/* One socket a listener for one worker. The first worker's decides the port when the kernel
 * chooses. */
static enum error bind_listeners(struct proxy *proxy, unsigned worker, int *fds)
{
    const struct config *config = proxy->config;

    for (size_t i = 0; i < config->listener_count; i++) {
        const struct address *wanted =
            worker == 0 ? &config->listeners[i].address : &proxy->bound[i];
        struct address bound;
        char text[ADDRESS_TEXT_MAX];
        bool taken = worker == 0 && listener_is_taken(wanted);
        enum error error = taken ? ERROR_SYSTEM : listener_bind(wanted, &bound, &fds[i]);
        if (error != ERROR_NONE) {
            log_write(LOG_ERROR, "listen-failed", "listener %s, %s: %s", config->listeners[i].name,
                      address_text(wanted, text),
                      taken ? "another program listens there; stop it or write another port"
                            : strerror(errno));
            while (i-- > 0)
                close(fds[i]);
            return error;
        }
        proxy->bound[i] = bound;
    }
    return ERROR_NONE;
}

static enum error make_worker(struct proxy *proxy, unsigned index, int *fds)
{
    enum error error = bind_listeners(proxy, index, fds);

    if (error == ERROR_NONE)
        error = worker_new(&proxy->shared, index, fds, &proxy->workers[index]);
    if (error == ERROR_NONE)
        proxy->counters[index] = worker_counters(proxy->workers[index]);
    return error;
}

static enum error make_workers(struct proxy *proxy)
{
    const struct config *config = proxy->config;
    int *fds = mem_zero(config->listener_count, sizeof(fds[0]));
    enum error error = fds ? ERROR_NONE : ERROR_MEMORY;

    for (unsigned i = 0; i < config->workers && error == ERROR_NONE; i++)
        error = make_worker(proxy, i, fds);
    mem_free(fds);
    return error;
}

/* Both, or neither. */
static enum error read_again(struct proxy *proxy, struct config **next, struct token_keys **keys)
{
    const struct config *running = proxy->reloaded ? proxy->reloaded : proxy->config;
    enum error error = config_reload(running, next);

    if (error != ERROR_NONE)
        return error;
    error = token_keys_reload(proxy->config->token_keys, proxy->keys, keys);
    if (error != ERROR_NONE)
        config_drop(*next);
    return error;
}

static void use_token_keys(struct proxy *proxy, struct token_keys *keys)
{
    if (!keys)
        return;
    proxy->keys = keys;
    for (unsigned i = 0; i < proxy->config->workers; i++)
        worker_use_keys(proxy->workers[i], keys);
    log_write(LOG_NOTICE, "token-keys", "%s: read again", proxy->config->token_keys);
}

/* On main's thread, beside the workers': they serve on while files are read. */
static enum error reload(void *owner)
{
    struct proxy *proxy = owner;
    struct config *next;
    struct token_keys *keys;
    enum error error = read_again(proxy, &next, &keys);

    if (error != ERROR_NONE) {
        log_write(LOG_ERROR, "reload-failed", "%s; the old configuration runs on",
                  error_text(error));
        return error;
    }
    use_token_keys(proxy, keys);
    crl_watch_use(proxy->crls, next);
    staple_watch_use(proxy->staples, next);
    ocsp_desk_use(proxy->shared.desk, next);
    ticket_rotation_use(proxy->tickets, &next->resumption);
    for (unsigned i = 0; i < proxy->config->workers; i++)
        worker_reload(proxy->workers[i], next);
    log_set_level(next->log_level);
    config_drop(proxy->reloaded);
    proxy->reloaded = next;
    log_write(LOG_NOTICE, "reloaded",
              "for new connections; open ones that it does not let in are ended");
    config_warn(next);
    return ERROR_NONE;
}

static void on_revoked(void *owner, struct revocation_set *set)
{
    struct proxy *proxy = owner;

    for (unsigned i = 0; i < proxy->config->workers; i++)
        worker_revoke(proxy->workers[i], set);
}

static enum error watch_crls(struct proxy *proxy)
{
    const struct crl_watch_user user = { proxy, on_revoked };
    enum error error = crl_watch_new(proxy->loop, &user, &proxy->crls);

    if (error == ERROR_NONE)
        crl_watch_use(proxy->crls, proxy->config);
    proxy->view.crls = proxy->crls;
    return error;
}

static void on_staples(void *owner, struct staples *set)
{
    struct proxy *proxy = owner;

    for (unsigned i = 0; i < proxy->config->workers; i++)
        worker_staple(proxy->workers[i], set);
}

static enum error watch_staples(struct proxy *proxy)
{
    const struct staple_watch_user user = { proxy, on_staples };
    enum error error = staple_watch_new(proxy->loop, &user, &proxy->staples);

    if (error == ERROR_NONE)
        staple_watch_use(proxy->staples, proxy->config);
    proxy->view.staples = proxy->staples;
    return error;
}

static bool tell_status(void *owner, unsigned worker, const struct status_word *word)
{
    return worker_tell_status(((struct proxy *)owner)->workers[worker], word);
}

static void on_status_revoked(void *owner)
{
    struct proxy *proxy = owner;

    for (unsigned i = 0; i < proxy->config->workers; i++)
        worker_count_edition(proxy->workers[i]);
}

static enum error open_desk(struct proxy *proxy)
{
    const struct ocsp_desk_user user = { proxy, proxy->config->workers, tell_status,
                                         on_status_revoked };
    enum error error = ocsp_desk_new(proxy->loop, &user, proxy->config, &proxy->shared.desk);

    proxy->view.desk = proxy->shared.desk;
    return error;
}

static void on_ticket_keys(void *owner, struct ticket_keys *keys)
{
    struct proxy *proxy = owner;

    for (unsigned i = 0; i < proxy->config->workers; i++)
        worker_ticket_keys(proxy->workers[i], keys);
}

static enum error rotate_ticket_keys(struct proxy *proxy)
{
    const struct ticket_rotation_user user = { proxy, on_ticket_keys };
    enum error error = ticket_rotation_new(proxy->loop, &user, &proxy->tickets);

    if (error == ERROR_NONE)
        ticket_rotation_use(proxy->tickets, &proxy->config->resumption);
    return error;
}

static enum error prepare(struct proxy *proxy)
{
    const struct config *config = proxy->config;
    enum error error = token_keys_load(config->token_keys, &proxy->keys);

    if (error != ERROR_NONE)
        return error;
    proxy->bound = mem_zero(config->listener_count, sizeof(proxy->bound[0]));
    proxy->workers = mem_zero(config->workers, sizeof(proxy->workers[0]));
    proxy->counters = mem_zero(config->workers, sizeof(proxy->counters[0]));
    proxy->shared.config = config;
    proxy->shared.office = post_office_new(config->workers);
    proxy->shared.keys = proxy->keys;
    proxy->shared.call_rates = call_rates_new(CALL_RATES_MAX);
    proxy->shared.proxy_epoch = (random_u64() >> 1) | 1;
    if (!proxy->bound || !proxy->workers || !proxy->counters || !proxy->shared.office ||
        !proxy->shared.call_rates)
        return ERROR_MEMORY;
    error = make_workers(proxy);
    if (error != ERROR_NONE)
        return error;
    proxy->view = (struct control_view){ .config = config,
                                         .bound = proxy->bound,
                                         .counters = proxy->counters,
                                         .reload = reload,
                                         .owner = proxy };
    proxy->loop = ev_default_loop(EVFLAG_AUTO);
    if (!proxy->loop)
        return ERROR_SYSTEM;
    error = watch_crls(proxy);
    if (error == ERROR_NONE)
        error = rotate_ticket_keys(proxy);
    if (error == ERROR_NONE)
        error = watch_staples(proxy);
    if (error == ERROR_NONE)
        error = open_desk(proxy);
    if (error != ERROR_NONE)
        return error;
    error = control_new(proxy->loop, &proxy->view, &proxy->control);
    if (error != ERROR_NONE)
        log_write(LOG_ERROR, "control-failed", "%s: errno %d", config->control_socket, errno);
    return error;
}

static void on_end_signal(struct ev_loop *loop, ev_signal *watcher, int events)
{
    (void)watcher;
    (void)events;
    ev_break(loop, EVBREAK_ALL);
}

static void on_hangup(struct ev_loop *loop, ev_signal *watcher, int events)
{
    (void)loop;
    (void)events;
    log_reopen();
    (void)reload(watcher->data); /* it has said how it went */
}

static void wait_for_end(struct proxy *proxy)
{
    ev_signal terminate, interrupt, hangup;

    ev_signal_init(&terminate, on_end_signal, SIGTERM);
    ev_signal_init(&interrupt, on_end_signal, SIGINT);
    ev_signal_init(&hangup, on_hangup, SIGHUP);
    hangup.data = proxy;
    ev_signal_start(proxy->loop, &terminate);
    ev_signal_start(proxy->loop, &interrupt);
    ev_signal_start(proxy->loop, &hangup);
    unblock_signals();
    ev_run(proxy->loop, 0);
    ev_signal_stop(proxy->loop, &terminate);
    ev_signal_stop(proxy->loop, &interrupt);
    ev_signal_stop(proxy->loop, &hangup);
}

static enum error serve(struct proxy *proxy)
{
    enum error error = ERROR_NONE;

    for (unsigned i = 0; i < proxy->config->workers && error == ERROR_NONE; i++)
        error = worker_start(proxy->workers[i]);
    if (error == ERROR_NONE) {
        log_write(LOG_NOTICE, "started", "%u workers", proxy->config->workers);
        config_warn(proxy->config);
        wait_for_end(proxy);
    }
    for (unsigned i = 0; i < proxy->config->workers; i++)
        worker_stop(proxy->workers[i]);
    for (unsigned i = 0; i < proxy->config->workers; i++)
        worker_join(proxy->workers[i]);
    return error;
}

static void release(struct proxy *proxy)
{
    control_free(proxy->control);
    crl_watch_free(proxy->crls);
    ticket_rotation_free(proxy->tickets);
    staple_watch_free(proxy->staples);
    if (proxy->shared.office)
        post_office_close(proxy->shared.office);
    for (unsigned i = 0; proxy->workers && i < proxy->config->workers; i++)
        worker_free(proxy->workers[i]);
    ocsp_desk_free(proxy->shared.desk);
    post_office_free(proxy->shared.office);
    call_rates_free(proxy->shared.call_rates);
    mem_free(proxy->workers);
    mem_free((void *)proxy->counters);
    mem_free(proxy->bound);
    token_keys_free(proxy->keys);
    if (proxy->loop)
        ev_loop_destroy(proxy->loop);
}

static int run(struct config *config)
{
    struct proxy proxy = { .config = config };
    enum error error;

    block_signals();
    if (log_open(config->log_file, config->log_level) != ERROR_NONE) {
        fprintf(stderr, "holdline-proxy: log file %s can't be opened\n", config->log_file);
        config_drop(config);
        return EXIT_FAILURE;
    }
    raise_descriptor_limit();
    error = prepare(&proxy);
    if (error == ERROR_NONE)
        error = serve(&proxy);
    release(&proxy);
    config_drop(proxy.reloaded);
    config_drop(config);
    log_write(error == ERROR_NONE ? LOG_NOTICE : LOG_ERROR, "stopped", "%s", error_text(error));
    log_close();
    return error == ERROR_NONE ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    enum {
        OPTION_CONFIG = 1,
        OPTION_CHECK,
        OPTION_HELP_CONFIG,
        OPTION_HELP_MAN,
        OPTION_HELP_REASONS,
        OPTION_VERSION,
        OPTION_HELP
    };
    static const struct option options[] = {
        { "config", required_argument, NULL, OPTION_CONFIG },
        { "check-config", no_argument, NULL, OPTION_CHECK },
        { "help-config", no_argument, NULL, OPTION_HELP_CONFIG },
        { "help-man", no_argument, NULL, OPTION_HELP_MAN },
        { "help-reasons", no_argument, NULL, OPTION_HELP_REASONS },
        { "version", no_argument, NULL, OPTION_VERSION },
        { "help", no_argument, NULL, OPTION_HELP },
        { 0 },
    };
    const char *path = NULL;
    bool check = false;
    struct config *config;

    for (int o; (o = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        switch (o) {
        case OPTION_CONFIG:
            path = optarg;
            break;
        case OPTION_CHECK:
            check = true;
            break;
        case OPTION_HELP_CONFIG:
            config_print_options(stdout);
            return EXIT_SUCCESS;
        case OPTION_HELP_MAN:
            config_print_page(stdout);
            return EXIT_SUCCESS;
        case OPTION_VERSION:
            puts("holdline-proxy " HOLDLINE_VERSION);
            return EXIT_SUCCESS;
        case OPTION_HELP_REASONS:
            reason_print_all(stdout);
            return EXIT_SUCCESS;
        case OPTION_HELP:
        case 'h':
            print_usage(stdout);
            return EXIT_SUCCESS;
        default:
            print_usage(stderr);
            return 2;
        }
    }
    if (!path || optind < argc) {
        print_usage(stderr);
        return 2;
    }
    if (config_load(path, &config) != ERROR_NONE)
        return EXIT_FAILURE;
    if (!check)
        return run(config);
    config_drop(config);
    printf("%s: good\n", path);
    return EXIT_SUCCESS;
}
