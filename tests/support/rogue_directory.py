"""A directory that sends a test's answers, octet by octet, on real sockets; and one that only counts connections."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

BIND_RESPONSE, SEARCH_DONE, SEARCH_ENTRY, EXTENDED_RESPONSE = 0x61, 0x65, 0x64, 0x78


def ber(tag: int, content: bytes) -> bytes:
    """One element with a long length."""
    return bytes([tag, 0x84]) + len(content).to_bytes(4, "big") + content


def answer(message: int, kind: int, code: int, referral: str = "") -> bytes:
    """An LDAP message with a result code (RFC 4511 section 4.1.9)."""
    result = bytes([0x0A, 1, code, 4, 0, 4, 0])
    if referral:
        result += ber(0xA3, ber(0x04, referral.encode()))
    return ber(0x30, ber(2, message.to_bytes(4, "big")) + ber(kind, result))


def entry(message: int, mail: str) -> bytes:
    attribute = ber(0x30, ber(4, b"mail") + ber(0x31, ber(4, mail.encode())))
    return ber(0x30, ber(2, message.to_bytes(4, "big")) + ber(SEARCH_ENTRY, ber(4, b"cn=x") + ber(0x30, attribute)))


Script = Callable[[int, int], bytes]
"""The answer to the request with this message id and tag."""


class RogueDirectory:
    """Serves each connection in a thread."""

    def __init__(self, script: Script, drip: float = 0.0) -> None:
        self._script = script
        self._drip = drip
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.url = f"ldap://127.0.0.1:{self.port}"
        self.seen: list[bytes] = []
        """Every request, in order."""
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> RogueDirectory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown(socket.SHUT_RDWR)  # wakes the thread, which would serve the next test's socket
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            while request := connection.recv(65536):
                self.seen.append(request)
                if request[0] != 0x30:
                    self._say(connection, b"\x16\x03\x03\x40\x00" + bytes(16384))  # to a TLS client
                    continue
                at = 2 if request[1] < 0x80 else 2 + request[1] - 0x80  # behind the sequence's length
                self._say(
                    connection,
                    self._script(
                        int.from_bytes(request[at + 2 : at + 2 + request[at + 1]]), request[at + 2 + request[at + 1]]
                    ),
                )

    def _say(self, connection: socket.socket, octets: bytes) -> None:
        if not self._drip:
            connection.sendall(octets)
            return
        for at in range(len(octets)):
            connection.sendall(octets[at : at + 1])
            time.sleep(self._drip)
