"""The search index: an SQLite database of its own, derived from the traces and rebuilt from them at any time.

It holds where each message stands in time, whether it is still open, and its terms; the answer is read from the spool.
Terms are kept in one table for each day (UTC), which is dropped when the last message of the day is gone.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from gateway.model.search import DeliveryState, FoundMessage, MessageQuery
from gateway.plan.search import ask_terms, find_late_terms, find_terms
from gateway.spool.codec import as_text
from gateway.spool.disk import Disk, SpoolUnusable
from gateway.spool.queries import INDEX_QUERIES

DIRECTORY = "control"
"""The control plane's directory in the spool's."""
INDEX = "index.db"
_LOCK = "index.lock"
_VERSION = 1
"""Raised when the tables or the terms change: the index is then built again."""
_OPEN = {DeliveryState.WAITING: 1, DeliveryState.HELD: 2}
_DAY = 86_400_000_000
"""Microseconds."""
_LAST = 1 << 62
_MANY = 20_000
"""Matches beyond which an open message is looked for among the open ones."""

Position = tuple[int, int]
"""Numbers of the last trace and act of a shard that are in the index."""


class IndexMissing(Exception):
    """There is no index, or it is one of another version: it has to be built."""


class IndexInUse(SpoolUnusable):
    """Another process writes the index."""


class IndexBroken(SpoolUnusable):
    """The index cannot be read or written."""

    def __init__(self, error: sqlite3.Error) -> None:
        super().__init__(str(error))
        # Operational errors pass: a lock, a full disk. All others are faults of the file.
        self.damaged = not isinstance(error, sqlite3.OperationalError)


class IndexReader:
    """Reads the index while its owner writes it. Raises IndexMissing."""

    def __init__(self, directory: Path, subjects: bool) -> None:
        path = directory / DIRECTORY / INDEX
        if not path.is_file():
            raise IndexMissing(f"there is no index in {path.parent}")
        try:
            self._connection = Disk().connect(path, True)
            if not _is_current(self._connection, subjects):
                self._connection.close()
                raise IndexMissing(f"the index in {path.parent} is of another version, or of other settings")
        except sqlite3.Error as error:
            raise IndexMissing(f"the index in {path.parent} cannot be read: {error}") from error
        self._subjects = subjects

    def position(self, shard: str) -> Position:
        return _read_position(self._connection, shard)

    def candidates(self, query: MessageQuery, before: int) -> Iterator[tuple[int, str]]:
        """Place and id of every message that may match, the newest first, from before this place on."""
        since = 0 if query.since is None else to_place(query.since)
        before = before if query.until is None else min(before, to_place(query.until) + 1)
        bounds = {"since": since, "before": before}
        terms = spell(ask_terms(query, self._subjects))
        open = _OPEN.get(query.state, 0) if query.state is not None else 0
        if open and (not terms or self._is_rarer(open, terms)):
            yield from self._connection.execute(INDEX_QUERIES["newest_open"], {**bounds, "open": open})
        elif not terms:
            yield from self._connection.execute(INDEX_QUERIES["newest"], bounds)
        else:
            for (day,) in self._connection.execute(INDEX_QUERIES["parts"]).fetchall():
                if day * _DAY < before and (day + 1) * _DAY > since:
                    statement = INDEX_QUERIES["find_terms"].format(part=_name(day))
                    yield from self._connection.execute(statement, {**bounds, "terms": terms})

    def _is_rarer(self, open: int, terms: str) -> bool:
        """There are fewer open messages than messages with these terms."""
        waiting = int(self._connection.execute(INDEX_QUERIES["count_open"], (open,)).fetchone()[0])
        limit = min(waiting, _MANY)
        total = 0
        for (day,) in self._connection.execute(INDEX_QUERIES["parts"]).fetchall():
            statement = INDEX_QUERIES["count_terms"].format(part=_name(day))
            total += int(self._connection.execute(statement, {"terms": terms, "limit": limit + 1}).fetchone()[0])
            if total > limit:
                return True
        return False

    def close(self) -> None:
        self._connection.close()


class IndexWriter:
    """The only writer. Raises IndexInUse; an index that cannot be used is made anew."""

    def __init__(self, directory: Path, subjects: bool, anew: bool = False) -> None:
        home = directory / DIRECTORY
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(home / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise IndexInUse(f"another process writes the index in {home}") from None
        self._subjects = subjects
        self.path = home / INDEX
        try:
            self._connection = self._open(anew)
        except BaseException:
            os.close(self._lock)
            raise
        self._parts = {day for (day,) in self._connection.execute(INDEX_QUERIES["parts"])}

    def _open(self, anew: bool) -> sqlite3.Connection:
        if not anew:
            with suppress(sqlite3.Error):
                connection = _connect(self.path)
                if _is_current(connection, self._subjects):
                    return connection
                connection.close()
        for file in self.path.parent.glob(f"{INDEX}*"):
            file.unlink()
        connection = _connect(self.path)
        connection.executescript(f"BEGIN;\n{INDEX_QUERIES['make_tables']}\nPRAGMA user_version = {_VERSION};\nCOMMIT;")
        connection.execute(INDEX_QUERIES["write_setting"], ("subjects", str(self._subjects)))
        return connection

    def position(self, shard: str) -> Position:
        return _read_position(self._connection, shard)

    def count(self) -> int:
        return int(self._connection.execute(INDEX_QUERIES["count_entries"]).fetchone()[0])

    def open_ids(self) -> list[str]:
        """Ids of the messages that were still open when they were read."""
        return [id for (id,) in self._connection.execute(INDEX_QUERIES["open_ids"])]

    def ids_after(self, id: str, limit: int) -> list[str]:
        return [found for (found,) in self._connection.execute(INDEX_QUERIES["ids_after"], (id, limit))]

    def put(self, messages: Iterable[FoundMessage], positions: Mapping[str, Position]) -> None:
        """Add messages, or note what became of those that are there; one transaction."""
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            rows: dict[int, list[tuple[int, str]]] = defaultdict(list)
            for found in messages:
                at, terms = self._put_entry(found)
                if terms:
                    rows[at // _DAY].append((at, " ".join(sorted(terms))))
            for day, there in rows.items():
                self._make_part(day)
                # In the order of places: each step back would begin a new segment.
                there.sort()
                connection.executemany(INDEX_QUERIES["insert_terms"].format(part=_name(day)), there)
            for shard, position in positions.items():
                connection.execute(INDEX_QUERIES["write_position"], (shard, *position))
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self._parts = {day for (day,) in connection.execute(INDEX_QUERIES["parts"])}
            raise

    def _put_entry(self, found: FoundMessage) -> tuple[int, frozenset[str]]:
        """The place of a message, and the terms to add there."""
        id, open = as_text(found.id), _find_open(found)
        at = to_place(found.received)
        if self._connection.execute(INDEX_QUERIES["insert_entry"], (at, id, open)).rowcount:
            return at, find_terms(found, self._subjects)
        there = self._connection.execute(INDEX_QUERIES["find_entry"], (id,)).fetchone()
        if there is not None:
            if there[1] != open:
                self._connection.execute(INDEX_QUERIES["set_open"], (open, there[0]))
            return int(there[0]), find_late_terms(found)
        while self._connection.execute(INDEX_QUERIES["has_entry_at"], (at,)).fetchone():
            at += 1
        self._connection.execute(INDEX_QUERIES["insert_entry"], (at, id, open))
        return at, find_terms(found, self._subjects)

    def remove(self, ids: Sequence[str]) -> None:
        """Remove messages whose traces are gone, and the days that have none any more."""
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.executemany(INDEX_QUERIES["delete_entry"], [(id,) for id in ids])
            for day in sorted(self._parts):
                if connection.execute(INDEX_QUERIES["has_entries"], (day * _DAY, (day + 1) * _DAY)).fetchone():
                    continue
                connection.execute(INDEX_QUERIES["drop_part"].format(part=_name(day)))
                connection.execute(INDEX_QUERIES["forget_part"], (day,))
                self._parts.discard(day)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self._parts = {day for (day,) in connection.execute(INDEX_QUERIES["parts"])}
            raise

    def octets(self) -> int:
        """The room that the index takes on the disk."""
        return sum(file.stat().st_size for file in self.path.parent.glob(f"{INDEX}*"))

    def close(self) -> None:
        self._connection.close()
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = -1

    def _make_part(self, day: int) -> None:
        if day not in self._parts:
            self._connection.execute(INDEX_QUERIES["make_part"].format(part=_name(day)))
            self._connection.execute(INDEX_QUERIES["note_part"], (day,))
            self._parts.add(day)


def to_place(received: float) -> int:
    """The place in time of a message received then."""
    return min(max(int(received * 1e6), 0), _LAST)


def spell(asked: Sequence[Sequence[str]]) -> str:
    """The terms in FTS5's language: one of each group; a blank at the end marks the beginning of a term."""
    groups = (" OR ".join(f'"{term.rstrip()}"{"*" if term.endswith(" ") else ""}' for term in one) for one in asked)
    return " AND ".join(f"({group})" for group in groups)


def _find_open(found: FoundMessage) -> int:
    return sum({_OPEN[one.state] for one in found.rcpts if one.state in _OPEN})


def _connect(path: Path) -> sqlite3.Connection:
    # SQLite gives the files beside the database the same mode.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600))
    connection = Disk().connect(path, False)
    connection.execute("PRAGMA journal_mode = WAL")
    # A power cut may cost the last rows, which are derived again, never the order of the file.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA journal_size_limit = 16777216")
    connection.execute("PRAGMA cache_size = -16384")
    return connection


def _is_current(connection: sqlite3.Connection, subjects: bool) -> bool:
    if int(connection.execute("PRAGMA user_version").fetchone()[0]) != _VERSION:
        return False
    found = connection.execute(INDEX_QUERIES["read_setting"], ("subjects",)).fetchone()
    return found is not None and found[0] == str(subjects)


def _read_position(connection: sqlite3.Connection, shard: str) -> Position:
    found = connection.execute(INDEX_QUERIES["read_position"], (shard,)).fetchone()
    return (int(found[0]), int(found[1])) if found else (0, 0)


def _name(day: int) -> str:
    return f"terms_{day}"
