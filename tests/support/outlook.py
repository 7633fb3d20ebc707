"""Compound files as Outlook saves messages ([MS-CFB], [MS-OXMSG]), made for reading tests."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

_SECTOR = 512
_SMALL = 64
_CUTOFF = 4096
_FREE, _END, _FAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD


@dataclass(frozen=True, slots=True)
class Folder:
    """Properties by number and type, such as `1000001F`, and the folders below."""

    properties: Mapping[str, str]
    folders: Mapping[str, Folder] = field(default_factory=dict)


@dataclass(slots=True)
class _Entry:
    name: str
    kind: int
    data: bytes = b""
    child: int = _FREE
    right: int = _FREE


def make_msg(root: Folder) -> bytes:
    """The file. Siblings form one chain to the right, which is a valid tree."""
    entries = [_Entry("Root Entry", 5)]
    _add(entries, 0, root)
    small = b""
    small_fat: list[int] = []
    sectors: list[bytes] = []
    fat: list[int] = []
    starts: list[int] = []
    for entry in entries:
        if not entry.data:
            starts.append(_END)
        elif len(entry.data) < _CUTOFF:
            starts.append(len(small_fat))
            count = -(-len(entry.data) // _SMALL)
            small += entry.data.ljust(count * _SMALL, b"\0")
            small_fat += [*range(starts[-1] + 1, starts[-1] + count), _END]
        else:
            starts.append(_put(sectors, fat, entry.data))
    starts[0] = _put(sectors, fat, small) if small else _END
    small_table = _put(sectors, fat, struct.pack(f"<{len(small_fat)}I", *small_fat)) if small_fat else _END
    directory = b"".join(
        _pack(entry, start, len(small) if at == 0 else len(entry.data))
        for at, (entry, start) in enumerate(zip(entries, starts, strict=True))
    )
    first = _put(sectors, fat, directory)
    tables = -(-(len(fat) + 1) // (_SECTOR // 4 - 1))
    places = [len(fat) + at for at in range(tables)]
    fat += [_FAT] * tables
    packed = struct.pack(f"<{len(fat)}I", *fat).ljust(tables * _SECTOR, b"\xff")
    sectors += [packed[at * _SECTOR : (at + 1) * _SECTOR] for at in range(tables)]
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6) + bytes(6)
    head += struct.pack("<9I", 0, tables, first, 0, _CUTOFF, small_table, 1, _END, 0)
    head += struct.pack("<109I", *places, *[_FREE] * (109 - tables))
    return head + b"".join(sectors)


def _add(entries: list[_Entry], parent: int, folder: Folder) -> None:
    last = -1
    for name, value in folder.properties.items():
        data = value.encode("utf-16-le" if name.endswith("F") else "cp1252", "replace")
        last = _hang(entries, parent, last, _Entry(f"__substg1.0_{name}", 2, data))
    for name, below in folder.folders.items():
        last = _hang(entries, parent, last, _Entry(name, 1))
        _add(entries, last, below)


def _hang(entries: list[_Entry], parent: int, last: int, entry: _Entry) -> int:
    entries.append(entry)
    number = len(entries) - 1
    if last < 0:
        entries[parent].child = number
    else:
        entries[last].right = number
    return number


def _put(sectors: list[bytes], fat: list[int], data: bytes) -> int:
    start, count = len(sectors), -(-len(data) // _SECTOR)
    padded = data.ljust(count * _SECTOR, b"\0")
    sectors += [padded[at * _SECTOR : (at + 1) * _SECTOR] for at in range(count)]
    fat += [*range(start + 1, start + count), _END]
    return start


def _pack(entry: _Entry, start: int, size: int) -> bytes:
    name = entry.name.encode("utf-16-le") + b"\0\0"
    head = struct.pack("<64sHBBIII", name, len(name), entry.kind, 1, _FREE, entry.right, entry.child)
    return head + bytes(36) + struct.pack("<IQ", start, size)
