"""The wheel carries everything the program reads, and the program runs from it."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.support.split_mail import break_at, signed_message

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", directory],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=60,
    )
    (built,) = directory.glob("waypost-*.whl")
    return built


def carried_data() -> set[str]:
    """Files that are neither code nor a leftover of running it: SQL, templates, rules."""
    data = {path.relative_to(ROOT) for path in (ROOT / "gateway").rglob("*") if path.is_file()}
    data = {path for path in data if path.suffix not in (".py", ".pyc")}
    rules = {Path("gateway") / path.relative_to(ROOT) for path in (ROOT / "policies").rglob("*") if path.is_file()}
    return {path.as_posix() for path in data | rules}


def test_code_and_data_are_in_it(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = carried_data() | {path.relative_to(ROOT).as_posix() for path in (ROOT / "gateway").rglob("*.py")}
    assert any(name.endswith(".sql") for name in wanted)
    assert any(name.startswith("gateway/policies/") for name in wanted)
    assert wanted - names == set()


def test_nothing_else_is_in_it(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert [name for name in names if not name.startswith("gateway/") and ".dist-info/" not in name] == []
    assert any(name.endswith("/licenses/LICENSE") for name in names)


@pytest.mark.slow
def test_the_program_runs_from_it(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    python = environment / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True, timeout=60)
    # The dependencies come from the environment of this test; a path line does not run its .pth files, so the
    # editable install of this checkout stays out.
    (site_packages,) = environment.glob("lib/python3*/site-packages")
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index", "--no-deps", wheel],
        check=True,
        timeout=60,
    )

    def run(*command: str | Path) -> str:
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True, timeout=60).stdout

    version = wheel.name.split("-")[1]
    assert version in run(environment / "bin" / "waypost", "version")
    assert str(environment) in run(python, "-c", "import gateway; print(gateway.__file__)")
    (tmp_path / "note.eml").write_bytes(b"From: a@sender.example\r\nSubject: note\r\n\r\nhello\r\n")
    (tmp_path / "zone.json").write_text("{}")
    case = ["note.eml", "--ip", "192.0.2.1", "--mail-from", "a@sender.example", "--rcpt", "b@ours.example"]
    result = json.loads(run(environment / "bin" / "waypost", "simulate", *case, "--dns", "zone.json", "--json"))
    assert result["decision"]["set"] == "enforce"
    # Without a configuration or a key, as `pipx run waypost autopsy broken.eml` runs.
    original = signed_message()
    (tmp_path / "broken.eml").write_bytes(break_at(original, (0, 2))[0])
    found = json.loads(run(environment / "bin" / "waypost", "autopsy", "broken.eml", "--repair", "whole.eml", "--json"))
    assert [mutation["id"] for mutation in found["mutations"]] == ["B01"]
    assert (tmp_path / "whole.eml").read_bytes() == original
