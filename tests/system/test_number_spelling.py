# SPDX-License-Identifier: Apache-2.0
"""T21: rules about numbers decide the same however a number is spelled, and routing parameters leave by
no number."""
import pytest

from tests.system.lib import Pbx, ready_phone, wait_until
from tests.system.test_foreign_callers import reaches, rule

pytestmark = pytest.mark.tsan

SPELLINGS = (
    "{n}", "%2B{d}", "%2b{d}", "00{d}", "011{d}", "%300{d}", "00-{d}", "(011){d}", "+{a}-{b}", "+{a}.{b}",
    "+({a}){b}", "+{a}%20{b}", "+{a}-{b};user=phone", "%2B{d};user=phone", "+{d};user=phone;x=y",
)


def spelled(text, digits, domain):
    user, _, params = text.format(n="+" + digits, d=digits, a=digits[:2], b=digits[2:]).partition(";")
    return f"sip:{user}@{domain}" + (f";{params}" if params else "")


@pytest.fixture
def dialling(fresh_lab):
    """A phone and a PBX: numbers with +49 are allowed, but not +49900; all else of the domain is."""
    with Pbx(fresh_lab) as pbx:
        alice = ready_phone(fresh_lab)
        rule(fresh_lab, "everyone", "number", "+49900", "deny", position=10)
        rule(fresh_lab, "everyone", "domain", pbx.domain, "allow", position=20)
        wait_until(lambda: reaches(alice, pbx)[0] == 200, what="the rules")
        yield alice, pbx


def test_T21_every_spelling_of_a_denied_number_is_denied(dialling):
    alice, pbx = dialling
    for text in SPELLINGS:
        denied = reaches(alice, pbx, to=spelled(text, "499001234", pbx.domain))
        assert denied[0] == 403 and "rule-denies:" in denied[1], text
        assert reaches(alice, pbx, to=spelled(text, "493012345", pbx.domain))[0] == 200, text


def test_T21_routing_parameters_leave_by_no_number(dialling):
    alice, pbx = dialling
    for parameter in ("rn=+49900", "tgrp=x;trunk-context=y", "cic=+12", "postd=pp9", "npdi", "%72n=+49900"):
        for uri in (
            f"sip:+4930;{parameter}@{pbx.domain}",
            f"sip:+4930@{pbx.domain};{parameter}",
            f"sip:+4930;{parameter}@{pbx.domain};user=phone",
            f"tel:+4930;{parameter}",
            f"sip:-+4930;{parameter}@{pbx.domain}",
            f"sip:%20+4930@{pbx.domain};{parameter}",
        ):
            assert reaches(alice, pbx, to=uri)[0] == 403, uri
