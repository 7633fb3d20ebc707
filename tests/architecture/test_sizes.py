"""A file is read in one sitting, a function on one screen. The numbers are a ratchet: lower them, never raise them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FILE_LINES = 400
FUNCTION_LINES = 50


def sources() -> list[Path]:
    return sorted((ROOT / "gateway").rglob("*.py"))


def function_sizes(source: str) -> Iterator[tuple[int, str, int]]:
    """(lines, name, first line) of every function, decorators not counted."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            yield node.end_lineno - node.lineno + 1, node.name, node.lineno


def test_there_is_something_to_measure() -> None:
    assert len(sources()) > 20


def test_no_file_is_longer_than_one_sitting() -> None:
    sizes = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources()}
    assert {name: lines for name, lines in sizes.items() if lines > FILE_LINES} == {}


def test_no_function_is_longer_than_one_screen() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{line} {name}: {lines} lines"
        for path in sources()
        for lines, name, line in function_sizes(path.read_text())
        if lines > FUNCTION_LINES
    ]
    assert long == []


def test_function_sizes_counts_nested_and_async_functions() -> None:
    source = "def f():\n    async def g():\n        pass\n    return g\n"
    assert sorted(function_sizes(source)) == [(2, "g", 2), (4, "f", 1)]
