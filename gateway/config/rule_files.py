"""The places of rule files: found without reading a rule, so that a command without rules does not load CEL."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from gateway.config.text_file import TextUnfit, read_octets

_PACKAGED = Path(__file__).resolve().parent.parent / "policies"
_CHECKOUT = Path(__file__).resolve().parent.parent.parent / "policies"
_SET = re.compile(rb"^set\s*=", re.MULTILINE)


def find_files(configured: Path | None) -> dict[str, Path]:
    """Every rule file by its name: the shipped ones, of the installed package or else of the checkout (an editable
    install has no package data), and those of the configured directory, which replace shipped ones."""
    shipped = _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT
    directories = [shipped] if configured is None else [shipped, configured]
    return {file.name: file for directory in directories for file in sorted(directory.glob("*.toml"))}


def find_sets(configured: Path | None) -> list[str]:
    """The names of the rule sets; a file that is only included by others is not one."""
    return sorted(file.stem for file in find_files(configured).values() if _names_set(file))


def _names_set(file: Path) -> bool:
    """An unreadable file is reported when it is read as rules."""
    try:
        return bool(_SET.search(read_octets(file).removeprefix(codecs.BOM_UTF8)))
    except TextUnfit:
        return False
