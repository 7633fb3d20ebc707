"""With CI set a skip fails the run; without it, it is a skip."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).resolve().parent.parent / "conftest.py"

CASES = {
    "test_inside.py": "import pytest\ndef test_it():\n    pytest.skip('no such program')\n",
    "test_mark.py": "import pytest\n@pytest.mark.skip(reason='no such program')\ndef test_it(): ...\n",
    "test_module.py": "import pytest\npytest.skip('no such program', allow_module_level=True)\n",
    "test_fixture.py": "import pytest\n@pytest.fixture\ndef f(): pytest.skip('no such program')\ndef test_it(f): ...\n",
}


def run_pytest(directory: Path, ci: str) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value for name, value in os.environ.items() if name not in ("CI", "WAYPOST_SOAK", "WAYPOST_SOAK_REPORT")
    }
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", directory],
        cwd=directory,
        env=environment | ({"CI": ci} if ci else {}),
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.slow
def test_every_kind_of_skip_fails_under_ci(tmp_path: Path) -> None:
    shutil.copy(CONFTEST, tmp_path)
    for name, source in CASES.items():
        (tmp_path / name).write_text(source)
    (tmp_path / "test_passes.py").write_text("def test_it(): ...\n")
    assert "1 passed, 4 skipped" in run_pytest(tmp_path, ci="").stdout
    run = run_pytest(tmp_path, ci="true")
    assert run.returncode != 0
    assert "skipped" not in run.stdout.splitlines()[-1]
    for name in CASES:
        assert name in run.stdout
    assert run.stdout.count("with CI set a skip is a failure: no such program") >= len(CASES)
