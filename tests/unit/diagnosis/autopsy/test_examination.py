"""The failing part of a signature, and the signature that counts."""

from __future__ import annotations

import pytest

from gateway.diagnosis.autopsy.examination import Autopsy, AutopsyStatus, examine
from gateway.diagnosis.autopsy.proofs import FailingPart
from gateway.model.dnsdata import Answer, DnsStatus, Question
from tests.support.signing import MESSAGE, NOW, key_record, sign, zone

KEYS = zone(key_record())
BODY = b"are you?"


def part_of(
    message: bytes, keys: dict[Question, Answer] = KEYS, now: float = NOW
) -> tuple[AutopsyStatus, FailingPart | None]:
    found = examine(message, keys, now)
    return found.status, found.part


def test_each_part() -> None:
    message = sign()
    assert part_of(message) == (AutopsyStatus.INTACT, None)
    assert part_of(message.replace(BODY, b"are thou?")) == (AutopsyStatus.UNKNOWN, FailingPart.BODY)
    assert part_of(message.replace(b"bob@", b"bib@")) == (AutopsyStatus.UNKNOWN, FailingPart.HEADER)
    assert part_of(message.replace(b"d=src.example", b"d=")) == (AutopsyStatus.UNKNOWN, FailingPart.SYNTAX)
    assert part_of(message, {}) == (AutopsyStatus.UNKNOWN, FailingPart.KEY)
    assert part_of(message, zone(key_record().partition("p=")[0] + "p=")) == (AutopsyStatus.UNKNOWN, FailingPart.KEY)
    assert part_of(MESSAGE) == (AutopsyStatus.UNKNOWN, None)


def test_an_expired_signature_of_an_intact_message() -> None:
    message = sign(t=str(int(NOW) - 20_000), x=str(int(NOW) - 10_000))
    assert part_of(message) == (AutopsyStatus.INTACT, FailingPart.EXPIRED)
    assert part_of(message, now=NOW - 15_000) == (AutopsyStatus.INTACT, None)


def test_a_lookup_that_fails_leaves_the_header_open() -> None:
    failed = dict.fromkeys(KEYS, Answer(DnsStatus.TIMEOUT))
    assert part_of(sign(), failed) == (AutopsyStatus.UNKNOWN, FailingPart.KEY)


def with_footer(message: bytes) -> bytes:
    return message.rstrip(b"\r\n") + b"\r\n_______________\r\nlist footer\r\n"


def test_a_body_is_repaired_also_when_its_key_is_gone() -> None:
    found = examine(with_footer(sign()), {}, NOW)
    assert found.status is AutopsyStatus.FOUND
    assert found.left is FailingPart.KEY


def test_body_and_header_changed_together() -> None:
    changed = with_footer(sign()).replace(b"Subject: A", b"Subject: [list] A")
    found = examine(changed, KEYS, NOW)
    assert [step.entry.id for step in found.steps] == ["B09", "H01"]
    assert found.verified_by == "signature"
    assert changed[slice(*_span(found, 1))] == b"[list] "
    assert examine(found.repaired or b"", KEYS, NOW).status is AutopsyStatus.INTACT


def _span(found: Autopsy, number: int) -> tuple[int, int]:
    [(offset, length)] = found.steps[number].places
    return offset, offset + length


def test_a_header_change_that_is_unknown_beside_a_body_change_that_is_known() -> None:
    found = examine(with_footer(sign()).replace(b"bob@", b"bib@"), KEYS, NOW)
    assert (found.status, found.left) == (AutopsyStatus.FOUND, FailingPart.HEADER)


def test_the_signature_of_the_author_counts() -> None:
    """A list's own signature verifies, the author's does not: that one is explained."""
    broken = with_footer(sign())
    listed = sign(broken, d="list.example")
    keys = KEYS | zone(key_record(), name="s._domainkey.list.example")
    found = examine(listed, keys, NOW)
    assert [result.result for result in found.results] == ["pass", "fail"]
    assert found.status is AutopsyStatus.FOUND
    assert found.subject is not None
    assert found.subject.signature.domain == "src.example"


def test_another_broken_signature_does_not_matter_when_the_authors_verifies() -> None:
    other = sign(d="other.example").replace(b"bh=", b"bh=AAAA")
    keys = KEYS | zone(key_record(), name="s._domainkey.other.example")
    assert part_of(sign(other), keys) == (AutopsyStatus.INTACT, None)


def test_the_search_ends_at_its_bound() -> None:
    message = sign().replace(BODY, b"are thou?") + b"one two three  four five. \r\n" * 50
    small = examine(message, KEYS, NOW, work=1_000_000)
    assert not small.complete
    assert small.status is AutopsyStatus.UNKNOWN
    assert examine(message, KEYS, NOW, work=4_000_000).trials > small.trials


def test_progress_is_told() -> None:
    told: list[tuple[float, int]] = []
    examine(sign().replace(BODY, b"are thou?"), KEYS, NOW, lambda *shown: told.append(shown), work=5_000_000)
    assert told == sorted(told)
    assert 0 < told[0][0] < told[-1][0] <= 1


@pytest.mark.parametrize(
    "octets", [b"", b"\r\n", b"\n", b"no header at all", b"DKIM-Signature: \xff\r\n\r\n", b"\0" * 99]
)
def test_nothing_raises(octets: bytes) -> None:
    assert examine(octets, {}, NOW).repaired is None
