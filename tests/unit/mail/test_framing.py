"""The end of DATA, and the dots that belong to the transport."""

from __future__ import annotations

import json

import pytest

from gateway.mail.octets import DataFraming
from tests.support.corpora import corpus


def read(*chunks: bytes) -> tuple[bytes, bool, bytes]:
    framing = DataFraming()
    content = b"".join(framing.feed(chunk) for chunk in chunks)
    return content, framing.done, framing.rest


WIRE = {
    b".\r\n": (b"", b""),
    b".\r\nNOOP\r\n": (b"", b"NOOP\r\n"),
    b"\r\n.\r\n": (b"\r\n", b""),
    b"x\r\n.\r\n": (b"x\r\n", b""),
    b"x\r\n.\r\n.\r\n": (b"x\r\n", b".\r\n"),
    b"x\r\n\r\n.\r\n": (b"x\r\n\r\n", b""),
    b"..\r\n.\r\n": (b".\r\n", b""),
    b"...\r\n..\r\n.\r\n": (b"..\r\n.\r\n", b""),
    b".x\r\n.\r\n": (b"x\r\n", b""),
    b".\r.\n.\r\n\r\n.\r\n": (b"\r.\n.\r\n\r\n", b""),
    b"x\n.\n\r\n.\r\n": (b"x\n.\n\r\n", b""),
    b"x\r\n.\n\r\n.\r\n": (b"x\r\n\n\r\n", b""),
    b"x\r\n.\r\r\n.\r\n": (b"x\r\n\r\r\n", b""),
    b"x\r\n.\0\r\n.\r\n": (b"x\r\n\0\r\n", b""),
    b"x\r.\r\n.\r\n": (b"x\r.\r\n", b""),
    b"a.b\r\nc.\r\n.\r\n": (b"a.b\r\nc.\r\n", b""),
    b"\xff\0\r\n.\r\n": (b"\xff\0\r\n", b""),
}


@pytest.mark.parametrize("wire", WIRE)
def test_whole_and_in_every_two_and_three_parts(wire: bytes) -> None:
    content, rest = WIRE[wire]
    for first in range(len(wire) + 1):
        for second in range(first, len(wire) + 1):
            assert read(wire[:first], wire[first:second], wire[second:]) == (content, True, rest)
    assert read(*(bytes([octet]) for octet in wire)) == (content, True, rest)


@pytest.mark.parametrize(
    "wire", [b"", b".", b".\r", b"x", b"x\r\n", b"x\r\n.", b"x\r\n.\r", b"\n.\n", b".\n", b"\r.\r\n"]
)
def test_not_done(wire: bytes) -> None:
    _, done, rest = read(wire)
    assert (done, rest) == (False, b"")


def test_what_comes_after_the_end_is_kept_for_the_commands() -> None:
    framing = DataFraming()
    assert framing.feed(b"x\r\n.\r\nMAIL") == b"x\r\n"
    assert framing.feed(b" FROM:<>\r\n.\r\n") == b""
    assert framing.rest == b"MAIL FROM:<>\r\n.\r\n"


def test_content_is_not_held_back() -> None:
    framing = DataFraming()
    assert framing.feed(b"x" * 1000) == b"x" * 1000
    assert framing.feed(b"y\r\n") == b"y"
    assert framing.feed(b".z") == b"\r\nz"
    assert framing.feed(b"\r\n.\r") == b""


def test_published_sequences_end_nothing() -> None:
    cases = json.loads(corpus("smtp/end-of-data-sequences.json").read_text())["sequences"]
    assert len(cases) >= 25
    for case in cases:
        wire = b"body" + case["eod"].encode() + b"MAIL FROM:<smuggled@x.example>\r\n.\r\n"
        for cut in range(len(wire) + 1):
            content, done, rest = read(wire[:cut], wire[cut:])
            assert done
            assert (b"smuggled" in rest) is case["must_end_data"], case
            assert (b"smuggled" in content) is not case["must_end_data"], case
