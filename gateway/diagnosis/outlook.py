"""Messages that Outlook saved as .msg: an OLE compound file ([MS-CFB]) of MAPI properties ([MS-OXMSG]), converted to a
MIME message.

Only the parts that the diagnosis tools need are read: the header as received, the texts, the words of a delivery
report, and attached messages. Work is bounded by the file's size, however often its sectors are named. Broken parts are
left out, and nothing raises.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

from gateway.model.value import Value

MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_MOST_ENTRIES = 20_000
_MOST_DEPTH = 4
_MOST_FOLDERS = 2 * _MOST_DEPTH + 1
"""Nested folders: an attached message needs two, and its recipients one more."""
_END = 0xFFFFFFFA
"""Sector numbers from here on mark ends and free sectors."""
_NOTHING = 0xFFFFFFFF
_ENTRY = struct.Struct("<64sHBBIII16xI16xIQ")
_STREAM, _ROOT, _STORAGE = 2, 5, 1
_BOUNDARY = b"waypost-outlook"
_TEXTS = ("1000", "1001")
"""PidTagBody, PidTagReportText."""
_HTML = "1013"
_HEADER = "007D"
_ATTACHED_TYPE = "370E"
_ATTACHED = "__SUBSTG1.0_37010102"
_SHORT = (("Subject", "0037"), ("From", "0C1F"), ("From", "0C1A"), ("To", "0E04"))
_ABOUT_RECIPIENT = (("Final-Recipient: rfc822; ", ("39FE", "3003", "3001")), ("Diagnostic-Code: smtp; ", ("0C1B",)))
"""PidTagSmtpAddress, PidTagEmailAddress, PidTagDisplayName; PidTagSupplementaryInfo: the server's words."""
_TEXT_NAMES = (
    *(*_TEXTS, _HTML, _HEADER, _ATTACHED_TYPE),
    *(name for _, name in _SHORT),
    *(name for _, names in _ABOUT_RECIPIENT for name in names),
)
_READ = frozenset(
    {f"__SUBSTG1.0_{name}{kind}" for name in _TEXT_NAMES for kind in ("001F", "001E")}
    | {f"__SUBSTG1.0_{_HTML}0102", _ATTACHED}
)
"""The streams that are read; all others are ignored."""


class _Entry(Value):
    """One entry of the directory."""

    name: str
    kind: int
    left: int
    right: int
    child: int
    start: int
    size: int


class _Storage(Value):
    """A folder in the file: its streams, and the folders in it."""

    streams: Mapping[str, bytes]
    folders: Mapping[str, _Storage]


def is_outlook(octets: bytes) -> bool:
    """True for a .msg file, by its first octets."""
    return octets.startswith(MAGIC)


def read_outlook(octets: bytes) -> bytes:
    """The message in MIME form, with CRLF; empty when the file is unreadable."""
    try:
        root = _CompoundFile(octets).read()
    except (struct.error, IndexError, ValueError):
        return b""
    return _compose(root, _MOST_DEPTH)


class _CompoundFile:
    """The sectors of a compound file."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        shift, small_shift = struct.unpack_from("<HH", octets, 30)
        if shift not in (9, 12) or small_shift != 6:
            raise ValueError("the sectors have no size that the format knows")
        self._size = 1 << shift
        self._small = 1 << small_shift
        # Streams share no sector in a sound file, so all of them together have at most its size. Reading ends there.
        self._left = len(octets) + self._size
        first, _, self._cutoff, small_fat, _, more, _ = struct.unpack_from("<7I", octets, 48)
        self._first = first
        self._fat = self._read_fat(more)
        most = len(octets) // (self._small * self._size // 4) + 1
        self._small_fat = self._numbers(self._chain(small_fat, most=most))
        self._small_area = b""

    def read(self) -> _Storage:
        """The root folder."""
        data = b"".join(map(self._sector, self._chain(self._first)))
        count = min(len(data) // _ENTRY.size, _MOST_ENTRIES)
        entries = [self._entry(data, at * _ENTRY.size) for at in range(count)]
        root = next((entry for entry in entries if entry.kind == _ROOT), None)
        if root is None:
            raise ValueError("the directory has no root")
        self._small_area = b"".join(map(self._sector, self._chain(root.start)))[: root.size]
        return self._storage(entries, root, set(), _MOST_FOLDERS)

    def _read_fat(self, more: int) -> list[int]:
        places = [number for number in struct.unpack_from("<109I", self._octets, 76) if number < _END]
        seen: set[int] = set()
        while more < _END and more not in seen:
            seen.add(more)
            numbers = self._numbers([more])
            places += [number for number in numbers[:-1] if number < _END]
            more = numbers[-1]
        # A sound file names each sector once, and no more than its size requires.
        most = 2 * len(self._octets) // (self._size * self._size // 4) + 1
        return self._numbers(list(dict.fromkeys(places))[:most])

    def _numbers(self, sectors: list[int]) -> list[int]:
        data = b"".join(map(self._sector, sectors))
        return list(struct.unpack(f"<{len(data) // 4}I", data[: len(data) // 4 * 4]))

    def _sector(self, number: int) -> bytes:
        start = (number + 1) * self._size
        return self._octets[start : start + self._size]

    def _chain(self, number: int, fat: list[int] | None = None, most: int = _NOTHING) -> list[int]:
        """The sectors of a stream, in order, and at most so many; a circular chain ends at its first repetition."""
        table = self._fat if fat is None else fat
        found: dict[int, None] = {}
        while number < len(table) and number not in found and len(found) < most:
            found[number] = None
            number = table[number]
        return list(found)

    def _entry(self, data: bytes, at: int) -> _Entry:
        name, length, kind, _, left, right, child, _, start, size = _ENTRY.unpack_from(data, at)
        text = name[: max(length - 2, 0)].decode("utf-16-le", "replace")
        return _Entry(text, kind, left, right, child, start, size & 0xFFFFFFFF)

    def _storage(self, entries: list[_Entry], folder: _Entry, seen: set[int], depth: int) -> _Storage:
        streams: dict[str, bytes] = {}
        folders: dict[str, _Storage] = {}
        waiting = [folder.child]
        while waiting:
            number = waiting.pop()
            if number >= len(entries) or number in seen:
                continue
            seen.add(number)
            entry = entries[number]
            waiting += [entry.left, entry.right]
            name = entry.name.upper()
            if entry.kind == _STREAM and name in _READ:
                streams[name] = self._stream(entry)
            elif entry.kind == _STORAGE and depth > 0:
                folders[name] = self._storage(entries, entry, seen, depth - 1)
        return _Storage(streams, folders)

    def _stream(self, entry: _Entry) -> bytes:
        small = entry.size < self._cutoff
        size = self._small if small else self._size
        most = min(-(-entry.size // size), self._left // size)
        wanted = self._chain(entry.start, self._small_fat if small else self._fat, most)
        self._left -= len(wanted) * size
        if not small:
            return b"".join(map(self._sector, wanted))[: entry.size]
        pieces = (self._small_area[number * self._small : (number + 1) * self._small] for number in wanted)
        return b"".join(pieces)[: entry.size]


def _compose(folder: _Storage, depth: int) -> bytes:
    """The message in a folder as multipart/mixed below its own header."""
    header = _text(folder, _HEADER).replace("\r\n", "\n").replace("\n", "\r\n").strip("\r\n")
    lines = _without_mime(header) if header else _made_up(folder)
    parts = [part for part in _parts(folder, depth) if part]
    block = "".join(f"{line}\r\n" for line in lines).encode("utf-8", "replace")
    block += (
        b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="'
        + _BOUNDARY
        + str(depth).encode()
        + b'"\r\n\r\n'
    )
    mark = b"--" + _BOUNDARY + str(depth).encode()
    return block + b"".join(mark + b"\r\n" + part + b"\r\n" for part in parts) + mark + b"--\r\n"


def _parts(folder: _Storage, depth: int) -> Iterator[bytes]:
    said = "\n".join(text for text in (_text(folder, name) for name in _TEXTS) if text)
    if said:
        yield _part("text/plain", said)
    report = list(_report(folder))
    if report:
        yield _part("message/delivery-status", "\n".join(report))
    marked = folder.streams.get(f"__SUBSTG1.0_{_HTML}0102", b"").decode("utf-8", "replace") or _text(folder, _HTML)
    if marked:
        yield _part("text/html", marked)
    for name, attached in sorted(folder.folders.items()):
        if not name.startswith("__ATTACH") or depth <= 0:
            continue
        inner = attached.folders.get("__SUBSTG1.0_3701000D")
        if inner is not None:
            yield b"Content-Type: message/rfc822\r\n\r\n" + _compose(inner, depth - 1)
            continue
        kind = _text(attached, _ATTACHED_TYPE).strip().lower() or "application/octet-stream"
        data = attached.streams.get(_ATTACHED, b"")
        if kind.startswith(("message/", "text/")) and data:
            yield b"Content-Type: " + kind.encode("ascii", "replace") + b"\r\n\r\n" + data


def _report(folder: _Storage) -> Iterator[str]:
    """A delivery report's results for each recipient, as the fields of RFC 3464."""
    for name, recipient in sorted(folder.folders.items()):
        if not name.startswith("__RECIP"):
            continue
        fields = [
            label + " ".join(value.split())
            for label, names in _ABOUT_RECIPIENT
            if (value := next((text for one in names if (text := _text(recipient, one))), ""))
        ]
        if len(fields) == len(_ABOUT_RECIPIENT):
            yield "\n".join([*fields, ""])


def _text(folder: _Storage, name: str) -> str:
    """A text property, in Unicode or in an older character set."""
    wide = folder.streams.get(f"__SUBSTG1.0_{name}001F")
    if wide is not None:
        return wide.decode("utf-16-le", "replace").rstrip("\0")
    return folder.streams.get(f"__SUBSTG1.0_{name}001E", b"").decode("cp1252", "replace").rstrip("\0")


def _part(type: str, text: str) -> bytes:
    body = text.replace("\r\n", "\n").replace("\n", "\r\n").encode("utf-8", "replace")
    return b"Content-Type: " + type.encode() + b"; charset=utf-8\r\n\r\n" + body


def _made_up(folder: _Storage) -> list[str]:
    """A header for a message that never had one, such as a draft or an internal message."""
    found: dict[str, str] = {}
    for name, property in _SHORT:
        value = " ".join(_text(folder, property).split())
        if value:
            found.setdefault(name, value)
    return [f"{name}: {value}" for name, value in found.items()]


def _without_mime(header: str) -> list[str]:
    """The header's lines without those that describe the original body."""
    kept: list[str] = []
    skipping = False
    for line in header.split("\r\n"):
        if not line.startswith((" ", "\t")):
            skipping = line.lower().startswith(("content-type:", "content-transfer-encoding:", "mime-version:"))
        if not skipping and line.strip():
            kept.append(line)
    return kept
