/* SPDX-License-Identifier: Apache-2.0 */
/* See message.h. */
#include "message.h"

#include <strings.h>

static bool name_is(struct str h, const char *name, char compact)
{
    if (h.n == 1)
        return compact && (h.p[0] | 32) == compact;
    return h.n == strlen(name) && !strncasecmp(h.p, name, h.n);
}

static struct str trimmed(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    while (p < end && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
        end--;
    return (struct str){ p, (size_t)(end - p) };
}

static bool parse_start_line(struct str line, struct msg *m)
{
    if (line.n > 12 && !memcmp(line.p, "SIP/2.0 ", 8)) {
        m->status = (unsigned)atoi(line.p + 8);
        return m->status >= 100 && m->status < 700;
    }
    const char *end = line.p + line.n, *sp = memchr(line.p, ' ', line.n);
    const char *sp2 = sp ? memchr(sp + 1, ' ', (size_t)(end - sp - 1)) : NULL;
    if (!sp2)
        return false;
    m->request = true;
    m->method = (struct str){ line.p, (size_t)(sp - line.p) };
    m->uri = (struct str){ sp + 1, (size_t)(sp2 - sp - 1) };
    return true;
}

static void keep_header(struct str name, struct str value, struct msg *m)
{
    if (name_is(name, "Via", 'v')) {
        if (m->nvia < MAX_HOPS)
            m->via[m->nvia++] = value;
    } else if (name_is(name, "Record-Route", 0)) {
        if (m->nrr < MAX_HOPS)
            m->rr[m->nrr++] = value;
    } else if (name_is(name, "From", 'f'))
        m->from = value;
    else if (name_is(name, "To", 't'))
        m->to = value;
    else if (name_is(name, "Call-ID", 'i'))
        m->call_id = value;
    else if (name_is(name, "CSeq", 0))
        m->cseq = value;
    else if (name_is(name, "Contact", 'm'))
        m->contact = value;
    else if (name_is(name, "Content-Length", 'l'))
        m->body = (size_t)strtoul(value.p, NULL, 10);
}

/* Bytes the first message in [p, p+n) takes; 0: not complete yet; -1: not SIP. */
ssize_t parse_msg(const char *p, size_t n, struct msg *m)
{
    const char *head_end = memmem(p, n, "\r\n\r\n", 4);
    if (!head_end)
        return n > MSG_MAX ? -1 : 0;
    memset(m, 0, sizeof *m);
    const char *end = head_end + 2, *line = p;
    for (bool start = true; line < end; start = false) {
        const char *eol = memchr(line, '\n', (size_t)(end - line));
        while (eol + 1 < end && (eol[1] == ' ' || eol[1] == '\t'))
            eol = memchr(eol + 1, '\n', (size_t)(end - eol - 1)); /* folded header */
        if (start) {
            if (!parse_start_line(trimmed(line, eol), m))
                return -1;
        } else {
            const char *colon = memchr(line, ':', (size_t)(eol - line));
            if (!colon)
                return -1;
            keep_header(trimmed(line, colon), trimmed(colon + 1, eol), m);
        }
        line = eol + 1;
    }
    size_t total = (size_t)(head_end + 4 - p) + m->body;
    if (total > MSG_MAX)
        return -1;
    return total <= n ? (ssize_t)total : 0;
}

/* The URI inside a name-addr or addr-spec. */
struct str uri_of(struct str v)
{
    const char *lt = memchr(v.p, '<', v.n);
    if (lt) {
        const char *gt = memchr(lt, '>', (size_t)(v.p + v.n - lt));
        if (gt)
            return (struct str){ lt + 1, (size_t)(gt - lt - 1) };
    }
    const char *semi = memchr(v.p, ';', v.n);
    return semi ? (struct str){ v.p, (size_t)(semi - v.p) } : v;
}

bool has_tag(struct str v)
{
    const char *gt = memrchr(v.p, '>', v.n);
    const char *params = gt ? gt : v.p;
    return memmem(params, (size_t)(v.p + v.n - params), ";tag=", 5) != NULL;
}

/* Splits Record-Route headers into single values: a comma counts only outside <> and quotes. */
unsigned split_routes(const struct msg *m, struct str *out)
{
    unsigned n = 0;
    for (unsigned h = 0; h < m->nrr; h++) {
        const char *p = m->rr[h].p, *end = p + m->rr[h].n, *begin = p;
        bool quoted = false, angle = false;
        for (; p <= end; p++) {
            if (p == end || (*p == ',' && !quoted && !angle)) {
                if (n < MAX_HOPS)
                    out[n++] = trimmed(begin, p);
                begin = p + 1;
            } else if (*p == '"')
                quoted = !quoted;
            else if (!quoted && (*p == '<' || *p == '>'))
                angle = *p == '<';
        }
    }
    return n;
}

bool is(struct str s, const char *text)
{
    return s.n == strlen(text) && !memcmp(s.p, text, s.n);
}
