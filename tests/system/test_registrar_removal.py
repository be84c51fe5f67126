# SPDX-License-Identifier: Apache-2.0
"""What one phone takes away, another phone's refresh must write again: its 200 is never a promise
that nothing stands behind."""
import pytest

from tests.system.lib import Phone, provision, ready_phone, resp

pytestmark = pytest.mark.tsan


def bindings_of(phone):
    return resp(phone.lab, "LOCATE", phone.identity)[3:]


def test_a_refresh_after_another_phone_removed_all_bindings_is_stored_again(lab):
    first = ready_phone(lab)
    others = []
    for _ in range(4):  # some on the other worker
        other = Phone(lab, user=first.user)
        provision(lab, other.cn, first.identity)
        other.connect().register()
        others.append(other)
    assert len(bindings_of(first)) == 5
    first.register(contact="*", expires=0)
    assert bindings_of(first) == []
    for count, other in enumerate(others, start=1):
        assert other.register().status == 200
        assert len(bindings_of(first)) == count
