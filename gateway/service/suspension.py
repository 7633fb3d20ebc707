"""Who may not send for now. Each is a file, so that all workers, the command line and a restart see the same."""

from __future__ import annotations

import json
import os
from pathlib import Path
from urllib.parse import quote, unquote

from gateway.model.value import Value

DIRECTORY = "suspended"
"""Below the spool's."""
_RESUMED = "resumed"
"""Beside it: whose limits begin anew, and since when."""


class Suspension(Value):
    """One account that may not send."""

    account: str
    """`sender NAME` or `domain NAME`."""
    since: float
    """Epoch seconds."""
    reason: str


class Suspensions:
    """The accounts that are suspended, until somebody resumes them."""

    def __init__(self, spool: Path) -> None:
        self._directory = spool / DIRECTORY
        self._resumed = spool / _RESUMED

    def has(self, account: str) -> bool:
        """One look at the directory: cheap enough for every message."""
        return self._file(account).exists()

    def add(self, suspension: Suspension) -> bool:
        """False when it was suspended already. Raises OSError."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = json.dumps({"account": suspension.account, "since": suspension.since, "reason": suspension.reason})
        try:
            with self._file(suspension.account).open("x", encoding="utf-8") as stream:
                stream.write(text)
        except FileExistsError:
            return False
        return True

    def remove(self, account: str) -> bool:
        """False when it was not suspended. Raises OSError."""
        self._resumed.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = self._file(account)
        try:
            os.utime(file)
            file.replace(self._resumed / file.name)
        except FileNotFoundError:
            return False
        return True

    def generation(self, account: str) -> int:
        """Another number after each time that it was resumed: what was counted before counts no more."""
        try:
            return (self._resumed / self._file(account).name).stat().st_mtime_ns
        except OSError:
            return 0

    def all(self) -> tuple[Suspension, ...]:
        """Oldest first. Raises OSError."""
        if not self._directory.is_dir():
            return ()
        found = [self._read(file) for file in self._directory.iterdir()]
        return tuple(sorted(found, key=lambda one: one.since))

    def _file(self, account: str) -> Path:
        # A login may be an address, which may have a slash; the word before it keeps `.` and `..` away.
        kind, _, name = account.partition(" ")
        return self._directory / f"{kind}={quote(name, safe='@+=')}"

    @staticmethod
    def _read(file: Path) -> Suspension:
        """A file that was cut short by a crash still suspends."""
        account = unquote(file.name.replace("=", " ", 1))
        try:
            tree = json.loads(file.read_text("utf-8"))
            return Suspension(account, float(tree["since"]), str(tree["reason"]))
        except (ValueError, KeyError, TypeError):
            return Suspension(account, file.stat().st_mtime, "")
