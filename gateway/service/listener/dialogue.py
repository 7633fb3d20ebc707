"""A session's mail transactions: the order of their steps, the size limit, and the replies to exceptions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum, auto
from functools import partial

from gateway.mail.path import ParsedPath, replace_path
from gateway.model.envelope import Envelope, Mailbox, Recipient
from gateway.model.ingress import Tls
from gateway.model.reply import REPLIES, Reply
from gateway.ports import Conversation

_NO_MAIL = Reply(503, "5.1", "Send MAIL first")
_NESTED_MAIL = Reply(503, "5.1", "A mail transaction is open already")
_NO_RECIPIENT = Reply(503, "5.1", "No valid recipients")
_CONTENT_BEGAN = Reply(503, "5.1", "The content has begun already")
_MIXED = Reply(503, "5.1", "DATA cannot follow BDAT in one transaction")


class _State(Enum):
    NONE = auto()
    OPEN = auto()
    BROKEN = auto()
    """A step inside a transaction failed: until the transaction ends, each of its commands gets the same reply.
    Otherwise recipients pipelined after a 451 would get a 503, and be bounced for our fault (promise P5)."""


class Dialogue:
    """Stands between the commands and a Conversation.

    Any exception of a hook becomes 451 4.3.0 with the id from `report`, and ends the transaction.
    """

    def __init__(self, conversation: Conversation, most_octets: int, report: Callable[[BaseException], str]) -> None:
        self._conversation = conversation
        self._most_octets = most_octets
        self._report = report
        self._state = _State.NONE
        self._refusal = REPLIES["internal"]
        self._accepted = 0
        self._receiving = False
        self._chunked = False
        self._octets = 0
        self.smtputf8 = False
        """MAIL of the open or else the last transaction had that parameter (RFC 6531 section 3.4)."""

    @property
    def idle(self) -> bool:
        """No transaction is open."""
        return self._state is _State.NONE

    @property
    def proven(self) -> bool:
        """A recipient was accepted in the open transaction, or a message lately."""
        return self._accepted > 0

    @property
    def refusal(self) -> Reply | None:
        """The reply that broke the transaction, if it is broken."""
        return self._refusal if self._state is _State.BROKEN else None

    def fail(self, error: Exception) -> Reply:
        """Report an exception; the reply gives the client only its id."""
        return REPLIES["internal"].with_id(self._report(error))

    def hello(self, name: str, esmtp: bool, tls: Tls | None) -> Reply | None:
        """HELO or EHLO (RFC 5321 section 4.1.4: it ends a transaction). Returns a reply only after a failure."""
        self.reset()
        try:
            self._conversation.hello(name, esmtp, tls)
        except Exception as error:
            return self.fail(error)
        return None

    def login(self, name: str) -> Reply | None:
        """The client has authenticated. Returns a reply only after a failure."""
        try:
            self._conversation.login(name)
        except Exception as error:
            return self.fail(error)
        return None

    def force_sender(self, argument: str) -> ParsedPath | None:
        """The arguments of MAIL when its path cannot be read, for a client whose sender is known without it."""
        try:
            sender = self._conversation.forced_sender()
        except Exception as error:
            self._report(error)
            return None
        return replace_path(argument, sender) if sender is not None else None

    async def refuse_sender(self, reply: Reply, path: Mailbox | None = None) -> Reply:
        """The listener refuses MAIL by itself; the reply gets its id, and a trace is stored."""
        return await self._ask(partial(self._conversation.refuse, reply, path))

    async def refuse(self, reply: Reply, path: Mailbox | None = None) -> Reply:
        """The listener refuses a later step by itself. Outside a transaction there is nothing to trace."""
        if self._state is not _State.OPEN:
            return self.refusal or reply
        return await self._ask(partial(self._conversation.refuse, reply, path))

    async def mail(self, envelope: Envelope, size: int | None) -> Reply:
        if self._state is _State.OPEN:
            return await self.refuse(_NESTED_MAIL, envelope.mail_from)
        self._state = _State.NONE
        self.smtputf8 = False
        reply = await self._ask(partial(self._conversation.mail, envelope, size))
        if reply.positive:
            self._state = _State.OPEN
            self.smtputf8 = envelope.smtputf8
            self._accepted = self._octets = 0
            self._receiving = self._chunked = False
        return reply

    async def rcpt(self, recipient: Recipient) -> Reply:
        if self._state is not _State.OPEN:
            return self.refusal or _NO_MAIL
        if self._receiving:
            return await self.refuse(_CONTENT_BEGAN, recipient.mailbox)
        reply = await self._ask(partial(self._conversation.rcpt, recipient))
        self._accepted += reply.positive
        return reply

    async def begin(self, chunked: bool) -> Reply:
        """Ask to send content: 354, also for each further BDAT; or a refusal."""
        if self._state is not _State.OPEN:
            return self.refusal or _NO_MAIL
        if not self._accepted:
            return await self.refuse(_NO_RECIPIENT)
        if self._receiving:
            # RFC 3030 section 2: DATA after BDAT is 503, and only RSET leads on.
            return Reply(354, "", "Go on") if chunked and self._chunked else await self._refuse_and_break(_MIXED)
        reply = await self._ask(self._conversation.begin)
        if reply.code == 354:
            self._receiving, self._chunked = True, chunked
        elif not chunked:
            self.reset()
        elif self._state is _State.OPEN:
            self._break(reply)  # chunks pipelined behind this one get the same answer
        return reply

    async def take(self, octets: bytes) -> None:
        """Pass content on; in a broken transaction it is dropped."""
        if not self._receiving or not octets:
            return
        self._octets += len(octets)
        if self._octets > self._most_octets:
            await self._refuse_and_break(REPLIES["too-big"])
            return
        try:
            await self._conversation.take(octets)
        except Exception as error:
            self._break(self.fail(error))

    async def finish(self) -> Reply:
        """The content is complete. This step runs to its end even if the client disconnects meanwhile."""
        refusal = self.refusal
        self._state = _State.NONE
        self._receiving = False
        if refusal is not None:
            return refusal
        try:
            return await self._conversation.finish()
        except Exception as error:
            self._abandon()
            return self.fail(error)

    def answered(self, heard: bool) -> None:
        """The reply of `finish` was sent; `heard`, as far as the connection shows."""
        try:
            self._conversation.answered(heard)
        except Exception as error:
            self._report(error)

    def reset(self) -> None:
        """RSET, or any other end of a transaction without a message."""
        if self._state is _State.OPEN:
            self._abandon()
        self._state = _State.NONE
        self._receiving = self.smtputf8 = False

    def lost(self) -> None:
        """The connection is over; a reply may still be on its way."""
        self._conversation.lost()

    def close(self) -> None:
        """The session is over."""
        self.reset()
        try:
            self._conversation.close()
        except Exception as error:
            self._report(error)

    async def _ask(self, hook: Callable[[], Awaitable[Reply]]) -> Reply:
        try:
            return await hook()
        except Exception as error:
            return self._break(self.fail(error))

    async def _refuse_and_break(self, reply: Reply) -> Reply:
        reply = await self.refuse(reply)
        return self._break(reply) if self._state is _State.OPEN else reply

    def _break(self, reply: Reply) -> Reply:
        self._abandon()
        self._state = _State.BROKEN
        self._receiving = False
        self._refusal = reply
        return reply

    def _abandon(self) -> None:
        try:
            self._conversation.abandon()
        except Exception as error:
            self._report(error)
