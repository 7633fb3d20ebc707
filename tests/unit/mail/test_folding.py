"""Folding of our own fields."""

from __future__ import annotations

from gateway.mail.tokens import fold


def test_groups_start_lines() -> None:
    assert fold("X-A", [["one", "two"], ["three"]]) == b"X-A: one two\r\n\tthree\r\n"


def test_lines_reach_78_and_no_further() -> None:
    words = ["a" * 36, "b" * 36, "c" * 40, "d" * 36]
    lines = fold("X", [words]).split(b"\r\n")
    assert [len(line) for line in lines] == [76, 78, 0]
    assert fold("X", [["a" * 36, "b" * 39]]).split(b"\r\n")[0] == b"X: " + b"a" * 36
    assert len(fold("X", [["a" * 36, "b" * 38]]).split(b"\r\n")[0]) == 78


def test_a_long_word_stands_alone_and_unbroken() -> None:
    assert fold("X", [["y", "a" * 100, "z"]]) == b"X: y\r\n\t" + b"a" * 100 + b"\r\n\tz\r\n"
    assert fold("X", [["a" * 100]]) == b"X: " + b"a" * 100 + b"\r\n"


def test_only_ascii_leaves() -> None:
    assert fold("X", [["é\udcff"]]) == b"X: ??\r\n"
