"""Values that stand elsewhere: `env:NAME` is an environment variable, `file:/path` a file's content.

Any string of the configuration may be such a reference, so that secrets stay out of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.config.mistakes import Problem
from gateway.config.text_file import TextUnfit, read_octets
from gateway.model.place import KeyPath
from gateway.model.value import Value, replace

_MOST_OCTETS = 65_536


class Resolved(Value):
    """The tree with its references replaced."""

    tree: dict[str, Any]
    problems: tuple[Problem, ...]
    """References that lead nowhere; an empty string stands in the tree for each."""
    brought: dict[KeyPath, tuple[str, str]]
    """Each reference that was followed, and what it brought."""

    def hide(self, problem: Problem) -> Problem:
        """The problem without what a reference brought, which may be a secret."""
        reference, value = self.brought.get(problem.path, ("", ""))
        return replace(problem, problem=problem.problem.replace(f'"{value}"', reference)) if reference else problem


def resolve_references(tree: dict[str, Any], environ: Mapping[str, str], directory: Path) -> Resolved:
    """Follow every reference in the tree. A relative path starts from `directory`."""
    problems: list[Problem] = []
    brought: dict[KeyPath, tuple[str, str]] = {}

    def walk(value: Any, path: KeyPath) -> Any:
        if isinstance(value, dict):
            return {key: walk(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [walk(item, (*path, number)) for number, item in enumerate(value)]
        if not isinstance(value, str) or not value.startswith(("env:", "file:")):
            return value
        found = _follow(value, path, environ, directory)
        if isinstance(found, Problem):
            problems.append(found)
            return ""
        brought[path] = value, found
        return found

    resolved = {key: walk(item, (key,)) for key, item in tree.items()}
    return Resolved(resolved, tuple(problems), brought)


def _follow(reference: str, path: KeyPath, environ: Mapping[str, str], directory: Path) -> str | Problem:
    kind, _, name = reference.partition(":")
    if kind == "env":
        missing = Problem(path, f"environment variable {name or '(no name)'} is not set", f"set {name}")
        return environ.get(name, missing)
    file = directory / name
    content = _read(file)
    if isinstance(content, str):
        return content
    return Problem(path, f"cannot read {file}: {content}", "mount or create it")


def _read(file: Path) -> str | Exception:
    """The content without its final newlines, or why there is none."""
    try:
        return read_octets(file, _MOST_OCTETS).decode().rstrip("\r\n")
    except UnicodeDecodeError:
        return ValueError("not UTF-8 text")
    except TextUnfit as error:
        return ValueError(error.problem.removeprefix("cannot read it: ").removeprefix("is "))
