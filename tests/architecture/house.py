"""python -m tests.architecture.house: the package's structure in figures.

Prints public class names that occur twice, fragments (modules under 60 lines with one importer), import cycles, and
imports from a lower floor to a higher one; then the numbers of modules and lines. Exit status 1 when a figure is over
its limit.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent.parent
FRAGMENT_LINES = 60
APART = ("gateway.diagnosis", "gateway.demo")
"""Packages that `serve` never imports; the size of the gateway is counted without them."""

REASONS = {
    "gateway.authentication.iprev": "a check of its own, beside DNS block lists",
    "gateway.config.first": "the text of a first configuration, apart from the commands",
    "gateway.demo.run": "what `make run` starts, apart from the command",
    "gateway.demo.settings": "the demo's configuration, apart from its processes",
    "gateway.mail.verdict": "the one field for rules of backends, apart from Authentication-Results",
    "gateway.service.handover": "what follows a commit must not fail: apart from what precedes it",
}
"""Fragments that stay, each with its reason."""


@dataclass
class House:
    """The modules of the package, and the imports between them."""

    paths: dict[str, Path]
    imports: dict[str, set[str]] = field(default_factory=dict)
    trees: dict[str, ast.Module] = field(default_factory=dict)

    def lines(self, module: str) -> int:
        return len(self.paths[module].read_text().splitlines())

    def importers(self) -> Mapping[str, set[str]]:
        found: dict[str, set[str]] = defaultdict(set)
        for module, imported in self.imports.items():
            for one in imported:
                found[one].add(module)
        return found


def read_house(root: Path = ROOT) -> House:
    """Read every module below `root`/gateway."""
    paths = {}
    for path in sorted((root / "gateway").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    house = House(paths)
    for module, path in paths.items():
        house.trees[module] = ast.parse(path.read_text())
        house.imports[module] = set(find_imports(house.trees[module], paths)) - {module}
    return house


def find_imports(tree: ast.Module, modules: Mapping[str, Path]) -> Iterator[str]:
    """The modules of the package that a module imports, at its head or inside a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names if one.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for one in node.names:
                inside = f"{node.module}.{one.name}"
                if inside in modules:
                    yield inside
                elif node.module in modules:
                    yield node.module


def find_twice(house: House) -> dict[str, list[str]]:
    """Public class names that occur in more than one module."""
    found: dict[str, list[str]] = defaultdict(list)
    for module, tree in house.trees.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(module)
    return {name: modules for name, modules in found.items() if len(modules) > 1}


def find_fragments(house: House) -> dict[str, str]:
    """Modules under 60 lines that one module imports, and that module. Packages' own modules do not count."""
    importers = house.importers()
    return {
        module: next(iter(importers[module]))
        for module, path in house.paths.items()
        if path.name not in ("__init__.py", "__main__.py")
        and len(importers[module]) == 1
        and house.lines(module) < FRAGMENT_LINES
    }


def find_cycles(house: House) -> list[list[str]]:
    """Sets of modules that import each other in a circle (Tarjan's strongly connected components)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for one in sorted(house.imports[module]):
            if one not in index:
                visit(one)
                low[module] = min(low[module], low[one])
            elif one in stack:
                low[module] = min(low[module], index[one])
        if low[module] == index[module]:
            circle = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(circle) > 1:
                found.append(circle)

    for module in house.paths:
        if module not in index:
            visit(module)
    return found


def read_floors(root: Path = ROOT) -> dict[str, int]:
    """Package of the top level -> its floor, the lowest 0, from the import contract `floors`."""
    contracts = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(one for one in contracts if one["id"] == "floors")["layers"]
    names = [layer.replace("|", " ").replace(":", " ").split() for layer in layers]
    return {name: floor for floor, line in enumerate(reversed(names)) for name in line}


def find_upward(house: House, floors: Mapping[str, int]) -> list[tuple[str, str]]:
    """Imports from a lower floor to a higher one."""
    return [
        (module, one)
        for module, imported in house.imports.items()
        for one in sorted(imported)
        if "." in module and "." in one and floors[module.split(".")[1]] < floors[one.split(".")[1]]
    ]


def main() -> int:
    house = read_house()
    twice, fragments = find_twice(house), find_fragments(house)
    cycles, upward = find_cycles(house), find_upward(house, read_floors())
    print(f"public class names that stand twice: {len(twice)}")
    for name, modules in sorted(twice.items()):
        print(f"    {name}: {', '.join(modules)}")
    print(f"modules under {FRAGMENT_LINES} lines with one importer: {len(fragments)}")
    for module, importer in sorted(fragments.items()):
        print(f"    {module} ({house.lines(module)} lines, {importer}): {REASONS.get(module, 'no reason given')}")
    print(f"cycles: {len(cycles)}")
    for circle in cycles:
        print(f"    {' - '.join(circle)}")
    print(f"upward imports: {len(upward)}")
    for module, one in upward:
        print(f"    {module} -> {one}")
    sizes = [house.lines(module) for module in house.paths if not module.startswith(APART)]
    print(f"without diagnosis and demo: {len(sizes)} modules, {sum(sizes)} lines, median {median(sizes):.0f}")
    return int(bool(twice or cycles or upward or any(module not in REASONS for module in fragments)))


if __name__ == "__main__":
    sys.exit(main())
