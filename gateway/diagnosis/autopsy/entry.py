"""What a catalogue entry is."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gateway.diagnosis.autopsy.anatomy import Anatomy
from gateway.diagnosis.autopsy.variants import Variant
from gateway.model.value import Value


class Entry(Value):
    """One kind of change."""

    id: str
    name: str
    description: str
    """What was done, as a sentence without subject that follows `the hop`."""
    who: tuple[str, ...]
    """Programs known to do it, by the keys of `programs`; empty where anything may."""
    undo: Callable[[Anatomy], Iterator[Variant]] | None
    """Proposes inverses; None where what was there before cannot be known."""
    cost: float = 1.0
    """How unlikely it is, before anything is known of the message; also in which order inverses are tried."""
