"""The README's contents work: its configuration is valid, its targets and files exist."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from gateway import app
from gateway.cli import MODULES

ROOT = Path(__file__).resolve().parent.parent.parent
README = (ROOT / "README.md").read_text()


def test_its_configuration_is_good(tmp_path: Path) -> None:
    (block,) = re.findall(r"^```toml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    file = tmp_path / "gateway.toml"
    file.write_text(block.replace("/var/lib/waypost", str(tmp_path)))
    runtime = app.make_runtime(app.read_config(file))
    assert set(runtime.config.backend) == {"google", "microsoft"}
    assert runtime.context.rules.name == "enforce"


def test_its_links_lead_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_index_lists_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md", "soak.md"}
    assert pages
    assert sorted(page for page in pages if f"({page})" not in index) == []
    assert "(docs/README.md)" in README


def test_every_link_of_the_pages_leads_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "bench" / "README.md"]
    links = [
        (page.name, link)
        for page in pages
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
        if "://" not in link and not (page.parent / link).exists()
    ]
    assert links == []


def test_decisions_are_numbered_and_listed_without_gaps() -> None:
    folder = ROOT / "docs" / "adr"
    records = sorted(path.name for path in folder.glob("0*.md"))
    listed = re.findall(r"^(\d+)\. \[.*\]\((.*)\)$", (folder / "README.md").read_text(), re.MULTILINE)
    assert [int(name[:4]) for name in records] == list(range(1, len(records) + 1))
    assert [(int(number), name) for number, name in listed] == list(enumerate(records, 1))


def test_the_modules_that_pages_name_exist() -> None:
    """A path such as `net/ldap.py` or `tests/peers` is meant from the root, from gateway/ or from docs/.
    `bench/build` is made by the benchmark."""
    roots = [ROOT, ROOT / "gateway", ROOT / "docs"]
    folders = {path.name for root in roots for path in root.iterdir() if path.is_dir()}
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "bench" / "README.md"]
    named = [
        (page.name, path)
        for page in pages
        for path in re.findall(r"`([\w.-]+(?:/[\w.-]*)*)`", page.read_text())
        if path.endswith((".py", ".mjs", ".sql")) or ("/" in path and path.partition("/")[0] in folders - {"var"})
    ]
    assert len(named) > 50
    missing = [one for one in named if not any((root / one[1]).exists() for root in roots)]
    assert [one for one in missing if not one[1].startswith("bench/build/")] == []


def test_the_modules_that_pages_name_by_dots_exist() -> None:
    """`gateway.x.y` and `python -m bench.x`: a module, a package or a name inside one."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "bench" / "README.md"]
    text = "\n".join(page.read_text() for page in pages)
    named = set(re.findall(r"\b(?:python -m ((?:bench|tests|gateway)(?:\.\w+)+)|`(gateway(?:\.\w+)+)`)", text))
    paths = [ROOT / (one or other).replace(".", "/") for one, other in named]
    assert paths
    assert [path for path in paths if not path.is_dir() and not path.with_suffix(".py").exists()] == []


def test_every_package_is_in_the_table_of_floors() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    listed = set(re.findall(r"^\| \d+ \| `(\w+)` \|", page, re.MULTILINE))
    assert listed == {path.parent.name for path in (ROOT / "gateway").glob("*/__init__.py")}


def test_every_tool_of_npm_is_named() -> None:
    peers = json.loads((ROOT / "tests" / "peers" / "package.json").read_text())["dependencies"]
    page = (ROOT / "docs" / "dependencies.md").read_text()
    assert peers
    assert [name for name in peers if name not in page] == []


def test_the_commands_that_pages_name_exist() -> None:
    commands = {name for row in MODULES for name in row.summaries}
    text = "\n".join(page.read_text() for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
    named = set(re.findall(r"(?:`|^ {4}|bin/)waypost ([a-z][a-z-]*)", text, re.MULTILINE))
    assert named
    assert named - commands == set()


def test_its_make_targets_exist() -> None:
    targets = set(re.findall(r"make ([a-z-]+)(?=[`\s])", README))
    assert {"run", "test", "check"} <= targets
    for target in targets:
        subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)
