/* SPDX-License-Identifier: Apache-2.0 */
/* See report.h. */
#include "report.h"

#include "connection.h"
#include "course.h"
#include "failures.h"
#include "options.h"
#include "transactions.h"

static void print_latency(const char *what, const struct hist *h)
{
    if (!h->count)
        return;
    printf("%s_p50_us=%.0f %s_p99_us=%.0f %s_p999_us=%.0f %s_max_us=%.0f\n", what, hist_us(h, .5),
           what, hist_us(h, .99), what, hist_us(h, .999), what, (double)h->max / 1e3);
}

static void print_cpu(double seconds, uint64_t units, const char *unit)
{
    double server = server_end.cpu - server_begin.cpu, own = own_end - own_begin;
    if (opt.npids) {
        printf("server_cpu_s=%.2f server_cpu_percent=%.0f server_processes=%u\n", server,
               100 * server / seconds, server_end.processes);
        if (units)
            printf("server_cpu_s_per_1000_%s=%.4f\n", unit, server * 1000 / (double)units);
    }
    printf("generator_cpu_s=%.2f generator_cpu_percent=%.0f\n", own, 100 * own / seconds);
}

static void print_memory(unsigned connections)
{
    if (!opt.npids)
        return;
    double grew = (double)server_end.pss - (double)server_begin.pss;
    printf("server_pss_before=%llu server_pss_after=%llu server_rss_after=%llu\n",
           (unsigned long long)server_begin.pss, (unsigned long long)server_end.pss,
           (unsigned long long)server_end.rss);
    if (connections)
        printf("bytes_per_connection=%.0f\n", grew / connections);
}

static void report_handshake(double s)
{
    uint64_t n = seen.connect.count;
    printf("handshakes=%llu handshakes_per_s=%.0f resumed=%llu\n",
           (unsigned long long)seen.handshakes, (double)seen.handshakes / s,
           (unsigned long long)seen.resumed);
    if (opt.first != FIRST_NONE)
        printf("%s_per_s=%.0f\n", opt.first == FIRST_REGISTER ? "registers" : "options",
               (double)seen.registers / s);
    print_latency("connection", &seen.connect);
    print_latency("first_request", &seen.first);
    print_cpu(s, n, "connections");
}

static void report_requests(double s)
{
    printf("connections=%u window=%u ready=%u\n", opt.connections, opt.window, nready);
    printf("transactions=%llu transactions_per_s=%.0f\n", (unsigned long long)seen.transactions,
           (double)seen.transactions / s);
    if (opt.method == METHOD_INVITE)
        printf("calls=%llu calls_per_s=%.0f acks_missing=%lld\n", (unsigned long long)seen.calls,
               (double)seen.calls / s, (long long)(seen.acks_sent - seen.acks_seen));
    print_latency(opt.method == METHOD_INVITE ? "invite" : "request", &seen.request);
    print_latency("bye", &seen.bye);
    if (opt.bad_from > 0)
        printf("forged_refused=%llu forged_accepted=%llu\n",
               (unsigned long long)seen.forged_refused, (unsigned long long)seen.forged_accepted);
    if (opt.rate > 0)
        printf("offered_per_s=%.0f late_ticks=%llu\n", opt.rate, (unsigned long long)seen.late);
    printf("stray_responses=%llu\n", (unsigned long long)seen.stray);
    print_cpu(s, seen.transactions, "transactions");
}

static void report_avalanche(double s)
{
    static const char *part[] = { "50", "90", "99", "100" };
    printf("phones=%u ready=%u\n", nconns, nready);
    for (unsigned i = 0; i < 4; i++)
        if (quantile_at[i])
            printf("t%s_s=%.3f ", part[i], (double)(quantile_at[i] - begin_ns) / 1e9);
        else
            printf("t%s_s=never ", part[i]);
    printf("\n");
    print_latency("phone", &seen.connect);
    print_cpu(s, nready, "phones");
    print_memory(nready);
}

void report(void)
{
    double s = (double)(end_ns - begin_ns) / 1e9;
    printf("seconds=%.2f\n", s);
    switch (opt.mode) {
    case MODE_HANDSHAKE:
        report_handshake(s);
        break;
    case MODE_REQUESTS:
    case MODE_BURST:
        report_requests(s);
        break;
    case MODE_AVALANCHE:
        report_avalanche(s);
        break;
    case MODE_IDLE:
        printf("connections=%u\n", nready);
        print_latency("connection", &seen.connect);
        print_cpu(s, nready, "connections");
        print_memory(nready);
    }
    print_failures();
}
