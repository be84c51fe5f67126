/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/delivery/unanswered.h"

#include "common/mem.h"

void unanswered_add(struct unanswered **list, const char *branch)
{
    size_t size = strlen(branch);

    if (size > TRANSACTION_BRANCH_MAX)
        return;
    if (!*list)
        *list = mem_zero(1, sizeof(**list));
    if (!*list)
        return;
    unanswered_remove(*list, slice_of(branch)); /* sent again, or asked for again */
    memcpy((*list)->branches[(*list)->next], branch, size + 1);
    (*list)->next = ((*list)->next + 1) % UNANSWERED_MAX;
}

void unanswered_remove(struct unanswered *list, struct slice branch)
{
    for (unsigned i = 0; list && i < UNANSWERED_MAX; i++)
        if (slice_equal(slice_of(list->branches[i]), branch))
            list->branches[i][0] = 0;
}
