"""Invariant: the header scanner puts each octet into exactly one field, in order, and reads a field alone as within."""

from __future__ import annotations

from collections.abc import Callable

from gateway.mail.header import parse_header, split_message, unfold
from tests.fuzz.mutation import CASES, headers, run


def check(octets: bytes) -> None:
    block, start = split_message(octets)
    assert octets.startswith(block)
    assert octets[len(block) : start] in (b"", b"\r\n")
    found = parse_header(block)
    assert b"".join(block[field.start : field.end] for field in found) == block
    at = 0
    for field in found:
        assert field.start == at
        at = field.end
        raw = block[field.start : field.end]
        if field.lower:
            assert field.name.isascii()
            assert field.lower == field.name.lower()
            assert raw.startswith(field.name.encode())
            assert raw.removesuffix(b"\r\n").endswith(field.value)
            [alone] = parse_header(raw)
            assert (alone.name, alone.value) == (field.name, field.value)
        else:
            assert raw.removesuffix(b"\r\n") == field.value.removesuffix(b"\r\n")
        assert "\r\n" not in unfold(field.value)
    assert at == len(block)


def test_header_scanner(full_count: Callable[[int], int]) -> None:
    run(headers(), full_count(CASES), check, [b"From : x", b"\r\n\r\n", b"\r\n:x", b"\r\nX\r\n"])
