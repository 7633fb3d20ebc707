"""The mail of each sender and each domain in the last hour, over all workers; a sender above its limit is suspended."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter, deque
from pathlib import Path
from urllib.parse import quote, unquote

from gateway.config.outbound import Rates
from gateway.model.event import Event, Level
from gateway.model.value import Value
from gateway.ports import Clock, EventSink, Tally

DIRECTORY = "suspended"
"""Below the spool's."""
_RESUMED = "resumed"
"""Beside it: the accounts whose limits restarted, and the times."""


class Suspension(Value):
    """One account that may not send."""

    account: str
    """`sender NAME` or `domain NAME`."""
    since: float
    """Epoch seconds."""
    reason: str


class Suspensions:
    """The suspended accounts, until an admin resumes them."""

    def __init__(self, spool: Path) -> None:
        self._directory = spool / DIRECTORY
        self._resumed = spool / _RESUMED

    def has(self, account: str) -> bool:
        """One access to the directory: cheap enough for every message."""
        return self._file(account).exists()

    def add(self, suspension: Suspension) -> bool:
        """Suspend an account. False when it was already suspended. Raises OSError."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = json.dumps({"account": suspension.account, "since": suspension.since, "reason": suspension.reason})
        try:
            with self._file(suspension.account).open("x", encoding="utf-8") as stream:
                stream.write(text)
        except FileExistsError:
            return False
        return True

    def remove(self, account: str) -> bool:
        """Resume an account. False when it was not suspended. Raises OSError."""
        self._resumed.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = self._file(account)
        try:
            os.utime(file)
            file.replace(self._resumed / file.name)
        except FileNotFoundError:
            return False
        return True

    def generation(self, account: str) -> int:
        """Another number after each resumption: earlier counts no longer apply."""
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
        # A login may be an address, which may contain a slash; the word before it prevents `.` and `..`.
        kind, _, name = account.partition(" ")
        return self._directory / f"{kind}={quote(name, safe='@+=')}"

    @staticmethod
    def _read(file: Path) -> Suspension:
        """A file that a crash cut short still suspends."""
        account = unquote(file.name.replace("=", " ", 1))
        try:
            tree = json.loads(file.read_text("utf-8"))
            return Suspension(account, float(tree["since"]), str(tree["reason"]))
        except (ValueError, KeyError, TypeError):
            return Suspension(account, file.stat().st_mtime, "")


_BUCKET = 60.0
_WINDOW = 3600.0
"""Seconds over which is counted, in steps of a bucket."""


class SendingLimits:
    """Counts by account: `sender NAME` or `domain NAME`."""

    def __init__(self, tally: Tally, clock: Clock, suspensions: Suspensions, emit: EventSink) -> None:
        self._tally = tally
        self._clock = clock
        self._suspensions = suspensions
        self._emit = emit
        self._buckets: deque[tuple[float, Counter[str]]] = deque()

    def is_suspended(self, account: str) -> bool:
        return self._suspensions.has(account)

    def count(self, account: str, rates: Rates, recipients: int) -> None:
        """A message for so many recipients was accepted."""
        counted = f"{account} {self._suspensions.generation(account)}"
        messages = self._add(f"messages {counted}", 1)
        total = self._add(f"recipients {counted}", recipients)
        if messages > rates.messages:
            self._suspend(account, f"more than {rates.messages} messages in an hour")
        elif total > rates.recipients:
            self._suspend(account, f"more than {rates.recipients} recipients in an hour")

    def fail(self, account: str, rates: Rates, rcpt: str) -> None:
        """A recipient was refused permanently. The same one counts once in an hour."""
        counted = f"{account} {self._suspensions.generation(account)}"
        if self._add(f"failed {counted} {rcpt}", 1) > 1:
            return
        if self._add(f"failures {counted}", 1) > rates.failures:
            self._suspend(account, f"more than {rates.failures} recipients were refused in an hour")

    def expire(self) -> None:
        """Remove counts older than an hour."""
        now = self._clock.monotonic()
        while self._buckets and self._buckets[0][0] <= now - _WINDOW:
            for old, counted in self._buckets.popleft()[1].items():
                self._tally.add(old, -counted)

    async def run(self) -> None:
        """Work each minute, until cancelled: a worker that no longer counts must not count against the others."""
        while True:
            self.expire()
            await asyncio.sleep(_BUCKET)

    def _suspend(self, account: str, reason: str) -> None:
        try:
            suspended = self._suspensions.add(Suspension(account, self._clock.now(), reason))
        except OSError as error:
            # The message is already stored: the client must not get another reply, and send it again.
            failed = (("account", account), ("reason", reason), ("error", str(error)))
            self._emit(Event("suspension-failed", "", failed, Level.ALARM))
            return
        if suspended:
            fix = f"find out who sends, change the password, then: waypost outbound resume {account.partition(' ')[2]}"
            fields = (("account", account), ("reason", reason), ("fix", fix))
            self._emit(Event("sender-suspended", "", fields, Level.ALARM))

    def _add(self, key: str, number: int) -> int:
        """Count in this minute."""
        self.expire()
        now = self._clock.monotonic()
        if not self._buckets or self._buckets[-1][0] <= now - _BUCKET:
            self._buckets.append((now, Counter()))
        self._buckets[-1][1][key] += number
        return self._tally.add(key, number)
