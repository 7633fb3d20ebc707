"""What the README shows works: its configuration is one, its targets and files exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from gateway import app

ROOT = Path(__file__).resolve().parent.parent.parent
README = (ROOT / "README.md").read_text()


def test_its_configuration_is_good(tmp_path: Path) -> None:
    (block,) = re.findall(r"^```toml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    file = tmp_path / "gateway.toml"
    file.write_text(block.replace("/var/lib/waypost", str(tmp_path)))
    law = app.make_law(app.read_config(file))
    assert set(law.config.backend) == {"google", "microsoft"}
    assert law.bench.rules.name == "enforce"


def test_its_links_lead_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_its_make_targets_exist() -> None:
    targets = set(re.findall(r"make ([a-z-]+)(?=[`\s])", README))
    assert {"run", "test", "check"} <= targets
    for target in targets:
        subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)
