/* SPDX-License-Identifier: Apache-2.0 */
/* mapctl exporter: INFO of mapperd and proxy as Prometheus' text over HTTP. It keeps nothing: each
 * request asks anew, in a thread of its own, within a deadline, so that a program that hangs holds
 * up nobody but who asked. */
#include "common/mem.h"
#include "mapctl/commands.h"
#include "mapctl/info.h"
#include "mapctl/interrupt.h"
#include "mapctl/metrics.h"
#include "mapctl/remote.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

/* Monitors are few; each connection is a thread. */
#define CLIENTS_MAX 32
/* Of a connection that says nothing. */
#define CLIENT_TIMEOUT_S 10
/* Of a request's head. */
#define CLIENT_MEMORY (16u << 10)
#define TEXT_MAX      (4u << 20)
#define ADDRESS_MAX   64

enum exporter_option { OPTION_LISTEN = 1, OPTION_TIMEOUT, OPTION_NO_MAPPERD, OPTION_NO_PROXY };

static const struct option_row OPTIONS[] = {
    { OPTION_LISTEN, "listen", VALUE_TEXT, "ADDRESS:PORT",
      "a numeric address, [::1]:9464 with IPv6; else 127.0.0.1:9464. Who reaches it reads all "
      "figures, without password or TLS" },
    { OPTION_TIMEOUT, "timeout", VALUE_TEXT, "MS",
      "how long mapperd and the proxy may take to answer, 50 to 5000; else 1000" },
    { OPTION_NO_MAPPERD, "no-mapperd", VALUE_NONE, NULL, "leave mapperd out of it" },
    { OPTION_NO_PROXY, "no-proxy", VALUE_NONE, NULL, "leave the proxy out of it" },
    { 0 },
};

struct source {
    enum metrics_source source;
    const char *program, *path; /* path == NULL: left out */
};

/* Never changes once it listens: threads share it. */
struct exporter {
    struct source sources[2];
    unsigned timeout_ms;
};

/* ---- Pages ---- */

/* *reply is freed by the caller whatever comes. */
static bool ask_info(const struct exporter *exporter, const struct source *source,
                     struct reply *reply)
{
    const struct slice words[] = { SLICE("INFO") };
    struct remote remote;
    bool done = false;

    buffer_init(&reply->bytes, 0);
    if (remote_open_quietly(&remote, source->program, source->path, exporter->timeout_ms) ==
        ERROR_NONE)
        done = remote_ask(&remote, reply, words, 1) == ERROR_NONE &&
               reply->value.type == RESP_BULK && reply->value.text.size <= TEXT_MAX / 4;
    remote_close(&remote);
    return done;
}

static unsigned write_metrics(const struct exporter *exporter, struct buffer *out)
{
    for (size_t i = 0; i < 2; i++) {
        const struct source *source = &exporter->sources[i];
        struct reply reply;
        bool up;

        if (source->path == NULL)
            continue;
        up = ask_info(exporter, source, &reply);
        metrics_write(out, source->source, up, up ? reply.value.text : SLICE(""));
        reply_free(&reply);
    }
    return MHD_HTTP_OK;
}

/* That this process answers is all there is to say. */
static unsigned write_health(const struct exporter *exporter, struct buffer *out)
{
    (void)exporter;
    buffer_add_text(out, "ok\n");
    return MHD_HTTP_OK;
}

static unsigned write_readiness(const struct exporter *exporter, struct buffer *out)
{
    unsigned code = MHD_HTTP_OK;

    for (size_t i = 0; i < 2; i++) {
        const struct source *source = &exporter->sources[i];
        struct reply reply;
        const char *how = "does not answer";

        if (source->path == NULL)
            continue;
        if (ask_info(exporter, source, &reply))
            how = slice_equal(info_value(reply.value.text, "ready"), SLICE("1")) ? "ready"
                                                                                 : "is not ready";
        reply_free(&reply);
        if (strcmp(how, "ready") != 0)
            code = MHD_HTTP_SERVICE_UNAVAILABLE;
        buffer_add_format(out, "%s: %s\n", source->program, how);
    }
    return code;
}

static unsigned write_unknown(const struct exporter *exporter, struct buffer *out)
{
    (void)exporter;
    buffer_add_text(out, "There is /metrics, /healthz and /readyz.\n");
    return MHD_HTTP_NOT_FOUND;
}

static unsigned write_refusal(const struct exporter *exporter, struct buffer *out)
{
    (void)exporter;
    buffer_add_text(out, "Only GET and HEAD.\n");
    return MHD_HTTP_METHOD_NOT_ALLOWED;
}

static const struct page {
    const char *path, *type;
    unsigned (*write)(const struct exporter *exporter, struct buffer *out);
} PAGES[] = {
    { "/metrics", "text/plain; version=0.0.4; charset=utf-8", write_metrics },
    { "/healthz", "text/plain; charset=utf-8", write_health },
    { "/readyz", "text/plain; charset=utf-8", write_readiness },
    { NULL, "text/plain; charset=utf-8", write_unknown },
};

static const struct page REFUSAL = { NULL, "text/plain; charset=utf-8", write_refusal };

/* ---- HTTP ---- */

static enum MHD_Result send_page(struct MHD_Connection *connection, const struct exporter *exporter,
                                 const struct page *page)
{
    enum MHD_Result sent = MHD_NO;
    struct MHD_Response *response;
    struct buffer text;
    unsigned code;

    buffer_init(&text, TEXT_MAX);
    code = page->write(exporter, &text);
    if (text.failed) {
        buffer_reset(&text);
        code = MHD_HTTP_INTERNAL_SERVER_ERROR;
    }
    /* MHD takes the bytes as not const, and copies them. */
    response = MHD_create_response_from_buffer(buffer_size(&text),
                                               text.data ? text.data + text.from : (char[1]){ 0 },
                                               MHD_RESPMEM_MUST_COPY);
    if (response != NULL &&
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, page->type) == MHD_YES &&
        MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store") == MHD_YES &&
        (page != &REFUSAL ||
         MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD") == MHD_YES))
        sent = MHD_queue_response(connection, code, response);
    if (response != NULL)
        MHD_destroy_response(response);
    buffer_free(&text);
    return sent;
}

/* Called when the head is read; what a body has is not waited for. */
static enum MHD_Result on_request(void *owner, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **request)
{
    const struct page *page = PAGES;

    (void)version;
    (void)upload;
    (void)upload_size;
    (void)request;
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return send_page(connection, owner, &REFUSAL);
    while (page->path != NULL && strcmp(page->path, url) != 0)
        page++;
    return send_page(connection, owner, page);
}

/* ---- The command ---- */

/* NULL: already said. Freed with freeaddrinfo(). */
static struct addrinfo *read_address(const char *text)
{
    struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                              .ai_socktype = SOCK_STREAM };
    const char *colon = strrchr(text, ':');
    struct addrinfo *address = NULL;
    unsigned long long port;
    char host[ADDRESS_MAX];
    size_t size = colon ? (size_t)(colon - text) : 0;

    if (size > 2 && text[0] == '[' && text[size - 1] == ']') {
        text++;
        size -= 2;
    }
    if (size > 0 && size < sizeof(host) && slice_to_u64(slice_of(colon + 1), 65535, &port)) {
        memcpy(host, text, size);
        host[size] = '\0';
        if (getaddrinfo(host, colon + 1, &hints, &address) == 0)
            return address;
    }
    complain("--listen: write a numeric address and a port, such as 127.0.0.1:9464 or [::1]:9464");
    return NULL;
}

static enum status serve(const struct exporter *exporter, const struct addrinfo *address,
                         const char *listen)
{
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION |
                     MHD_USE_POLL | (address->ai_family == AF_INET6 ? MHD_USE_IPv6 : 0);
    const union MHD_DaemonInfo *bound;
    struct MHD_Daemon *daemon;

    interrupt_catch();
    errno = 0;
    daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, (void *)exporter, MHD_OPTION_SOCK_ADDR, address->ai_addr,
        MHD_OPTION_CONNECTION_LIMIT, CLIENTS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, CLIENT_TIMEOUT_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CLIENT_MEMORY, MHD_OPTION_END);
    if (daemon == NULL) {
        complain("%s: can't listen: %s", listen, errno ? strerror(errno) : "libmicrohttpd refuses");
        return STATUS_BAD;
    }
    bound = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT);
    complain("listening at %.*s:%u, /metrics /healthz /readyz",
             (int)(strrchr(listen, ':') - listen), listen, bound ? bound->port : 0);
    while (interrupt_wait(UINT32_MAX))
        continue;
    MHD_stop_daemon(daemon);
    return STATUS_GOOD;
}

static enum status run(const struct settings *settings, const struct arguments *arguments)
{
    const char *listen = option_text(arguments, OPTION_LISTEN, "127.0.0.1:9464");
    bool mapperd = !option_given(arguments, OPTION_NO_MAPPERD);
    bool proxy = !option_given(arguments, OPTION_NO_PROXY);
    struct exporter exporter = {
        .sources = { { METRICS_MAPPERD, "mapperd", mapperd ? settings->mapperd_socket : NULL },
                     { METRICS_PROXY, "proxy", proxy ? settings->proxy_socket : NULL } },
    };
    struct addrinfo *address;
    uint64_t timeout_ms = 1000;
    enum status status;

    if (!option_number(arguments, OPTION_TIMEOUT, 50, 5000, &timeout_ms))
        return STATUS_USAGE;
    if (!mapperd && !proxy) {
        complain("with neither mapperd nor proxy there is nothing to export");
        return STATUS_USAGE;
    }
    address = read_address(listen);
    if (address == NULL)
        return STATUS_USAGE;
    exporter.timeout_ms = (unsigned)timeout_ms;
    status = serve(&exporter, address, listen);
    freeaddrinfo(address);
    return status;
}

const struct command command_exporter = {
    .name = "exporter",
    .operands = "",
    .brief = "serve the figures of mapperd and proxy to Prometheus, until a signal ends it",
    .help = "/metrics has INFO of both, also when one does not answer: then its _up is 0.\n"
            "/healthz is 200 while the exporter runs.\n"
            "/readyz is 200 when both are ready, else 503.",
    .options = OPTIONS,
    .run = run,
};
