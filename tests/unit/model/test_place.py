"""Places in TOML: the scanner finds the keys that tomllib finds, and their positions."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model.place import KeyPath, Place, locate, nearest

NASTY = Path(__file__).with_name("nasty.toml").read_text("utf-8")


def paths(value: Any, path: KeyPath = ()) -> set[KeyPath]:
    """Every key, table and element of a parsed document."""
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = {path} if path else set()
    return found.union(*(paths(item, (*path, key)) for key, item in below))


def test_the_scanner_finds_what_tomllib_finds() -> None:
    assert set(locate(NASTY)) == paths(tomllib.loads(NASTY))


def test_with_crlf_line_ends_too() -> None:
    assert locate(NASTY.replace("\n", "\r\n")) == locate(NASTY)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("title",), 2),
        (("quoted.key",), 3),
        (('escA"p',), 4),
        (("a", "b c", "d.e"), 5),
        (("lit",), 9),
        (("raw",), 11),
        (("numbers", 1, 1), 15),
        (("numbers", 3), 15),
        (("numbers", 4, "x", 0, "y"), 16),
        (("numbers", 4, "z", "w"), 16),
        (("numbers", 5), 16),
        (("t",), 17),
        (("t", "u", "v w", "y"), 20),
        (("sp", "k", "z"), 22),
        (("l",), 23),
        (("l", 0, "sub", "m"), 26),
        (("l", 0, "deep", 1, "o"), 29),
        (("l", 1), 30),
        (("l", 1, "deep", 0, "p", "q", "r"), 32),
        (("l", 1, "sub"), 33),
    ],
)
def test_lines(path: KeyPath, line: int) -> None:
    assert locate(NASTY)[path].line == line


def test_a_value_begins_where_its_text_does() -> None:
    places = locate('a = "x"\nb = """\nx"""\nc = """x"""\n[t]\nd = {e = 1}\nf = [\n  "g" ]')
    assert places["a",] == Place(1, 1, 1, 6)
    assert places["b",] == Place(2, 1, 3, 1)
    assert places["c",] == Place(4, 1, 4, 8)
    assert places["t", "d", "e"] == Place(6, 6, 6, 10)
    assert places["t", "f", 0] == Place(8, 3, 8, 4)


def test_the_nearest_place_is_the_closest_table_around() -> None:
    places = locate("\n[a]\nb = 1")
    assert nearest(places, ("a", "b")).line == 3
    assert nearest(places, ("a", "c", 5)).line == 2
    assert nearest(places, ("d",)) == Place(1, 1, 1, 1)


@pytest.mark.parametrize(
    "text", ["", "# only this", "a = ", "[a", "a = [1", 'a = "', "= 1", "[[a]", "a = {b", "[" * 9999]
)
def test_what_is_no_toml_raises_nothing(text: str) -> None:
    locate(text)


_KEYS = st.text("ab-_1", min_size=1, max_size=3) | st.text('a.#"\\[] =é\u00a0', max_size=3)
_TEXT = st.text("a#[]{}=,.'\"\\\n é", max_size=8)
_VALUES = st.recursive(
    st.booleans() | st.integers(-9, 9) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=6,
)


def quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def write_text(text: str, style: int) -> str:
    """One of the four kinds of string that can hold this text."""
    if style == 1 and "'" not in text and "\n" not in text:
        return f"'{text}'"
    if style == 2:
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        return f'"""\n{escaped}"""'
    if style == 3 and "'" not in text:
        return "'''\n" + text + "'''"
    return quote(text)


def write(value: Any, draw: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return write_text(value, draw(st.integers(0, 3)))
    if isinstance(value, list):
        gap = draw(st.sampled_from([" ", "\n", " # ] }\n "]))
        return "[" + gap + f",{gap}".join(write(item, draw) for item in value) + gap + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quote(key)} = {write(item, draw)}" for key, item in value.items()) + "}"
    return str(value)


@given(st.data())
def test_any_document(data: st.DataObject) -> None:
    """The scanner finds the keys that tomllib reads, in any document."""
    lines = []
    for number, content in enumerate(data.draw(st.lists(st.dictionaries(_KEYS, _VALUES, max_size=4), max_size=4))):
        head = data.draw(st.sampled_from(["", f"[t{number}]", "[[many]]", f"[t{number}.{quote('x.y')}]"]))
        lines.append(head if head else f"[plain{number}]")
        lines += [f"{quote(key)} = {write(value, data.draw)} # end" for key, value in content.items()]
    text = "\n".join(lines)
    assert set(locate(text)) == paths(tomllib.loads(text))
