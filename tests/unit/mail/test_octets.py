"""Properties of a message's octets, with chunks cut anywhere."""

from __future__ import annotations

import itertools

import pytest

from gateway.mail.octets import LoneDotScanner, OctetScanner


def scan(*chunks: bytes) -> tuple[int, bool, bool, bool]:
    scanner = OctetScanner()
    for chunk in chunks:
        scanner.update(chunk)
    return scanner.size, scanner.bare_newline, scanner.leading_dot, scanner.eight_bit


@pytest.mark.parametrize(
    ("content", "bare_newline", "leading_dot", "eight_bit"),
    [
        (b"", False, False, False),
        (b"\r\n", False, False, False),
        (b"a.b\r\nc\r\n", False, False, False),
        (b".", False, True, False),
        (b"x\r\n.y", False, True, False),
        (b"x\r\n\r\n.\r\n", False, True, False),
        (b"x\n.y\r\n", True, False, False),
        (b"x\r.y\r\n", True, False, False),
        (b"\n", True, False, False),
        (b"\r", True, False, False),
        (b"x\r\r\n", True, False, False),
        (b"x\r\n\n", True, False, False),
        (b"x\n\r\n", True, False, False),
        (b"\n\r", True, False, False),
        (b"x\0\r\n", True, False, False),
        (b"\xc3\xbc\r\n", False, False, True),
        (b"\x7f\x80", False, False, True),
        (b"\x7f", False, False, False),
    ],
)
def test_however_it_is_cut(content: bytes, bare_newline: bool, leading_dot: bool, eight_bit: bool) -> None:
    expected = (len(content), bare_newline, leading_dot, eight_bit)
    for first, second in itertools.combinations_with_replacement(range(len(content) + 1), 2):
        assert scan(content[:first], content[first:second], content[second:]) == expected
    assert scan(*(bytes([octet]) for octet in content)) == expected


def test_every_short_content_against_its_definition() -> None:
    for length in range(6):
        for letters in itertools.product(b"\r\n.\0a", repeat=length):
            content = bytes(letters)
            bare = b"\0" in content or any(octet in content.replace(b"\r\n", b"") for octet in (b"\r", b"\n"))
            dot = any(line.startswith(b".") for line in content.split(b"\r\n"))
            for cut in range(length + 1):
                assert scan(content[:cut], content[cut:]) == (length, bare, dot, False), content


def test_a_cr_at_the_end_is_bare_until_its_lf_comes() -> None:
    scanner = OctetScanner()
    scanner.update(b"x\r")
    assert scanner.bare_newline
    scanner.update(b"\n")
    assert not scanner.bare_newline


@pytest.mark.parametrize(
    "body",
    [
        b"x\n.\n",
        b"x\n.\r\n",
        b"x\r\n.\n",
        b"x\r.\r",
        b"x\r.\r\n",
        b"x\r\n.\ry",
        b"x\n.\r",
        b"x\r\n.\0\r\n",
        b"x\r\n\0.\r\n",
        b"x\0.\0",
        b".\n",
        b"x\n.",
        b"x\r.",
        b"x\r\n.\r",
        b"x\r\n.",
        b"\n.\n",
        b"x\r\n.\r\n\n.\n",
        b"x\r\n.\r\r\n",
    ],
)
def test_a_lone_dot_is_found_however_lines_are_told_and_cut(body: bytes) -> None:
    for first, second in itertools.combinations_with_replacement(range(len(body) + 1), 2):
        scanner = LoneDotScanner()
        for chunk in (body[:first], body[first:second], body[second:]):
            scanner.update(chunk)
        assert scanner.found, (body, first, second)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x\ny\rz\0\r\n",
        b"x\r\n.\r\n",
        b".\r\n",
        b"x\n.y\r\n",
        b"x\n..\n",
        b"x.\ny\n",
        b"x\n\r\n.\r\ny",
        b"x\r\n.\r\n.\r\n",
    ],
)
def test_no_other_dot_is_a_lone_one(body: bytes) -> None:
    for first, second in itertools.combinations_with_replacement(range(len(body) + 1), 2):
        scanner = LoneDotScanner()
        for chunk in (body[:first], body[first:second], body[second:]):
            scanner.update(chunk)
        assert not scanner.found, (body, first, second)
