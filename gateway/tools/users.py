"""`waypost user`: the file of logins, changed line by line and replaced in one step."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from pathlib import Path

from gateway.config.model import Config
from gateway.config.policies import read_senders
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


def check_login(name: str, config: Config, users: Iterable[str]) -> str:
    """The reason why a login of this name could send nothing; empty when it could send."""
    if read_senders(config).by_login(name):
        return ""
    addresses = [f"{name.partition('@')[0]}@{one.name}" for one in config.domain]
    near = tell_nearest(name, [*(one.login for one in config.sender if one.login), *users, *addresses])
    return (
        f'"{name}" could send nothing: it is neither the login of a [[sender]] nor an address of a domain of ours'
        f"{near or '; add a [[sender]] with this login first, or take an address'}"
    )


def find_account(name: str, config: Config, users: Collection[str] | None) -> tuple[str, str]:
    """The name by which the limits know a sender that is called by its name or its login, and the complaint when there
    is no such sender. `users` are the logins of the users' file; None where others can log in, too."""
    names = [*(one.name for one in config.sender), *(one.name for one in config.tenant)]
    if name in names:
        return name, ""
    identity = read_senders(config).by_login(name)
    listed = identity is not None and identity.name in names
    if identity is not None and (listed or users is None or name.lower() in {user.lower() for user in users}):
        return identity.name, ""
    known = [*names, *(one.login for one in config.sender if one.login), *(users or ())]
    near = tell_nearest(name, known) or f"; there are: {', '.join(known) or 'none'}"
    return "", f'nobody who may send is called "{name}"{near}'


def tell_nearest(name: str, known: Iterable[str]) -> str:
    """A question about the nearest known name; empty when none is near."""
    by_key = {one.lower(): one for one in known}
    close = get_close_matches(name.lower(), by_key, 1)
    return f'; did you mean "{by_key[close[0]]}"?' if close else ""


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
