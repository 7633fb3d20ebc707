"""Invariant: From yields at most five domains, each a name that DNS can hold, or a reason; twice it yields no more."""

from __future__ import annotations

from collections.abc import Callable

from gateway.mail.author import find_author
from gateway.mail.domain import a_label
from gateway.mail.header import parse_header
from tests.fuzz.mutation import CASES, run, values

WORDS = [
    b"<a@a.example>",
    b'"x@y" ',
    b"(c@d)",
    b"a@b.example, ",
    b"group: ",
    b"@r.example:",
    b"=?utf-8?q?a=40b?=",
    b"@[192.0.2.1]",
]


def check(octets: bytes) -> None:
    value = octets.replace(b"\r\n", b"\r\n ")
    author = find_author(parse_header(b"From:" + value + b"\r\n"))
    assert author.fields == 1
    assert len(author.domains) == len(set(author.domains)) <= 5
    for domain in author.domains:
        assert a_label(domain) == domain
    assert author.domains or author.reason
    doubled = find_author(parse_header((b"From:" + value + b"\r\n") * 2))
    assert doubled.fields == 2
    assert set(doubled.domains) <= set(author.domains) or "too long" in doubled.reason


def test_author(full_count: Callable[[int], int]) -> None:
    samples = [b" Ann <ann@a.example>", b' "x, y" <a@b.example>, c@d.example', b" g: a@b.example;", *values(b"From")]
    run(samples, full_count(CASES), check, WORDS)
