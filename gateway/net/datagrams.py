"""DNS over UDP (RFC 1035 section 4.2.1): connected sockets, and a reader for plain responses.

A response counts when it comes from the server that was asked, to the port it was asked from, with the query's number
and its question (RFC 5452 section 9.1). The kernel drops datagrams from other addresses on a connected socket. A socket
is replaced after some queries or some time, so that its port stays hard to guess.

`read_plain` reads nearly every response: records of one type, perhaps after aliases, or a negative answer with its SOA.
It returns None for any other response, valid or not, and dnspython reads that: the two never disagree.
"""

from __future__ import annotations

import asyncio
import re
import struct
from collections.abc import Callable
from random import SystemRandom
from socket import AF_INET, AF_INET6, inet_ntop
from typing import cast

from gateway.model.dnsdata import Answer, DnsStatus
from gateway.model.value import Value

TRY_SECONDS = 2.0
"""Seconds to wait for one server's response before the next one is asked."""
_HEADER = struct.Struct("!6H")
_FIXED = struct.Struct("!HHIH")
"""Type, class, TTL and length of a record (RFC 1035 section 4.1.3)."""
_RESPONSE, _OPCODE, _TRUNCATED, _AUTHENTIC, _RCODE = 0x8000, 0x7800, 0x0200, 0x0020, 0x000F
_RECURSE_AND_AUTHENTIC = 0x0120
"""RD, and AD, which asks a validating resolver for its verdict (RFC 6840 section 5.7)."""
_EDNS = b"\0\0\x29\x04\xd0\0\0\0\0\0\0"
"""An OPT record without options that offers 1232 octets: they cross any path unfragmented (DNS flag day 2020)."""
_IN = 1
_A, _NS, _CNAME, _SOA, _PTR, _MX, _TXT, _AAAA, _OPT = 1, 2, 5, 6, 12, 15, 16, 28, 41
_TYPES = {"A": _A, "PTR": _PTR, "MX": _MX, "TXT": _TXT, "AAAA": _AAAA}
_MOST_SECONDS = 86_400
_MOST_NEGATIVE_SECONDS = 3600
_MOST_ALIASES = 8
_MOST_OCTETS = 4096
"""Of a response that is read here: more than the 1232 that we offer is unusual, and left to dnspython."""
_MOST_POINTERS = 16
"""Pointers in one name."""
_PLAIN_LABEL = re.compile(rb"[A-Za-z0-9_-]{1,63}")
_SOCKETS = 16
"""Sockets to each server at the most."""
_MOST_QUERIES, _MOST_AGE = 200, 60.0
"""Queries, and seconds, after which a socket is replaced."""
_RANDOM = SystemRandom()


class Plain(Value):
    """A response that was read."""

    answer: Answer
    seconds: int
    """Seconds for which it may be kept."""


def encode_question(name: str, kind: str) -> bytes | None:
    """The question section in lower case; None for a name or a type that this module does not ask for."""
    number = _TYPES.get(kind)
    if number is None or not name.isascii() or len(name) > 253:
        return None
    labels = name.lower().encode("ascii").split(b".")
    if not all(map(_PLAIN_LABEL.fullmatch, labels)):
        return None
    return b"".join(bytes((len(label),)) + label for label in labels) + struct.pack("!xHH", number, _IN)


def is_truncated(response: bytes) -> bool:
    """True when the whole response requires TCP (RFC 1035 section 4.2.1)."""
    return bool(response[2] & _TRUNCATED >> 8)


def read_plain(response: bytes, question: bytes) -> Plain | None:
    """The answer of a response to this question; None when it is not a plain one."""
    if len(response) > _MOST_OCTETS:
        return None
    try:
        return _Reader(response, question).read()
    except (_NotPlain, IndexError, struct.error):
        return None


class _NotPlain(Exception):
    """The response is left to dnspython."""


class _Reader:
    """One pass over a response."""

    def __init__(self, wire: bytes, question: bytes) -> None:
        self._wire = wire
        self._at = 12 + len(question)
        self._kind = int.from_bytes(question[-4:-2], "big")
        self._least = _MOST_SECONDS

    def read(self) -> Plain:
        _, flags, questions, answers, authority, more = _HEADER.unpack_from(self._wire)
        rcode = flags & _RCODE
        if flags & (_OPCODE | _TRUNCATED) or not flags & _RESPONSE or rcode not in (0, 3) or questions != 1:
            raise _NotPlain
        records = self._read_answers(answers)
        negative = self._read_authority(authority)
        self._read_additional(more)
        authentic = bool(flags & _AUTHENTIC)
        if records:
            if rcode:
                raise _NotPlain
            return Plain(Answer(DnsStatus.FOUND, tuple(records), authentic), self._least)
        if negative is None:
            raise _NotPlain
        # An NXDOMAIN concerns the end of the chain (RFC 6604 section 3): a name with a CNAME exists.
        status = DnsStatus.NXDOMAIN if rcode and not answers else DnsStatus.NODATA
        return Plain(Answer(status, (), authentic), min(self._least, negative, _MOST_NEGATIVE_SECONDS))

    def _read_answers(self, count: int) -> list[str]:
        """The records at the end of the chain of aliases, which must be in order."""
        name = self._name(12)[0]
        names, records = {name}, list[str]()
        for number in range(count):
            owner, kind, start, end = self._record()
            if owner != name:
                raise _NotPlain
            if kind == _CNAME and not records and number < _MOST_ALIASES:
                name, after = self._name(start)
                if after != end or name in names:
                    raise _NotPlain
                names.add(name)
            elif kind == self._kind:
                record = self._data(kind, start, end)
                if record in records:
                    raise _NotPlain
                records.append(record)
            else:
                raise _NotPlain
        self._end_name = name
        return records

    def _read_authority(self, count: int) -> int | None:
        """Lifetime of a negative answer (RFC 2308 section 5); None without its SOA."""
        found = None
        for _ in range(count):
            owner, kind, start, end = self._record(counts=False)
            if kind == _NS:
                if self._name(start)[1] != end:
                    raise _NotPlain
                continue
            if kind != _SOA or count != 1 or not (self._end_name == owner or self._end_name.endswith("." + owner)):
                raise _NotPlain
            after = self._name(self._name(start)[1])[1]
            if after + 20 != end:
                raise _NotPlain
            seconds = int.from_bytes(self._wire[start - 6 : start - 2], "big")
            found = min(seconds, int.from_bytes(self._wire[end - 4 : end], "big"))
        return found

    def _read_additional(self, count: int) -> None:
        """Addresses, and one OPT record that changes nothing (RFC 6891 section 6.1.3)."""
        for number in range(count):
            if self._wire[self._at : self._at + 3] == _EDNS[:3]:
                extended, length = self._wire[self._at + 5 : self._at + 7], self._wire[self._at + 9 : self._at + 11]
                if extended != b"\0\0" or length != b"\0\0" or number != count - 1:
                    raise _NotPlain
                self._at += len(_EDNS)
                continue
            _, kind, start, end = self._record(counts=False)
            if (kind, end - start) not in ((_A, 4), (_AAAA, 16)):
                raise _NotPlain
        if self._at != len(self._wire):
            raise _NotPlain

    def _record(self, counts: bool = True) -> tuple[str, int, int, int]:
        """Owner, type, and the place of the data."""
        owner, at = self._name(self._at)
        kind, family, seconds, length = _FIXED.unpack_from(self._wire, at)
        start, end = at + 10, at + 10 + length
        if family != _IN or seconds > 0x7FFFFFFF or end > len(self._wire) or kind == _OPT:
            raise _NotPlain
        if counts:
            self._least = min(self._least, seconds)
        self._at = end
        return owner, kind, start, end

    def _name(self, at: int) -> tuple[str, int]:
        """A name in lower case without its final dot, and its end. Pointers go backwards only."""
        labels: list[bytes] = []
        after, bound, octets, pointers = 0, at, 0, 0
        while length := self._wire[at]:
            if length >= 192:
                after = after or at + 2
                at = (length & 0x3F) << 8 | self._wire[at + 1]
                pointers += 1
                if not 12 <= at < bound or pointers > _MOST_POINTERS:
                    raise _NotPlain
                bound = at
                continue
            label = self._wire[at + 1 : at + 1 + length]
            octets += length + 1
            if length > 63 or octets > 254 or not _PLAIN_LABEL.fullmatch(label):
                raise _NotPlain
            labels.append(label)
            at += length + 1
        return b".".join(labels).decode("ascii").lower(), after or at + 1

    def _data(self, kind: int, start: int, end: int) -> str:
        if kind == _TXT:
            return self._text(start, end)
        if kind in _ADDRESSES:
            length, convert = _ADDRESSES[kind]
            data = self._wire[start:end]
            # Implementations write a mapped or compatible address in different ways.
            if len(data) != length or data.startswith(bytes(10)):
                raise _NotPlain
            return convert(data)
        name, after = self._name(start + 2 * (kind == _MX))
        if after != end:
            raise _NotPlain
        if kind == _MX:
            return f"{int.from_bytes(self._wire[start : start + 2], 'big')} {name or '.'}"
        return name or "."

    def _text(self, start: int, end: int) -> str:
        parts = []
        while start < end:
            after = start + 1 + self._wire[start]
            parts.append(self._wire[start + 1 : after])
            start = after
        if start != end or not parts:
            raise _NotPlain
        return b"".join(parts).decode("latin-1")


_ADDRESSES: dict[int, tuple[int, Callable[[bytes], str]]] = {
    _A: (4, lambda data: inet_ntop(AF_INET, data)),
    _AAAA: (16, lambda data: inet_ntop(AF_INET6, data)),
}


class _Channel(asyncio.DatagramProtocol):
    """A connected socket, and the queries under way on it."""

    def __init__(self, until: float) -> None:
        self._until = until
        self._left = _MOST_QUERIES
        self._transport: asyncio.DatagramTransport | None = None
        self._waiting: dict[bytes, tuple[bytes, asyncio.Future[bytes]]] = {}
        self._retired = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: object) -> None:
        question, future = self._waiting.get(data[:2], (b"", None))
        if future is None or future.done() or len(data) < 12 or not data[2] & _RESPONSE >> 8:
            return
        if data[12 : 12 + len(question)].lower() == question and data[4:6] == b"\0\1":
            future.set_result(data)

    def error_received(self, exc: Exception) -> None:
        for _, future in self._waiting.values():
            if not future.done():
                future.set_exception(exc)

    def is_worn(self, now: float) -> bool:
        """True when it takes no further query."""
        return self._left <= 0 or now >= self._until or self._transport is None or self._transport.is_closing()

    async def ask(self, question: bytes, seconds: float, edns: bool) -> bytes:
        """The response. Raises TimeoutError, OSError."""
        loop = asyncio.get_running_loop()
        self._left -= 1
        number = _RANDOM.randbytes(2)
        while number in self._waiting:
            number = _RANDOM.randbytes(2)
        future: asyncio.Future[bytes] = loop.create_future()
        self._waiting[number] = question, future
        timer = loop.call_later(seconds, _expire, future)
        try:
            assert self._transport is not None
            header = _HEADER.pack(0, _RECURSE_AND_AUTHENTIC, 1, 0, 0, int(edns))
            self._transport.sendto(number + header[2:] + question + (_EDNS if edns else b""))
            return await future
        finally:
            timer.cancel()
            del self._waiting[number]
            if self._retired:
                self.retire()

    def retire(self) -> None:
        """Close it as soon as no query is under way."""
        self._retired = True
        if not self._waiting:
            self.close()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def _expire(future: asyncio.Future[bytes]) -> None:
    if not future.done():
        future.set_exception(TimeoutError())


class DatagramClient:
    """The sockets to one server."""

    def __init__(self, address: str, port: int) -> None:
        self.address = address, port
        self._open: list[_Channel] = []
        self._opening: set[asyncio.Task[_Channel]] = set()
        self._closed = False

    async def ask(self, question: bytes, seconds: float, edns: bool = True) -> bytes:
        """The response to a question section. Raises TimeoutError, OSError."""
        return await (await self._channel()).ask(question, seconds, edns)

    async def _channel(self) -> _Channel:
        loop = asyncio.get_running_loop()
        worn = [channel for channel in self._open if channel.is_worn(loop.time())]
        for channel in worn:
            self._open.remove(channel)
            channel.retire()
        if self._open and len(self._open) + len(self._opening) >= _SOCKETS:
            return _RANDOM.choice(self._open)
        # An asker that leaves meanwhile keeps the socket for the others.
        opening = loop.create_task(self._open_channel())
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)
        return await asyncio.shield(opening)

    async def _open_channel(self) -> _Channel:
        loop = asyncio.get_running_loop()
        _, channel = await loop.create_datagram_endpoint(
            lambda: _Channel(loop.time() + _MOST_AGE), remote_addr=self.address
        )
        if self._closed:
            channel.close()
        self._open.append(channel)
        return channel

    def close(self) -> None:
        """Close every socket, also those that are just being opened; queries under way run into their time-out."""
        self._closed = True
        for channel in self._open:
            channel.close()
        self._open.clear()
