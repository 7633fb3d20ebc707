"""Properties of a message's octets, found while they arrive."""

from __future__ import annotations

import re

_END = b"\r\n.\r\n"
_LINE_DOT = _END[:3]
_CRLF = _END[:2]


class DataFraming:
    """Reads the data after 354, in chunks cut anywhere (RFC 5321 section 4.5.2).

    The data ends at CRLF.CRLF and nowhere else; `.CRLF` as the very first line ends an empty message. A dot that starts
    a line is removed. Every other octet is passed on as received, bare CR, bare LF and NUL included. At most four
    octets are held back from one chunk to the next.
    """

    __slots__ = ("_fresh", "_held", "done", "rest")

    def __init__(self) -> None:
        self.done = False
        """The end of data has arrived."""
        self.rest = b""
        """Octets after the end of data: the client's next commands."""
        self._held = _CRLF  # DATA itself ended a line, so the first one may be the final dot; never passed on
        self._fresh = True

    def feed(self, chunk: bytes) -> bytes:
        """The content octets that are certain after `chunk`. After the end of data, all octets go to `rest`."""
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
    """Number of octets at the end that may start the end of data, or a dot to remove."""
    for length in range(len(_END) - 1, 0, -1):
        if octets.endswith(_END[:length]):
            return length
    return 0


_CRLF_DOT = b"\r\n."
_LONE_DOT = re.compile(rb"(?:[^\r]\n|\r|\0)\.[\r\n\0]|\n\.(?:\r[^\n]|[\n\0])")
_LEADING_DOTS = (b"\n.", b"\r.", b"\0.")


class OctetScanner:
    """Examines content chunk by chunk, after dot-unstuffing; a chunk may end anywhere.

    The answers treat the octets seen so far as the whole content.
    """

    __slots__ = ("_crlfs", "_crs", "_lfs", "_nul", "_tail", "eight_bit", "leading_dot", "size")

    def __init__(self) -> None:
        self.size = 0
        """Octets seen."""
        self.leading_dot = False
        """Some line starts with a dot: on the wire it needs another one (RFC 5321 section 4.5.2)."""
        self.eight_bit = False
        """Some octet is above 127."""
        self._crs = 0
        self._lfs = 0
        self._crlfs = 0
        self._nul = False
        self._tail = b"\r\n"  # the first line starts as if a line had ended before it

    def update(self, chunk: bytes) -> None:
        """Take the next octets."""
        if not chunk:
            return
        edge = self._tail + chunk[:2]
        self.size += len(chunk)
        self._crs += chunk.count(b"\r")
        self._lfs += chunk.count(b"\n")
        self._crlfs += chunk.count(b"\r\n") + (self._tail[1] == 13 and chunk[0] == 10)
        self._nul = self._nul or b"\0" in chunk
        self.eight_bit = self.eight_bit or not chunk.isascii()
        self.leading_dot = self.leading_dot or _CRLF_DOT in edge or _CRLF_DOT in chunk
        self._tail = chunk[-2:] if len(chunk) > 1 else edge[-2:]

    @property
    def ends_line(self) -> bool:
        """The content ends in CRLF, or is empty."""
        return self._tail == b"\r\n"

    @property
    def bare_newline(self) -> bool:
        """The content has a CR without LF, an LF without CR, or a NUL (RFC 5321 section 2.3.8)."""
        return self._nul or self._crs != self._crlfs or self._lfs != self._crlfs


class LoneDotScanner:
    """Finds a dot that some later mail server could take for the end of data, in a body that comes in chunks.

    Such a dot is alone on its line for a reader that also ends a line at a bare CR, a bare LF, a NUL, or the end of the
    body. A dot between two CRLFs does not count: every sender doubles it (RFC 5321 section 4.5.2).
    """

    __slots__ = ("_found", "_tail")

    def __init__(self) -> None:
        self._found = False
        self._tail = b"\r\n"  # the blank line before the body

    def update(self, chunk: bytes) -> None:
        """Take the next octets."""
        octets = self._tail + chunk
        self._found = self._found or _has_lone_dot(octets)
        self._tail = octets[-3:]

    @property
    def found(self) -> bool:
        """True when the octets seen so far, taken as the whole body, have such a dot."""
        return self._found or _has_lone_dot(self._tail + b"\0")


def _has_lone_dot(octets: bytes) -> bool:
    # Few lines begin with a dot: finding those first saves the slow search.
    return any(dot in octets for dot in _LEADING_DOTS) and _LONE_DOT.search(octets) is not None
