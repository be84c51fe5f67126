/* SPDX-License-Identifier: Apache-2.0 */
/* The journal's writer is killed in the middle of its own write: before each system call of one
 * commit, and in each of its writes with half of it done. What is found afterwards is what was
 * there before or all of the commit, never a part and never damage. */
#include "mapperd/journal.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define BYTES_MAX ((uint64_t)16 << 20)
#define BEFORE    100 /* entries with versions 1 to 100 … */
#define REMOVED   50  /* … of which the commit takes off the first */
#define ADDED     300 /* and adds some behind */

enum how { WHOLE, TORN };

static struct journal_entry entry_of(unsigned number, char aor[32])
{
    struct journal_entry entry = { .kind = BIND_PUT };
    snprintf(aor, 32, "u%u@example.org", number);
    entry.binding = (struct record_binding){ .aor = slice_of(aor),
                                             .device_key = SLICE("device:A"),
                                             .instance_key = SLICE("i"),
                                             .store = SLICE("device"),
                                             .cn = SLICE("A"),
                                             .entry = slice_of(aor),
                                             .instance = SLICE(""),
                                             .contact = SLICE("sip:phone@192.0.2.1"),
                                             .call_id = SLICE("c"),
                                             .flow = SLICE("f"),
                                             .path = SLICE(""),
                                             .ground = GROUND_MAPPING,
                                             .expires_unix_s = 2000000000,
                                             .version = { number, 1 } };
    return entry;
}

static bool put(struct journal_writer *writer, unsigned number)
{
    struct record_key key;
    struct buffer value;
    char aor[32];
    struct journal_entry entry = entry_of(number, aor);
    buffer_init(&value, 0);
    journal_entry_key(&key, &entry);
    journal_entry_write(&value, &entry);
    enum error e =
        journal_put(writer, record_key_slice(&key), buffer_slice(&value), entry.binding.version);
    buffer_free(&value);
    return e == ERROR_NONE;
}

static bool change(struct journal *journal)
{
    struct journal_writer writer;
    char aor[32];
    bool good = journal_begin(journal, &writer) == ERROR_NONE;
    for (unsigned n = 1; good && n <= REMOVED; n++) {
        struct journal_entry entry = entry_of(n, aor);
        struct record_key key;
        journal_entry_key(&key, &entry);
        journal_remove(&writer, record_key_slice(&key), entry.binding.version);
    }
    for (unsigned n = BEFORE + 1; good && n <= BEFORE + ADDED; n++)
        good = put(&writer, n);
    return good && journal_commit(&writer) == ERROR_NONE;
}

/* The traced process: what its parent counts begins and ends with a stop. */
_Noreturn static void run_child(const char *path)
{
    struct journal journal;
    if (journal_open(&journal, path, BYTES_MAX) != ERROR_NONE ||
        ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        _exit(3);
    raise(SIGSTOP);
    bool good = change(&journal);
    raise(SIGSTOP);
    _exit(good ? 0 : 4);
}

static bool writes(unsigned long long number)
{
    return number == SYS_write || number == SYS_pwrite64 || number == SYS_writev ||
           number == SYS_pwritev;
}

/* Half of a write's octets, or of its vectors, when it is one. */
static bool halve(pid_t child)
{
#ifdef __x86_64__
    struct user_regs_struct registers;
    if (ptrace(PTRACE_GETREGS, child, NULL, &registers) != 0 || !writes(registers.orig_rax) ||
        registers.rdx < 2)
        return false;
    registers.rdx /= 2;
    return ptrace(PTRACE_SETREGS, child, NULL, &registers) == 0;
#else
    (void)child;
    return false;
#endif
}

static int go_on(pid_t child)
{
    int status;
    assert_int_equal(ptrace(PTRACE_SYSCALL, child, NULL, NULL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSTOPPED(status));
    return WSTOPSIG(status);
}

/* Kills the child at its `step`th system call of the commit. False: it had fewer. *torn: half of a
 * write was done. */
static bool kill_at(pid_t child, unsigned step, enum how how, bool *torn)
{
    int status;
    bool reached = true;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    assert_int_equal(
        ptrace(PTRACE_SETOPTIONS, child, NULL, PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD), 0);
    for (unsigned n = 1; reached; n++) {
        reached = go_on(child) == (SIGTRAP | 0x80); /* the entry */
        if (reached && n == step) {
            *torn = how == TORN && halve(child);
            if (*torn)
                (void)go_on(child);
            break;
        }
        reached = reached && go_on(child) == (SIGTRAP | 0x80); /* the exit */
    }
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    return reached;
}

/* 'b': what was there before; 'a': all of the commit. */
static char found(const char *path)
{
    struct journal journal;
    struct journal_reader reader;
    struct journal_entry entry;
    struct record_version at = { 0, 0 };
    struct slice value;
    unsigned first = 0, count = 0;
    char aside[128];
    struct stat file;
    assert_int_equal(journal_open(&journal, path, BYTES_MAX), ERROR_NONE);
    snprintf(aside, sizeof(aside), "%s/journal.damaged", path);
    assert_int_not_equal(stat(aside, &file), 0);
    assert_int_equal(journal_reader_open(&journal, &reader), ERROR_NONE);
    assert_true(journal_reader_renew(&reader));
    while (journal_next(&reader, at, &value)) {
        assert_int_equal(journal_entry_read(value, &entry), ERROR_NONE);
        if (count == 0)
            first = (unsigned)entry.binding.version.unix_ms;
        else
            assert_int_equal(entry.binding.version.unix_ms, at.unix_ms + 1);
        at = entry.binding.version;
        count++;
    }
    journal_reader_close(&reader);
    assert_int_equal(atomic_load(&journal.entry_count), count);
    /* And it can be written. */
    struct journal_writer writer;
    assert_int_equal(journal_begin(&journal, &writer), ERROR_NONE);
    assert_true(put(&writer, 1000));
    assert_int_equal(journal_commit(&writer), ERROR_NONE);
    journal_close(&journal);
    if (first == 1 && count == BEFORE)
        return 'b';
    assert_int_equal(first, REMOVED + 1);
    assert_int_equal(count, BEFORE + ADDED - REMOVED);
    return 'a';
}

static void make(const char *path)
{
    struct journal journal;
    struct journal_writer writer;
    char command[256];
    snprintf(command, sizeof(command), "rm -rf %s && mkdir -m 700 %s", path, path);
    assert_int_equal(system(command), 0);
    assert_int_equal(journal_open(&journal, path, BYTES_MAX), ERROR_NONE);
    assert_int_equal(journal_begin(&journal, &writer), ERROR_NONE);
    for (unsigned n = 1; n <= BEFORE; n++)
        assert_true(put(&writer, n));
    assert_int_equal(journal_commit(&writer), ERROR_NONE);
    journal_close(&journal);
}

static void kill_everywhere(enum how how)
{
    char folder[] = "/tmp/holdline-journal-XXXXXX", path[64], command[96];
    unsigned before = 0, after = 0, halves = 0;
    bool reached = true;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/lmdb", folder);
    for (unsigned step = 1; reached; step++) {
        bool torn = false;
        make(path);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            run_child(path);
        reached = kill_at(child, step, how, &torn);
        char what = found(path);
        before += what == 'b';
        after += what == 'a';
        halves += torn;
    }
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    assert_int_equal(system(command), 0);
    print_message("%u times what was before, %u times all, %u writes torn\n", before, after,
                  halves);
    assert_true(before >= 3 && after >= 1);
#ifdef __x86_64__
    assert_true(how == WHOLE || halves >= 2); /* the pages, and what points to them */
#endif
}

static void test_T52_killed_before_each_system_call_of_a_commit(void **state)
{
    (void)state;
    kill_everywhere(WHOLE);
}

static void test_T52_killed_with_half_of_a_write_done(void **state)
{
    (void)state;
    kill_everywhere(TORN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_T52_killed_before_each_system_call_of_a_commit),
        cmocka_unit_test(test_T52_killed_with_half_of_a_write_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
