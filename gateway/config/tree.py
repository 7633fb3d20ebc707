"""The plain tree of a configuration file that may be wrong: what is not as it should be is passed over."""

from __future__ import annotations

from typing import Any


def find_table(tree: dict[str, Any], key: str) -> dict[str, Any]:
    """The table of that name; an empty one when there is none."""
    value = tree.get(key)
    return value if isinstance(value, dict) else {}


def find_tables(tree: dict[str, Any], key: str) -> list[tuple[int, dict[str, Any]]]:
    """The tables of that array, each with its place in it."""
    value = tree.get(key)
    return [(at, one) for at, one in enumerate(value if isinstance(value, list) else []) if isinstance(one, dict)]
