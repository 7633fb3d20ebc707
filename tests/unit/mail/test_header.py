"""Header blocks as fields with their places."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.mail.header import Field, fields, parse_header, split_message, unfold

BLOCK = b"Received: one\r\n\ttwo\r\nFrom : a@b.example\r\nSUBJECT:\r\nX-Empty: \r\n"


def test_fields_keep_name_value_and_place() -> None:
    header = parse_header(BLOCK)
    assert [field.name for field in header] == ["Received", "From", "SUBJECT", "X-Empty"]
    assert [field.lower for field in header] == ["received", "from", "subject", "x-empty"]
    assert [field.value for field in header] == [b" one\r\n\ttwo", b" a@b.example", b"", b" "]
    assert BLOCK[header[1].start : header[1].end] == b"From : a@b.example\r\n"


@pytest.mark.parametrize(
    "line",
    [
        b"no colon here",
        b": no name",
        b" leading continuation: x",
        b"two words: x",
        b"From ann@src.example Mon Nov 2 10:00:00 2026",
        b"X-\xff: eight bit name",
        b"X\x00: control",
        b"",
    ],
)
def test_a_line_that_is_no_field_is_kept_without_a_name(line: bytes) -> None:
    header = parse_header(line + b"\r\nTo: b\r\n")
    assert header[0] == Field("", "", line, 0, len(line) + 2)
    assert header[1].lower == "to"


def test_continuation_after_junk_belongs_to_the_junk() -> None:
    junk, to = parse_header(b"junk\r\n From: hidden\r\nTo: b\r\n")
    assert junk.value == b"junk\r\n From: hidden"
    assert to.lower == "to"


def test_bare_cr_and_lf_end_no_line() -> None:
    (only,) = parse_header(b"Subject: a\nBcc: b\rCc: c\r\n")
    assert only.value == b" a\nBcc: b\rCc: c"


def test_a_block_without_final_crlf_is_read_to_its_end() -> None:
    assert parse_header(b"A: 1\r\nB: 2")[1] == Field("B", "b", b" 2", 6, 10)


@pytest.mark.parametrize(
    ("octets", "header", "body"),
    [
        (b"A: 1\r\n\r\nbody", b"A: 1\r\n", b"body"),
        (b"\r\nbody", b"", b"body"),
        (b"A: 1\r\n", b"A: 1\r\n", b""),
        (b"A: 1", b"A: 1", b""),
        (b"", b"", b""),
        (b"\r\n\r\n", b"", b"\r\n"),
        (b"A: 1\r\n\r\n", b"A: 1\r\n", b""),
        (b"A: 1\n\nstill: header\r\n\r\nbody", b"A: 1\n\nstill: header\r\n", b"body"),
    ],
)
def test_split(octets: bytes, header: bytes, body: bytes) -> None:
    block, start = split_message(octets)
    assert (block, octets[start:]) == (header, body)


def test_unfold_removes_line_ends_only() -> None:
    assert unfold(b" a\r\n\tb\r\n  c\t") == "a\tb  c"
    assert unfold("\u00fc".encode()) == "\u00fc"
    assert unfold(b"\xff").encode("utf-8", "surrogateescape") == b"\xff"


def test_fields_by_name_in_order() -> None:
    header = parse_header(b"To: 1\r\nto: 2\r\nCc: 3\r\nTO: 4\r\n")
    assert [field.value for field in fields(header, "To")] == [b" 1", b" 2", b" 4"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b" ", b"\t", b":", b"a", b"From", b"\xff", b"\x00"])))
def test_every_octet_is_in_exactly_one_field(parts: list[bytes]) -> None:
    block = b"".join(parts)
    header = parse_header(block)
    assert b"".join(block[field.start : field.end] for field in header) == block
    for field in header:
        raw = block[field.start : field.end].removesuffix(b"\r\n")
        assert raw.endswith(field.value)
        assert field.lower == "" or raw.startswith(field.name.encode())


@pytest.mark.parametrize("block", [b"a:" + b"\r\n " * 170_000, b"x" * 512_000, b" \t" * 256_000, b"a:\r\n" * 20_000])
def test_time_is_linear(block: bytes) -> None:
    start = time.process_time()
    parse_header(block)
    assert time.process_time() - start < 0.5
