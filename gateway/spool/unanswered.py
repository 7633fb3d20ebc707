"""Rows of messages whose client has not yet got the reply that they are stored. Rows left by a dead process belong to
clients that never will. The functions run inside a transaction that their caller holds."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import deque
from collections.abc import Collection
from contextlib import suppress

from gateway.model.history import REMEMBERED
from gateway.spool import codec
from gateway.spool.queries import QUERIES
from gateway.spool.writer import Writer

_WAIT = 0.5
"""Seconds for which answers are collected."""


class Answers:
    """The answers that were given and are not written yet."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._given: deque[tuple[str, bool]] = deque()
        self._writing: asyncio.Task[None] | None = None
        self._closed = False

    def note(self, id: str, heard: bool) -> None:
        self._given.append((id, heard))
        if not self._closed and (self._writing is None or self._writing.done()):
            self._writing = asyncio.create_task(self._write_all())

    def write_unheard(self, connection: sqlite3.Connection) -> None:
        """Write the answers that did not arrive: a client's retry asks about these."""
        given = tuple(self._given)
        heard = {id for id, arrived in given if arrived}
        note(connection, [(id, arrived) for id, arrived in given if id not in heard])

    def write(self, connection: sqlite3.Connection) -> int:
        """Write the answers; gives their number. They stay until that is committed."""
        given = tuple(self._given)
        note(connection, given)
        return len(given)

    async def close(self) -> None:
        """Write the rest. A later answer is not written: its client counts as one without a reply."""
        self._closed = True
        if self._writing is not None:
            self._writing.cancel()
        await self._writer.post(self.write)

    async def _write_all(self) -> None:
        while self._given:
            await asyncio.sleep(_WAIT)
            # Unwritten answers stay for the next time.
            with suppress(Exception):
                await self._writer.run(self.write, durable=False, settled=self._drop)

    def _drop(self, written: int) -> None:
        for _ in range(written):
            self._given.popleft()


def put(connection: sqlite3.Connection, n: int, fingerprint: bytes, received: float) -> None:
    """Record that a message is stored and its client has no reply yet."""
    connection.execute(QUERIES["insert_unanswered"], (n, fingerprint, received))


def note(connection: sqlite3.Connection, answers: Collection[tuple[str, bool]]) -> None:
    """Record ids of messages, each with whether its client got the reply."""
    for query, told in (("forget_answered", True), ("mark_unheard", False)):
        ids = [codec.as_text(id) for id, heard in answers if heard is told]
        if ids:
            connection.execute(QUERIES[query], (json.dumps(ids),))


def find(connection: sqlite3.Connection, marks: tuple[bytes, bytes], now: float) -> str | None:
    """The message with one of these marks whose client did not get the reply."""
    row = connection.execute(QUERIES["find_unheard"], (*marks, now - REMEMBERED)).fetchone()
    return row[0] if row else None


def is_pending(connection: sqlite3.Connection, marks: tuple[bytes, bytes]) -> bool:
    """A message with one of these marks has no answer yet."""
    return connection.execute(QUERIES["is_unanswered"], marks).fetchone() is not None


def are_there_any(connection: sqlite3.Connection) -> bool:
    """Some client did not get its reply."""
    return bool(connection.execute(QUERIES["any_unheard"]).fetchone()[0])


def forget(connection: sqlite3.Connection, now: float) -> int:
    """Remove the rows whose retry would have come by now; gives their number."""
    return connection.execute(QUERIES["forget_unanswered"], (now - REMEMBERED,)).rowcount
