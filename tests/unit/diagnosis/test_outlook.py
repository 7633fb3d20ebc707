"""Messages saved by Outlook: sound ones are read, and hostile ones take bounded work."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Sequence

from gateway.diagnosis.outlook import MAGIC, read_outlook

SECTOR = 512
END, FAT_SECTOR, NOTHING = 0xFFFFFFFE, 0xFFFFFFFD, 0xFFFFFFFF
STORAGE, STREAM, ROOT = 1, 2, 5

Row = tuple[str, int, int, int, int, int]
"""Name, kind, right neighbour, first child, first sector, size."""


def compound(rows: Sequence[Row], contents: Sequence[bytes]) -> bytes:
    """A compound file without small streams: its FAT, its directory, then `contents`, each a chain of its own. The
    first sector of content number N is given as -1 - N."""
    directory_size = -(-len(rows) * 128 // SECTOR)
    lengths = [-(-len(content) // SECTOR) for content in contents]
    total = directory_size + sum(lengths)
    fat_size = -(-(total + 16) // 127)
    fat = [FAT_SECTOR] * fat_size
    starts = []
    for length in (directory_size, *lengths):
        starts.append(len(fat))
        fat += [*range(len(fat) + 1, len(fat) + length), END]
    directory = b"".join(entry(row, starts) for row in rows).ljust(directory_size * SECTOR, b"\0")
    head = MAGIC + bytes(16) + struct.pack("<HHHHH6x", 0x3E, 3, 0xFFFE, 9, 6)
    places = [*range(fat_size), *[NOTHING] * (109 - fat_size)]
    head += struct.pack("<9I", 0, fat_size, starts[0], 0, 0, END, 0, END, 0) + struct.pack("<109I", *places)
    numbers = struct.pack(f"<{len(fat)}I", *fat).ljust(fat_size * SECTOR, b"\xff")
    return head + numbers + directory + b"".join(one.ljust(-(-len(one) // SECTOR) * SECTOR, b"\0") for one in contents)


def entry(row: Row, starts: Sequence[int]) -> bytes:
    name, kind, right, child, start, size = row
    text = name.encode("utf-16-le")
    first = starts[-start] if start < 0 else 0
    return struct.pack("<64sHBBIII16xI16xIQ", text, len(text) + 2, kind, 1, NOTHING, right, child, 0, first, size)


def test_a_message_is_read() -> None:
    header = "From: ann@author.example\r\nSubject: Undelivered\r\n".encode("utf-16-le")
    said = "550 5.1.1 No such mailbox".encode("utf-16-le")
    rows: list[Row] = [
        ("Root Entry", ROOT, NOTHING, 1, 0, 0),
        ("__substg1.0_007D001F", STREAM, 2, NOTHING, -1, len(header)),
        ("__substg1.0_1000001F", STREAM, NOTHING, NOTHING, -2, len(said)),
    ]
    found = read_outlook(compound(rows, [header, said]))
    assert found.startswith(b"From: ann@author.example\r\nSubject: Undelivered\r\nMIME-Version: 1.0\r\n")
    assert b"550 5.1.1 No such mailbox\r\n" in found


def test_an_attached_message_is_read() -> None:
    header = "Subject: The original".encode("utf-16-le")
    rows: list[Row] = [
        ("Root Entry", ROOT, NOTHING, 1, 0, 0),
        ("__attach_version1.0_#00000000", STORAGE, NOTHING, 2, 0, 0),
        ("__substg1.0_3701000D", STORAGE, NOTHING, 3, 0, 0),
        ("__substg1.0_007D001F", STREAM, NOTHING, NOTHING, -1, len(header)),
    ]
    assert b"message/rfc822\r\n\r\nSubject: The original\r\n" in read_outlook(compound(rows, [header]))


def test_folders_in_folders_do_not_exhaust_the_stack() -> None:
    rows: list[Row] = [("Root Entry", ROOT, NOTHING, 1, 0, 0)]
    rows += [(f"__attach{at}", STORAGE, NOTHING, at + 1, 0, 0) for at in range(1, 5000)]
    assert read_outlook(compound(rows, [])).startswith(b"MIME-Version: 1.0\r\n")


def test_streams_that_share_sectors_are_read_once() -> None:
    """Each of many folders has a text with the same sectors: together they name a thousand times the file."""
    shared = b"x\0" * 500_000
    rows: list[Row] = [("Root Entry", ROOT, NOTHING, 1, 0, 0)]
    for at in range(1, 2001, 2):
        rows.append((f"__recip{at}", STORAGE, at + 2, at + 1, 0, 0))
        rows.append(("__substg1.0_0C1B001F", STREAM, NOTHING, NOTHING, -1, len(shared)))
    file = compound(rows, [shared])
    tracemalloc.start()
    try:
        assert read_outlook(file).startswith(b"MIME-Version: 1.0\r\n")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20 * len(file)


def test_a_table_of_sectors_that_is_named_many_times_is_read_once() -> None:
    """The list of the table's sectors names one sector a million times."""
    file = bytearray(compound([("Root Entry", ROOT, NOTHING, NOTHING, 0, 0)], [bytes(SECTOR * 4000)]))
    first = 2000
    struct.pack_into("<I", file, 68, first)
    for number in range(first, first + 1500):
        struct.pack_into("<128I", file, (number + 1) * SECTOR, *[0] * 127, number + 1)
    tracemalloc.start()
    try:
        read_outlook(bytes(file))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20 * len(file)
