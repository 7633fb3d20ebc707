"""The number of times that a message passed here, by its fields."""

from __future__ import annotations

import pytest

from gateway.mail.header import parse_header
from gateway.mail.received import compose, count_passes
from gateway.model.envelope import Envelope, IPText
from gateway.model.ingress import ClientSource, EdgeIngress

US = "mx.gate.example"


def passes(*values: str) -> int:
    return count_passes(parse_header("".join(f"Received: {value}\r\n" for value in values).encode()), US)


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (f"from a by {US} (Waypost) with ESMTP id 1; date", 1),
        (f"from a\r\n\tby {US} with ESMTP id 1; date", 1),
        (f"by {US.upper()}; date", 1),
        (f"from a by {US}", 1),
        (f"from {US} by other.example; date", 0),
        (f"from a by x{US}; date", 0),
        (f"from a by {US}.evil.example; date", 0),
        (f"from a by sub.{US}; date", 0),
        ("from a by mxxgate.example; date", 0),
        ("", 0),
    ],
)
def test_it_is_the_name_after_by_that_counts(value: str, count: int) -> None:
    assert passes(value) == count


def test_our_own_fields_count() -> None:
    ingress = EdgeIngress(IPText("192.0.2.1"), ClientSource.PEER, "a", "mx", IPText("192.0.2.1"))
    field = compose(ingress, US, "id", Envelope(None, ()), 0.0)
    assert count_passes(parse_header(field * 4 + b"Received: from a by b; date\r\n"), US) == 4
