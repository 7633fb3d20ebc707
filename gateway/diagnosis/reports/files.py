"""Files that reports come in: XML, gzip, zip, or a mail with one of them. Bombs are cut off while unpacking."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

from gateway.diagnosis.mime import MimePart, read_mime
from gateway.diagnosis.reports import texts
from gateway.diagnosis.reports.aggregate import ReportRefused
from gateway.diagnosis.reports.encoding import is_report
from gateway.model.value import Value
from gateway.tools.results import read_lines

_MOST_FILE = 64_000_000
_MOST_OCTETS = 64_000_000
"""Of one report, unpacked."""
_MOST_MEMBERS = 20
_MOST_NESTED = 3
_TYPES = (
    "application/gzip",
    "application/zip",
    "application/x-zip",
    "application/x-gzip",
    "text/xml",
    "application/xml",
)
_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"


class Unpacked(Value):
    """One document that was in the file."""

    name: str
    """Its name in an archive or a mail; empty for the file itself."""
    octets: bytes


def unpack(octets: bytes, name: str = "", depth: int = 0) -> list[Unpacked]:
    """The documents in a file. Raises ReportRefused for what cannot be unpacked, or not within bounds."""
    if len(octets) > _MOST_FILE:
        raise ReportRefused(texts.TOO_LARGE.format(octets=len(octets)))
    if depth > _MOST_NESTED:
        raise ReportRefused(texts.NESTED)
    if octets.startswith(_GZIP):
        return unpack(_gunzip(octets), name, depth + 1)
    if octets.startswith(_ZIP):
        return _unzip(octets, depth)
    if _is_mail(octets):
        return _open_mail(octets, depth)
    return [Unpacked(name, octets)]


def _gunzip(octets: bytes) -> bytes:
    """All members one after the other, until the bound; what follows them is not looked at."""
    found = bytearray()
    while octets.startswith(_GZIP):
        member = zlib.decompressobj(wbits=31)
        try:
            found += member.decompress(octets, _MOST_OCTETS + 1 - len(found))
        except zlib.error as error:
            raise ReportRefused(texts.BAD_GZIP.format(error=error)) from None
        if len(found) > _MOST_OCTETS:
            raise ReportRefused(texts.BOMB.format(most=_MOST_OCTETS // 1_000_000))
        if not member.eof:
            raise ReportRefused(texts.CUT_GZIP)
        octets = member.unused_data
    return bytes(found)


def _unzip(octets: bytes, depth: int) -> list[Unpacked]:
    try:
        with zipfile.ZipFile(io.BytesIO(octets)) as archive:
            members = [member for member in archive.infolist() if _is_document(member.filename)]
            if not members:
                raise ReportRefused(texts.EMPTY_ZIP)
            if len(members) > _MOST_MEMBERS:
                raise ReportRefused(texts.MANY_FILES.format(count=len(members)))
            if any(member.flag_bits & 1 for member in members):
                raise ReportRefused(texts.LOCKED_ZIP)
            return [one for member in members for one in unpack(_extract(archive, member), member.filename, depth + 1)]
    except ReportRefused:
        raise
    except _BROKEN_ZIP as error:
        raise ReportRefused(texts.BAD_ZIP.format(error=error)) from None


_BROKEN_ZIP = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError),
    *(ValueError, LookupError, OSError),
)
"""All that the standard library raises over octets that only look like an archive."""


def _is_document(name: str) -> bool:
    """It is no folder, and none of the files that macOS adds to an archive."""
    last = name.rpartition("/")[2]
    return not name.endswith("/") and not name.startswith("__MACOSX/") and not last.startswith(("._", ".DS_Store"))


def _extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """One member. What the archive says of its size is not believed."""
    with archive.open(member) as stream:
        octets = stream.read(_MOST_OCTETS + 1)
    if len(octets) > _MOST_OCTETS:
        raise ReportRefused(texts.BOMB.format(most=_MOST_OCTETS // 1_000_000))
    return octets


def _is_mail(octets: bytes) -> bool:
    """It begins with a header field, or with the line that a mailbox file has above it."""
    if octets.startswith(b"From "):
        return True
    name, colon, _ = octets[:200].partition(b":")
    return bool(colon) and name.replace(b"-", b"").isalnum() and not octets.startswith((b"{", b"<"))


def _open_mail(octets: bytes, depth: int) -> list[Unpacked]:
    message = read_mime(read_lines(octets, raw=False)[0])
    if message.find("message/feedback-report"):
        raise ReportRefused(texts.ARF)
    found = [one for part in message.walk() for one in _open_part(part, depth)]
    if not found:
        raise ReportRefused(texts.NO_REPORT)
    return found


def _open_part(part: MimePart, depth: int) -> list[Unpacked]:
    if part.children or part.type.startswith("multipart/"):
        return []
    octets = part.octets()
    # Reports come under many types, so what they begin with decides.
    if octets.startswith((_GZIP, _ZIP)) or is_report(octets) or part.type in _TYPES:
        return unpack(octets, part.parameters.get("name", ""), depth + 1)
    if part.type.startswith("application/tlsrpt"):
        return [Unpacked(part.parameters.get("name", ""), b"{")]
    return []
