/* SPDX-License-Identifier: Apache-2.0 */
/* The run queue: order, removal anywhere, additions while it drains, owners that die. */
#include "common/mem.h"
#include "common/run_queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct job {
    struct task task;
    char name;
    struct job *then, *drop; /* what it adds, what it removes when it runs */
};

static struct run_queue queue;
static char order[64];

static void run(struct task *task)
{
    struct job *job = (struct job *)(void *)task;
    size_t size = strlen(order);

    assert_false(task_queued(task));
    order[size] = job->name;
    order[size + 1] = '\0';
    if (job->then)
        run_queue_add(&queue, &job->then->task);
    if (job->drop)
        run_queue_remove(&queue, &job->drop->task);
    job->then = NULL;
}

static struct job job_named(char name)
{
    return (struct job){ .task.run = run, .name = name };
}

static int set_up(void **state)
{
    (void)state;
    run_queue_init(&queue);
    order[0] = '\0';
    return 0;
}

static void test_first_in_first_out_once_each(void **state)
{
    struct job a = job_named('a'), b = job_named('b'), c = job_named('c');

    (void)state;
    run_queue_add(&queue, &a.task);
    run_queue_add(&queue, &b.task);
    run_queue_add(&queue, &a.task);
    run_queue_add(&queue, &c.task);
    assert_true(task_queued(&a.task));
    run_queue_drain(&queue);
    assert_string_equal(order, "abc");
    assert_false(task_queued(&a.task));
    run_queue_drain(&queue);
    run_queue_add(&queue, &b.task);
    run_queue_drain(&queue);
    assert_string_equal(order, "abcb");
}

static void test_removal_at_every_place(void **state)
{
    (void)state;
    for (int gone = 0; gone < 3; gone++) {
        struct job jobs[3] = { job_named('a'), job_named('b'), job_named('c') }, d = job_named('d');
        order[0] = '\0';
        for (int i = 0; i < 3; i++)
            run_queue_add(&queue, &jobs[i].task);
        run_queue_remove(&queue, &jobs[gone].task);
        run_queue_remove(&queue, &jobs[gone].task);
        run_queue_add(&queue, &d.task);
        run_queue_drain(&queue);
        assert_string_equal(order, gone == 0 ? "bcd" : gone == 1 ? "acd" : "abd");
    }
}

static void test_what_runs_may_add_and_remove(void **state)
{
    struct job a = job_named('a'), b = job_named('b'), c = job_named('c');

    (void)state;
    a.then = &a; /* itself, once more, behind the others */
    a.drop = &b;
    run_queue_add(&queue, &a.task);
    run_queue_add(&queue, &b.task);
    run_queue_add(&queue, &c.task);
    run_queue_drain(&queue);
    assert_string_equal(order, "aca");
}

static void free_itself(struct task *task)
{
    mem_free(task);
    strcat(order, "f");
}

static void test_an_owner_may_die_in_its_task(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct job *job = mem_zero(1, sizeof(*job));
        assert_non_null(job);
        job->task.run = free_itself;
        run_queue_add(&queue, &job->task);
    }
    run_queue_drain(&queue);
    assert_string_equal(order, "fff");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_first_in_first_out_once_each, set_up),
        cmocka_unit_test_setup(test_removal_at_every_place, set_up),
        cmocka_unit_test_setup(test_what_runs_may_add_and_remove, set_up),
        cmocka_unit_test_setup(test_an_owner_may_die_in_its_task, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
