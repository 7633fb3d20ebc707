"""The listener's questions: the listener speaks the protocol, and the other side of this port judges."""

from __future__ import annotations

from typing import Protocol

from gateway.model.envelope import Envelope, IPText, Mailbox, Recipient
from gateway.model.ingress import ClientSource, Tls
from gateway.model.reply import Reply
from gateway.model.value import Value


class Connection(Value):
    """An SMTP connection as the listener sees it, with the client's address as far as the transport proves it."""

    listener: str
    peer: IPText
    client: IPText
    source: ClientSource
    """PEER, PROXY or XCLIENT; RECEIVED is found later."""
    unknown: str = ""
    """The reason why the client's address is not known, when a listed XCLIENT peer says so; `client` is then that
    peer's."""
    helo: str = ""
    """The client's own name, from a listed XCLIENT peer; it precedes the peer's own name in EHLO."""
    carry: bool = False
    """Bare newlines in a body are carried, not refused, if that is safe: the listener's `bare_newline`."""


class Conversation(Protocol):
    """The judge of one SMTP session, independent of the transport: the listener speaks the protocol, this decides.

    The listener guards the order of commands, parses paths and parameters, frames and unstuffs content, and enforces
    the size limit; it sends every Reply given here unchanged. Any exception becomes 451 4.3.0.
    """

    def hello(self, name: str, esmtp: bool, tls: Tls | None) -> None:
        """HELO or EHLO was accepted; called again after STARTTLS. Ends any open transaction."""

    def login(self, name: str) -> None:
        """The client has authenticated (RFC 4954). This holds until the session ends."""

    def forced_sender(self) -> Mailbox | None:
        """The address that this client always sends as, regardless of MAIL; None when it has none of that kind."""

    async def refuse(self, reply: Reply, path: Mailbox | None = None) -> Reply:
        """The listener itself refuses MAIL, or a command or the content of an open transaction. `path` is the address
        in the command, if it was readable. Returns the reply with the id of the stored trace."""

    async def mail(self, envelope: Envelope, size: int | None) -> Reply:
        """MAIL: `envelope` has no recipients yet; `size` is the SIZE parameter in octets."""

    async def rcpt(self, recipient: Recipient) -> Reply:
        """RCPT: a positive reply adds the recipient."""

    async def begin(self) -> Reply:
        """DATA or the first BDAT after at least one accepted recipient: 354, or a refusal."""

    async def take(self, chunk: bytes) -> None:
        """The next octets of the content, unstuffed. Waits while they cannot be stored."""

    async def finish(self) -> Reply:
        """All content has arrived: judge, store, answer. Not cancelled when the client disconnects."""

    def answered(self, heard: bool) -> None:
        """The reply of `finish` was sent, and it was heard or not, as far as the connection shows."""

    def lost(self) -> None:
        """The connection is over, perhaps before a reply is ready."""

    def abandon(self) -> None:
        """The transaction ends without a message: RSET, a new EHLO, oversize content, a lost connection."""

    def close(self) -> None:
        """The session is over."""


class Reception(Protocol):
    """The service behind a listener."""

    async def connect(self, connection: Connection) -> Conversation | Reply:
        """A new session, or the reply that refuses it."""
