/* SPDX-License-Identifier: Apache-2.0 */
/* The decision and the text of rules. Enums are decimal numbers, so that what is none of them can
 * be asked, too; lists have '\n' between two.
 *
 *   admission DIGEST THIRD_PARTIES CERTIFICATE PERMITTED OURS    admission_of()    ADMISSION
 *   rule TEXT              policy_rule_parse()
 *                          ID EFFECT STORE METHODS KIND TARGET FROM UNTIL PER_MINUTE, or !
 *   edge NOW RULES         policy_rights_edge_unix_s()    UNIX_S
 *   decide PEER_STATE STORE ENTRIES METHOD FROM TO TO_OURSELVES TARGET TARGET_STATE INTERNATIONAL
 *          NOW ADMISSION PASSWORD_USER USER_STATE RULES NATIONAL COUNTRY NOBODY_STATE NOBODY_RULES
 *          LOCAL TO_STATE    decide()
 *                          EFFECT REASON ENTRY ADMISSION RULE_ID PER_MINUTE EDGE THIRD_PARTY
 *
 * FROM, TO, TARGET: empty = NULL; a NUL = an identity that is zero; urn:service:…; tel:…; else a
 * text. ADMISSION: empty = NULL, or DIGEST,THIRD_PARTIES,CERTIFICATE,PASSWORD. USER_STATE: empty =
 * no rights. LOCAL: DIGITS:PREFIX,… A rule may begin with `=EFFECT,KIND `, which then replace those
 * of its text.
 */
#include "tests/model/answers.h"

#include "common/policy.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define LIST_MAX 32

static void require(bool truth, const char *what)
{
    if (truth)
        return;
    fprintf(stderr, "not a question: %s\n", what);
    exit(2);
}

static unsigned long long read_u64(struct slice s)
{
    unsigned long long value = 0;

    require(slice_to_u64(s, UINT64_MAX, &value), "a number");
    return value;
}

/* What stands before the separator, or all; *s is the rest. */
static struct slice next_of(struct slice *s, char separator)
{
    const char *end = s->size ? memchr(s->data, separator, s->size) : NULL;
    struct slice one = { s->data, end ? (size_t)(end - s->data) : s->size };

    s->data += one.size + (end != NULL);
    s->size -= one.size + (end != NULL);
    return one;
}

static bool has_scheme(struct slice text, struct slice scheme)
{
    return text.size > scheme.size && memcmp(text.data, scheme.data, scheme.size) == 0;
}

static const struct identity *read_identity(struct slice text, struct identity *out)
{
    enum error error;

    if (text.size == 0)
        return NULL;
    *out = (struct identity){ .size = 0 };
    if (text.size == 1 && text.data[0] == '\0')
        return out;
    if (has_scheme(text, SLICE("urn:")))
        error = identity_from_service(out, text);
    else if (has_scheme(text, SLICE("tel:")))
        error = identity_from_parts(out, (struct slice){ text.data + 4, text.size - 4 }, SLICE(""),
                                    true);
    else
        error = identity_from_text(out, text);
    require(error == ERROR_NONE, "an identity");
    return out;
}

static size_t read_rules(struct slice text, struct policy_rule *rules)
{
    size_t count = 0;

    for (; text.size && count < LIST_MAX; count++) {
        struct slice line = next_of(&text, '\n'), effect = SLICE(""), kind = SLICE("");

        if (line.size && line.data[0] == '=') {
            line = (struct slice){ line.data + 1, line.size - 1 };
            effect = next_of(&line, ',');
            kind = next_of(&line, ' ');
        }
        require(policy_rule_parse(line, &rules[count]) == ERROR_NONE, "a rule");
        if (effect.size)
            rules[count].effect = (enum effect)read_u64(effect);
        if (kind.size)
            rules[count].target_kind = (enum target_kind)read_u64(kind);
    }
    require(text.size == 0, "so many rules");
    return count;
}

/* DIGITS:PREFIX with commas between them. */
static size_t read_locals(struct slice text, struct number_local *out)
{
    size_t count = 0;

    for (; text.size && count < LIST_MAX; count++) {
        struct slice one = next_of(&text, ',');

        out[count].digits = read_u64(next_of(&one, ':'));
        out[count].prefix = one;
    }
    return count;
}

static void answer_admission(const struct slice *field)
{
    struct admission_facts facts = { .digest = (enum digest_mode)read_u64(field[0]),
                                     .third_parties = (enum third_parties)read_u64(field[1]),
                                     .certificate = (enum certificate_shown)read_u64(field[2]),
                                     .permitted = read_u64(field[3]) != 0,
                                     .from_ours = read_u64(field[4]) != 0 };

    printf("%d\n", (int)admission_of(&facts));
}

static void answer_rule(struct slice text)
{
    struct policy_rule rule;

    if (policy_rule_parse(text, &rule) != ERROR_NONE) {
        puts("!");
        return;
    }
    printf("%" PRIu64 " %d ", rule.id, (int)rule.effect);
    put_hex(rule.store);
    putchar(' ');
    put_hex(rule.methods);
    printf(" %d ", (int)rule.target_kind);
    put_hex(rule.target);
    printf(" %" PRIu64 " %" PRIu64 " %" PRIu32 "\n", rule.from_unix_s, rule.until_unix_s,
           rule.per_minute);
}

static void answer_edge(const struct slice *field)
{
    struct policy_rule rules[LIST_MAX];
    struct policy_rights rights = { USER_KNOWN, rules, read_rules(field[1], rules) };

    printf("%" PRIu64 "\n", policy_rights_edge_unix_s(&rights, read_u64(field[0])));
}

static void put_decision(const struct decision *d)
{
    printf("%d %s ", (int)d->effect, reason_name(d->reason));
    put_hex(d->entry);
    printf(" %d %" PRIu64 " %" PRIu32 " %" PRIu64 " %d\n", (int)d->admission, d->rule_id,
           d->per_minute, d->edge_unix_s, d->third_party);
}

static void answer_decide(const struct slice *field)
{
    struct slice entries[LIST_MAX], list = field[2], numbers = field[11];
    struct policy_rule rules[LIST_MAX];
    struct identity from, to, target;
    struct policy_admission admission;
    struct policy_peer peer = { (enum peer_state)read_u64(field[0]), field[1], entries, 0 };
    struct number_local locals[LIST_MAX];
    struct policy_rule rules_of_nobody[LIST_MAX];
    struct policy_rights rights = { USER_NONE, rules, read_rules(field[14], rules) };
    struct policy_rights nobody = { USER_NONE, rules_of_nobody,
                                    read_rules(field[18], rules_of_nobody) };
    struct policy_request request = { .method = field[3],
                                      .from = read_identity(field[4], &from),
                                      .to = read_identity(field[5], &to),
                                      .to_state = (enum user_state)read_u64(field[20]),
                                      .to_ourselves = read_u64(field[6]) != 0,
                                      .target = read_identity(field[7], &target),
                                      .target_state = (enum user_state)read_u64(field[8]),
                                      .plan = { .international = field[9],
                                                .national = field[15],
                                                .country = field[16],
                                                .local = locals },
                                      .now_unix_s = read_u64(field[10]) };
    struct decision decision;

    request.plan.local_count = read_locals(field[19], locals);
    while (list.size && peer.entry_count < LIST_MAX)
        entries[peer.entry_count++] = next_of(&list, '\n');
    if (numbers.size) {
        admission.digest = (enum digest_mode)read_u64(next_of(&numbers, ','));
        admission.third_parties = (enum third_parties)read_u64(next_of(&numbers, ','));
        admission.certificate = (enum certificate_shown)read_u64(next_of(&numbers, ','));
        admission.password = (enum password_outcome)read_u64(numbers);
        admission.user = field[12];
        request.admission = &admission;
    }
    if (field[17].size) {
        nobody.state = (enum user_state)read_u64(field[17]);
        request.anonymous = &nobody;
    }
    if (field[13].size)
        rights.state = (enum user_state)read_u64(field[13]);
    decision = decide(&peer, &request, field[13].size ? &rights : NULL);
    put_decision(&decision);
}

bool answer_policy(const char *question, const struct slice *field, size_t count)
{
    if (strcmp(question, "admission") == 0 && count == 5)
        answer_admission(field);
    else if (strcmp(question, "rule") == 0 && count == 1)
        answer_rule(field[0]);
    else if (strcmp(question, "edge") == 0 && count == 2)
        answer_edge(field);
    else if (strcmp(question, "decide") == 0 && count == 21)
        answer_decide(field);
    else
        return false;
    return true;
}
