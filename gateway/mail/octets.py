"""What a message's octets are like, found while they arrive."""

from __future__ import annotations

_CRLF_DOT = b"\r\n."


class OctetScanner:
    """Looks at content chunk by chunk, after dot-unstuffing; chunk edges may fall anywhere.

    The answers are those for the octets seen so far, taken as the whole content.
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
    def bare_newline(self) -> bool:
        """A CR without LF, an LF without CR, or a NUL is somewhere in it (RFC 5321 section 2.3.8)."""
        return self._nul or self._crs != self._crlfs or self._lfs != self._crlfs
