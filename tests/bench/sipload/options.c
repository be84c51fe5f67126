/* SPDX-License-Identifier: Apache-2.0 */
/* The command line. */
#include "options.h"

#include "text.h"

#include <getopt.h>
#include <netdb.h>

struct options opt = {
    .duration = 10,
    .warmup = 1,
    .hold = 2,
    .timeout = 10,
    .retry_after = 1,
    .connections = 32,
    .count = 1000,
    .window = 1,
    .ramp = 64,
    .sources = 100,
    .base = 1,
    .first = FIRST_REGISTER,
    .uas = UAS_PROXY,
    .key_type = "ec",
    .domain = "example.org",
    .mac_prefix = "0004F2",
    .user_prefix = "u",
    .expect = 200,
};

static const char help[] =
    "usage: sipload MODE -t HOST:PORT (--ca FILE --ca-key FILE | --certs DIR) [options]\n"
    "modes\n"
    "  handshake   full mutual-TLS handshakes, -c at a time, one after the other for -d seconds\n"
    "  idle        opens -n connections, one first request each, holds them, reads the servers' "
    "memory\n"
    "  requests    -c callers with -w requests outstanding each, for -d seconds\n"
    "  avalanche   -n phones connect and register all at once, as after a power cut\n"
    "  burst       on each line of standard input -c callers send -w requests each at once\n"
    "target and measurement\n"
    "  -t, --target HOST:PORT    SIP over TLS\n"
    "  -p, --pids PID,...        servers to account CPU and memory for, with all their children\n"
    "  -d, --duration S (10)     measured window; avalanche: give up after this\n"
    "  -W, --warmup S (1)        before the window\n"
    "  -c, --connections N (32)  -n, --count N (1000; in handshake: size of the phone pool)\n"
    "  -w, --window N (1)        requests outstanding on each connection\n"
    "  --rate R                  open loop: R requests/s in all, latency from when they were due\n"
    "  --ramp N (64)             connections being set up at the same time (idle, requests)\n"
    "  --hold S (2)              idle: wait before memory is read\n"
    "  --timeout S (10)          of one connection set-up or one request\n"
    "  --interactive             requests: the load goes on, and each line of standard input, a "
    "number\n"
    "                            of seconds, is a measured window with its own report\n"
    "  --expect N (200)          the status that is no failure\n"
    "  --retry-after S (1)       avalanche: a phone that failed tries again\n"
    "identity: phone number i has CN <mac-prefix>%06X and user <user-prefix>%06u\n"
    "  --ca FILE, --ca-key FILE  issue the client certificates in memory\n"
    "  --key ec|rsa (ec)         P-256, a key each; RSA 2048, one key shared by all\n"
    "  --certs DIR               or read DIR/<CN>.pem, certificate and key in one file\n"
    "  --base N (1)  --mac-prefix P (0004F2)  --user-prefix P (u)  --domain D (example.org)\n"
    "TLS\n"
    "  -r, --resume              resume the phone's last session\n"
    "  --ping                    handshake over TLS 1.3 to a target without session tickets: take "
    "its pong as proof\n"
    "  --tls 1.2|1.3             only this version\n"
    "  --sni NAME (the domain)   --server-ca FILE: verify the target's certificate\n"
    "  --sources N (100)         source addresses 127.0.x.y to spread over (loopback targets)\n"
    "SIP\n"
    "  --first none|register|options  after connecting (register; handshake: none)\n"
    "  -m, --method message|options|invite|register|mixed (message)\n"
    "                            mixed: OPTIONS and refreshing REGISTER in turn, with --uas none\n"
    "  --uas proxy               callees are phones registered through the target (default)\n"
    "  --uas tcp|udp|tls:ADDR:PORT    this process listens there as the target's next hop\n"
    "  --uas none                OPTIONS to the target itself\n"
    "  --uas-cert FILE           certificate and key of the tls: next hop\n"
    "  --callees N (as -c)       --callee-domain D (the domain)\n"
    "  --bad-from PCT            so many requests claim another phone's From; 403 is the right "
    "answer\n"
    "  --ring                    UAS sends 180 before 200   --outbound: reg-id and +sip.instance\n";

static void parse_address(const char *text, struct sockaddr_storage *a, socklen_t *len)
{
    char host[256];
    const char *colon = strrchr(text, ':');
    if (!colon || (size_t)(colon - text) >= sizeof host)
        die("%s: not HOST:PORT", text);
    snprintf(host, sizeof host, "%.*s", (int)(colon - text), text);
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found;
    int r = getaddrinfo(host, colon + 1, &hints, &found);
    if (r)
        die("%s: %s", text, gai_strerror(r));
    memcpy(a, found->ai_addr, found->ai_addrlen);
    *len = found->ai_addrlen;
    freeaddrinfo(found);
}

static unsigned pick(const char *value, const char *const *names, const char *what)
{
    for (unsigned i = 0; names[i]; i++)
        if (!strcmp(value, names[i]))
            return i;
    die("%s: not a %s", value, what);
}

static void parse_uas(const char *value)
{
    static const char *const kinds[] = { "none", "proxy", "tcp", "udp", "tls", NULL };
    char kind[8];
    const char *colon = strchr(value, ':');
    snprintf(kind, sizeof kind, "%.*s", colon ? (int)(colon - value) : 7, value);
    opt.uas = (enum uas_kind)pick(kind, kinds, "UAS");
    if (opt.uas < UAS_TCP)
        return;
    struct sockaddr_storage a;
    socklen_t n;
    if (!colon)
        die("--uas %s:ADDR:PORT", kind);
    parse_address(colon + 1, &a, &n);
    memcpy(&opt.uas_addr, &a, sizeof opt.uas_addr);
}

static void parse_pids(const char *list)
{
    for (char *end; *list && opt.npids < 64; list = *end ? end + 1 : end) {
        opt.pids[opt.npids++] = (pid_t)strtol(list, &end, 10);
        if (end == list)
            die("%s: not a list of process ids", list);
    }
}

static unsigned positive(const char *text)
{
    long v = strtol(text, NULL, 10);
    if (v < 1 || v > 10000000)
        die("%s: not a positive number", text);
    return (unsigned)v;
}

enum {
    O_RAMP = 256,
    O_HOLD,
    O_TIMEOUT,
    O_RETRY,
    O_CA,
    O_CA_KEY,
    O_KEY,
    O_CERTS,
    O_BASE,
    O_MAC,
    O_USER,
    O_DOMAIN,
    O_TLS,
    O_SNI,
    O_SERVER_CA,
    O_SOURCES,
    O_FIRST,
    O_UAS,
    O_UAS_CERT,
    O_CALLEES,
    O_CALLEE_DOMAIN,
    O_BAD,
    O_RING,
    O_OUTBOUND,
    O_RATE,
    O_PING,
    O_INTERACTIVE,
    O_EXPECT
};

static const struct option options[] = { { "target", 1, 0, 't' },
                                         { "pids", 1, 0, 'p' },
                                         { "duration", 1, 0, 'd' },
                                         { "warmup", 1, 0, 'W' },
                                         { "connections", 1, 0, 'c' },
                                         { "count", 1, 0, 'n' },
                                         { "window", 1, 0, 'w' },
                                         { "method", 1, 0, 'm' },
                                         { "resume", 0, 0, 'r' },
                                         { "help", 0, 0, 'h' },
                                         { "ramp", 1, 0, O_RAMP },
                                         { "hold", 1, 0, O_HOLD },
                                         { "timeout", 1, 0, O_TIMEOUT },
                                         { "retry-after", 1, 0, O_RETRY },
                                         { "ca", 1, 0, O_CA },
                                         { "ca-key", 1, 0, O_CA_KEY },
                                         { "key", 1, 0, O_KEY },
                                         { "certs", 1, 0, O_CERTS },
                                         { "base", 1, 0, O_BASE },
                                         { "mac-prefix", 1, 0, O_MAC },
                                         { "user-prefix", 1, 0, O_USER },
                                         { "domain", 1, 0, O_DOMAIN },
                                         { "tls", 1, 0, O_TLS },
                                         { "sni", 1, 0, O_SNI },
                                         { "server-ca", 1, 0, O_SERVER_CA },
                                         { "sources", 1, 0, O_SOURCES },
                                         { "first", 1, 0, O_FIRST },
                                         { "uas", 1, 0, O_UAS },
                                         { "uas-cert", 1, 0, O_UAS_CERT },
                                         { "callees", 1, 0, O_CALLEES },
                                         { "callee-domain", 1, 0, O_CALLEE_DOMAIN },
                                         { "bad-from", 1, 0, O_BAD },
                                         { "ring", 0, 0, O_RING },
                                         { "outbound", 0, 0, O_OUTBOUND },
                                         { "rate", 1, 0, O_RATE },
                                         { "ping", 0, 0, O_PING },
                                         { "interactive", 0, 0, O_INTERACTIVE },
                                         { "expect", 1, 0, O_EXPECT },
                                         { 0 } };

static void take_option(int o)
{
    static const char *const firsts[] = { "none", "register", "options", NULL };
    static const char *const methods[] = {
        "message", "options", "invite", "register", "mixed", NULL
    };
    static const char *const keys[] = { "ec", "rsa", NULL };
    switch (o) {
    case 't':
        parse_address(optarg, &opt.target, &opt.target_len);
        break;
    case 'p':
        parse_pids(optarg);
        break;
    case 'd':
        opt.duration = atof(optarg);
        break;
    case 'W':
        opt.warmup = atof(optarg);
        break;
    case 'c':
        opt.connections = positive(optarg);
        break;
    case 'n':
        opt.count = positive(optarg);
        break;
    case 'w':
        opt.window = positive(optarg);
        break;
    case 'm':
        opt.method = (enum method)pick(optarg, methods, "method");
        break;
    case 'r':
        opt.resume = true;
        break;
    case O_RAMP:
        opt.ramp = positive(optarg);
        break;
    case O_HOLD:
        opt.hold = atof(optarg);
        break;
    case O_TIMEOUT:
        opt.timeout = atof(optarg);
        break;
    case O_RETRY:
        opt.retry_after = atof(optarg);
        break;
    case O_CA:
        opt.ca = optarg;
        break;
    case O_CA_KEY:
        opt.ca_key = optarg;
        break;
    case O_KEY:
        opt.key_type = keys[pick(optarg, keys, "key type")];
        break;
    case O_CERTS:
        opt.certs_dir = optarg;
        break;
    case O_BASE:
        opt.base = positive(optarg);
        break;
    case O_MAC:
        opt.mac_prefix = optarg;
        break;
    case O_USER:
        opt.user_prefix = optarg;
        break;
    case O_DOMAIN:
        opt.domain = optarg;
        break;
    case O_TLS:
        opt.tls = optarg;
        break;
    case O_SNI:
        opt.sni = optarg;
        break;
    case O_SERVER_CA:
        opt.server_ca = optarg;
        break;
    case O_SOURCES:
        opt.sources = positive(optarg);
        break;
    case O_FIRST:
        opt.first = (enum first)pick(optarg, firsts, "first request");
        break;
    case O_UAS:
        parse_uas(optarg);
        break;
    case O_UAS_CERT:
        opt.uas_cert = optarg;
        break;
    case O_CALLEES:
        opt.callees = positive(optarg);
        break;
    case O_CALLEE_DOMAIN:
        opt.callee_domain = optarg;
        break;
    case O_BAD:
        opt.bad_from = atof(optarg);
        break;
    case O_RING:
        opt.ring = true;
        break;
    case O_OUTBOUND:
        opt.outbound = true;
        break;
    case O_RATE:
        opt.rate = atof(optarg);
        break;
    case O_PING:
        opt.ping = true;
        break;
    case O_INTERACTIVE:
        opt.interactive = true;
        break;
    case O_EXPECT:
        opt.expect = positive(optarg);
        break;
    case 'h':
        fputs(help, stdout);
        exit(0);
    default:
        fputs(help, stderr);
        exit(2);
    }
}

void parse_args(int argc, char **argv)
{
    static const char *const modes[] = {
        "handshake", "idle", "requests", "avalanche", "burst", NULL
    };
    if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
        fputs(help, argc < 2 ? stderr : stdout);
        exit(argc < 2 ? 2 : 0);
    }
    opt.mode = (enum mode)pick(argv[1], modes, "mode");
    if (opt.mode == MODE_HANDSHAKE)
        opt.first = FIRST_NONE;
    argv++, argc--;
    for (int o; (o = getopt_long(argc, argv, "+t:p:d:W:c:n:w:m:rh", options, NULL)) != -1;)
        take_option(o);
    if (optind < argc)
        die("%s: unexpected argument", argv[optind]);
    if (!opt.target_len)
        die("no target: -t HOST:PORT");
    if (!opt.certs_dir && (!opt.ca || !opt.ca_key))
        die("client certificates: --ca FILE --ca-key FILE, or --certs DIR");
    if (opt.uas == UAS_NONE && opt.mode == MODE_REQUESTS && opt.method != METHOD_REGISTER &&
        opt.method != METHOD_MIXED)
        opt.method = METHOD_OPTIONS;
    if (!opt.sni)
        opt.sni = opt.domain;
    if (!opt.callee_domain)
        opt.callee_domain = opt.domain;
}
