"""What this gateway remembers of senders: counted with each reception, read where a judgement asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from gateway.model.value import Value


class Standing(StrEnum):
    """What was seen here of an author domain and of the source that now writes as it."""

    UNKNOWN = "unknown"
    """Too little mail of the author domain has passed here to say anything."""
    FAMILIAR = "familiar"
    """Mail of the author domain has passed DMARC here from this source."""
    STRANGER = "stranger"
    """Mail of the author domain is known to pass DMARC here, and from this source it never has."""


CLIENT_KNOWN = ("network", "signer", "sealer")
"""By what a client can be known here: its network, a passing signature's d=, a verified ARC seal's d=."""


class Wait(Value):
    """Mail of one author domain from one client network is put off for want of DNS answers."""

    key: str
    begun: float
    """Epoch seconds."""


class Circumstances(Value):
    """Kept with the trace, so that the same decision comes out again."""

    standing: Standing = Standing.UNKNOWN
    dns_waited: bool = False
    """This author domain and client network have been deferred for missing DNS answers as long as is allowed: what is
    still missing is done without."""
    dns_wait: Wait | None = None
    """The wait that the message falls into; None where no missing answer could matter."""
    hold_full: bool = False
    """As much is held as may be: what a rule would hold is told to come back."""
    client_known: tuple[str, ...] = ()
    """By what the client is known here for mail that passed, of whatever domain: `network`, `signer`, `sealer`. Nothing
    in a trace from before this was asked, which was judged as if there were nothing."""
    selectors_seen: tuple[str, ...] = ()
    """Names of keys that DNS does not have (any more), of signatures in this message: mail of the Author Domain has
    passed here with them."""
    greylisting: Greylisting | None = None
    """None where the greylist has nothing to say: it is off, or the message comes from inside, or is refused anyhow."""


NOTHING_REMEMBERED = Circumstances()


class Acquaintance(Value):
    """Somebody who has tried before, as it is stored. Times are epoch seconds."""

    key: str
    """By what it is known: an authenticated domain, else a client network and sender."""
    first: float
    passed: bool
    """A message was let in."""
    expires: float
    """From then on it is forgotten."""


class Greylisting(Value):
    """What the greylist says of one message; kept with its trace."""

    key: str
    first: float
    """When it first tried: now, if it never did."""
    wait: bool
    """It is to come back."""


_ENOUGH = 5
"""Messages that must have passed before a source from which none came is strange, and before a client counts as known:
it takes more than the first few from one of several places."""


class History(Value):
    """What has passed here before."""

    author_passes: int = 0
    """Messages of the Author Domain."""
    source_passes: int = 0
    """Those of them that came from the client's network."""
    network_passes: int = 0
    """Messages of any domain that came from there."""
    name_passes: tuple[int, ...] = ()
    """For each domain that signs for the client: messages of its own, or with its signature."""
    selectors: frozenset[str] = frozenset()
    """Names of the keys with which mail of the Author Domain has passed lately."""

    @classmethod
    def join(cls, found: Sequence[History]) -> History:
        """The memories of several shards, asked for the same."""
        names = zip(*(one.name_passes for one in found), strict=True)
        return cls(
            sum(one.author_passes for one in found),
            sum(one.source_passes for one in found),
            sum(one.network_passes for one in found),
            tuple(sum(passes) for passes in names),
            frozenset().union(*(one.selectors for one in found)),
        )

    def know_client(self, signers: int) -> tuple[str, ...]:
        """By which of CLIENT_KNOWN the client is known: of `name_passes` the first are those of so many signers of the
        message, the others of sealers."""
        enough = [passes >= _ENOUGH for passes in self.name_passes]
        known = (self.network_passes >= _ENOUGH, any(enough[:signers]), any(enough[signers:]))
        return tuple(word for word, found in zip(CLIENT_KNOWN, known, strict=True) if found)

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
    selector: str = ""
    """The name of the key with which the author's organization signed it; empty without a passing signature."""


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
