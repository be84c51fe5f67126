/* SPDX-License-Identifier: Apache-2.0 */
/* Canonical forms: what is canonical is its own canonical form, whatever went in; and the text of a
 * rule. */
#include "common/identity.h"
#include "common/policy.h"

#include <stdint.h>
#include <stdlib.h>

static void must(bool condition)
{
    if (!condition)
        abort();
}

static void check_shape(const struct identity *i, enum error error)
{
    must(i->size == strlen(i->text) && i->user_size <= i->size);
    if (error != ERROR_NONE) {
        must(i->size == 0);
        return;
    }
    must(i->size > 0);
    must(text_is_clean_utf8(identity_text(i)));
    must(identity_domain(i).size + identity_user(i).size <= i->size);
    if (identity_domain(i).size) {
        must(identity_covered_by(i, identity_text(i)));
        must(identity_covered_by(i, identity_domain(i)));
    }
    must(!identity_covered_by(i, SLICE("")));
}

static void check_text(struct slice s)
{
    struct identity once, twice;
    enum error error = identity_from_text(&once, s);

    check_shape(&once, error);
    if (error != ERROR_NONE)
        return;
    must(identity_from_text(&twice, identity_text(&once)) == ERROR_NONE);
    must(slice_equal(identity_text(&once), identity_text(&twice)));
}

/* The input up to its last '@' as user, the rest as host. */
static void check_parts(struct slice s, bool number)
{
    const char *at = s.size ? memrchr(s.data, '@', s.size) : NULL;
    size_t user_size = at ? (size_t)(at - s.data) : number ? s.size : 0;
    struct slice user = { s.data, user_size };
    struct slice host = at ? (struct slice){ at + 1, s.size - user_size - 1 }
                           : (struct slice){ s.data + user_size, s.size - user_size };
    struct identity once, twice;
    enum error error = identity_from_parts(&once, user, host, number);

    check_shape(&once, error);
    if (error != ERROR_NONE)
        return;
    must(identity_from_parts(&twice, identity_user(&once), identity_domain(&once), number) ==
         ERROR_NONE);
    must(slice_equal(identity_text(&once), identity_text(&twice)) &&
         once.user_size == twice.user_size);
    /* As a user without ;user=phone it is canonical too. */
    if (host.size) {
        must(identity_from_parts(&twice, identity_user(&once), identity_domain(&once), false) ==
             ERROR_NONE);
        must(slice_equal(identity_text(&once), identity_text(&twice)));
    }
}

static void check_cn(enum cn_form form, struct slice cn)
{
    static const struct slice prefixes[] = { { "SEP", 3 }, { "00", 2 }, { "", 0 } };
    char once[CN_MAX_OCTETS + 1], twice[CN_MAX_OCTETS + 1];
    size_t size;

    if (cn_canonical(form, prefixes, 3, cn, once, &size) != ERROR_NONE) {
        must(size == 0 && once[0] == '\0');
        return;
    }
    must(size == strlen(once) && size > 0 && size <= CN_MAX_OCTETS);
    must(cn_canonical(form, prefixes, 3, slice_of(once), twice, NULL) == ERROR_NONE);
    must(strcmp(once, twice) == 0);
}

static void check_rule(struct slice text)
{
    struct policy_rule rule;

    if (policy_rule_parse(text, &rule) != ERROR_NONE)
        must(rule.effect == EFFECT_NONE && rule.target_kind == TARGET_NONE);
    else
        must((rule.effect == EFFECT_ALLOW || rule.effect == EFFECT_DENY) &&
             rule.target_kind != TARGET_NONE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice s = { (const char *)data, size };

    check_text(s);
    check_parts(s, false);
    check_parts(s, true);
    check_cn(CN_FORM_MAC, s);
    check_cn(CN_FORM_EXACT, s);
    check_rule(s);
    return 0;
}
