"""The gateway's memory of senders: counted at each reception, read when a judgement asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from gateway.model.value import Value

REMEMBERED = 86_400.0
"""Seconds for which a message is remembered when its client did not get the reply that it is stored."""


class Standing(StrEnum):
    """The record here of an author domain and of the source that now writes as it."""

    UNKNOWN = "unknown"
    """Too little mail of the author domain has passed here to say anything."""
    FAMILIAR = "familiar"
    """Mail of the author domain has passed DMARC here from this source."""
    STRANGER = "stranger"
    """Mail of the author domain is known to pass DMARC here, and from this source it never has."""


CLIENT_KNOWN = ("network", "signer", "sealer")
"""The identities by which a client can be known here: its network, a passing signature's d=, a verified ARC seal's
d=."""


class Wait(Value):
    """Mail of one author domain from one client network is deferred for lack of DNS answers."""

    key: str
    begun: float
    """Epoch seconds."""


class Circumstances(Value):
    """The memory that a decision used. It is kept with the trace, so that the same decision comes out again."""

    standing: Standing = Standing.UNKNOWN
    dns_waited: bool = False
    """This author domain and client network have been deferred for missing DNS answers up to the limit. The message is
    judged without the answers still missing."""
    dns_wait: Wait | None = None
    """The wait that the message belongs to; None when no missing answer could matter."""
    hold_full: bool = False
    """The quota of held mail is full: a message that a rule would hold is deferred."""
    client_known: tuple[str, ...] = ()
    """The identities by which the client is known here for mail of any domain that passed: `network`, `signer`,
    `sealer`. It is empty in a trace from before this question existed, because that message was judged as if
    unknown."""
    selectors_seen: tuple[str, ...] = ()
    """Names of keys that are not (or no longer) in DNS, of signatures in this message. Mail of the Author Domain has
    passed here with them."""
    greylisting: Greylisting | None = None
    """None when the greylist does not apply: it is off, the message is internal, or it is refused anyway."""


NOTHING_REMEMBERED = Circumstances()


class Acquaintance(Value):
    """A sender that has tried before, as it is stored. Times are epoch seconds."""

    key: str
    """The sender's key: an authenticated domain, else a client network and sender."""
    first: float
    passed: bool
    """A message was accepted."""
    expires: float
    """The time at which the entry is forgotten."""


class Greylisting(Value):
    """The greylist's result for one message; kept with its trace."""

    key: str
    first: float
    """The time of the first try; now, if there was none."""
    wait: bool
    """The message is told to come back."""


_ENOUGH = 5
"""Number of messages that must have passed before a source without any counts as strange, and before a client counts as
known. It exceeds the first few messages of one among several sources."""


class History(Value):
    """Counts of mail that passed here before."""

    author_passes: int = 0
    """Messages of the Author Domain."""
    source_passes: int = 0
    """The messages of the Author Domain that came from the client's network."""
    network_passes: int = 0
    """The messages of any domain from the client's network."""
    name_passes: tuple[int, ...] = ()
    """For each domain that signs for the client: the messages of that domain or with its signature."""
    selectors: frozenset[str] = frozenset()
    """Names of the keys with which mail of the Author Domain has passed lately."""

    @classmethod
    def join(cls, found: Sequence[History]) -> History:
        """The sum of the memories of several shards for one question."""
        names = zip(*(one.name_passes for one in found), strict=True)
        return cls(
            sum(one.author_passes for one in found),
            sum(one.source_passes for one in found),
            sum(one.network_passes for one in found),
            tuple(sum(passes) for passes in names),
            frozenset().union(*(one.selectors for one in found)),
        )

    def know_client(self, signers: int) -> tuple[str, ...]:
        """The members of CLIENT_KNOWN by which the client is known. The first `signers` entries of `name_passes` are
        for signers of the message, the others for sealers."""
        enough = [passes >= _ENOUGH for passes in self.name_passes]
        known = (self.network_passes >= _ENOUGH, any(enough[:signers]), any(enough[signers:]))
        return tuple(word for word, found in zip(CLIENT_KNOWN, known, strict=True) if found)

    @property
    def standing(self) -> Standing:
        if self.source_passes:
            return Standing.FAMILIAR
        return Standing.STRANGER if self.author_passes >= _ENOUGH else Standing.UNKNOWN


class Sighting(Value):
    """One message, as the memory counts it."""

    zone: str
    """The own domain or else the organization that the Author Domain belongs to."""
    domain: str
    """The Author Domain in A-labels."""
    source: str
    """The client's network: its /24, or its /64 in IPv6."""
    signer: str
    """d= of a passing signature outside the author's organization; empty without one."""
    name: str
    """The client's name in reverse DNS, else its own name for itself."""
    passed: bool
    """DMARC passed, or the owner of an own domain vouches for it."""
    ours: bool
    """A domain of ours or protected: never forgotten."""
    selector: str = ""
    """The name of the key with which the author's organization signed it; empty without a passing signature."""


class Sender(Value):
    """One source of an Author Domain's mail, with its counts."""

    domain: str
    source: str
    """A network; empty for the sum of those that had no room of their own."""
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
