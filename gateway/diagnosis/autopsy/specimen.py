"""The input file: its octets as SMTP carries them, and the way back to its own offsets and line ends."""

from __future__ import annotations

import hashlib

from gateway.model.value import Value
from gateway.tools.results import Newlines, read_lines


class Specimen(Value):
    """A file and the message in it."""

    name: str
    octets: bytes
    message: bytes
    newlines: Newlines

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.octets).hexdigest()

    def place(self, offset: int, length: int) -> tuple[int, int]:
        """A place in the message as a place in the file."""
        if self.newlines is not Newlines.CONVERTED:
            return offset, length
        # Of every CRLF only the LF is in the file.
        before = self.message.count(b"\n", 0, offset)
        return offset - before, length - self.message.count(b"\n", offset, offset + length)

    def line(self, offset: int) -> int:
        """The number of the line, from 1, that contains an offset of the message."""
        return self.message.count(b"\n", 0, offset) + 1

    def restore(self, message: bytes) -> bytes:
        """A repaired message with the line ends of the file."""
        return message.replace(b"\r\n", b"\n") if self.newlines is Newlines.CONVERTED else message


def read_specimen(name: str, octets: bytes, raw: bool) -> Specimen:
    """With `raw` line ends are never converted."""
    message, newlines = read_lines(octets, raw)
    return Specimen(name, octets, message, newlines)
