"""What a judgement rests on besides the message and DNS: what this gateway remembers of the past."""

from __future__ import annotations

from enum import StrEnum

from gateway.model.greylisting import Greylisting
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
    greylisting: Greylisting | None = None
    """None where the greylist has nothing to say: it is off, or the message comes from inside, or is refused anyhow."""


NOTHING_REMEMBERED = Circumstances()
