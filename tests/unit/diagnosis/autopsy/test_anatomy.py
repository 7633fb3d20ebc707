"""The places of a message's parts."""

from __future__ import annotations

from gateway.diagnosis.autopsy.anatomy import Anatomy
from tests.support.split_mail import unsigned_message

NESTED = unsigned_message()


def test_delimiters_and_depths() -> None:
    found = [(one.boundary, one.depth, one.closes) for one in Anatomy(NESTED).delimiters]
    inner = [[(b"outer", 0, False), (name, 1, False), (name, 1, False), (name, 1, True)] for name in _NAMES]
    assert found == [*inner[0], *inner[1], *inner[2], (b"outer", 0, True)]
    for one in Anatomy(NESTED).delimiters:
        assert NESTED[one.start : one.end].strip(b"-\r\n") == one.boundary


_NAMES = (b"one", b"two", b"three")


def test_parts() -> None:
    parts = Anatomy(NESTED).parts
    assert [(part.type, part.depth) for part in parts[:3]] == [
        ("multipart/alternative", 0),
        ("text/plain", 1),
        ("text/html", 1),
    ]
    assert NESTED[parts[1].body : parts[1].end] == b"Text  of one "
    assert NESTED[parts[2].body : parts[2].end] == b"<p>one</p>"


def test_a_boundary_in_an_attached_message_opens_one() -> None:
    message = (
        b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: message/rfc822\r\n\r\n"
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n--a--\r\n"
    )
    assert [(one.boundary, one.depth) for one in Anatomy(message).delimiters] == [
        (b"a", 0),
        (b"b", 1),
        (b"b", 1),
        (b"a", 0),
    ]


def test_a_message_without_parts_is_its_own() -> None:
    [part] = Anatomy(b"Content-Type: TEXT/Plain; Charset=UTF-8; format=flowed\r\n\r\nhi\r\n").parts
    assert (part.type, part.encoding, part.charset, part.flowed) == ("text/plain", "7bit", "utf-8", True)


def test_a_header_alone_and_nothing_at_all() -> None:
    for message in (b"Content-Type: multipart/mixed; boundary=a", b"", b"\r\n", b"--a\r\n"):
        assert Anatomy(message).delimiters == ()
        assert len(Anatomy(message).parts) == 1
