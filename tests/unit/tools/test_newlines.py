"""Line ends of FILE arguments."""

from __future__ import annotations

import pytest

from gateway.tools.results import read_lines


@pytest.mark.parametrize(
    ("octets", "raw", "expected", "newlines"),
    [
        (b"a\r\nb\r\n", False, b"a\r\nb\r\n", "crlf"),
        (b"a\nb\n", False, b"a\r\nb\r\n", "converted"),
        (b"a\nb\n", True, b"a\nb\n", "mixed"),
        (b"a\r\nb\n", False, b"a\r\nb\n", "mixed"),
        (b"a\r\nb\rc", False, b"a\r\nb\rc", "mixed"),
        (b"a\rb\n", False, b"a\rb\r\n", "converted"),
        (b"a\rb\r", False, b"a\rb\r", "mixed"),
        (b"a\n\r\nb", False, b"a\n\r\nb", "mixed"),
        (b"\n\r", False, b"\r\n\r", "converted"),
        (b"no line end", False, b"no line end", "crlf"),
        (b"", False, b"", "crlf"),
        (b"a\r\nb\r\n", True, b"a\r\nb\r\n", "crlf"),
    ],
)
def test_line_ends(octets: bytes, raw: bool, expected: bytes, newlines: str) -> None:
    assert read_lines(octets, raw) == (expected, newlines)
