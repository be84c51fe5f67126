/* SPDX-License-Identifier: Apache-2.0 */
/* OpenSSL writes the request and reads HTTP; connecting and waiting are ours, since its own wait
 * knows whole seconds, no end from outside, and no descriptor above select()'s. */
#include "proxy/tls/ocsp_question.h"

#include "common/clock.h"
#include "common/mem.h"

#include <errno.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/http.h>
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- Making one ---- */

void status_key_of(struct status_key *key, const char *store,
                   const unsigned char certificate[SHA256_DIGEST_LENGTH])
{
    memset(key, 0, sizeof(*key));
    memcpy(key->store, store, strnlen(store, STORE_NAME_MAX));
    memcpy(key->certificate, certificate, sizeof(key->certificate));
}

struct place {
    char *host, *port, *path; /* OpenSSL's */
};

static void place_free(struct place *place)
{
    OPENSSL_free(place->host);
    OPENSSL_free(place->port);
    OPENSSL_free(place->path);
}

/* "path" has the query too. */
static bool read_url(const char *url, struct place *place)
{
    char *user = NULL, *query = NULL, *fragment = NULL, text[OCSP_URL_MAX + 1];
    int is_tls = 1;
    snprintf(text, sizeof(text), "http%s", url + 4); /* a scheme in capitals is the same */
    *place = (struct place){ NULL, NULL, NULL };
    bool fits = OSSL_HTTP_parse_url(text, &is_tls, &user, &place->host, &place->port, NULL,
                                    &place->path, &query, &fragment) == 1 &&
                !is_tls && !*user && !*fragment && *place->host && strlen(place->host) < 256;
    OPENSSL_free(user);
    OPENSSL_free(query);
    OPENSSL_free(fragment);
    ERR_clear_error();
    return fits;
}

bool ocsp_url_fits(const char *url)
{
    struct place place;
    size_t size = strnlen(url, OCSP_URL_MAX + 1);
    if (size > OCSP_URL_MAX || strncasecmp(url, "http://", 7) != 0)
        return false;
    for (size_t i = 0; i < size; i++)
        if (url[i] <= ' ' || url[i] > '~')
            return false;
    bool fits = read_url(url, &place);
    place_free(&place);
    return fits;
}

/* An accessLocation may hold NUL: X509_get1_ocsp() gives what is before it, which is as good a
 * responder as another that the authority names. */
static bool choose_url(const struct trust_rules *rules, X509 *leaf, char *out)
{
    bool found = false;
    if (rules->ocsp_responder) {
        snprintf(out, OCSP_URL_MAX + 1, "%s", rules->ocsp_responder);
        return true;
    }
    STACK_OF(OPENSSL_STRING) *urls = X509_get1_ocsp(leaf);
    for (int i = 0; i < sk_OPENSSL_STRING_num(urls) && !found; i++) {
        const char *url = sk_OPENSSL_STRING_value(urls, i);
        found = ocsp_url_fits(url);
        if (found)
            snprintf(out, OCSP_URL_MAX + 1, "%s", url);
    }
    X509_email_free(urls);
    return found;
}

enum error ocsp_question_make(const struct status_key *key, const struct trust_rules *rules,
                              X509 *leaf, X509 *issuer, struct ocsp_question **out)
{
    char url[OCSP_URL_MAX + 1] = "";
    *out = NULL;
    if (!choose_url(rules, leaf, url))
        return ERROR_NOT_FOUND;
    int leaf_size = i2d_X509(leaf, NULL), issuer_size = i2d_X509(issuer, NULL);
    if (leaf_size <= 0 || issuer_size <= 0)
        return ERROR_LIBRARY;
    if (leaf_size > OCSP_CERTIFICATES_MAX || issuer_size > OCSP_CERTIFICATES_MAX - leaf_size)
        return ERROR_TOO_LARGE;
    struct ocsp_question *q = mem_zero(1, sizeof(*q) + (size_t)(leaf_size + issuer_size));
    if (!q)
        return ERROR_MEMORY;
    q->key = *key;
    q->security_level = rules->security_level;
    memcpy(q->url, url, sizeof(q->url));
    q->leaf_size = (uint16_t)leaf_size;
    q->issuer_size = (uint16_t)issuer_size;
    unsigned char *at = q->der;
    if (i2d_X509(leaf, &at) != leaf_size || i2d_X509(issuer, &at) != issuer_size) {
        mem_free(q);
        return ERROR_LIBRARY;
    }
    *out = q;
    return ERROR_NONE;
}

/* ---- Asking ---- */

struct asking {
    const struct ocsp_question *question;
    uint64_t deadline_mono_ms;
    int stop_fd, fd;
    STACK_OF(X509) * chain; /* the certificate, its issuer */
    BIO *socket;
    OSSL_HTTP_REQ_CTX *exchange;
    const char *why;
};

static enum error fail(struct asking *a, enum error e, const char *why)
{
    a->why = why;
    return e;
}

static enum error add_certificate(STACK_OF(X509) * chain, const unsigned char *der, size_t size)
{
    X509 *one = d2i_X509(NULL, &der, (long)size);
    if (one && sk_X509_push(chain, one) > 0)
        return ERROR_NONE;
    X509_free(one);
    return ERROR_MEMORY; /* it was read before */
}

static enum error read_chain(struct asking *a)
{
    const struct ocsp_question *q = a->question;
    a->chain = sk_X509_new_null();
    enum error e = a->chain ? add_certificate(a->chain, q->der, q->leaf_size) : ERROR_MEMORY;
    return e == ERROR_NONE ? add_certificate(a->chain, q->der + q->leaf_size, q->issuer_size) : e;
}

/* Until the socket is ready, at most to `until`. */
static enum error wait_for(struct asking *a, short events, uint64_t until_mono_ms)
{
    struct pollfd fds[] = { { .fd = a->fd, .events = events },
                            { .fd = a->stop_fd, .events = POLLIN } };
    for (;;) {
        uint64_t now_mono_ms = clock_mono_ms();
        if (now_mono_ms >= until_mono_ms)
            return fail(a, ERROR_UNREACHABLE, "the responder is too slow");
        int n = poll(fds, 2, (int)(until_mono_ms - now_mono_ms));
        if (n > 0 && fds[1].revents)
            return fail(a, ERROR_UNREACHABLE, "we stop");
        if (n > 0)
            return ERROR_NONE;
        if (n < 0 && errno != EINTR)
            return fail(a, ERROR_UNREACHABLE, "it could not be waited for");
    }
}

/* One of the host's addresses; the others are left a fair share of the time. */
static enum error try_address(struct asking *a, const struct addrinfo *to, unsigned left)
{
    uint64_t now_mono_ms = clock_mono_ms();
    uint64_t spare_ms = a->deadline_mono_ms > now_mono_ms ? a->deadline_mono_ms - now_mono_ms : 0;
    int error_number = 0;
    socklen_t size = sizeof(error_number);
    enum error e = ERROR_NONE;
    a->fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (a->fd < 0)
        return fail(a, ERROR_UNREACHABLE, "no descriptor");
    if (connect(a->fd, to->ai_addr, to->ai_addrlen) != 0) {
        if (errno != EINPROGRESS && errno != EINTR)
            return fail(a, ERROR_UNREACHABLE, "the responder is not reached");
        e = wait_for(a, POLLOUT, now_mono_ms + spare_ms / left);
    }
    if (e == ERROR_NONE &&
        (getsockopt(a->fd, SOL_SOCKET, SO_ERROR, &error_number, &size) != 0 || error_number))
        e = fail(a, ERROR_UNREACHABLE, "the responder is not reached");
    return e;
}

static enum error connect_to(struct asking *a, const struct place *place)
{
    const struct addrinfo wanted = { .ai_socktype = SOCK_STREAM };
    struct addrinfo *list = NULL;
    unsigned left = 0;
    enum error e = fail(a, ERROR_UNREACHABLE, "the responder's name is not known");
    if (getaddrinfo(place->host, place->port, &wanted, &list) != 0)
        return e;
    for (const struct addrinfo *at = list; at; at = at->ai_next)
        left++;
    for (const struct addrinfo *at = list; at && e != ERROR_NONE; at = at->ai_next) {
        if (a->fd >= 0)
            close(a->fd);
        e = try_address(a, at, left--);
    }
    freeaddrinfo(list);
    return e;
}

static bool set_body(struct asking *a)
{
    X509 *leaf = sk_X509_value(a->chain, 0), *issuer = sk_X509_value(a->chain, 1);
    OCSP_REQUEST *request = OCSP_REQUEST_new();
    OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), leaf, issuer);
    bool done = request && id && OCSP_request_add0_id(request, id);
    if (!done)
        OCSP_CERTID_free(id);
    done = done && OSSL_HTTP_REQ_CTX_set1_req(a->exchange, "application/ocsp-request",
                                              ASN1_ITEM_rptr(OCSP_REQUEST),
                                              (const ASN1_VALUE *)request) == 1;
    OCSP_REQUEST_free(request);
    return done;
}

static bool add_host(struct asking *a, const struct place *place)
{
    char text[300];
    bool v6 = strchr(place->host, ':') != NULL;
    snprintf(text, sizeof(text), v6 ? "[%s]:%s" : "%s:%s", place->host, place->port);
    return OSSL_HTTP_REQ_CTX_add1_header(a->exchange, "Host", text) == 1;
}

static enum error begin(struct asking *a, const struct place *place)
{
    a->socket = BIO_new_socket(a->fd, BIO_NOCLOSE);
    a->exchange = a->socket ? OSSL_HTTP_REQ_CTX_new(a->socket, a->socket, 0) : NULL;
    if (!a->exchange)
        return ERROR_MEMORY;
    OSSL_HTTP_REQ_CTX_set_max_response_length(a->exchange, OCSP_RESPONSE_MAX);
    bool done =
        OSSL_HTTP_REQ_CTX_set_request_line(a->exchange, 1, NULL, NULL, place->path) == 1 &&
        add_host(a, place) &&
        OSSL_HTTP_REQ_CTX_set_expected(a->exchange, "application/ocsp-response", 1, 0, 0) == 1 &&
        set_body(a);
    return done ? ERROR_NONE : ERROR_MEMORY;
}

static enum error exchange(struct asking *a)
{
    for (;;) {
        int r = OSSL_HTTP_REQ_CTX_nbio(a->exchange);
        if (r == 1)
            return ERROR_NONE;
        if (r == 0 || !BIO_should_retry(a->socket))
            return fail(a, ERROR_MALFORMED, "the responder does not answer as HTTP and OCSP want");
        enum error e =
            wait_for(a, BIO_should_read(a->socket) ? POLLIN : POLLOUT, a->deadline_mono_ms);
        if (e != ERROR_NONE)
            return e;
    }
}

static enum error read_answer(struct asking *a, struct ocsp_answer *out)
{
    BIO *body = OSSL_HTTP_REQ_CTX_get0_mem_bio(a->exchange);
    char *data = NULL;
    long size = body ? BIO_get_mem_data(body, &data) : 0;
    const struct slice der = { data, size > 0 ? (size_t)size : 0 };
    return ocsp_read(der, a->chain, a->question->security_level, out, &a->why);
}

static enum error ask(struct asking *a, struct ocsp_answer *out)
{
    struct place place;
    enum error e = read_chain(a);
    if (e != ERROR_NONE)
        return e;
    e = read_url(a->question->url, &place)
            ? connect_to(a, &place)
            : fail(a, ERROR_UNREACHABLE, "the responder's URL is none");
    if (e == ERROR_NONE)
        e = begin(a, &place);
    place_free(&place);
    if (e == ERROR_NONE)
        e = exchange(a);
    return e == ERROR_NONE ? read_answer(a, out) : e;
}

enum error ocsp_ask(const struct ocsp_question *question, unsigned timeout_ms, int stop_fd,
                    struct ocsp_answer *out, const char **why)
{
    struct asking a = { .question = question,
                        .deadline_mono_ms = clock_mono_ms() + timeout_ms,
                        .stop_fd = stop_fd,
                        .fd = -1,
                        .why = "out of memory" };
    *out = (struct ocsp_answer){ .status = OCSP_STATUS_NONE };
    ERR_clear_error();
    enum error e = ask(&a, out);
    OSSL_HTTP_REQ_CTX_free(a.exchange);
    BIO_free(a.socket);
    if (a.fd >= 0)
        close(a.fd);
    sk_X509_pop_free(a.chain, X509_free);
    ERR_clear_error();
    *why = e == ERROR_NONE ? "" : a.why;
    return e;
}
