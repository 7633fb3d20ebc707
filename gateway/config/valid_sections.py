"""A configuration file that may contain mistakes: its valid sections as a typed Config.

pydantic validates the whole tree. Refused parts are left out and the rest is validated again, until a Config results.
So the checks across sections work on typed values, and report their mistakes together with those of single settings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway.config.mistakes import Problem
from gateway.config.model import Config
from gateway.config.values import DIRECTORY
from gateway.model.place import KeyPath

_LEFT_OUT = object()
_STAND_INS: dict[str, Any] = {"server": {"hostname": "unknown.invalid"}, "listener": [], "domain": [], "backend": {}}
"""Required sections that a file lacks, or that are refused as a whole."""


class ValidSections:
    """The valid sections, and the place of each in the file."""

    def __init__(self, tree: dict[str, Any], directory: Path) -> None:
        self._tree = tree
        self.directory = directory
        """Relative paths start from it."""
        self.backends = tuple(tree["backend"]) if isinstance(tree.get("backend"), dict) else ()
        """Names of all backends, valid or not."""
        self.errors: list[ErrorDetails] = []
        """The errors that pydantic found in the original file."""
        self._origins: dict[KeyPath, list[int]] = {}
        self._incomplete: set[str | int] = set()
        self.config = self._validate(tree)

    def path(self, *keys: str | int) -> KeyPath:
        """The place of a setting of `config` in the file: indices count the refused elements too, and a lone string
        that stands for a list has none."""
        path: KeyPath = ()
        inside: Any = self._tree
        for key in keys:
            if isinstance(key, int):
                if not isinstance(inside, list):
                    break
                key = self._origins[path][key] if path in self._origins else key
                inside = inside[key]
            else:
                inside = inside.get(key) if isinstance(inside, dict) else None
            path = (*path, key)
        return path

    def is_complete(self, *sections: str) -> bool:
        """True when no part of these sections was left out. A check that could blame one section for a gap in another
        asks this first."""
        return self._incomplete.isdisjoint(sections)

    def find_doubled(self, *places: KeyPath, fold: Callable[[str], str] = str) -> Iterator[tuple[KeyPath, str, str]]:
        """Each text that occurs twice in these settings of tables, such as `("policy", "sender", "name")`: the place,
        the text, and the table that has it first. Tables that are left out because of another setting count too, so
        that two mistakes in one table are reported together. `fold` gives equal values for equal texts."""
        refused = {tuple(error["loc"]) for error in self.errors}
        seen: dict[str, str] = {}
        for place in places:
            tables = self._find(place[:-1])
            for at, table in enumerate(tables if isinstance(tables, list) else ()):
                path = (*place[:-1], at, place[-1])
                text = table.get(place[-1]) if isinstance(table, dict) else None
                if not isinstance(text, str) or not text or path in refused:
                    continue
                first = seen.setdefault(fold(text), f"{place[-2]}[{at}]")
                if first != f"{place[-2]}[{at}]":
                    yield path, text, first

    def _find(self, path: KeyPath) -> Any:
        """The value in the file; None when there is none."""
        inside: Any = self._tree
        for key in path:
            inside = inside.get(key) if isinstance(inside, dict) else None
        return inside

    def check_backend(self, path: KeyPath, name: str) -> Iterator[Problem]:
        """The problem of a backend name that does not exist; an empty name has no problem."""
        if name and name not in self.backends:
            close = get_close_matches(name, self.backends, 1)
            fix = f'did you mean "{close[0]}"?' if close else f"there are: {', '.join(self.backends) or 'none'}"
            yield Problem(path, f'no backend named "{name}"', fix)

    def _validate(self, tree: dict[str, Any]) -> Config:
        while True:
            try:
                return Config.model_validate(tree, context={DIRECTORY: self.directory})
            except ValidationError as error:
                details = error.errors(include_url=False)
                self.errors = self.errors or details
                tree = self._leave_out(tree, [detail["loc"] for detail in details])

    def _leave_out(self, tree: dict[str, Any], paths: Iterable[KeyPath]) -> dict[str, Any]:
        """The tree without the values at these paths; a table that lacks a setting is left out as a whole."""
        marked = _copy(tree)
        for path in paths:
            self._incomplete.add(path[0])
            if path[0] not in tree:
                marked[str(path[0])] = _STAND_INS[str(path[0])]
            else:
                _mark(marked, path)
        kept: dict[str, Any] = self._sweep(marked, ())
        return kept

    def _sweep(self, value: Any, path: KeyPath) -> Any:
        if isinstance(value, dict):
            return {key: self._sweep(item, (*path, key)) for key, item in value.items() if item is not _LEFT_OUT}
        if not isinstance(value, list):
            return value
        before = self._origins.get(path, list(range(len(value))))
        kept = [(origin, item) for origin, item in zip(before, value, strict=True) if item is not _LEFT_OUT]
        self._origins[path] = [origin for origin, _ in kept]
        return [self._sweep(item, (*path, origin)) for origin, item in kept]


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _mark(tree: dict[str, Any], path: KeyPath) -> None:
    """Mark the innermost element on the path: the names that pydantic adds below a value are its own."""
    around: Any = tree
    for depth, key in enumerate(path):
        inside = around[key]
        further = path[depth + 1] if depth + 1 < len(path) else None
        if further is None or not _holds(inside, further):
            around[key] = _LEFT_OUT
            return
        around = inside


def _holds(value: Any, key: str | int) -> bool:
    if isinstance(value, dict):
        return key in value and value[key] is not _LEFT_OUT
    return isinstance(value, list) and isinstance(key, int) and key < len(value) and value[key] is not _LEFT_OUT
