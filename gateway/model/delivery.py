"""Delivery: transfers, their outcomes, and the records written about them.

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
    """A limit on held mail, or the amount held: for one Author Domain, and in all."""

    domain_messages: int = 200
    domain_octets: int = 52_428_800
    messages: int = 5_000
    octets: int = 1_073_741_824

    def less(self, held: Quota) -> Quota:
        """The room left when this much is held."""
        return Quota(
            self.domain_messages - held.domain_messages,
            self.domain_octets - held.domain_octets,
            self.messages - held.messages,
            self.octets - held.octets,
        )


class Hold(Value):
    """The terms under which a message is held."""

    domain: str
    """The Author Domain's organization, to whose quota the message counts; empty when there is none."""
    expires: float
    """Epoch seconds of its expiry."""
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
    """The rule that holds it, or a backend's objection to it."""


TRACE_VERSION = 1
"""Raised when a changed check or fact would give an older message another verdict."""


class Transfer(Value):
    """One message to one route."""

    id: str
    message_id: str
    backend: str
    mail_from: Mailbox | None
    rcpts: tuple[Recipient, ...]
    """Recipients without a final outcome."""
    prefix: bytes
    """The fields added above the content, with their CRLFs."""
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
    """SPF passed for `mail_from`, a signature of its domain passed, or its owner logged in: a DSN may go there (promise
    P6)."""
    authenticated: bool = False
    """The message passed DMARC at our edge, or is internal. A backend that finds otherwise judges us, not the
    sender."""
    verdicts: tuple[str, ...] = ()
    """The results of the checks at our edge, in words for a DSN."""
    rewritten: Mailbox | None = None
    """The MAIL FROM that a third party sees in place of `mail_from` (SRS)."""
    role: bool = False
    """All recipients are role addresses of ours: the message is kept even when a backend takes it for spam."""
    sender: str = ""
    """The [[sender]] or [[tenant]] that sent the message; empty for mail from outside."""


class OutcomeKind(StrEnum):
    """The result for one recipient in one attempt."""

    DELIVERED = "delivered"
    DEFERRED = "deferred"
    FAILED = "failed"


class Scope(StrEnum):
    """The subject that a failure blames."""

    SESSION = "session"
    SITE = "site"
    MESSAGE = "message"
    RECIPIENT = "recipient"
    OURS = "ours"


class Outcome(Value):
    """The outcome for one recipient of one attempt."""

    rcpt: Recipient
    kind: OutcomeKind
    reply: Reply
    scope: Scope
    remote_mta: str
    """Name of the host that answered; empty when no host answered."""
    remote_address: str = ""
    tls: Tls | None = None
    certificate: str = ""
    """`verified`, or `unverified (why)`; empty when TLS was not tried. After a failed handshake `why` says that the
    message went in plain text."""
    ambiguous: bool = False
    """The connection ended after the final dot: the backend may or may not have the message."""
    reports: bool = False
    """The host took the message and offers DSN, so reporting on it is now the host's duty (RFC 3461 section 5.2.1)."""


class Final(StrEnum):
    """The one state in which each acknowledged recipient ends (promise P1)."""

    DELIVERED = "delivered"
    FAILED = "failed"
    """With a DSN, or refused in session, so that the client knows."""
    WITHHELD = "withheld"
    """Failed, and the DSN withheld because the return path was not verified."""
    EXPIRED = "expired"
    DELETED = "deleted"
    RETURNED = "returned"
    """Never acknowledged: the client was asked to try again, and still has the message."""


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
    """An act on a message by an admin, or at its expiry."""

    at: float
    """Epoch seconds."""
    what: str
    """`released`, `deleted`, `expired`; for waiting mail also `held`, `rerouted to` a backend, `bounced`."""
    by: str
    """The admin who asked for it; empty at an expiry."""
    endings: tuple[Ending, ...] = ()
    """Final states that the act gives to recipients."""


class Trace(Value):
    """The reasons for the treatment of a message: enough to explain and to repeat the decision (promise P4)."""

    id: str
    received: float
    """Epoch seconds; the verdicts were made at the same time."""
    edge: EdgeIngress | None
    internal: InternalIngress | None
    """Exactly one of the two is set."""
    envelope: Envelope
    evidence: Evidence | None
    """None when the message was refused before its content arrived."""
    content: Content | None
    """Size and hash of the received octets, without the octets."""
    dropped: tuple[Span, ...]
    authentication: Authentication | None
    lookups: tuple[Lookup, ...]
    decision: Decision
    routes: tuple[tuple[str, str], ...]
    """(recipient, backend) pairs; empty when it is not delivered."""
    added: tuple[str, ...]
    """The fields added above the content, as text."""
    version: int = 1
    """Version of the checks and facts behind the verdict. A verdict of another version cannot be repeated."""
    omitted: tuple[str, ...] = ()
    """The fields left out to keep a signature valid, each as `Name: reason` (promise P2)."""
    sealed: tuple[str, ...] = ()
    """The backends whose copy carries the ARC set at the top of `added`."""
    circumstances: Circumstances = NOTHING_REMEMBERED
    """The memory of earlier mail at the time of the verdict."""
    departure: Departure | None = None
    """The way it left, for mail of a sender of ours."""


class Intake(Value):
    """The exact writes of one reception: one transaction."""

    trace: Trace
    message: Message | None
    """None when only the trace is kept."""
    transfers: tuple[Transfer, ...]
    claimed: bool
    """The transfers are stored as already claimed (epoch 1) by their committer."""
    hold: Hold | None = None
    """Set when the message is kept until an admin decides. It then has no transfers yet."""
    sighting: Sighting | None = None
    """The entry for the memory of senders."""
    acquaintance: Acquaintance | None = None
    """The entry for the greylist."""
    fingerprint: bytes = b""
    """The mark that identifies the same message when its client tries again; empty when no client waits for an
    answer."""
    durable: bool = True
    """False for refused mail: its trace need not be on stable storage before the reply."""
    events: tuple[Event, ...] = ()


class Settlement(Value):
    """The exact writes of one attempt: one transaction."""

    transfer_id: str
    message_id: str
    epoch: int
    endings: tuple[Ending, ...]
    """Final states of recipients."""
    remaining: tuple[Recipient, ...]
    """Recipients that will be tried again."""
    due: float | None
    """Epoch seconds of the next attempt; None when nothing remains, or it is held."""
    attempt: Attempt
    delay_warned: bool
    dsn: Intake | None
    """A DSN is an Intake inside the Settlement: same transaction."""
    events: tuple[Event, ...] = ()
    told: bool = False
    """The waiting client gets the refusal of all recipients. If it tries again, that is a new message."""
    hold: Hold | None = None
    """Set when the rest is held on terms for `waypost hold`. `reason` is then set too."""
    reason: str = ""
    """The reason for holding the rest until an admin decides; empty when it is not held."""


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
    """Held until an admin decides; `last_reply` gives the reason."""


class Backlog(Value):
    """The transfers to one backend that have no final outcome yet."""

    backend: str
    waiting: int
    """Those that wait or are under way."""
    held: int
    oldest: float | None
    """Epoch seconds of the reception of the oldest one that waits; None when none does."""


class Story(Value):
    """Everything stored about one message, as `waypost explain` reads it."""

    trace: Trace
    endings: tuple[Ending, ...]
    waiting: tuple[Transfer, ...]
    attempts: tuple[Attempt, ...]
    content_kept: bool
    held: bool
    acts: tuple[Act, ...] = ()
    held_transfers: tuple[str, ...] = ()
    """Ids of the held transfers among `waiting`."""
    damaged: tuple[str, ...] = ()
    """The parts that cannot be read, each with the reason."""


class Failure(Value):
    """The final failure of one recipient."""

    message_id: str
    at: float
    """Epoch seconds."""
    mail_from: str
    """Empty for the null sender."""
    rcpt: str
    backend: str
    state: Final
    reply: Reply
    remote_mta: str = ""
    """The host that gave the reply; empty when this gateway decided."""


class Pending(Value):
    """A transfer with recipients that have no final state yet."""

    claim: Claim
    """The claim that an attempt would get. A Settlement of the transfer is written under its epoch."""
    sending: bool
    """An attempt is under way: no other process may touch the transfer."""
    held: bool


class Requeued(Value):
    """The transfers that replace one transfer; together they have all its recipients."""

    transfer_id: str
    transfers: tuple[Transfer, ...]
    held: str | None = None
    """The reason for holding them until an admin decides; empty keeps the earlier reason. None: each is tried when
    due."""


Change: TypeAlias = Requeued | Settlement


class Amendment(Value):
    """The exact writes of one command on one message: one transaction."""

    changes: tuple[Change, ...] = ()
    refusals: tuple[str, ...] = ()
    """The transfers that stay unchanged, each with the reason."""
    act: Act | None = None
    """The entry for the message's story; None when there is nothing to record."""
