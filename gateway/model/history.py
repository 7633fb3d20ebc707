"""What this gateway remembers of senders: counted with each reception, read where a judgement asks for it."""

from __future__ import annotations

from gateway.model.circumstances import Standing
from gateway.model.value import Value

_ENOUGH = 5
"""Messages that must have passed before a source from which none came is strange: it takes more than the first few
from one of several places."""


class History(Value):
    """What has passed here before."""

    author_passes: int = 0
    """Messages of the Author Domain."""
    source_passes: int = 0
    """Those of them that came from the client's network."""

    @property
    def standing(self) -> Standing:
        if self.source_passes:
            return Standing.FAMILIAR
        return Standing.STRANGER if self.author_passes >= _ENOUGH else Standing.UNKNOWN


class Sighting(Value):
    """One message as the memory counts it."""

    zone: str
    """The domain of ours, or else the organization, that the Author Domain belongs to."""
    domain: str
    """The Author Domain in A-labels."""
    source: str
    """The client's network: its /24, or its /64 in IPv6."""
    signer: str
    """d= of a passing signature outside the author's organization; empty without one."""
    name: str
    """What the client is called: in reverse DNS, else by itself."""
    passed: bool
    """DMARC passed, or for a domain of ours its owner vouches."""
    ours: bool
    """A domain of ours or protected: never forgotten."""


class Sender(Value):
    """One source of an Author Domain's mail, with its counts."""

    domain: str
    source: str
    """A network; empty for all those together that there was no room to tell apart."""
    signer: str
    name: str
    """The client's name on the last message."""
    passed: int
    failed: int
    first: float
    """Epoch seconds."""
    last: float
    last_id: str
    """The last message, for `waypost explain`."""
