"""Delivery: what is to be sent where, what became of it, and what is written down.

A Transfer is the unit of scheduling and of one mail transaction; a recipient is the unit of outcome.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

from gateway.model.decision import Decision
from gateway.model.dnsdata import Lookup
from gateway.model.envelope import Body, Envelope, Mailbox, Recipient, Ret
from gateway.model.event import Event
from gateway.model.history import NOTHING_REMEMBERED, Acquaintance, Circumstances, Sighting
from gateway.model.ingress import EdgeIngress, InternalIngress, Tls
from gateway.model.message import Content, Departure, Evidence, Message, Span
from gateway.model.reply import Reply
from gateway.model.result import Authentication
from gateway.model.value import Value


class Quota(Value):
    """How much may be held, or is: of one Author Domain, and in all."""

    domain_messages: int = 200
    domain_octets: int = 52_428_800
    messages: int = 5_000
    octets: int = 1_073_741_824

    def less(self, held: Quota) -> Quota:
        """What is left of it when so much is held."""
        return Quota(
            self.domain_messages - held.domain_messages,
            self.domain_octets - held.domain_octets,
            self.messages - held.messages,
            self.octets - held.octets,
        )


class Hold(Value):
    """Under what terms a message is held."""

    domain: str
    """The Author Domain's organization, whose quota it counts against; empty when there is none."""
    expires: float
    """Epoch seconds: when it is given up."""
    quota: Quota


class HeldEntry(Value):
    """One held message, as `waypost hold list` shows it. Times are epoch seconds."""

    id: str
    received: float
    expires: float
    domain: str
    """The Author Domain as the quota counts it; empty when there is none."""
    mail_from: str
    rcpts: tuple[str, ...]
    subject: str
    size: int
    reason: str
    """The rule that holds it, or what a backend had against it."""


TRACE_VERSION = 1
"""Raised when a check or a fact changes so that an older verdict would come out otherwise."""


class Transfer(Value):
    """One message to one route."""

    id: str
    message_id: str
    backend: str
    mail_from: Mailbox | None
    rcpts: tuple[Recipient, ...]
    """Those still without a final outcome."""
    prefix: bytes
    """The fields we add above the content, with their CRLFs."""
    body: Body
    smtputf8: bool
    ret: Ret | None
    envid: str
    created: float
    """Epoch seconds of reception."""
    due: float
    attempts: int = 0
    delay_warned: bool = False
    return_path_verified: bool = False
    """SPF passed for `mail_from`, a signature of its domain passed, or its owner logged in: a DSN may go there
    (promise P6)."""
    authenticated: bool = False
    """It passed DMARC at our edge, or came in from within: a backend that finds otherwise judges us, not its sender."""
    verdicts: tuple[str, ...] = ()
    """What was found at our edge, in words for a DSN."""
    rewritten: Mailbox | None = None
    """What MAIL FROM says to a third party in place of `mail_from` (SRS)."""
    role: bool = False
    """For postmaster@ or abuse@ of ours, and nobody else: what a backend takes for spam is kept."""
    sender: str = ""
    """The [[sender]] or [[tenant]] of ours that it is from; empty for mail from outside."""


class OutcomeKind(StrEnum):
    """What became of one recipient in one attempt."""

    DELIVERED = "delivered"
    DEFERRED = "deferred"
    FAILED = "failed"


class Scope(StrEnum):
    """What a failure says something about."""

    SESSION = "session"
    SITE = "site"
    MESSAGE = "message"
    RECIPIENT = "recipient"
    OURS = "ours"


class Outcome(Value):
    """One recipient's outcome of one attempt."""

    rcpt: Recipient
    kind: OutcomeKind
    reply: Reply
    scope: Scope
    remote_mta: str
    """Name of the host that answered; empty when none did."""
    remote_address: str = ""
    tls: Tls | None = None
    certificate: str = ""
    """`verified`, `unverified (why)`; empty when TLS was not tried. After a failed handshake `why` says that the
    message went in plain text."""
    ambiguous: bool = False
    """The connection ended after the final dot: the backend may or may not have the message."""
    reports: bool = False
    """The host took the message and offers DSN: telling what becomes of it is its duty now (RFC 3461 section 5.2.1)."""


class Final(StrEnum):
    """The one state in which each acknowledged recipient ends (promise P1)."""

    DELIVERED = "delivered"
    FAILED = "failed"
    """With a DSN, or refused in session so that the client was told."""
    WITHHELD = "withheld"
    """Failed, and the DSN withheld because the return path was not verified."""
    EXPIRED = "expired"
    DELETED = "deleted"
    RETURNED = "returned"
    """Never acknowledged: the client was told to try again, and still has the message."""


class Ending(Value):
    """A recipient's final state."""

    rcpt: Recipient
    state: Final
    reply: Reply


class Claim(Value):
    """A transfer taken for one attempt. `epoch` fences: a settlement with an older one is refused."""

    transfer: Transfer
    message: Message
    epoch: int


class Attempt(Value):
    """One attempt, as `explain` shows it."""

    transfer_id: str
    backend: str
    started: float
    ended: float
    outcomes: tuple[Outcome, ...]


class Act(Value):
    """What was done with a message by hand, or because its time was over."""

    at: float
    """Epoch seconds."""
    what: str
    """`released`, `deleted`, `expired`; of what waits also `held`, `rerouted to` a backend, `bounced`."""
    by: str
    """Who asked for it; empty for time."""
    endings: tuple[Ending, ...] = ()
    """Recipients that are done by it."""


class Trace(Value):
    """Why a message was treated as it was: enough to explain and to repeat the decision (promise P4)."""

    id: str
    received: float
    """Epoch seconds; also the time the verdicts were made at."""
    edge: EdgeIngress | None
    internal: InternalIngress | None
    """Exactly one of the two is set."""
    envelope: Envelope
    evidence: Evidence | None
    """None when the message was refused before its content came."""
    content: Content | None
    """Size and hash of what was received, without the octets."""
    dropped: tuple[Span, ...]
    authentication: Authentication | None
    lookups: tuple[Lookup, ...]
    decision: Decision
    routes: tuple[tuple[str, str], ...]
    """(recipient, backend) pairs; empty when it is not delivered."""
    added: tuple[str, ...]
    """The fields put above, as text."""
    version: int = 1
    """Which checks and facts made the verdict; one of another version cannot be repeated."""
    omitted: tuple[str, ...] = ()
    """The fields left out for the sake of a signature, each as `Name: reason` (promise P2)."""
    sealed: tuple[str, ...] = ()
    """The backends whose copy carries the ARC set at the top of `added`."""
    circumstances: Circumstances = NOTHING_REMEMBERED
    """What was remembered when the verdict was made."""
    departure: Departure | None = None
    """How it left, when it was a sender's of ours."""


class Intake(Value):
    """The exact writes of one reception: one transaction."""

    trace: Trace
    message: Message | None
    """None when nothing is kept but the trace."""
    transfers: tuple[Transfer, ...]
    claimed: bool
    """The transfers are stored as already claimed (epoch 1) by their committer."""
    hold: Hold | None = None
    """Set when the message is kept until an admin decides; then it has no transfers yet."""
    sighting: Sighting | None = None
    """What the memory of senders learns by it."""
    acquaintance: Acquaintance | None = None
    """What the greylist learns by it."""
    fingerprint: bytes = b""
    """By which the same message is known when its client tries again; empty when nobody waits for an answer."""
    durable: bool = True
    """False for refused mail: its trace need not be on stable storage before the reply."""
    events: tuple[Event, ...] = ()


class Settlement(Value):
    """The exact writes of one attempt: one transaction."""

    transfer_id: str
    message_id: str
    epoch: int
    endings: tuple[Ending, ...]
    """Recipients that are done."""
    remaining: tuple[Recipient, ...]
    """Recipients that will be tried again."""
    due: float | None
    """When; None when nothing remains, or it is held."""
    attempt: Attempt
    delay_warned: bool
    dsn: Intake | None
    """A DSN is an Intake inside the Settlement: same transaction."""
    events: tuple[Event, ...] = ()
    told: bool = False
    """The waiting client gets the refusal of all recipients: a retry is a new message."""
    hold: Hold | None = None
    """Set when what remains is kept on terms, for `waypost hold` to decide about; then `reason` is set too."""
    reason: str = ""
    """Why what remains is held until an admin decides; empty when it is not."""


class QueueEntry(Value):
    """One waiting transfer, as `waypost queue` lists it."""

    transfer_id: str
    message_id: str
    backend: str
    mail_from: str
    rcpts: tuple[str, ...]
    size: int
    created: float
    due: float
    attempts: int
    last_reply: str
    claimed: bool
    held: bool = False
    """Kept back until an admin decides; `last_reply` then says why."""


class Story(Value):
    """All that is stored of one message, as `waypost explain` reads it."""

    trace: Trace
    endings: tuple[Ending, ...]
    waiting: tuple[Transfer, ...]
    attempts: tuple[Attempt, ...]
    content_kept: bool
    held: bool
    acts: tuple[Act, ...] = ()
    held_transfers: tuple[str, ...] = ()
    """Ids of those of `waiting` that are kept back."""
    damaged: tuple[str, ...] = ()
    """What of it cannot be read, each with the reason."""


class Failure(Value):
    """One recipient's end."""

    message_id: str
    at: float
    """Epoch seconds."""
    mail_from: str
    """Empty for the null sender."""
    rcpt: str
    backend: str
    state: Final
    reply: Reply


class Pending(Value):
    """A transfer with recipients that have no final state yet."""

    claim: Claim
    """As an attempt would get it; its epoch is the one that a Settlement of it is written under."""
    sending: bool
    """An attempt is under way: nobody else may touch it."""
    held: bool


class Requeued(Value):
    """Transfers that take the place of one; together they have its recipients."""

    transfer_id: str
    transfers: tuple[Transfer, ...]
    held: str | None = None
    """Why they are kept back until an admin decides, empty for the reason of before; None: each is tried when due."""


Change: TypeAlias = Requeued | Settlement


class Amendment(Value):
    """The exact writes of one command on one message: one transaction."""

    changes: tuple[Change, ...] = ()
    refusals: tuple[str, ...] = ()
    """What of the message is left as it is, and why."""
    act: Act | None = None
    """What the message's story says of it; None where there is nothing to say."""
