"""Body hashes of a message after some edits, without hashing all of it again each time.

Canonicalisation goes line by line (RFC 6376 section 3.4), so only edited lines are canonicalised again, and the octets
before the first edit are already hashed. If that is not exact (l=, no final line break, an edit in the last line), the
body is hashed as the gateway does it.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right, insort
from collections.abc import Iterable, Sequence

from gateway.authentication.body import BodyHasher, squeeze
from gateway.diagnosis.autopsy.edits import Edit, apply_edits
from gateway.model.value import Value

_MOST_STATES = 2000
"""Hash states kept, about 200 octets each."""


class WantedDigest(Value):
    """A body hash that a signature requires."""

    form: str
    length: int | None
    digest: bytes


class BodyText:
    """One body and its canonical forms so far. `work` counts the octets processed, as a measure of time."""

    def __init__(self, message: bytes, start: int, wanted: Sequence[WantedDigest]) -> None:
        """`start`: the offset of the body in `message`. Edits use the message's offsets, and edits in its header change
        nothing here."""
        self._octets = message[start:]
        self._start = start
        self._wanted = wanted
        whole = self._octets.endswith(b"\r\n")
        forms = {one.form for one in wanted if one.length is None} if whole else set()
        self._forms = {form: _Form(self._octets, form) for form in sorted(forms)}
        self.work = len(self._octets) * (1 + len(self._forms))

    def matches(self, edits: Iterable[Edit]) -> bool:
        """After the edits the body is a signed one."""
        moved = sorted(
            Edit(edit.start - self._start, edit.end - self._start, edit.octets)
            for edit in edits
            if edit.start >= self._start
        )
        slow = [one for one in self._wanted if one.form not in self._forms or one.length is not None]
        for form, lines in self._forms.items():
            digest = lines.digest(moved)
            if digest is None:
                slow += [one for one in self._wanted if one.form == form and one.length is None]
            elif any(one.digest == digest for one in self._wanted if one.form == form and one.length is None):
                return True
            self.work += lines.hashed
        return bool(slow) and self._matches_whole(apply_edits(self._octets, moved), slow)

    def _matches_whole(self, octets: bytes, wanted: Sequence[WantedDigest]) -> bool:
        hasher = BodyHasher({(one.form, one.length) for one in wanted})
        hasher.update(octets)
        self.work += len(octets)
        found = {(one.canonicalisation, one.length): one for one in hasher.digests()}
        for one in wanted:
            digest = found[one.form, one.length]
            if digest.digest == one.digest and digest.octets >= (one.length or 0):
                return True
        return False


class _Form:
    """A body that ends in CRLF, in one canonical form."""

    def __init__(self, octets: bytes, form: str) -> None:
        self._octets = octets
        self._squeeze = squeeze if form == "relaxed" else bytes
        canonical = self._squeeze(octets)
        self._end = len(canonical)
        while canonical.endswith(b"\r\n", 0, self._end):
            self._end -= 2
        self._canonical = memoryview(canonical)
        self._known = [0]
        """Starts of lines in `octets` with a known place in the canonical form, in order."""
        self._places = {0: 0}
        self._hashed = [0]
        self._states = {0: hashlib.sha256()}
        self.hashed = 0
        """Octets that the last digest hashed."""

    def digest(self, edits: Sequence[Edit]) -> bytes | None:
        """SHA-256 after the edits, given in order; None when they touch the end of the body."""
        if not edits:
            return None
        at = self._line_start(edits[0].start)
        state = self._state_before(self._place(at))
        self.hashed = 0
        for chunk, start, end in self._chunks(edits):
            self._feed(state, self._canonical[self._place(at) : self._place(start)])
            self._feed(state, self._squeeze(chunk))
            at = end
        place = self._place(at)
        if place >= self._end:
            return None
        self._feed(state, self._canonical[place : self._end])
        state.update(b"\r\n")
        return state.digest()

    def _feed(self, state: hashlib._Hash, octets: bytes | memoryview) -> None:
        state.update(octets)
        self.hashed += len(octets)

    def _chunks(self, edits: Sequence[Edit]) -> Iterable[tuple[bytes, int, int]]:
        """Whole lines after the edits in them, with the span of lines that they replace."""
        group: list[Edit] = []
        start = end = 0
        for edit in edits:
            if group and edit.start >= end:
                yield self._rewrite(group, start, end), start, end
                group = []
            if not group:
                start = self._line_start(edit.start)
            group.append(edit)
            end = self._line_end(edit.end)
        yield self._rewrite(group, start, end), start, end

    def _rewrite(self, edits: Sequence[Edit], start: int, end: int) -> bytes:
        moved = [Edit(edit.start - start, edit.end - start, edit.octets) for edit in edits]
        return apply_edits(self._octets[start:end], moved)

    def _line_start(self, at: int) -> int:
        found = self._octets.rfind(b"\r\n", 0, at)
        return found + 2 if found >= 0 else 0

    def _line_end(self, at: int) -> int:
        found = self._octets.find(b"\r\n", at)
        return found + 2 if found >= 0 else len(self._octets)

    def _place(self, line: int) -> int:
        """The start, in the canonical form, of the line that starts at `line`."""
        if line not in self._places:
            before = self._known[bisect_right(self._known, line) - 1]
            self._places[line] = self._places[before] + len(self._squeeze(self._octets[before:line]))
            insort(self._known, line)
        return self._places[line]

    def _state_before(self, place: int) -> hashlib._Hash:
        """A hash of the canonical form up to `place`."""
        nearest = self._hashed[bisect_right(self._hashed, place) - 1]
        state = self._states[nearest].copy()
        if nearest != place:
            state.update(self._canonical[nearest:place])
            if len(self._hashed) < _MOST_STATES:
                insort(self._hashed, place)
                self._states[place] = state.copy()
        return state
