"""Values that stand elsewhere: `env:NAME` is an environment variable, `file:/path` a file's content.

Any string of the configuration may be such a reference, so that secrets stay out of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.config.mistakes import Problem
from gateway.model.place import KeyPath

_MOST_OCTETS = 65_536


def resolve_references(
    tree: dict[str, Any], environ: Mapping[str, str], directory: Path
) -> tuple[dict[str, Any], list[Problem]]:
    """A copy of the tree with every reference replaced; one that leads nowhere becomes an empty string and a
    Problem. A relative path starts from `directory`."""
    problems: list[Problem] = []

    def walk(value: Any, path: KeyPath) -> Any:
        if isinstance(value, dict):
            return {key: walk(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [walk(item, (*path, number)) for number, item in enumerate(value)]
        if not isinstance(value, str):
            return value
        if value.startswith("env:"):
            name = value.removeprefix("env:")
            if name in environ:
                return environ[name]
            problems.append(Problem(path, f"environment variable {name or '(no name)'} is not set", f"set {name}"))
            return ""
        if value.startswith("file:"):
            file = directory / value.removeprefix("file:")
            content = _read(file)
            if isinstance(content, str):
                return content
            problems.append(Problem(path, f"cannot read {file}: {content.strerror or content}", "mount or create it"))
            return ""
        return value

    return {key: walk(item, (key,)) for key, item in tree.items()}, problems


def _read(file: Path) -> str | OSError:
    """The content without its final newlines, or why there is none."""
    try:
        with file.open("rb") as stream:
            content = stream.read(_MOST_OCTETS + 1)
    except OSError as error:
        return error
    if len(content) > _MOST_OCTETS:
        return OSError(f"larger than {_MOST_OCTETS} octets")
    try:
        return content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        return OSError("not UTF-8 text")
