"""The ports: what the services need of the world. `net/` and `spool/` fill them; only `app` knows which."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.model.address import IPText, Mailbox
from gateway.model.delivery import Act, Claim, Intake, Outcome, QueueEntry, Settlement, Story, Transfer
from gateway.model.dnsdata import Answer, Question
from gateway.model.envelope import Envelope, Recipient
from gateway.model.event import Event
from gateway.model.greylisting import Acquaintance
from gateway.model.history import History
from gateway.model.holding import HeldEntry
from gateway.model.ingress import ClientSource, Tls
from gateway.model.message import Content
from gateway.model.reply import Reply
from gateway.model.route import Capabilities, Unanswered


class Clock(Protocol):
    """Time and chance."""

    def now(self) -> float:
        """Wall clock, epoch seconds."""

    def monotonic(self) -> float:
        """Seconds that never go back."""

    def jitter(self) -> float:
        """A number in [0, 1)."""

    def new_id(self) -> str:
        """A fresh id for a message, transfer or session: sorts by time, names its shard, safe in a reply."""


class Tally(Protocol):
    """Counts by key over all `workers` of the gateway; what a worker has counted goes with it."""

    workers: int

    def add(self, key: str, number: int = 1) -> int:
        """Count so many more; returns how many there are now. A negative number takes back, and returns 0."""

    def total(self, key: str) -> int:
        """How many there are."""


class Signer(Protocol):
    """A private key that seals."""

    def sign(self, digest: bytes) -> bytes:
        """The signature of a SHA-256 digest. Does no IO, and the same digest gives the same one."""


class Resolver(Protocol):
    """DNS: a live view of what is known, and a way to learn more."""

    def known(self, question: Question) -> Answer | None:
        """The answer if it is in the cache and still fresh; never does IO."""

    async def fetch(self, questions: Collection[Question]) -> dict[Question, Answer]:
        """Ask for all of them at once (single flight). A lookup that fails is an Answer too; never raises.
        May be cancelled by its caller at a deadline: lookups under way go on for the cache."""


class Backend(Protocol):
    """One backend: a configured next hop with its connections."""

    @property
    def name(self) -> str: ...

    def room(self) -> int:
        """How many window slots are free: so many deliveries started now need not wait."""

    async def deliver(self, claim: Claim, content: Callable[[], AsyncIterator[bytes]]) -> tuple[Outcome, ...]:
        """Send prefix and content in one mail transaction, byte-exact. `content` opens the octets anew for each host
        that is tried. One Outcome for each recipient of the transfer, in order. Raises only `ContentAltered`;
        everything else is an Outcome."""

    def capabilities(self) -> Capabilities | None:
        """What its hosts said they take: the most that any of them takes, but CHUNKING only when all do. None when
        none said it lately, or when it depends on the recipient."""

    async def verify(self, mailbox: Mailbox) -> Reply | Unanswered:
        """The reply to RCPT for this mailbox from the null sender; no message is sent. Questions take at most half of
        the window, and none that mail is using: they never stand in the way of mail. Does not raise."""

    async def close(self) -> None: ...


class ContentAltered(Exception):
    """The octets about to be sent do not hash to what was received (promise P2). Nothing was sent."""


class SpoolFull(Exception):
    """The spool could not put the write on stable storage; nothing of it was kept."""


class HoldFull(Exception):
    """As much is held of the Author Domain, or in all, as may be; nothing was written."""


class ContentWriter(Protocol):
    """Takes content too large for memory, while it arrives."""

    def write(self, chunk: bytes) -> None:
        """The next octets. Does not wait for the disk and never raises: `finish` tells what went wrong."""

    async def drain(self) -> None:
        """Wait while the disk is far behind. Called between writes, it keeps memory bounded and the loop free."""

    async def finish(self) -> str:
        """Make file and directory entry durable; returns the path for `Content.path`. Raises SpoolFull."""

    def discard(self) -> None:
        """Remove what was written. Does nothing once a commit has been asked to store it."""


class IntakeStore(Protocol):
    """What reception needs of a spool."""

    async def commit(self, intake: Intake) -> None:
        """Store a reception, on stable storage when this returns; one that is not `durable` is written soon, or lost
        with the process. Raises SpoolFull, and HoldFull for one with `hold`: its content is still the caller's."""

    async def recall(self, domain: str, source: str) -> History:
        """What receptions have taught of an Author Domain and a client's network."""

    async def acquaintance(self, key: str) -> Acquaintance | None:
        """What receptions have taught the greylist of somebody; it may have expired."""

    def note_answer(self, id: str, heard: bool) -> None:
        """Whether the client of a stored message was told that it is; written soon."""

    async def find_unheard(self, fingerprint: bytes, now: float) -> str | None:
        """The id of a stored message with this fingerprint whose client was not told, as far as that is remembered."""

    def open_content(self) -> ContentWriter:
        """A place for content above the in-memory limit."""


class HoldStore(Protocol):
    """What deciding on messages with a Hold needs of a spool."""

    async def held(self, limit: int) -> Sequence[HeldEntry]:
        """Up to `limit` held messages of all shards, the oldest first."""

    async def story(self, id: str) -> Story | None:
        """All that is stored of one message; None when nothing is."""

    async def let_go(self, id: str, transfers: Sequence[Transfer], act: Act) -> bool:
        """A held message is sent: by the transfers that it has, and by these. False, and nothing is written, when it
        is not held, or is for another reason than a Hold."""

    async def discard(self, id: str, act: Act) -> bool:
        """A held message ends: its content and transfers go, the act says how. False when it is not held, or is for
        another reason than a Hold, or is being sent just now."""

    async def given_up(self, since: float, limit: int) -> Sequence[HeldEntry]:
        """Up to `limit` messages whose time to be held has ended since then, at `expires`."""

    async def overdue(self, now: float, limit: int) -> Sequence[str]:
        """Ids of up to `limit` messages whose time to be held is over."""


class Spool(IntakeStore, HoldStore, Protocol):
    """Durable state. Every method that writes is one transaction; it returns when that is on stable storage, but for
    `claim` and `release`: what they write need only outlive the process. Any of them may raise SpoolFull."""

    def read_content(self, content: Content) -> AsyncIterator[bytes]:
        """The octets in chunks of at most 1 MB. Raises ContentAltered when they are gone."""

    async def claim(self, skip: Collection[str], limit: int, now: float, lease: float) -> Sequence[Claim]:
        """Take up to `limit` due transfers whose backend is not in `skip`, for `lease` seconds: the oldest of each
        backend, then the second of each, and so on, so that no backend's heap delays another's mail."""

    async def release(self, claim: Claim, due: float) -> None:
        """Give a claim back unused. A stale one is ignored."""

    async def settle(self, settlement: Settlement) -> bool:
        """Write an attempt's outcome. False when the claim was lost (stale epoch): then nothing was written. After
        SpoolFull the same settlement can be tried again; after HoldFull, which one with `hold` may raise, another."""

    async def hold(self, claim: Claim, reason: str) -> None:
        """Keep the transfer's message back until an admin decides (altered content)."""

    async def next_due(self, skip: Collection[str] = ()) -> float | None:
        """When the earliest transfer to a backend not in `skip` is due, or its lease runs out; None when none waits."""

    async def queue(self, limit: int) -> Sequence[QueueEntry]:
        """Up to `limit` transfers that have no final outcome yet, earliest due first; held ones too."""

    async def counts(self) -> dict[str, int]:
        """How many transfers wait or are under way, by backend; held ones are not counted."""

    async def purge(self, now: float) -> int:
        """Remove what retention no longer asks for, a bounded number at a time; returns how many rows went."""

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Connection:
    """An SMTP connection as the listener sees it, with the client's address as far as the transport proves it."""

    listener: str
    peer: IPText
    client: IPText
    source: ClientSource
    """PEER, PROXY or XCLIENT; RECEIVED is found later."""
    unknown: str = ""
    """Why the client's address is not known, when a listed XCLIENT peer says so; then `client` is that peer's."""
    helo: str = ""
    """What the client called itself, by a listed XCLIENT peer; it stands before what the peer says in EHLO."""
    carry: bool = False
    """Bare newlines in a body are carried, not refused, where that is safe: the listener's `bare_newline`."""


class Conversation(Protocol):
    """One SMTP session's judge, free of transport: the listener speaks the protocol, this decides.

    The listener guards the order of commands, parses paths and parameters, frames and unstuffs content, and
    enforces the size limit; every Reply given here is sent as it is. Any exception becomes 451 4.3.0.
    """

    def hello(self, name: str, esmtp: bool, tls: Tls | None) -> None:
        """HELO or EHLO was accepted; said again after STARTTLS. Ends any open transaction."""

    def login(self, name: str) -> None:
        """The client has proven who it is (RFC 4954). It holds until the session ends."""

    async def refuse(self, reply: Reply, path: Mailbox | None = None) -> Reply:
        """The listener itself refuses MAIL, or a command or the content of an open transaction. `path` is the address
        that the command named, where it could be read. Returns the reply with the id of the trace that is left."""

    async def mail(self, envelope: Envelope, size: int | None) -> Reply:
        """MAIL: `envelope` has no recipients yet; `size` is the SIZE parameter in octets."""

    async def rcpt(self, recipient: Recipient) -> Reply:
        """RCPT: a positive reply adds the recipient."""

    async def begin(self) -> Reply:
        """DATA or the first BDAT after at least one accepted recipient: 354, or a refusal."""

    async def take(self, chunk: bytes) -> None:
        """The next octets of the content, unstuffed. Waits while they cannot be put away."""

    async def finish(self) -> Reply:
        """All content has come: judge, store, answer. Not cancelled when the client goes away."""

    def answered(self, heard: bool) -> None:
        """The reply of `finish` was sent, and it was heard or not, as far as the connection shows."""

    def abandon(self) -> None:
        """The transaction ends without a message: RSET, a new EHLO, oversize content, a lost connection."""

    def close(self) -> None:
        """The session is over."""


class Reception(Protocol):
    """What a listener serves."""

    async def connect(self, connection: Connection) -> Conversation | Reply:
        """A new session, or the reply that refuses it."""


class EventSink(Protocol):
    """Takes events; must not block and must not raise."""

    def __call__(self, event: Event) -> None: ...


def emit_all(sink: EventSink, events: Iterable[Event]) -> None:
    """Hand each event to the sink."""
    for event in events:
        sink(event)
