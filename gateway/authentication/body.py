"""Body hashes while the message arrives: canonicalised chunk by chunk (RFC 6376 section 3.4).

In: the body in chunks cut anywhere, and the digests that the signatures need. Out: `BodyDigest`s; verdicts know nothing
else of a body. Every canonicalisation runs once however many signatures need it, and at most one chunk is kept.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence

from gateway.authentication.signature import choose_signatures, read_body_terms
from gateway.mail.header import Field
from gateway.model.message import BodyDigest

MAX_SETS = 50
"""ARC sets of one message (RFC 8617 section 4.2.1)."""
AMS_FORMS = "relaxed/relaxed"
"""c= of an ARC-Message-Signature without one: sealers mean this, although RFC 8617 inherits simple/simple."""
_SLICE = 1 << 17
_CRLF_BLOCK = b"\r\n" * 4096
_LONG_RUN = re.compile(rb"   +")
"""Written so that the engine searches for its literal prefix: ` {3,}` would be tried at every octet."""


def wanted_digests(header: Sequence[Field]) -> frozenset[tuple[str, int | None]]:
    """The digests that the signatures of a header need: pairs of body canonicalisation and l= (None: the whole
    body)."""
    signatures, _ = choose_signatures(header)
    seals = [field for field in header if field.lower == "arc-message-signature"][:MAX_SETS]
    terms = [read_body_terms(field, "simple/simple") for field in signatures]
    terms += [read_body_terms(field, AMS_FORMS) for field in seals]
    return frozenset((form, length) for form, length in terms if form)


class BodyHasher:
    """SHA-256 of a body under several canonicalisations and lengths, in one pass."""

    def __init__(self, wanted: Iterable[tuple[str, int | None]]) -> None:
        """`wanted`: canonicalisation (`simple` or `relaxed`) and the number of canonical octets (None: all)."""
        lengths: dict[str, set[int | None]] = {}
        for form, length in wanted:
            lengths.setdefault(form, set()).add(length)
        self._simple = _Trimmer("simple", lengths.pop("simple")) if "simple" in lengths else None
        self._relaxed = _Relaxer(lengths.pop("relaxed")) if "relaxed" in lengths else None
        if lengths:
            raise ValueError(f"no such canonicalisation: {', '.join(lengths)}")

    def update(self, chunk: bytes) -> None:
        """The next octets of the body."""
        for start in range(0, len(chunk), _SLICE):  # slices stay in the processor's cache
            part = chunk[start : start + _SLICE]
            if self._simple:
                self._simple.update(part)
            if self._relaxed:
                self._relaxed.update(part)

    def digests(self) -> tuple[BodyDigest, ...]:
        """End of the body: one digest for each wanted pair. To be called once."""
        found: list[BodyDigest] = []
        if self._simple:
            found += self._simple.finish()
        if self._relaxed:
            found += self._relaxed.finish()
        return tuple(found)


class _Trimmer:
    """Removes empty lines at the end, ensures a final CRLF (RFC 6376 section 3.4.3), and hashes."""

    def __init__(self, form: str, lengths: set[int | None]) -> None:
        self._form = form
        self._whole = None in lengths
        self._cuts = sorted((length for length in lengths if length is not None), reverse=True)
        self._sha = hashlib.sha256()
        self._octets = 0
        self._found: list[tuple[int, bytes]] = []
        self._breaks = 0
        """CRLFs held back: they count only if further octets follow."""
        self._cr = False
        """A CR held back: the next octet may make it a CRLF."""

    def update(self, chunk: bytes) -> None:
        if not chunk:
            return
        if self._cr:
            chunk = b"\r" + chunk
        self._cr = chunk.endswith(b"\r")
        end = len(chunk) - self._cr
        start = _find_breaks(chunk, end)
        if start:
            self._flush()
            self._hash(chunk[:start] if start < len(chunk) else chunk)
        self._breaks += (end - start) // 2

    def finish(self) -> list[BodyDigest]:
        if self._cr:
            self._flush()
            self._hash(b"\r")
        # RFC 6376 section 3.4.4: a relaxed body without a line is empty; a simple one is a CRLF (section 3.4.3).
        if self._octets or self._form == "simple":
            self._hash(b"\r\n")
        whole = self._sha.digest()
        found = [BodyDigest(self._form, None, whole, self._octets)] if self._whole else []
        found += [BodyDigest(self._form, length, digest, self._octets) for length, digest in self._found]
        found += [BodyDigest(self._form, length, whole, self._octets) for length in self._cuts]
        return found

    def _flush(self) -> None:
        """Hash the CRLFs that were held back, in blocks: there may be millions."""
        while self._breaks:
            count = min(self._breaks, len(_CRLF_BLOCK) // 2)
            self._hash(_CRLF_BLOCK[: 2 * count])
            self._breaks -= count

    def _hash(self, octets: bytes) -> None:
        while self._cuts and self._cuts[-1] <= self._octets + len(octets):
            length = self._cuts.pop()
            part = octets[: length - self._octets]
            octets = octets[len(part) :]
            self._sha.update(part)
            self._octets = length
            self._found.append((length, self._sha.digest()))
        self._sha.update(octets)
        self._octets += len(octets)


class _Relaxer:
    """Canonicalises white space (RFC 6376 section 3.4.4), and passes the rest to a trimmer."""

    def __init__(self, lengths: set[int | None]) -> None:
        self._trimmer = _Trimmer("relaxed", lengths)
        self._held = b""
        """White space, a CR, or both, at the end of the octets so far: the next octets decide about it."""

    def update(self, chunk: bytes) -> None:
        if self._held:
            chunk = self._held + chunk
        end = len(chunk) - chunk.endswith(b"\r")
        # Only the tail is searched for white space. Otherwise a chunk that ends in a line break would be copied for
        # nothing.
        if end and chunk[end - 1] in b" \t":
            kept = chunk[:end].rstrip(b" \t")
            self._held = b" " + chunk[end:]
        else:
            kept, self._held = chunk[:end], chunk[end:]
        self._trimmer.update(squeeze(kept))

    def finish(self) -> list[BodyDigest]:
        self._trimmer.update(self._held)
        return self._trimmer.finish()


def squeeze(octets: bytes) -> bytes:
    """White space within lines to one space, white space at line ends removed."""
    if b"\t" in octets:
        octets = octets.replace(b"\t", b" ")
    if b"  " in octets:
        if b"   " in octets:
            octets = _LONG_RUN.sub(b" ", octets)
        octets = octets.replace(b"  ", b" ")
    return octets.replace(b" \r\n", b"\r\n") if b" \r\n" in octets else octets


def _find_breaks(chunk: bytes, end: int) -> int:
    """The start of the run of whole CRLFs that ends at `end`."""
    if not chunk.endswith(b"\r\n", 0, end):
        return end
    start = len(chunk[:end].rstrip(b"\r\n"))
    # In a run of CR and LF only its alternating end counts: it starts after the last CR CR or LF LF.
    twice = max(chunk.rfind(b"\r\r", start, end), chunk.rfind(b"\n\n", start, end))
    start = max(start, twice + 1)
    return start if chunk[start] == 0x0D else start + 1
