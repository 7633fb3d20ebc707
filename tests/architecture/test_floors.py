"""The import contracts of pyproject.toml hold, and would notice a breach."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")


def lint(directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LINT_IMPORTS, "--no-logo", "--no-cache"], cwd=directory, capture_output=True, text=True, timeout=120
    )


def copy_of_the_house(directory: Path) -> Path:
    """Only the inputs of the contracts: the package's modules and pyproject.toml."""
    (directory / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    for module in (ROOT / "gateway").rglob("*.py"):
        copy = directory / module.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(module.read_text())
    return directory


def test_every_contract_is_kept() -> None:
    run = lint(ROOT)
    assert run.returncode == 0, run.stdout + run.stderr
    assert " 0 broken" in run.stdout


def test_breaches_are_noticed(tmp_path: Path) -> None:
    house = copy_of_the_house(tmp_path)
    breaches = {
        "gateway/mail/header.py": "import gateway.plan\n",
        "gateway/plan/__init__.py": "import asyncio\n",
        "gateway/tools/__init__.py": "import gateway.net\n",
        "gateway/service/__init__.py": "import dkim\n",
    }
    for name, line in breaches.items():
        module = house / name
        module.write_text(line + module.read_text())
    run = lint(house)
    assert run.returncode != 0
    for contract in (
        "A floor imports only floors below it",
        "No verdict touches a socket, clock, disk or chance",
        "Only app knows the adapters",
        "dkim is used in one place",
    ):
        assert f"{contract} BROKEN" in run.stdout, run.stdout
