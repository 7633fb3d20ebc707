"""The content of DATA, taken out of the stream: where it ends, and which dots belong to the transport."""

from __future__ import annotations

_END = b"\r\n.\r\n"
_LINE_DOT = _END[:3]
_CRLF = _END[:2]


class DataFraming:
    """Reads what follows 354, in chunks cut anywhere (RFC 5321 section 4.5.2).

    The data ends at CRLF.CRLF and nowhere else; `.CRLF` as the very first line ends an empty message. A dot that
    starts a line is removed, every other octet is passed on as it came, bare CR, bare LF and NUL included. At most
    four octets are held back from one chunk to the next.
    """

    __slots__ = ("_fresh", "_held", "done", "rest")

    def __init__(self) -> None:
        self.done = False
        """The end of data has come."""
        self.rest = b""
        """Octets after the end of data: the client's next commands."""
        self._held = _CRLF  # DATA itself ended a line, so the first one may be the final dot; never passed on
        self._fresh = True

    def feed(self, chunk: bytes) -> bytes:
        """The content octets that are certain once `chunk` has come. After the end of data all goes to `rest`."""
        if self.done:
            self.rest += chunk
            return b""
        octets = self._held + chunk
        dot = octets.find(_LINE_DOT)
        end = octets.find(_END, dot) if dot >= 0 else -1
        if end >= 0:
            self.done = True
            self.rest = octets[end + len(_END) :]
            octets = octets[: end + len(_CRLF)]
        else:
            held = _count_undecided(octets)
            self._held = octets[len(octets) - held :]
            octets = octets[: len(octets) - held]
        if dot >= 0:
            octets = octets.replace(_LINE_DOT, _CRLF)
        if self._fresh and octets:
            self._fresh = False
            return octets[len(_CRLF) :]
        return octets


def _count_undecided(octets: bytes) -> int:
    """How many octets at the end may be the start of the end of data, or of a dot to remove."""
    for length in range(len(_END) - 1, 0, -1):
        if octets.endswith(_END[:length]):
            return length
    return 0
