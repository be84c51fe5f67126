/* SPDX-License-Identifier: Apache-2.0 */
/* What the command line decides; nothing of it changes later. */
#ifndef HOLDLINE_BENCH_SIPLOAD_OPTIONS_H
#define HOLDLINE_BENCH_SIPLOAD_OPTIONS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

enum mode { MODE_HANDSHAKE, MODE_IDLE, MODE_REQUESTS, MODE_AVALANCHE, MODE_BURST };
enum first { FIRST_NONE, FIRST_REGISTER, FIRST_OPTIONS };
enum method { METHOD_MESSAGE, METHOD_OPTIONS, METHOD_INVITE, METHOD_REGISTER, METHOD_MIXED };
enum uas_kind { UAS_NONE, UAS_PROXY, UAS_TCP, UAS_UDP, UAS_TLS };

struct options {
    enum mode mode;
    struct sockaddr_storage target;
    socklen_t target_len;
    double duration, warmup, hold, timeout, retry_after, rate;
    unsigned connections, count, window, ramp, sources, callees, base;
    double bad_from; /* percent of requests with a forged From */
    enum first first;
    enum method method;
    enum uas_kind uas;
    struct sockaddr_in uas_addr;
    const char *certs_dir, *ca, *ca_key, *key_type, *server_ca, *uas_cert;
    const char *domain, *callee_domain, *sni, *mac_prefix, *user_prefix, *tls;
    bool resume, ring, outbound, ping;
    pid_t pids[64];
    unsigned npids;
    bool interactive;
    unsigned expect; /* status that a request is to be answered with */
};
extern struct options opt;

void parse_args(int argc, char **argv);

#endif
