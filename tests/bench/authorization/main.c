/* SPDX-License-Identifier: Apache-2.0 */
/* What the authorization of a known peer's request costs: identities made canonical, PEER and both
 * RIGHTS found in the cache, the decision, its ground; `authorization COUNT` prints nanoseconds of
 * CPU a request. The worker's surroundings are those of the unit tests, mapperd's answers theirs.
 */
#include "common/log.h"
#include "common/mem.h"
#include "proxy/authorization/enforce.h"
#include "tests/unit/proxy/authorization/stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static struct stage stage;
static struct token_keys *keys;
static struct peers *peers;
static struct peer *peer;

static void require(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "authorization: %s\n", what);
    exit(2);
}

static void ignore_peer(void *owner, struct peer *p)
{
    (void)owner, (void)p;
}

static void ignore_decision(struct authorization *authorization)
{
    (void)authorization;
}

static struct peer_identity *make_certificate(void)
{
    struct {
        struct peer_identity identity;
        char store[8], cn[16];
    } *block = mem_zero(1, sizeof *block);

    require(block != NULL, "no memory");
    snprintf(block->store, sizeof block->store, "device");
    snprintf(block->cn, sizeof block->cn, "0004F2000011");
    block->identity.store = block->store;
    block->identity.cn = block->cn;
    block->identity.cn_size = 12;
    block->identity.takes_mappings = true;
    return &block->identity;
}

/* One MESSAGE from a phone of ours to a user of ours. */
static enum authorization_state authorize(struct authorization *a)
{
    static struct identity from, target; /* outlive the call: it may wait */
    struct authorize_facts facts = { .method = SLICE("MESSAGE"),
                                     .from = &from,
                                     .target = &target,
                                     .keys = keys,
                                     .call_id = SLICE("5f3a.1b.2c@phone") };

    require(identity_from_parts(&from, SLICE("u000017"), SLICE("example.org"), false) ==
                    ERROR_NONE &&
                identity_from_parts(&target, SLICE("u000123"), SLICE("example.org"), false) ==
                    ERROR_NONE,
            "an identity is malformed");
    *a = (struct authorization){ .done = ignore_decision };
    return authorize_begin(a, &stage.base, stage.ask, peer, &facts);
}

static void open_stage(void)
{
    static const struct peers_user user = { .evaluated = ignore_peer,
                                            .changed = ignore_peer,
                                            .lost = ignore_peer };
    char path[128];

    stage_open(&stage);
    log_set_level(LOG_NOTICE);
    snprintf(path, sizeof path, "%s/keys", stage.folder);
    require(token_keys_load(path, &keys) == ERROR_NONE, "no keys");
    unlink(path);
    require(peers_new(&stage.base, stage.ask, keys, &user, &peers) == ERROR_NONE, "no peers");
    stage_up(&stage, 7, 10);
    require(peer_open_device(peers, make_certificate(), NULL, &peer) == ERROR_NONE, "no peer");
    stage_turn(&stage);
    stage_expect(&stage.questions, "PEER device 0004F2000011");
    stage_peer(&stage, 7, 10, "known", "0004F2000011", "u000017@example.org");
}

/* The first request asks; what is answered is in the cache for the others. */
static void fill_cache(void)
{
    struct authorization first;

    require(authorize(&first) == AUTHORIZATION_WAITING, "nothing to ask");
    stage_turn(&stage);
    stage_expect(&stage.questions, "RIGHTS u000017@example.org");
    stage_expect(&stage.questions, "RIGHTS example.org");
    stage_rights(&stage, 7, 10, "known", NULL, "1 allow * * ours - - -");
    stage_rights(&stage, 7, 10, "unknown", NULL, NULL);
    require(first.state == AUTHORIZATION_DECIDED && first.decision.effect == EFFECT_ALLOW,
            "the first request is denied");
    authorize_end(&first);
}

static double cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

int main(int argc, char **argv)
{
    unsigned long count = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;
    double begin;

    if (count == 0) {
        fprintf(stderr, "usage: authorization COUNT\n");
        return 2;
    }
    open_stage();
    fill_cache();
    begin = cpu_ns();
    for (unsigned long i = 0; i < count; i++) {
        struct authorization a;
        require(authorize(&a) == AUTHORIZATION_DECIDED && a.decision.effect == EFFECT_ALLOW,
                "a request is denied, or asks again");
        authorize_end(&a);
    }
    printf("%.1f\n", (cpu_ns() - begin) / (double)count);
    peer_close(peer);
    peers_free(peers);
    stage_close(&stage);
    token_keys_free(keys);
    return 0;
}
