/* SPDX-License-Identifier: Apache-2.0 */
/* The states of a request and of a branch: every pair of them is either an order that request.h
 * knows, with its deadline and its place in the figures, or a bug that ends the program at once. */
#include "proxy/request/request_internal.h"

#include "common/mem.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct world {
    struct config config;
    struct counters counters;
    struct worker_base base;
    struct request_layer layer;
    atomic_uint parked_total;
};

static struct world *world_new(void)
{
    struct world *world = mem_zero(1, sizeof(*world));

    assert_non_null(world);
    world->config.timers.park_deadline_ms = 3000;
    world->base.config = &world->config;
    world->base.counters = &world->counters;
    world->base.now_mono_ms = 1000;
    timers_init(&world->base.timers);
    run_queue_init(&world->base.run_queue);
    world->layer.base = &world->base;
    world->layer.parked_total = &world->parked_total;
    return world;
}

static void world_free(struct world *world)
{
    timers_free(&world->base.timers);
    mem_free(world);
}

static void nothing(struct timer *timer)
{
    (void)timer;
}

static void nothing_to_do(struct task *task)
{
    (void)task;
}

static struct request *request_in(struct world *world, enum request_state state)
{
    struct request *request = mem_zero(1, sizeof(*request));

    assert_non_null(request);
    request->layer = &world->layer;
    request->deadline.fire = request->trying.fire = request->again.fire = nothing;
    request->settle.run = nothing_to_do;
    request->state = state;
    return request;
}

static void request_forget(struct world *world, struct request *request)
{
    timer_stop(&world->base.timers, &request->deadline);
    run_queue_remove(&world->base.run_queue, &request->settle);
    mem_free(request);
}

/* As the table in request.h has it; each row ends with NONE. */
static const enum request_state follows[REQUEST_STATE_COUNT][7] = {
    [REQUEST_NONE] = { REQUEST_RECEIVED },
    [REQUEST_RECEIVED] = { REQUEST_PARKED, REQUEST_AUTHORIZED, REQUEST_DONE, REQUEST_REFUSED },
    [REQUEST_PARKED] = { REQUEST_AUTHORIZED, REQUEST_DONE, REQUEST_REFUSED },
    [REQUEST_AUTHORIZED] = { REQUEST_PARKED, REQUEST_STORING, REQUEST_FORWARDED, REQUEST_DONE,
                             REQUEST_REFUSED },
    [REQUEST_STORING] = { REQUEST_DONE, REQUEST_REFUSED },
    [REQUEST_FORWARDED] = { REQUEST_RECHECKING, REQUEST_DONE, REQUEST_REFUSED },
    [REQUEST_RECHECKING] = { REQUEST_FORWARDED, REQUEST_DONE, REQUEST_REFUSED },
    [REQUEST_DONE] = { REQUEST_NONE },
    [REQUEST_REFUSED] = { REQUEST_NONE },
};

static bool may_follow(enum request_state from, enum request_state to)
{
    for (size_t i = 0; follows[from][i] != REQUEST_NONE; i++)
        if (follows[from][i] == to)
            return true;
    return false;
}

static bool is_waiting(enum request_state state)
{
    return state == REQUEST_PARKED || state == REQUEST_STORING || state == REQUEST_RECHECKING;
}

static bool is_over(enum request_state state)
{
    return state == REQUEST_DONE || state == REQUEST_REFUSED;
}

static void check_step(enum request_state from, enum request_state to)
{
    struct world *world = world_new();
    struct request *request = request_in(world, from);

    request_become(request, to);
    assert_int_equal(request->state, to);
    assert_int_equal(request_is_open(request), !is_over(to));
    assert_int_equal(atomic_load(&world->parked_total), to == REQUEST_PARKED);
    assert_int_equal(atomic_load(&world->counters.parked), to == REQUEST_PARKED);
    assert_int_equal(timer_active(&request->deadline), is_waiting(to));
    if (is_waiting(to))
        assert_int_equal(request->deadline.due_mono_ms, 4000);
    request_forget(world, request);
    world_free(world);
}

/* True when the step ends the program by an assertion. */
static bool dies(void (*step)(unsigned from, unsigned to), unsigned from, unsigned to)
{
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0) {
        const struct rlimit no_core = { 0, 0 };
        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGABRT, SIG_DFL);
        (void)!freopen("/dev/null", "w", stderr);
        step(from, to);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void step_request(unsigned from, unsigned to)
{
    request_become(request_in(world_new(), (enum request_state)from), (enum request_state)to);
}

static void test_every_pair_of_a_requests_states_is_an_order_or_a_bug(void **state)
{
    (void)state;
    for (unsigned from = REQUEST_NONE; from < REQUEST_STATE_COUNT; from++) {
        for (unsigned to = REQUEST_NONE; to < REQUEST_STATE_COUNT; to++) {
            if (may_follow((enum request_state)from, (enum request_state)to))
                check_step((enum request_state)from, (enum request_state)to);
            else
                assert_true(dies(step_request, from, to));
        }
    }
}

static void test_a_deadline_goes_on_from_parked_to_authorized_and_back(void **state)
{
    struct world *world = world_new();
    struct request *request = request_in(world, REQUEST_RECEIVED);

    (void)state;
    request_become(request, REQUEST_PARKED);
    world->base.now_mono_ms = 2500;
    request_become(request, REQUEST_AUTHORIZED);
    request_become(request, REQUEST_PARKED);
    assert_int_equal(request->deadline.due_mono_ms, 4000);
    request_become(request, REQUEST_AUTHORIZED);
    request_become(request, REQUEST_FORWARDED);
    assert_false(timer_active(&request->deadline));
    request_become(request, REQUEST_DONE);
    assert_int_equal(atomic_load(&world->parked_total), 0);
    assert_int_equal(atomic_load(&world->counters.parked_total), 2);
    request_forget(world, request);
    world_free(world);
}

/* Without memory for its deadline a request does not wait without one. */
static void test_a_wait_without_deadline_is_ended_at_once(void **state)
{
    struct world *world = world_new();
    struct request *request = request_in(world, REQUEST_RECEIVED);

    (void)state;
    mem_fail_nth_for_tests(1);
    request_become(request, REQUEST_PARKED);
    mem_fail_nth_for_tests(0);
    assert_false(timer_active(&request->deadline));
    assert_true(task_queued(&request->settle));
    request_forget(world, request);
    world_free(world);
}

static const bool branch_follows[BRANCH_STATE_COUNT][BRANCH_STATE_COUNT] = {
    [BRANCH_NONE] = { [BRANCH_TRYING] = true, [BRANCH_DONE] = true },
    [BRANCH_TRYING] = { [BRANCH_PROCEEDING] = true,
                        [BRANCH_CANCELLING] = true,
                        [BRANCH_OUTDATED] = true,
                        [BRANCH_DONE] = true },
    [BRANCH_PROCEEDING] = { [BRANCH_CANCELLING] = true, [BRANCH_DONE] = true },
    [BRANCH_CANCELLING] = { [BRANCH_DONE] = true },
    [BRANCH_OUTDATED] = { [BRANCH_TRYING] = true, [BRANCH_DONE] = true },
};

static void step_branch(unsigned from, unsigned to)
{
    struct world *world = world_new();
    struct request *request = request_in(world, REQUEST_FORWARDED);
    struct branch branch = { .request = request, .state = (enum branch_state)from };

    branch_become(&branch, (enum branch_state)to);
    assert_int_equal(branch.state, to);
    assert_int_equal(task_queued(&request->settle), to == BRANCH_DONE);
    request_forget(world, request);
    world_free(world);
}

static void test_every_pair_of_a_branchs_states_is_an_order_or_a_bug(void **state)
{
    (void)state;
    for (unsigned from = BRANCH_NONE; from < BRANCH_STATE_COUNT; from++) {
        for (unsigned to = BRANCH_NONE; to < BRANCH_STATE_COUNT; to++) {
            if (branch_follows[from][to])
                step_branch(from, to);
            else
                assert_true(dies(step_branch, from, to));
        }
    }
}

static void test_every_state_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (unsigned a = 0; a < REQUEST_STATE_COUNT; a++)
        for (unsigned b = 0; b < a; b++)
            assert_string_not_equal(request_state_name((enum request_state)a),
                                    request_state_name((enum request_state)b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_pair_of_a_requests_states_is_an_order_or_a_bug),
        cmocka_unit_test(test_a_deadline_goes_on_from_parked_to_authorized_and_back),
        cmocka_unit_test(test_a_wait_without_deadline_is_ended_at_once),
        cmocka_unit_test(test_every_pair_of_a_branchs_states_is_an_order_or_a_bug),
        cmocka_unit_test(test_every_state_has_a_name_of_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
