"""What each sender and each domain has sent in the last hour, over all workers; who sends too much is suspended."""

from __future__ import annotations

import asyncio
from collections import Counter, deque

from gateway.config.outbound import Rates
from gateway.model.event import Event, Level
from gateway.ports import Clock, EventSink, Tally
from gateway.service.suspension import Suspension, Suspensions

_BUCKET = 60.0
_WINDOW = 3600.0
"""Seconds for which is counted, in steps of a bucket."""


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
        """A message for so many recipients was taken."""
        counted = f"{account} {self._suspensions.generation(account)}"
        messages = self._add(f"messages {counted}", 1)
        total = self._add(f"recipients {counted}", recipients)
        if messages > rates.messages:
            self._suspend(account, f"more than {rates.messages} messages in an hour")
        elif total > rates.recipients:
            self._suspend(account, f"more than {rates.recipients} recipients in an hour")

    def fail(self, account: str, rates: Rates, rcpt: str) -> None:
        """A recipient was refused for good. The same one counts once in an hour."""
        counted = f"{account} {self._suspensions.generation(account)}"
        if self._add(f"failed {counted} {rcpt}", 1) > 1:
            return
        if self._add(f"failures {counted}", 1) > rates.failures:
            self._suspend(account, f"more than {rates.failures} recipients were refused in an hour")

    def expire(self) -> None:
        """Take back what is older than an hour."""
        now = self._clock.monotonic()
        while self._buckets and self._buckets[0][0] <= now - _WINDOW:
            for old, counted in self._buckets.popleft()[1].items():
                self._tally.add(old, -counted)

    async def run(self) -> None:
        """Each minute, until cancelled: a worker that counts nothing more must not count against the others."""
        while True:
            self.expire()
            await asyncio.sleep(_BUCKET)

    def _suspend(self, account: str, reason: str) -> None:
        try:
            suspended = self._suspensions.add(Suspension(account, self._clock.now(), reason))
        except OSError as error:
            # The message is stored already: the client must not be told otherwise, and send it again.
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
