"""Nouns to octets and back, for the columns that no query reads.

The first octet names the format of the rest, so rows of several formats can coexist. A noun is a map by field name: a
field added later, with a default, is absent in old rows, and an unknown one is ignored.
"""

from __future__ import annotations

import json
import zlib
from threading import local
from typing import Any, Generic, TypeVar

import msgspec
import zstandard

from gateway.model.delivery import Act, Attempt, Ending, Trace, Transfer
from gateway.model.envelope import Recipient
from gateway.model.message import Evidence, Span
from gateway.model.value import Value, replace

T = TypeVar("T")

_PLAIN = b"\x01"
"""MessagePack."""
_ESCAPED = b"\x02"
"""JSON in ASCII: the only format that can carry a lone surrogate, which stands for an octet that is not UTF-8."""
_DEFLATED = b"\x03"
"""MessagePack in a raw zlib stream: the format of the first spools; it is only read."""
_COMPRESSED = b"\x04"
"""MessagePack in a Zstandard frame."""

_LEVEL = 1
_WINDOW = -13
_LARGEST = 67_108_864
"""Octets of the largest noun that is read: a damaged frame must not exhaust the memory."""


class Unreadable(Exception):
    """A stored noun cannot be read."""


class _Zstandard(local):
    """A thread's own contexts: they are costly to make, and threads may not share them."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
        self.decompressor = zstandard.ZstdDecompressor()

    def compress(self, octets: bytes) -> bytes:
        return self.compressor.compress(octets)

    def decompress(self, frame: bytes) -> bytes:
        """Raises ZstdError."""
        if zstandard.frame_content_size(frame) > _LARGEST:
            raise zstandard.ZstdError("the frame is too large")
        return self.decompressor.decompress(frame, max_output_size=_LARGEST)


_ZSTANDARD = _Zstandard()


class Codec(Generic[T]):
    """Writes and reads one type of noun."""

    def __init__(self, noun: Any, compressed: bool = False) -> None:
        self._noun = noun
        self._compressed = compressed
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(noun)

    def pack(self, value: T) -> bytes:
        """The noun as octets."""
        try:
            octets = self._encoder.encode(value)
        except UnicodeEncodeError:
            return _ESCAPED + json.dumps(msgspec.to_builtins(value)).encode("ascii")
        return _COMPRESSED + _ZSTANDARD.compress(octets) if self._compressed else _PLAIN + octets

    def unpack(self, octets: bytes) -> T:
        """The noun. Raises Unreadable."""
        if not isinstance(octets, bytes):
            raise Unreadable("no octets are there")
        form, rest = octets[:1], octets[1:]
        try:
            return self._read(form, rest)
        except (msgspec.DecodeError, zstandard.ZstdError, zlib.error, ValueError) as error:
            raise Unreadable(str(error)) from error

    def _read(self, form: bytes, rest: bytes) -> T:
        value: T
        if form == _ESCAPED:
            value = msgspec.convert(json.loads(rest), self._noun)
        elif form == _COMPRESSED:
            value = self._decoder.decode(_ZSTANDARD.decompress(rest))
        elif form == _DEFLATED:
            value = self._decoder.decode(zlib.decompressobj(_WINDOW).decompress(rest, _LARGEST))
        elif form == _PLAIN:
            value = self._decoder.decode(rest)
        else:
            raise Unreadable(f"stored in an unknown form {form!r}")
        return value


class TracedEvidence(Value):
    """The part of a Trace that a Claim needs. Reading it from a trace's octets skips the rest."""

    evidence: Evidence | None


TRACE: Codec[Trace] = Codec(Trace, compressed=True)
TRACED_EVIDENCE: Codec[TracedEvidence] = Codec(TracedEvidence)
EVIDENCE: Codec[Evidence] = Codec(Evidence, compressed=True)
TRANSFER: Codec[Transfer] = Codec(Transfer)
RECIPIENTS: Codec[tuple[Recipient, ...]] = Codec(tuple[Recipient, ...])
SPANS: Codec[tuple[Span, ...]] = Codec(tuple[Span, ...])
ACT: Codec[Act] = Codec(Act)
ATTEMPT: Codec[tuple[Attempt, tuple[Ending, ...]]] = Codec(tuple[Attempt, tuple[Ending, ...]])


def pack_trace(trace: Trace) -> bytes:
    """A trace, without the octets of its content."""
    if trace.content is not None and (trace.content.data is not None or trace.content.path):
        trace = replace(trace, content=replace(trace.content, data=None, path=""))
    return TRACE.pack(trace)


def pack_transfer(transfer: Transfer) -> bytes:
    """The constant part of a transfer; the rest has columns of its own."""
    return TRANSFER.pack(replace(transfer, rcpts=(), due=0.0, attempts=0, delay_warned=False))


def unpack_transfer(due: float, attempts: int, delay_warned: int, rcpts: bytes, body: bytes) -> Transfer:
    """The whole transfer from its columns. Raises Unreadable."""
    return replace(
        TRANSFER.unpack(body),
        rcpts=RECIPIENTS.unpack(rcpts),
        due=due,
        attempts=attempts,
        delay_warned=bool(delay_warned),
    )


def as_text(text: str) -> str:
    """Text for a column: an octet that is not UTF-8 becomes an escape."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
