"""The user file of submission: `name:hash` lines, the hash as argon2 writes it; blank and `#` lines are skipped."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.config.mistakes import Problem
from gateway.config.text_file import read_octets

_HASH = re.compile(
    r"\$argon2(?:id|i|d)\$v=19\$m=(?P<memory>[0-9]{1,8}),t=(?P<time>[0-9]{1,4}),p=[0-9]{1,3}"
    r"\$[A-Za-z0-9+/]{11,128}\$[A-Za-z0-9+/]{16,256}"
)
_MOST_MEMORY = 1_048_576
"""KiB for one login."""
_MOST_TIME = 100
_MOST_OCTETS = 33_554_432


def read_users(path: Path) -> tuple[dict[str, str], list[Problem]]:
    """Hash by name, and what is wrong with the file. No hash stands in a problem's text. Raises TextUnfit."""
    users: dict[str, str] = {}
    taken: set[str] = set()
    problems = []
    for number, line in enumerate(read_octets(path, _MOST_OCTETS).decode("utf-8-sig", "replace").split("\n"), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, colon, hash = line.partition(":")
        said = _find_fault(name, hash) if colon else "is no `name:hash` line"
        if not said and name.lower() in taken:  # in any letter case it is one sender
            said = f'names "{name}" again'
        if said:
            fix = "waypost user add NAME writes such a line"
            problems.append(Problem(("submission", "users"), f"line {number} of {path} {said}", fix))
        else:
            users[name] = hash
            taken.add(name.lower())
    return users, problems


def _find_fault(name: str, hash: str) -> str:
    found = _HASH.fullmatch(hash)
    if not name or "\0" in name or "\ufffd" in name:
        return "has no name"
    if found is None:
        return "has no argon2 hash"
    if int(found["memory"]) > _MOST_MEMORY or int(found["time"]) > _MOST_TIME:
        return "has a hash that costs too much to check"
    return ""
