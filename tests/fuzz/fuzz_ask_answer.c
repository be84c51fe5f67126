/* SPDX-License-Identifier: Apache-2.0 */
/* Replies to PEER, RIGHTS and LOCATE from the wire to a struct answer. The first octet chooses the
 * kind; the rest is the reply. What is read must keep its promises: bounded, states never zero,
 * tags sorted, nothing held by a device that is not known. */
#include "proxy/authorization/answer.h"
#include "proxy/authorization/ask.h"
#include "proxy/authorization/tag.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_peer(const struct answer *answer)
{
    const struct answer_peer *peer = &answer->peer;

    assert(peer->state != PEER_NONE && (peer->state == PEER_KNOWN || peer->entry_count == 0));
    assert(peer->canonical_cn.size <= CN_MAX_OCTETS);
    for (size_t i = 0; i < peer->entry_count; i++)
        assert(peer->entries[i].size > 0 && peer->entries[i].size <= IDENTITY_MAX);
}

static void check_rights(const struct answer *answer)
{
    const struct policy_rights *rights = &answer->rights.rights;

    assert(rights->state != USER_NONE);
    for (size_t i = 0; i < rights->rule_count; i++)
        assert(rights->rules[i].effect != EFFECT_NONE);
}

static void check_locate(const struct answer *answer)
{
    char text[CN_MAX_OCTETS];
    struct slice value;
    size_t size;

    assert(answer->locate.state != USER_NONE);
    for (size_t i = 0; i < answer->locate.binding_count; i++) {
        if (answer_binding_field(answer->locate.bindings[i], "cn", &value))
            assert(answer_percent_decode(value, text, sizeof text, &size) || value.size > 0);
        (void)answer_binding_field(answer->locate.bindings[i], "contact", &value);
    }
}

static void check_credential(const struct answer *answer)
{
    struct credential row;
    size_t index = 0;

    for (; answer_credential(answer, index, &row); index++) {
        assert(row.realm_size > 0 && row.realm_size <= CREDENTIAL_NAME_MAX);
        assert(row.username_size > 0 && row.username_size <= CREDENTIAL_NAME_MAX);
        assert(row.ha1_sha256.size == 0 || row.ha1_sha256.size == 64);
        assert(row.ha1_md5.size == 0 || row.ha1_md5.size == 32);
    }
    assert(index == answer->credential.count);
    assert(index == 0 || answer->credential.state == USER_KNOWN);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct resp_limits limits = { ASK_REPLY_MAX, ASK_REPLY_ITEMS_MAX };
    enum lookup_kind kind = size ? (enum lookup_kind)(1 + data[0] % 4) : LOOKUP_NONE;
    struct slice key =
        kind == LOOKUP_PEER ? SLICE("device,00ff,ee01 0004F2000001,a") : SLICE("alice@example.org");
    struct resp_value value;
    struct answer *answer;
    size_t used;

    if (size == 0 ||
        resp_read_value((struct slice){ (const char *)data + 1, size - 1 }, &limits, &value,
                        &used) != ERROR_NONE ||
        answer_read(kind, key, &value, 1700000000, &answer) != ERROR_NONE)
        return 0;
    assert(answer->epoch > 0 && slice_equal(answer->key, key) && answer->tag_count > 0);
    for (size_t i = 0; i < answer->tag_count; i++)
        assert(answer->tags[i] > TAG_ALL && (i == 0 || answer->tags[i] > answer->tags[i - 1]));
    if (kind == LOOKUP_PEER)
        check_peer(answer);
    else if (kind == LOOKUP_RIGHTS)
        check_rights(answer);
    else if (kind == LOOKUP_LOCATE)
        check_locate(answer);
    else
        check_credential(answer);
    answer_release(answer);
    return 0;
}
