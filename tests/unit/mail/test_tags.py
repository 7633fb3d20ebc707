"""Tag=value lists."""

from __future__ import annotations

import time

import pytest

from gateway.mail.tokens import decode_base64, parse_tags


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("v=1; a=rsa-sha256", {"v": "1", "a": "rsa-sha256"}),
        ("v=1;", {"v": "1"}),
        (" v = 1 ;\r\n\ta=b ; ", {"v": "1", "a": "b"}),
        ("b=AB CD\r\n EF=", {"b": "AB CD\r\n EF="}),
        ("p=", {"p": ""}),
        ("a=x=y=z", {"a": "x=y=z"}),
        ("V=1; v=2", {"V": "1", "v": "2"}),
        ("x_1=ok", {"x_1": "ok"}),
        ("n=gr\u00fc\u00dfe", {"n": "gr\u00fc\u00dfe"}),
    ],
)
def test_lists(text: str, tags: dict[str, str]) -> None:
    assert parse_tags(text) == tags


@pytest.mark.parametrize(
    "text",
    ["", ";", "v", "v=1;;a=b", ";v=1", "v=1; v=1", "1v=x", "a b=c", "=x", "v=1; junk", "v=\x00", "v=\x7f", "ü=1"],
)
def test_broken_lists_are_void_as_a_whole(text: str) -> None:
    assert parse_tags(text) is None


@pytest.mark.parametrize("text", ["QUJD RA==", "QU\r\n JDRA=", "QUJDRA", " Q U J D R A "])
def test_base64_with_white_space_and_optional_padding(text: str) -> None:
    assert decode_base64(text) == b"ABCD"


@pytest.mark.parametrize("text", ["", "!", "QUJDR", "QUJ=RA==", "QUJDRA===", "QUJD\u00e9A", "\udcff"])
def test_what_is_no_base64(text: str) -> None:
    assert decode_base64(text) == b""


@pytest.mark.parametrize("text", ["a=" + " " * 500_000, ";" * 500_000, "=" * 500_000, "a" * 500_000, " " * 500_000])
def test_time_is_linear(text: str) -> None:
    start = time.process_time()
    parse_tags(text)
    assert time.process_time() - start < 0.5
