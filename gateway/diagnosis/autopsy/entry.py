"""The form of a catalogue entry."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gateway.diagnosis.autopsy import texts
from gateway.diagnosis.autopsy.anatomy import Anatomy
from gateway.diagnosis.autopsy.variants import Variant
from gateway.model.value import Value


class Entry(Value):
    """One kind of change."""

    id: str
    name: str
    who: tuple[str, ...]
    """Programs known to do it, by the keys of `programs`; empty when any program may."""
    undo: Callable[[Anatomy], Iterator[Variant]] | None
    """Proposes inverses; None when the earlier text cannot be known."""
    cost: float = 1.0
    """Improbability before anything is known of the message; also the order in which inverses are tried."""

    @property
    def description(self) -> str:
        """The change, as a sentence without subject that follows `the hop`."""
        return texts.CHANGES[self.id]
