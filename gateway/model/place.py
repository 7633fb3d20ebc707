"""Places in a TOML document: the line of each setting. The standard library's reader keeps none.

The scanner follows a document that `tomllib` has already accepted, so it need not check it: it only has to find the
same keys (TOML 1.0). Line and column count from 1.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TypeAlias

from gateway.model.value import Value

KeyPath: TypeAlias = tuple[str | int, ...]
"""Keys and array indices from the root: ("listener", 0, "address")."""


class Place(Value):
    """The position of a key and its value."""

    line: int
    column: int
    value_line: int
    """Line on which the value's own text begins: for a multi-line string that starts with a newline, the next one."""
    value_column: int
    """Column of the value's first character, quotes not counted."""


_GAP = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BASIC = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_LITERAL = re.compile(r"'[^'\n]*'")
# A closing delimiter may follow up to two quotes that belong to the string.
_LONG_BASIC = re.compile(r'"""(?:[^"\\]|\\[\s\S]|"(?!""))*"""(?:"{1,2})?')
_LONG_LITERAL = re.compile(r"'''(?:[^']|'(?!''))*'''(?:'{1,2})?")
_SCALAR = re.compile(r"[^,\]}#\r\n]+")
_ESCAPE = re.compile(r'\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|([btnfr"\\]))')
_ESCAPED = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}


def locate(text: str) -> dict[KeyPath, Place]:
    """The place of every key, table and array element of a valid TOML document; for a table, of its first mention.

    On text that is not TOML the result holds the places found before the error. It never raises.
    """
    scanner = _Scanner(text.replace("\r\n", "\n"))
    with suppress(_Lost, RecursionError):
        scanner.scan()
    return scanner.places


def nearest(places: dict[KeyPath, Place], path: KeyPath) -> Place:
    """The place of `path`, or of the closest table around it; the document's first line when there is none."""
    for length in range(len(path), 0, -1):
        place = places.get(path[:length])
        if place:
            return place
    return Place(1, 1, 1, 1)


class _Lost(Exception):
    """The text is not what TOML allows here."""


class _Scanner:
    """One pass over the document."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._line_start = 0
        self._counted = 0
        self._elements: dict[KeyPath, int] = {}
        """Number of elements of each array of tables so far."""
        self.places: dict[KeyPath, Place] = {}

    def scan(self) -> None:
        table: KeyPath = ()
        while True:
            self._skip(_GAP)
            if self._at >= len(self._text):
                return
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> KeyPath:
        """The path of the table opened by `[a.b]` or `[[a.b]]`."""
        start = self._at
        double = self._text.startswith("[[", start)
        self._at += 2 if double else 1
        keys = self._keys()
        self._skip(_SPACE)
        self._take("]]" if double else "]")
        path: KeyPath = ()
        for key in keys[:-1]:
            path = self._inside((*path, key), start)
        path = (*path, keys[-1])
        if double:
            number = self._elements.get(path, 0)
            self._elements[path] = number + 1
            self._note(path, start, start)
            path = (*path, number)
        self._note(path, start, start)
        return path

    def _inside(self, path: KeyPath, start: int) -> KeyPath:
        """A path's table; for an array of tables, its latest element."""
        self._note(path, start, start)
        return (*path, self._elements[path] - 1) if path in self._elements else path

    def _pair(self, table: KeyPath) -> None:
        start = self._at
        keys = self._keys()
        self._skip(_SPACE)
        self._take("=")
        self._skip(_SPACE)
        path = table
        for key in keys[:-1]:
            path = (*path, key)
            self._note(path, start, start)
        self._value((*path, keys[-1]), start)

    def _keys(self) -> list[str]:
        """A dotted key (TOML 1.0 `Keys`)."""
        keys = []
        while True:
            self._skip(_SPACE)
            keys.append(self._key())
            self._skip(_SPACE)
            if not self._text.startswith(".", self._at):
                return keys
            self._at += 1

    def _key(self) -> str:
        quoted = self._match(_BASIC)
        if quoted is not None:
            return _ESCAPE.sub(_unescape, quoted[1:-1])
        quoted = self._match(_LITERAL)
        if quoted is not None:
            return quoted[1:-1]
        return self._need(_BARE_KEY)

    def _value(self, path: KeyPath, start: int) -> None:
        """A value. Its place is noted under `path`; the key (or element) begins at `start`."""
        if self._text.startswith("[", self._at):
            self._note(path, start, self._at)
            self._array(path)
        elif self._text.startswith("{", self._at):
            self._note(path, start, self._at)
            self._inline_table(path)
        elif self._text.startswith(('"', "'"), self._at):
            self._string(path, start)
        else:
            self._note(path, start, self._at)
            self._need(_SCALAR)

    def _string(self, path: KeyPath, start: int) -> None:
        if self._text.startswith(('"""', "'''"), self._at):
            inner = self._at + 3
            # A newline right after the opening delimiter is not part of the string.
            newline = self._text.startswith("\n", inner)
            self._note(path, start, inner + newline)
            self._need(_LONG_BASIC if self._text[self._at] == '"' else _LONG_LITERAL)
        else:
            self._note(path, start, self._at + 1)
            self._need(_BASIC if self._text[self._at] == '"' else _LITERAL)

    def _array(self, path: KeyPath) -> None:
        self._take("[")
        number = 0
        while True:
            self._skip(_GAP)
            if self._text.startswith("]", self._at):
                break
            self._value((*path, number), self._at)
            number += 1
            self._skip(_GAP)
            if not self._text.startswith(",", self._at):
                break
            self._at += 1
        self._take("]")

    def _inline_table(self, path: KeyPath) -> None:
        self._take("{")
        while True:
            self._skip(_GAP)
            if self._text.startswith("}", self._at):
                break
            self._pair(path)
            self._skip(_GAP)
            if not self._text.startswith(",", self._at):
                break
            self._at += 1
        self._take("}")

    def _note(self, path: KeyPath, key: int, value: int) -> None:
        """Note the place of a path. Its first mention counts."""
        if path not in self.places:
            line, column = self._position(key)
            self.places[path] = Place(line, column, *self._position(value))

    def _position(self, offset: int) -> tuple[int, int]:
        """Line and column; counted onwards from the last asked offset, so the whole pass stays linear."""
        if offset < self._counted:
            line = self._line - self._text.count("\n", offset, self._counted)
            line_start = self._text.rfind("\n", 0, offset) + 1
            return line, offset - line_start + 1
        self._line += self._text.count("\n", self._counted, offset)
        self._line_start = max(self._line_start, self._text.rfind("\n", self._counted, offset) + 1)
        self._counted = offset
        return self._line, offset - self._line_start + 1

    def _skip(self, pattern: re.Pattern[str]) -> None:
        found = pattern.match(self._text, self._at)
        if found:
            self._at = found.end()

    def _match(self, pattern: re.Pattern[str]) -> str | None:
        found = pattern.match(self._text, self._at)
        if not found:
            return None
        self._at = found.end()
        return found[0]

    def _need(self, pattern: re.Pattern[str]) -> str:
        found = self._match(pattern)
        if found is None:
            raise _Lost
        return found

    def _take(self, mark: str) -> None:
        if not self._text.startswith(mark, self._at):
            raise _Lost
        self._at += len(mark)


def _unescape(found: re.Match[str]) -> str:
    code = found[1] or found[2]
    return chr(int(code, 16)) if code else _ESCAPED[found[3]]
