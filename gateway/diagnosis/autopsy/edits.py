"""Edits: the edits that undo a change in a message, and their places in the file."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from gateway.model.value import Value


class Edit(Value, order=True):
    """Octets [start, end) become `octets`; offsets are those of the message that the edit is for."""

    start: int
    end: int
    octets: bytes = b""


def apply_edits(message: bytes, edits: Iterable[Edit]) -> bytes:
    """The message after all edits, which must not overlap."""
    parts = []
    at = 0
    for edit in sorted(edits):
        parts += [message[at : edit.start], edit.octets]
        at = edit.end
    return b"".join([*parts, message[at:]])


def overlap(edits: Iterable[Edit]) -> bool:
    """Two of them touch the same octets, or insert at the same place."""
    ordered = sorted(edits)
    return any(
        later.start < earlier.end or later.start == earlier.start for earlier, later in itertools.pairwise(ordered)
    )


class Ruler:
    """Maps places in an edited message back to those in its source."""

    def __init__(self, edits: Sequence[Edit]) -> None:
        self._rows = []
        shift = 0
        for edit in sorted(edits):
            start = edit.start + shift
            shift += len(edit.octets) - (edit.end - edit.start)
            self._rows.append((start, start + len(edit.octets), edit, shift))

    def trace(self, offset: int) -> int:
        """The source offset of the octet at `offset`; for an octet that an edit wrote, the start of that edit."""
        moved = 0
        for start, end, edit, shift in self._rows:
            if offset < start:
                break
            if offset < end:
                return edit.start
            moved = shift
        return offset - moved
