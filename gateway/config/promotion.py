"""Another rule set in the configuration's text: one value changes, and nothing else."""

from __future__ import annotations

import re
import tomllib
from typing import Any

from gateway.model.place import locate

_STRING = re.compile(r"""("[^"\n]*"|'[^'\n]*')""")
_HEADER = re.compile(r"[ \t]*\[[ \t]*policy[ \t]*\][ \t]*(?:#.*)?")


class NotWritten(ValueError):
    """The set cannot be named in the file; the text says what to write by hand."""


def name_set(text: str, name: str) -> str:
    """The configuration with `set = "name"` in [policy]. Raises NotWritten where that is not one line's matter."""
    tree = tomllib.loads(text)
    before = tree.get("policy", {}).get("set", "")
    if isinstance(before, str) and before.startswith(("env:", "file:")):
        raise NotWritten(f'policy.set is "{before}": change it there to "{name}", then: waypost reload')
    changed = _change(text, name)
    if _read(changed) != {**tree, "policy": {**tree.get("policy", {}), "set": name}}:
        raise NotWritten(f'write set = "{name}" into [policy] by hand, then: waypost reload')
    return changed


def _change(text: str, name: str) -> str:
    lines = text.splitlines(keepends=True)
    places = locate(text)
    place = places.get(("policy", "set"))
    if place is not None:
        at = place.value_line - 1
        # The column is that of the first character, so the quote stands before it.
        start = place.value_column - 2
        lines[at] = lines[at][:start] + _STRING.sub(f'"{name}"', lines[at][start:], count=1)
        return "".join(lines)
    setting = f'set = "{name}"\n'
    header = next((at for at, line in enumerate(lines) if _HEADER.fullmatch(line.rstrip("\r\n"))), None)
    if header is None:
        return text + ("" if text.endswith("\n") or not text else "\n") + f"\n[policy]\n{setting}"
    return "".join([*lines[: header + 1], setting, *lines[header + 1 :]])


def _read(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return {}
