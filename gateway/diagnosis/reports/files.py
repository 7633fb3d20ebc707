"""Files that contain reports: XML, gzip, zip, or a mail with one of them. Decompression bombs are cut off while
unpacking.

One budget holds for a whole file: archives in archives share it.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass

from gateway.diagnosis.mime import MimePart, read_mime
from gateway.diagnosis.reports import texts
from gateway.diagnosis.reports.aggregate import ReportRefused
from gateway.diagnosis.reports.encoding import is_report
from gateway.model.value import Value
from gateway.tools.results import read_lines

_MOST_FILE = 64_000_000
_MOST_OCTETS = 64_000_000
"""Octets of all contents of one file, unpacked, on every level."""
_MOST_MEMBERS = 1000
"""Files in one file, on every level."""
_MOST_LISTED = 4 * _MOST_MEMBERS
"""Entries of an archive's directory, with folders and the files that macOS adds."""
_MOST_GZIP_MEMBERS = 100
_MOST_NESTED = 3
_CHUNK = 65536
_TYPES = (
    "application/gzip",
    "application/zip",
    "application/x-zip",
    "application/x-gzip",
    "text/xml",
    "application/xml",
)
_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
_ZIP_LISTED = b"PK\x01\x02"


class Unpacked(Value):
    """One document of the file."""

    name: str
    """Its name in an archive or a mail; empty for the file itself."""
    octets: bytes


@dataclass(slots=True)
class _Budget:
    """The unpacking budget left for one file."""

    octets: int = _MOST_OCTETS
    members: int = _MOST_MEMBERS
    gzip_members: int = _MOST_GZIP_MEMBERS

    def take_octets(self, count: int) -> None:
        self.octets -= count
        if self.octets < 0:
            raise ReportRefused(texts.BOMB.format(most=_MOST_OCTETS // 1_000_000))

    def take_members(self, count: int) -> None:
        self.members -= count
        if self.members < 0:
            raise ReportRefused(texts.MANY_FILES.format(most=_MOST_MEMBERS))

    def take_gzip_member(self) -> None:
        self.gzip_members -= 1
        if self.gzip_members < 0:
            raise ReportRefused(texts.MANY_GZIP.format(most=_MOST_GZIP_MEMBERS))


def unpack(octets: bytes) -> list[Unpacked]:
    """The documents in a file. Raises ReportRefused if it cannot be unpacked, or not within the limits."""
    if len(octets) > _MOST_FILE:
        raise ReportRefused(texts.TOO_LARGE.format(octets=len(octets)))
    return _unpack(octets, "", 0, _Budget())


def _unpack(octets: bytes, name: str, depth: int, budget: _Budget) -> list[Unpacked]:
    if depth > _MOST_NESTED:
        raise ReportRefused(texts.NESTED)
    if octets.startswith(_GZIP):
        return _unpack(_gunzip(octets, budget), name, depth + 1, budget)
    if octets.startswith(_ZIP):
        return _unzip(octets, depth, budget)
    if _is_mail(octets):
        return _open_mail(octets, depth, budget)
    return [Unpacked(name, octets)]


def _gunzip(octets: bytes, budget: _Budget) -> bytes:
    """All members one after the other; octets after them are ignored."""
    found = bytearray()
    at = 0
    while octets.startswith(_GZIP, at):
        budget.take_gzip_member()
        member = zlib.decompressobj(wbits=31)
        try:
            # Small pieces limit the leftover of each member, whatever the file's length.
            while not member.eof and at < len(octets):
                piece = octets[at : at + _CHUNK]
                unpacked = member.decompress(piece, budget.octets + 1)
                budget.take_octets(len(unpacked))
                found += unpacked
                at += len(piece) - len(member.unused_data) - len(member.unconsumed_tail)
        except zlib.error as error:
            raise ReportRefused(texts.BAD_GZIP.format(error=error)) from None
        if not member.eof:
            raise ReportRefused(texts.CUT_GZIP)
    return bytes(found)


def _unzip(octets: bytes, depth: int, budget: _Budget) -> list[Unpacked]:
    if octets.count(_ZIP_LISTED) > _MOST_LISTED:
        raise ReportRefused(texts.MANY_FILES.format(most=_MOST_MEMBERS))
    try:
        with zipfile.ZipFile(io.BytesIO(octets)) as archive:
            members = [member for member in archive.infolist() if _is_document(member.filename)]
            if not members:
                raise ReportRefused(texts.EMPTY_ZIP)
            budget.take_members(len(members))
            if any(member.flag_bits & 1 for member in members):
                raise ReportRefused(texts.LOCKED_ZIP)
            return [
                one
                for member in members
                for one in _unpack(_extract(archive, member, budget), member.filename, depth + 1, budget)
            ]
    except ReportRefused:
        raise
    except _BROKEN_ZIP as error:
        raise ReportRefused(texts.BAD_ZIP.format(error=error)) from None


_BROKEN_ZIP = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError),
    *(ValueError, LookupError, OSError),
)
"""All exceptions of the standard library for octets that only resemble an archive."""


def _is_document(name: str) -> bool:
    """It is neither a folder nor one of the files that macOS adds to an archive."""
    last = name.rpartition("/")[2]
    return not name.endswith("/") and not name.startswith("__MACOSX/") and not last.startswith(("._", ".DS_Store"))


def _extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo, budget: _Budget) -> bytes:
    """One member. The archive's statement of its size is not trusted."""
    with archive.open(member) as stream:
        octets = stream.read(budget.octets + 1)
    budget.take_octets(len(octets))
    return octets


def _is_mail(octets: bytes) -> bool:
    """The octets begin with a header field, or with the line that a mailbox file has above it."""
    if octets.startswith(b"From "):
        return True
    name, colon, _ = octets[:200].partition(b":")
    return bool(colon) and name.replace(b"-", b"").isalnum() and not octets.startswith((b"{", b"<"))


def _open_mail(octets: bytes, depth: int, budget: _Budget) -> list[Unpacked]:
    message = read_mime(read_lines(octets, raw=False)[0])
    if message.find("message/feedback-report"):
        raise ReportRefused(texts.ARF)
    found = [one for part in message.walk() for one in _open_part(part, depth, budget)]
    if not found:
        raise ReportRefused(texts.NO_REPORT)
    return found


def _open_part(part: MimePart, depth: int, budget: _Budget) -> list[Unpacked]:
    if part.children or part.type.startswith("multipart/"):
        return []
    octets = part.octets()
    # Reports have many types, so their first octets decide.
    if octets.startswith((_GZIP, _ZIP)) or is_report(octets) or part.type in _TYPES:
        budget.take_members(1)
        return _unpack(octets, part.parameters.get("name", ""), depth + 1, budget)
    if part.type.startswith("application/tlsrpt"):
        return [Unpacked(part.parameters.get("name", ""), b"{")]
    return []
