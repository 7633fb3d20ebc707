"""Takes connections off a listening socket that workers share.

One is taken in each turn of the loop, by a worker that has no more of them than the average one: so a burst is spread
over the workers, and long sessions stay spread. The loop's own server would take all that wait at once.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Collection

BACKLOG = 1024
_SHY_SECONDS = 0.01
"""How long a worker that has more than its share leaves connections to the others."""
_MOST_AT_ONCE = 16
"""What it takes then, if they are still there: the others may be stuck."""
_SEND_OCTETS = 65_536
"""Replies that the system keeps for a client that does not read: a client gets no more work out of us than fits."""
_FULL_SECONDS = 1.0
"""After the system has refused a descriptor or memory."""


def bind_socket(address: str, beside: Collection[str] = ()) -> socket.socket:
    """A socket that listens on `host:port` or `[::1]:25`. Raises OSError, which names the address.

    `[::]:25` takes IPv4 too, unless one of the addresses that are listened on `beside` it is an IPv4 one of that port.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if bound.family == socket.AF_INET6:
            taken = any(not other.startswith("[") and other.rpartition(":")[2] == port for other in beside)
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::" or taken))
        bound.bind((host, int(port)))
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise OSError(error.errno, f"cannot listen on {address}: {error.strerror}") from None
    bound.setblocking(False)
    return bound


class Acceptor:
    """Serves a listening socket until `close`."""

    def __init__(
        self,
        sock: socket.socket,
        make: Callable[[], asyncio.Protocol],
        is_fair: Callable[[], bool],
        tell: Callable[[OSError], None],
    ) -> None:
        """`make` gives the protocol of a new connection; `is_fair` tells whether this worker is the one to take it;
        `tell` is told why the system gives no connection."""
        sock.setblocking(False)
        sock.listen(BACKLOG)
        name = sock.getsockname()
        self.address: tuple[str, int] = (name[0], name[1])
        """Host and port, the real one where port 0 was asked for."""
        self._sock = sock
        self._make = make
        self._is_fair = is_fair
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._connecting: set[asyncio.Task[None]] = set()
        self._later: asyncio.TimerHandle | None = None
        self._loop.add_reader(sock, self._take_one)

    def close(self) -> None:
        """Take nothing more. What was taken goes on."""
        if self._sock.fileno() < 0:
            return
        self._loop.remove_reader(self._sock)
        if self._later is not None:
            self._later.cancel()
        self._sock.close()

    def _take_one(self) -> None:
        if self._is_fair():
            self._accept()
        else:
            self._rest(_SHY_SECONDS, self._take_some)

    def _take_some(self) -> None:
        self._loop.add_reader(self._sock, self._take_one)
        for _ in range(_MOST_AT_ONCE):
            if not self._accept():
                return

    def _accept(self) -> bool:
        """True when there was one."""
        try:
            connection, _ = self._sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:
            self._tell(error)
            self._rest(_FULL_SECONDS, self._take_some)
            return False
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_OCTETS)
        task = self._loop.create_task(self._connect(connection))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        return True

    async def _connect(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._make, connection)
        except OSError:
            connection.close()  # gone already

    def _rest(self, seconds: float, then: Callable[[], None]) -> None:
        self._loop.remove_reader(self._sock)
        self._later = self._loop.call_later(seconds, then)
