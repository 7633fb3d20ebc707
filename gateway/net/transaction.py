"""One mail transaction with one host: MAIL, RCPT, DATA, content. Knows SMTP, not the library that speaks it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from typing import Protocol

from gateway.model.delivery import Claim, Scope
from gateway.model.envelope import Recipient
from gateway.model.reply import Reply
from gateway.net.commands import mail_argument, rcpt_argument
from gateway.net.outcomes import NoReply, Peer, Phase, Result, Unsendable, answered, decided_here, unanswered
from gateway.net.wire import ContentUnreadable, wire_form

_GO_AHEAD = 354
_CLOSING = 421
_UNREADABLE = Reply(451, "3.0", "The stored message cannot be read, it is tried again")


class Session(Protocol):
    """An open session with a host, greeted and secured."""

    @property
    def peer(self) -> Peer: ...

    @property
    def extensions(self) -> Mapping[str, str]: ...

    @property
    def used(self) -> bool:
        """It has carried a transaction before."""

    async def command(self, phase: Phase, verb: bytes, argument: bytes) -> Reply:
        """Send one command, return its reply. Raises NoReply; the session is then over."""

    async def send_content(self, pieces: AsyncGenerator[bytes, None]) -> tuple[Phase, Reply]:
        """Send the pieces and the final dot; the reply, and whether it came before the dot or after it.

        The last piece and the dot are sent only when the iterator has ended without an exception. Raises NoReply, and
        whatever the iterator raises; the session is then over, and no dot was sent.
        """


class StaleSession(Exception):
    """A session that was used before turned out dead at MAIL: nothing was sent, and a new one may do."""


class Transaction:
    """Sends one message to some of its recipients."""

    def __init__(self, session: Session, claim: Claim, rcpts: Sequence[Recipient]) -> None:
        self._session = session
        self._claim = claim
        self._rcpts = rcpts
        self._results: dict[int, Result] = {}

    async def run(self, read: Callable[[], AsyncIterator[bytes]]) -> tuple[Result, ...]:
        """One result for each recipient, in order. Raises ContentAltered and StaleSession only."""
        try:
            await self._converse(read)
        except Unsendable as error:
            for at in self._open():
                self._results[at] = decided_here(self._rcpts[at], Scope.MESSAGE, error.reply, self._session.peer)
        except ContentUnreadable:
            for at in self._open():
                self._results[at] = decided_here(self._rcpts[at], Scope.OURS, _UNREADABLE, self._session.peer)
        except NoReply as error:
            for at in self._open():
                self._results[at] = unanswered(self._rcpts[at], error, self._session.peer)
        return tuple(self._results[at] for at in range(len(self._rcpts)))

    def _open(self) -> list[int]:
        """The recipients without a result."""
        return [at for at in range(len(self._rcpts)) if at not in self._results]

    async def _converse(self, read: Callable[[], AsyncIterator[bytes]]) -> None:
        extensions = self._session.extensions
        sender = mail_argument(self._claim, extensions)
        arguments = {}
        for at, rcpt in enumerate(self._rcpts):
            try:
                arguments[at] = rcpt_argument(rcpt, extensions)
            except Unsendable as error:
                self._results[at] = decided_here(rcpt, Scope.RECIPIENT, error.reply, self._session.peer)
        if not arguments or not await self._mail(sender):
            return
        if not await self._name_recipients(arguments):
            return
        reply = await self._session.command(Phase.DATA, b"DATA", b"")
        if reply.code != _GO_AHEAD:
            self._conclude(Phase.DATA, reply)
            return
        phase, reply = await self._session.send_content(wire_form(self._claim, read))
        self._conclude(phase, reply)

    def _conclude(self, phase: Phase, reply: Reply) -> None:
        """The reply decides for every recipient that has no result of its own."""
        for at in self._open():
            self._results[at] = answered(self._rcpts[at], phase, reply, self._session.peer)

    async def _mail(self, argument: bytes) -> bool:
        try:
            reply = await self._session.command(Phase.MAIL, b"MAIL", argument)
        except NoReply as error:
            if self._session.used:
                raise StaleSession from error
            raise
        if reply.code == _CLOSING and self._session.used:
            raise StaleSession
        if 200 <= reply.code < 300:
            return True
        self._conclude(Phase.MAIL, reply)
        return False

    async def _name_recipients(self, arguments: Mapping[int, bytes]) -> bool:
        """RCPT for each; False when nobody is left to send to."""
        for at, argument in arguments.items():
            reply = await self._session.command(Phase.RCPT, b"RCPT", argument)
            if reply.code == _CLOSING:
                # The host closes the session: this is about all of them (RFC 5321 section 3.8).
                self._conclude(Phase.RCPT, reply)
                return False
            if not 200 <= reply.code < 300:
                self._results[at] = answered(self._rcpts[at], Phase.RCPT, reply, self._session.peer)
        return bool(self._open())
