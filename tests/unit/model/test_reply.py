"""Replies on the wire: lines that any client can read, and the code on each of them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.reply import Reply

WORDS = "Your message was refused by the policy of this site. "


@pytest.mark.parametrize(
    ("reply", "utf8", "wire"),
    [
        (Reply(250, "", "OK"), False, b"250 OK\r\n"),
        (Reply(550, "7.1", "a\nb"), False, b"550-5.7.1 a\r\n550 5.7.1 b\r\n"),
        (Reply(550, "", "a\rb\x00\x7f"), False, b"550 a b  \r\n"),
        (Reply(550, "1.1", "caf\u00e9 \u202e"), False, b"550 5.1.1 caf\\xe9 \\u202e\r\n"),
        (Reply(550, "1.1", "caf\u00e9"), True, "550 5.1.1 caf\u00e9\r\n".encode()),
        (Reply(550, "", "\udcff"), True, b"550 \\udcff\r\n"),
        (Reply(354, "", ""), False, b"354 \r\n"),
    ],
)
def test_wire(reply: Reply, utf8: bool, wire: bytes) -> None:
    assert reply.wire(utf8) == wire


def test_a_long_line_is_cut_at_spaces() -> None:
    lines = Reply(550, "7.1", WORDS * 40).wire().split(b"\r\n")[:-1]
    assert len(lines) > 1
    assert max(map(len, lines)) <= 510
    assert all(line.startswith(b"550-5.7.1 ") for line in lines[:-1])
    assert lines[-1].startswith(b"550 5.7.1 ")
    assert " ".join(line[10:].decode() for line in lines) == (WORDS * 40).rstrip(" ") + " " * lines[-1].endswith(b" ")


@given(st.integers(200, 599), st.sampled_from(["", "7.1", "123.456"]), st.text(max_size=2000), st.booleans())
def test_every_text_becomes_lines_of_one_reply(code: int, detail: str, text: str, utf8: bool) -> None:
    wire = Reply(code, detail, text * 3).wire(utf8)
    *lines, rest = wire.split(b"\r\n")
    assert rest == b""
    assert not re.search(rb"[\x00-\x1f\x7f]", b"".join(lines))
    assert utf8 or wire.isascii()
    assert wire.decode()
    assert max(map(len, lines)) <= 510
    assert all(line[:4] == b"%d-" % code for line in lines[:-1])
    assert lines[-1][:4] == b"%d " % code


def test_digits_of_other_scripts_make_no_enhanced_code() -> None:
    assert Reply.received(550, "5.\u0661.\u0661 no") == Reply(550, "", "5.\u0661.\u0661 no")
