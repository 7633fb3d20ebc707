"""The parts of a broken configuration that an emergency needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.first import write_first
from gateway.config.load import find_users, load, load_partly
from gateway.config.mistakes import ConfigErrors

WHOLE = write_first("mx.own.example", "own.example").replace("/var/lib/waypost", "/srv/spool")


def read(directory: Path, text: str | bytes, **environ: str) -> tuple[Path, int]:
    """The spool, and how much is wrong."""
    file = directory / "gateway.toml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    found = load_partly(file, environ)
    return found.config.server.spool, len(found.mistakes)


@pytest.mark.parametrize(
    "text",
    [
        WHOLE + "\nx = [\n",
        "x = \n" + WHOLE,
        WHOLE.replace('hostname = "mx.own.example"', 'hostname = "mx.own'),
        WHOLE.replace('hostname = "mx.own.example"', 'hostname = "mx own"'),
        WHOLE.replace('hostname = "mx.own.example"', ""),
        WHOLE.replace("[[listener]]", "[[listener]\n"),
        WHOLE.replace("[[domain]]", "[domain]"),
        WHOLE + '\n[server]\nspool = "/elsewhere"\n',
        WHOLE.replace("# Every IPv4", "# \r Every IPv4"),
        WHOLE.encode() + b"# \xff\n",
        WHOLE.replace('backend = "google"', 'backend = "env:NOWHERE"'),
        "[server]\n" + "x.y" * 90 + '\nspool = "/srv/spool"\n',
    ],
)
def test_the_spool_is_found_whatever_else_is_wrong(tmp_path: Path, text: str | bytes) -> None:
    spool, mistakes = read(tmp_path, text)
    with pytest.raises(ConfigErrors):
        load(tmp_path / "gateway.toml", {})
    assert spool == Path("/srv/spool")
    assert mistakes >= 1


def test_a_whole_file_has_no_mistake_and_no_warning(tmp_path: Path) -> None:
    assert read(tmp_path, WHOLE) == (Path("/srv/spool"), 0)
    assert load_partly(tmp_path / "gateway.toml", {}).warn() == ""
    relative = WHOLE.replace("/srv/spool", "below")
    assert read(tmp_path, relative) == (tmp_path / "below", 0)
    assert read(tmp_path, WHOLE.replace("/srv/spool", "env:PLACE"), PLACE="/srv/other") == (Path("/srv/other"), 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "server: is not set"),
        ("nonsense", "no TOML"),
        (WHOLE.replace('"/srv/spool"', "5"), "server.spool: 5 is the wrong type"),
        (WHOLE.replace("/srv/spool", "env:PLACE"), "environment variable PLACE is not set"),
    ],
)
def test_a_spool_is_never_guessed(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigErrors, match=said):
        read(tmp_path, text)


def test_the_users_file_is_found_too(tmp_path: Path) -> None:
    read(tmp_path, WHOLE + '\n[submission]\nusers = "users"\n')
    file = tmp_path / "gateway.toml"
    assert find_users(file, {}) == tmp_path / "users"
    file.write_text(file.read_text() + "\nx = [\n")
    assert find_users(file, {}) == tmp_path / "users"
    file.write_text(WHOLE)
    assert find_users(file, {}) is None


def test_only_the_sections_asked_for_are_refused(tmp_path: Path) -> None:
    read(tmp_path, WHOLE.replace('backend = "google"', 'backend = "nowhere"'))
    found = load_partly(tmp_path / "gateway.toml", {})
    found.check("listener")
    with pytest.raises(ConfigErrors, match="nowhere"):
        found.check("listener", "domain")
    assert "`waypost check --config" in found.warn()
