"""The hop that made the change: only according to the header, and none when the header shows none."""

from __future__ import annotations

from gateway.diagnosis.autopsy.anatomy import Anatomy
from gateway.diagnosis.autopsy.hops import Culprit, find_culprit, read_hops
from tests.support.signing import MESSAGE, seal, sign

SIGNED = sign()
FIRST = b"Received: from a by first.example (Postfix) with ESMTP id 1; Mon, 2 Nov 2026 10:00:01 +0000\r\n"
SECOND = b"Received: from b by second.example with ESMTP id 2; Mon, 2 Nov 2026 10:00:02 +0000\r\n"
THIRD = b"Received: from c by third.example with ESMTP id 3; Mon, 2 Nov 2026 10:00:03 +0000\r\n"
GOOD = b"Authentication-Results: %s; dkim=pass header.d=src.example\r\n"
BAD = b"Authentication-Results: %s; dkim=fail header.d=src.example\r\n"


def culprit(message: bytes, who: tuple[str, ...] = (), body: bool = True) -> Culprit | None:
    anatomy = Anatomy(message)
    own = next(one for one in anatomy.signatures if one.domain == "src.example")
    return find_culprit(anatomy, own, body, who)


def name(message: bytes, who: tuple[str, ...] = ()) -> str:
    found = culprit(message, who)
    return found.name if found else ""


def test_hops_are_read_oldest_first() -> None:
    found = read_hops(Anatomy(THIRD + SECOND + FIRST + SIGNED))
    assert [hop.by for hop in found] == ["first.example", "second.example", "third.example"]
    assert found[0].programs == {"postfix"}


def test_nothing_is_said_without_grounds() -> None:
    assert culprit(SIGNED) is None
    assert culprit(THIRD + SECOND + FIRST + SIGNED) is None
    assert culprit(FIRST + SIGNED, ("exchange",)) is None


def test_a_program_that_does_it() -> None:
    found = culprit(SECOND + FIRST + SIGNED, ("postfix",))
    assert found == Culprit("first.example", ("its Received line is one of Postfix, which is known to do this",))


def test_between_one_that_saw_it_intact_and_one_that_saw_it_broken() -> None:
    """Second verified it on arrival and third no longer could, so the culprit is second or unknown."""
    message = BAD % b"third.example" + THIRD + GOOD % b"second.example" + SECOND + FIRST + SIGNED
    found = culprit(message)
    assert found is not None
    assert found.name == "second.example"
    assert len(found.grounds) == 3


def test_seen_intact_clears_whoever_came_before() -> None:
    message = THIRD + GOOD % b"second.example" + SECOND + FIRST + SIGNED
    assert name(message, ("postfix",)) == "", "first is cleared"


def test_results_for_another_signature_say_nothing() -> None:
    message = GOOD.replace(b"src", b"other") % b"second.example" + SECOND + FIRST + SIGNED
    assert name(message, ("postfix",)) == "first.example"


def test_a_seal_over_the_same_body_clears_the_sealer_too() -> None:
    sealed = seal(FIRST + SIGNED, 1)
    assert name(SECOND + sealed, ("postfix",)) == "second.example", "first is cleared, and no other is left"
    assert name(sealed, ("postfix",)) == "first.example", "where all are cleared, the header contradicts itself"
    changed = seal(FIRST + SIGNED.replace(b"Hello", b"Hallo"), 1)
    found = culprit(SECOND + changed, ("postfix",))
    assert found is not None
    assert found.name == "first.example"
    assert "no longer as it had been signed when src.example sealed it" in found.grounds[0]


def test_who_converts_says_so() -> None:
    note = b"X-MIME-Autoconverted: from 8bit to quoted-printable by mx.relay.example id 2AB3\r\n"
    found = culprit(note + FIRST + SIGNED, ("sendmail",))
    assert found is not None
    assert found.name == "mx.relay.example"


def test_marks_without_a_hop_name_the_program() -> None:
    found = culprit(b"X-Mailman-Version: 2.1.39\r\n" + SIGNED, ("mailman",))
    assert found == Culprit("Mailman", ("there is a field X-Mailman-Version, as Mailman adds it",))


def test_nothing_raises() -> None:
    odd = b"Received:\r\nReceived: by\r\nAuthentication-Results:\r\nAuthentication-Results: ;dkim=\r\n"
    assert culprit(odd + sign(MESSAGE), ("exchange",)) is None


def test_a_change_after_the_last_witness_is_not_the_last_hops() -> None:
    message = GOOD % b"second.example" + SECOND + FIRST + SIGNED
    found = culprit(message, ("exchange",))
    assert found is not None
    assert (found.name, found.afterwards) == ("second.example", True)
    for later in (THIRD + message, BAD % b"third.example" + THIRD + message, BAD % b"second.example" + message):
        other = culprit(later)
        assert other is None or not other.afterwards
    sealed = culprit(seal(SECOND + FIRST + SIGNED, 1))
    assert sealed is not None
    assert sealed.afterwards
