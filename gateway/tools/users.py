"""`waypost user`: the file of logins, changed line by line and replaced in one step."""

from __future__ import annotations

import os
from pathlib import Path

from gateway.service.credentials import hash_password


def check_name(name: str) -> str:
    """The reason why this cannot be a login's name; empty when it can."""
    if (
        not name
        or len(name) > 255
        or name.strip() != name
        or any(ord(letter) < 32 or letter in ":#" for letter in name)
    ):
        return f'"{name}" cannot be a name: no colon, no #, no space around it'
    return ""


def find_twin(file: Path, name: str) -> str:
    """The login that differs from this name by letter case alone; empty when there is none. Raises OSError."""
    names = (_name(line) for line in _lines(file))
    return next((known for known in names if known != name and known.lower() == name.lower()), "")


def add_user(file: Path, name: str, password: str) -> bool:
    """Give the name this password. True when it had one before. Raises OSError."""
    lines = _lines(file)
    others = [line for line in lines if _name(line) != name]
    _write(file, [*others, f"{name}:{hash_password(password)}"])
    return len(others) < len(lines)


def remove_user(file: Path, name: str) -> bool:
    """Remove the name. False when there is no such name. Raises OSError."""
    lines = _lines(file)
    kept = [line for line in lines if _name(line) != name]
    if len(kept) == len(lines):
        return False
    _write(file, kept)
    return True


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return []


def _name(line: str) -> str:
    line = line.strip()
    return "" if line.startswith("#") else line.partition(":")[0]


def _write(file: Path, lines: list[str]) -> None:
    """A reader sees the old file or the new one; owner and mode stay."""
    part = file.with_name(f".{file.name}.part")
    part.touch(mode=0o600)
    if file.exists():
        status = file.stat()
        os.chown(part, status.st_uid, status.st_gid)
        part.chmod(status.st_mode & 0o777)
    with part.open("w", encoding="utf-8") as stream:
        stream.writelines(f"{line}\n" for line in lines)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(file)
