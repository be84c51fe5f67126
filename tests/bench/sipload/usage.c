/* SPDX-License-Identifier: Apache-2.0 */
/* See usage.h. */
#include "usage.h"

#include "options.h"
#include "text.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

static bool read_file(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, size - 1);
    close(fd);
    if (n <= 0)
        return false;
    text[n] = 0;
    return true;
}

struct proc {
    pid_t pid, parent;
    double cpu;
    bool counted;
};

/* One line of /proc/PID/seen. CPU time includes children already waited for, so that the sum over a
 * tree never falls. */
static bool read_proc(pid_t pid, struct proc *p)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (!read_file(path, text, sizeof text))
        return false;
    char *after_name = strrchr(text, ')');
    unsigned long user, sys, child_user, child_sys;
    int parent;
    if (!after_name ||
        sscanf(after_name + 1, " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %lu %lu",
               &parent, &user, &sys, &child_user, &child_sys) != 5)
        return false;
    *p = (struct proc){ .pid = pid,
                        .parent = parent,
                        .cpu = (double)(user + sys + child_user + child_sys) /
                               (double)sysconf(_SC_CLK_TCK) };
    return true;
}

static void add_memory(pid_t pid, struct usage *u)
{
    char path[64], text[4096];
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    if (!read_file(path, text, sizeof text))
        return;
    unsigned long kb;
    char *line = strstr(text, "\nPss:");
    if (line && sscanf(line, "\nPss: %lu", &kb) == 1)
        u->pss += (uint64_t)kb * 1024;
    line = strstr(text, "\nRss:");
    if (line && sscanf(line, "\nRss: %lu", &kb) == 1)
        u->rss += (uint64_t)kb * 1024;
}

struct usage measure_servers(bool memory)
{
    struct usage u = { 0 };
    if (!opt.npids)
        return u;
    size_t n = 0, cap = 0;
    struct proc *procs = NULL;
    DIR *dir = opendir("/proc");
    for (struct dirent *e; dir && (e = readdir(dir));) {
        struct proc p;
        if (!read_proc((pid_t)atoi(e->d_name), &p))
            continue;
        for (unsigned i = 0; i < opt.npids; i++)
            p.counted |= p.pid == opt.pids[i];
        if (n == cap)
            procs = must(realloc(procs, (cap = cap * 2 + 256) * sizeof *procs));
        procs[n++] = p;
    }
    if (dir)
        closedir(dir);
    for (bool grew = true; grew;) {
        grew = false;
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n && !procs[i].counted; j++)
                if (procs[j].counted && procs[j].pid == procs[i].parent)
                    grew = procs[i].counted = true;
    }
    for (size_t i = 0; i < n; i++) {
        if (!procs[i].counted)
            continue;
        u.processes++;
        u.cpu += procs[i].cpu;
        if (memory)
            add_memory(procs[i].pid, &u);
    }
    free(procs);
    return u;
}

double own_cpu(void)
{
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
           (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}
