"""Reading Authentication-Results fields from strangers always costs little."""

from __future__ import annotations

import time

import pytest

from gateway.mail.authres import is_unreadable, own_spans, parse
from gateway.mail.header import parse_header, unfold


@pytest.mark.parametrize(
    "value", ["é. " * 80, "a " * 125, "\uff4d " * 120, "m" * 300, '"m" ' * 100, "(" * 400, "mx.own.example"]
)
@pytest.mark.parametrize("ours", ["mx.own.example", "xn--mx-xka.example"])
def test_a_header_full_of_them(value: str, ours: str) -> None:
    field = f"Authentication-Results: {value}\r\n".encode()
    header = parse_header(field * (500_000 // len(field)))
    start = time.process_time()
    own_spans(header, ours)
    assert time.process_time() - start < 0.25


HOSTILE = {
    "quoted pairs": '"' + '\\"' * 65_000,
    "open comments": "(" * 130_000,
    "closed comments": "()" * 65_000,
    "quotes in comments": '("' * 65_000,
    "quoted pairs in a comment": "(" + "\\)" * 65_000,
    "nested comments": "(" * 65_000 + ")" * 65_000 + "mx.own.example",
    "controls": '"' + "\x01" * 130_000 + '"mx.own.example',
    "backslashes": '"' + "\\\\" * 65_000,
    "semicolons": ";" * 130_000,
    "pairs": "a=b;" * 32_000,
    "letters that grow": "\ufdfa" * 43_000,
    "words": "m " * 65_000,
}


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("lines", [1, 4])
def test_hostile_fields_are_refused_or_read_quickly(value: str, lines: int) -> None:
    header = parse_header(b"Authentication-Results:" + f" {value}\r\n".encode() * lines)
    start = time.process_time()
    if not is_unreadable(header):
        own_spans(header, "mx.own.example")
        parse(unfold(header[0].value))
    assert time.process_time() - start < 0.05


def test_results_of_twenty_hops_are_readable() -> None:
    one = b"ARC-Authentication-Results: i=1; mx.example; " + b'dkim=pass (2048) reason="ok" header.d=a.example; ' * 20
    assert not is_unreadable(parse_header((one + b"\r\n") * 20))


def test_depth_and_pairs_beyond_the_usual() -> None:
    for count in (5, 99, 100, 101, 3000):
        assert parse("(" * count + ")" * count + "a; spf=pass").authserv_id == "a"  # type: ignore[union-attr]
        assert parse("(" + "\\)" * count + ")a; spf=pass").authserv_id == "a"  # type: ignore[union-attr]
        assert parse("(" + "\\(" * count + "é)a; spf=pass").authserv_id == "a"  # type: ignore[union-attr]
        assert parse('"' + '\\"\\\\' * count + '"; spf=pass').authserv_id == '"\\' * count  # type: ignore[union-attr]
