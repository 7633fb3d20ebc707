"""Logins: passwords checked against their argon2 hashes (RFC 9106), slowly for clients that guess."""

from __future__ import annotations

import asyncio
import json
import os
from collections import OrderedDict, deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from gateway.config.listeners import read_users
from gateway.config.recipients import LoginSource, LoginsUnavailable
from gateway.config.text_file import TextUnfit
from gateway.model.envelope import IPText, network_of
from gateway.model.event import Event, Level
from gateway.model.reply import Reply
from gateway.ports import Clock, EventSink

_INVALID = Reply(535, "7.8", "Authentication credentials invalid")
_LATER = Reply(454, "7.0", "Temporary authentication failure")
_THREADS = 2
_MOST_WAITING = 32
"""Logins under way beyond which the next is deferred: each costs a thread and its hash's memory."""
_MOST_OF_STRANGERS = 20
"""The same for a name from networks without an earlier login: guesses leave the other places to its owner."""
_PASSWORD_OCTETS = 1024
_PATIENCE_SECONDS = 600.0
"""Seconds for which failures of a network are remembered."""
_MOST_FAILURES = 20
"""Failures of a network within that time, after which no further login is tried."""
_MOST_DELAY_SECONDS = 8.0
_MOST_NETWORKS = 10_000
_MOST_FAILURES_OF_NAME = 50
"""Failures of one name within that time, from all networks, after which it is locked except for networks with earlier
logins."""
_LOCKED_SECONDS = 900.0
_MOST_ACCOUNTS = 100_000
"""Names that are remembered, including unknown ones."""
_MOST_OF_A_NAME = 255
"""Characters of the longest possible name."""


def hash_password(password: str) -> str:
    """The hash for the users' file."""
    return PasswordHasher().hash(password)


@dataclass(slots=True)
class _Failures:
    count: int
    last: float


@dataclass(slots=True)
class _Account:
    """The recent history of a name, known or unknown: its lock must not show the difference."""

    failures: _Failures
    locked_until: float = 0.0
    networks: dict[str, None] = field(default_factory=dict)
    """The networks of its logins, the latest last."""


_MOST_NETWORKS_OF_NAME = 64
_MOST_OCTETS = 2_097_152
"""Octets of the file of successes; beyond them, the older half is removed."""


class Successes:
    """Names with the networks of their logins, in a file to which all workers add lines. So an owner's networks are
    known after a restart."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reading = Lock()
        self._inode = 0
        self._read_to = 0
        """Up to where the file of that inode was read."""

    def has_more(self) -> bool:
        """A worker has added something since the last `read_more`. Raises OSError."""
        try:
            status = self._path.lstat()
        except FileNotFoundError:
            return False
        return (status.st_ino, status.st_size) != (self._inode, self._read_to)

    def read(self) -> list[tuple[str, str]]:
        """Names and networks, the oldest first; a line that cannot be read is left out. Raises OSError."""
        with self._reading:
            self._read_to = 0
        return self.read_more()

    def read_more(self) -> list[tuple[str, str]]:
        """The same for what has come since it was read last. Raises OSError."""
        with self._reading:
            try:
                with os.fdopen(os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
                    status = os.fstat(file.fileno())
                    if status.st_ino != self._inode or status.st_size < self._read_to:
                        self._inode, self._read_to = status.st_ino, 0
                    file.seek(self._read_to)
                    octets = file.read(2 * _MOST_OCTETS)
            except FileNotFoundError:
                return []
            self._read_to += len(octets)
        return [pair for line in octets.splitlines() if (pair := _read_pair(line)) is not None]

    def add(self, name: str, network: str) -> None:
        """Raises OSError."""
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        try:
            os.write(descriptor, _write_pair(name, network))
            size = os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)
        if size > _MOST_OCTETS:
            self._shorten()

    def _shorten(self) -> None:
        """A line that another worker adds at this moment may be lost; that network then counts as unknown again."""
        pairs = list(dict.fromkeys(reversed(self.read())))[::-1]
        kept = b"".join(_write_pair(*pair) for pair in pairs)[-_MOST_OCTETS // 2 :].partition(b"\n")[2]
        beside = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(descriptor, kept)
        finally:
            os.close(descriptor)
        beside.replace(self._path)


def _write_pair(name: str, network: str) -> bytes:
    return json.dumps([name, network]).encode() + b"\n"


def _read_pair(line: bytes) -> tuple[str, str] | None:
    try:
        name, network = json.loads(line)
    except (ValueError, TypeError):
        return None
    return (name, network) if isinstance(name, str) and isinstance(network, str) else None


class Credentials:
    """Checks logins. The users' file is read again when it has changed; a broken one leaves the last good one in
    use."""

    def __init__(
        self,
        path: Path | None,
        clock: Clock,
        emit: EventSink,
        directory: LoginSource | None = None,
        successes: Path | None = None,
    ) -> None:
        """`path`: the users' file; `directory` is asked about names that are not in it; `successes` is the file of
        earlier logins."""
        self._path = path
        self._directory = directory
        self._clock = clock
        self._emit = emit
        self._hasher = PasswordHasher()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="login")
        self._waiting = 0
        self._stamp: tuple[int, int, int] | None = None
        self._users: Mapping[str, str] = {}
        """Hashes by name in lower case, because people type their name in any letter case."""
        self._refused = False
        """The file cannot be used."""
        self._found: deque[Event] = deque()
        """Events of the threads, which the loop emits."""
        self._failures: OrderedDict[str, _Failures] = OrderedDict()
        self._accounts: OrderedDict[str, _Account] = OrderedDict()
        self._successes = None if successes is None else Successes(successes)
        self._remember()

    async def check(self, name: str, password: str, client: IPText) -> Reply | None:
        """None when the password is this user's, else the reply to the client.

        An unknown name takes as long as a wrong password and is locked like a known one. Each failure of a network
        delays its next answer.
        """
        network = network_of(client)
        failures = self._failures_of(network)
        account = self._accounts.get(name.lower())
        known = account is not None and network in account.networks
        if not known and self._successes is not None:
            await self._learn(self._successes)
            account = self._accounts.get(name.lower())
            known = account is not None and network in account.networks
        most = _MOST_WAITING if known else _MOST_OF_STRANGERS
        if failures.count >= _MOST_FAILURES or self._waiting >= most or self._is_locked(account, network):
            return _LATER
        failures.count += 1  # until it succeeds: otherwise several at once would all count as the first
        failures.last = self._clock.monotonic()
        delay = min(0.25 * 2**failures.count, _MOST_DELAY_SECONDS)
        self._waiting += 1
        try:
            good = await asyncio.get_running_loop().run_in_executor(self._threads, self._verify, name, password)
        except LoginsUnavailable as error:
            failures.count -= 1
            self._emit(Event("logins-unavailable", "", (("error", str(error)),), Level.ALARM))
            return _LATER
        finally:
            self._waiting -= 1
            while self._found:
                self._emit(self._found.popleft())
        if good:
            failures.count -= 1
            await self._note_success(name, network)
            return None
        if len(name) <= _MOST_OF_A_NAME or name.lower() in self._users:
            self._note_failure(name)
        await asyncio.sleep(delay)
        return _INVALID

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _verify(self, name: str, password: str) -> bool:
        """In a thread: read the file if it has changed, and hash."""
        self._refresh()
        users = self._users
        known = users.get(name.lower())
        if known is None and self._directory is not None and len(password.encode()) <= _PASSWORD_OCTETS:
            return len(name) <= _MOST_OF_A_NAME and self._directory.check(name, password)
        hash = known or next(iter(users.values()), None)
        if hash is None or len(password.encode()) > _PASSWORD_OCTETS:
            return False
        try:
            return self._hasher.verify(hash, password) and known is not None
        except (VerificationError, InvalidHashError):
            return False

    def _refresh(self) -> None:
        if self._path is None:
            return
        try:
            status = self._path.stat()
            stamp = status.st_mtime_ns, status.st_size, status.st_ino
            if stamp == self._stamp:
                return
            users, problems = read_users(self._path)
        except (OSError, TextUnfit) as error:
            stamp, users, problems = (0, 0, 0), {}, []
            if self._stamp == stamp:
                return
            said = str(error) if isinstance(error, TextUnfit) else f"cannot read {self._path}: {error.strerror}"
        else:
            said = problems[0].problem if problems else ""
        self._stamp = stamp
        if said:
            self._refused = True
            self._found.append(Event("users-refused", "", (("error", said),), Level.ALARM))
        else:
            if self._refused:
                self._found.append(Event("users-read", "", (("users", len(users)),)))
            self._refused = False
            self._users = {name.lower(): hash for name, hash in users.items()}

    def _account(self, name: str) -> _Account:
        """A directory ignores letter case in a name. A client that fills the memory with names displaces the oldest of
        those that have not logged in."""
        account = self._accounts.setdefault(name.lower(), _Account(_Failures(0, self._clock.monotonic())))
        self._accounts.move_to_end(name.lower())
        while len(self._accounts) > _MOST_ACCOUNTS:
            oldest, met = self._accounts.popitem(last=False)
            if met.networks:
                self._accounts[oldest] = met
        return account

    def _remember(self) -> None:
        try:
            known = [] if self._successes is None else self._successes.read()
        except OSError as error:
            self._say_forgotten(error)
            return
        self._note_known(known)

    async def _learn(self, successes: Successes) -> None:
        """Where people have logged in at other workers meanwhile. Nobody waits for a file that cannot be read: that was
        said when it was read first, and is said at the next login that is to be remembered."""
        with suppress(OSError):
            if successes.has_more():
                self._note_known(await asyncio.get_running_loop().run_in_executor(None, successes.read_more))

    def _note_known(self, known: list[tuple[str, str]]) -> None:
        for name, network in known:
            _add_network(self._account(name), network)

    async def _note_success(self, name: str, network: str) -> None:
        if not _add_network(self._account(name), network) or self._successes is None:
            return
        try:
            await asyncio.get_running_loop().run_in_executor(None, self._successes.add, name.lower(), network)
        except OSError as error:
            self._say_forgotten(error)

    def _say_forgotten(self, error: OSError) -> None:
        fields = (("error", str(error)), ("fix", "see to the file: without it a restart forgets where people log in"))
        self._emit(Event("logins-not-remembered", "", fields, Level.WARNING))

    def _is_locked(self, account: _Account | None, network: str) -> bool:
        """The owner can still log in from earlier networks: a guesser elsewhere must not lock him out."""
        if account is None or self._clock.monotonic() >= account.locked_until:
            return False
        return network not in account.networks

    def _note_failure(self, name: str) -> None:
        """Guesses from many networks are one attack on one name."""
        account, now = self._account(name), self._clock.monotonic()
        failures = account.failures
        if now - failures.last > _PATIENCE_SECONDS:
            failures.count = 0
        failures.count, failures.last = failures.count + 1, now
        if failures.count >= _MOST_FAILURES_OF_NAME and now >= account.locked_until:
            account.locked_until = now + _LOCKED_SECONDS
            failures.count = 0
            if name.lower() in self._users or self._directory is not None:
                fields = (("login", name), ("minutes", int(_LOCKED_SECONDS // 60)))
                self._emit(Event("login-locked", "", fields, Level.ALARM))

    def _failures_of(self, network: str) -> _Failures:
        """The recent failures of the client's network. The number of remembered networks is limited."""
        failures = self._failures.get(network)
        if failures is None or self._clock.monotonic() - failures.last > _PATIENCE_SECONDS:
            failures = _Failures(0, self._clock.monotonic())
        self._failures[network] = failures
        self._failures.move_to_end(network)
        while len(self._failures) > _MOST_NETWORKS:
            self._failures.popitem(last=False)
        return failures


def _add_network(account: _Account, network: str) -> bool:
    """True when it is a new one."""
    new = network not in account.networks
    account.networks.pop(network, None)
    account.networks[network] = None
    while len(account.networks) > _MOST_NETWORKS_OF_NAME:
        del account.networks[next(iter(account.networks))]
    return new
