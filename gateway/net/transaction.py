"""One mail transaction with one host: MAIL, RCPT, DATA or BDAT, content. Knows SMTP, but not the SMTP library."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from typing import Protocol

from gateway.model.delivery import Claim, Scope, Transfer
from gateway.model.envelope import Body, Mailbox, Recipient
from gateway.model.message import Capabilities
from gateway.model.reply import Reply
from gateway.model.value import Value
from gateway.net.outcomes import NoReply, Peer, Phase, Result, Unsendable, answered, decided_here, unanswered
from gateway.net.wire import ContentUnreadable, is_stuffed, wire_form, wire_size

# A quoted local part may contain a space (RFC 5321 section 4.1.2); no other part may, and no part may contain a control
# character.
_QUOTED = r'"(?:[^"\\\x00-\x1f\x7f]|\\[^\x00-\x1f\x7f])*"'
_WORD = r'[^\s"<>@\x00-\x1f\x7f]+'
_MAILBOX = re.compile(f"(?:{_QUOTED}|{_WORD})(?:@{_WORD})?")
_PARAMETER = re.compile(r"[^\s\x00-\x1f\x7f]+")

Extensions = Mapping[str, str]
"""The extensions of the host's EHLO reply: lower-case keyword to parameters."""


def uses_chunks(claim: Claim, extensions: Extensions) -> bool:
    """The content goes by BDAT (RFC 3030): DATA cannot carry it, or would add dots."""
    return "chunking" in extensions and (claim.message.content.chunks_only or is_stuffed(claim))


def mail_argument(claim: Claim, extensions: Extensions) -> bytes:
    """The text after `MAIL `. Raises Unsendable for a message that this host cannot take for any recipient."""
    transfer = claim.transfer
    utf8 = _needs_utf8(claim, extensions)
    words = ["FROM:" + _path(transfer.rewritten or transfer.mail_from, "1.7", extensions)]
    if "8bitmime" in extensions:
        if transfer.body is Body.EIGHT_BIT or _eight_bit(claim):
            words.append("BODY=8BITMIME")
    elif _eight_bit(claim):
        # RFC 6152 section 3: convert or fail; converting would break signatures.
        raise Unsendable(Reply(554, "6.3", "The next hop takes no 8-bit content and it is not converted"))
    if claim.message.content.chunks_only and "chunking" not in extensions:
        raise Unsendable(Reply(554, "6.1", "The next hop takes no BDAT, and DATA cannot carry this content unaltered"))
    if "size" in extensions:
        size = wire_size(transfer.prefix, claim.message)
        _check_size(size, extensions["size"])
        words.append(f"SIZE={size}")
    if utf8:
        words.append("SMTPUTF8")
    if "dsn" in extensions:
        # RFC 3461 section 4.3 and 4.4
        words += [f"RET={transfer.ret}"] if transfer.ret else []
        words += _parameter("ENVID", transfer.envid, extensions)
    return " ".join(words).encode()


def rcpt_argument(rcpt: Recipient, extensions: Extensions) -> bytes:
    """The text after `RCPT `. Raises Unsendable for a recipient that this host cannot take."""
    words = ["TO:" + _path(rcpt.mailbox, "1.3", extensions)]
    if "dsn" in extensions:
        # RFC 3461 section 4.1 and 4.2
        words += ["NOTIFY=" + ",".join(rcpt.notify)] if rcpt.notify else []
        words += _parameter("ORCPT", rcpt.orcpt, extensions)
    return " ".join(words).encode()


def read_capabilities(extensions: Extensions) -> Capabilities:
    """The host's capabilities, as far as they can refuse recipients."""
    return Capabilities(_size_limit(extensions.get("size", "")), "smtputf8" in extensions, "chunking" in extensions)


def _path(mailbox: Mailbox | None, malformed: str, extensions: Extensions) -> str:
    if mailbox is None:
        return "<>"
    text = str(mailbox)
    if not _MAILBOX.fullmatch(text) or not _encodable(text):
        raise Unsendable(Reply(553, malformed, "The address cannot be written in an SMTP command"))
    if not text.isascii() and "smtputf8" not in extensions:
        # RFC 6531 section 3.5
        raise Unsendable(Reply(553, "6.7", "The next hop takes no addresses outside ASCII"))
    return f"<{text}>"


def _parameter(name: str, value: str, extensions: Extensions) -> list[str]:
    """The parameter exactly as received, or none: a value outside ASCII cannot go to a host without SMTPUTF8 (RFC 6533
    section 3), and it is not part of the message."""
    if not value or (not value.isascii() and "smtputf8" not in extensions):
        return []
    if not _PARAMETER.fullmatch(value) or not _encodable(value):
        raise Unsendable(Reply(501, "5.4", f"The value of {name} cannot be written in an SMTP command"))
    return [f"{name}={value}"]


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _needs_utf8(claim: Claim, extensions: Extensions) -> bool:
    """True when SMTPUTF8 must be sent. Mail that does not need it also goes to a host without it (RFC 6531 section
    3.1); each address is checked when it is written."""
    if "smtputf8" in extensions:
        return claim.transfer.smtputf8 or _has_utf8_address(claim.transfer)
    if claim.transfer.smtputf8 and not (claim.message.evidence.header.isascii() and claim.transfer.prefix.isascii()):
        raise Unsendable(Reply(554, "6.9", "The next hop takes no header fields outside ASCII"))
    return False


def _has_utf8_address(transfer: Transfer) -> bool:
    mailboxes = [rcpt.mailbox for rcpt in transfer.rcpts] + ([transfer.mail_from] if transfer.mail_from else [])
    return any(not str(mailbox).isascii() for mailbox in mailboxes)


def _eight_bit(claim: Claim) -> bool:
    return claim.message.content.eight_bit or not claim.transfer.prefix.isascii()


def _check_size(size: int, parameters: str) -> None:
    limit = _size_limit(parameters)
    if 0 < limit < size:
        raise Unsendable(Reply(552, "3.4", f"The message has {size} octets, the next hop takes {limit}"))


def _size_limit(parameters: str) -> int:
    # RFC 1870 section 4: 0 or nothing means no fixed limit is known.
    limit = parameters.strip()
    return int(limit[:18]) if limit.isdecimal() else 0


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

    def say(self, phase: Phase, *commands: bytes) -> None:
        """Send commands, all at once. Raises NoReply; the session is then over."""

    async def hear(self, phase: Phase) -> Reply:
        """The next reply, in the order of the commands. Raises NoReply; the session is then over."""

    async def ask(self, phase: Phase, command: bytes) -> Reply:
        """One command, one reply."""

    async def send_content(self, pieces: AsyncGenerator[bytes, None]) -> tuple[Phase, Reply]:
        """Send the pieces and the final dot. Returns the reply, and whether it came before the dot or after it.

        The last piece and the dot are sent only when the iterator has ended without an exception. Raises NoReply, and
        any exception of the iterator; the session is then over, and no dot was sent.
        """

    async def send_chunks(self, pieces: AsyncGenerator[bytes, None]) -> tuple[Phase, Reply]:
        """The same by BDAT; the last chunk replaces the dot."""

    def abort(self) -> None:
        """Drop the connection: written but unsent octets are discarded."""


class StaleSession(Exception):
    """A reused session turned out to be dead at MAIL: nothing was sent, and a new session may work."""


class _Step(Value):
    """One command before the content."""

    phase: Phase
    command: bytes
    at: int = -1
    """The recipient that a RCPT names."""


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
        chunks = uses_chunks(self._claim, extensions)
        steps = [_Step(Phase.MAIL, b"MAIL " + sender)]
        steps += [_Step(Phase.RCPT, b"RCPT " + argument, at) for at, argument in arguments.items()]
        steps += [] if chunks else [_Step(Phase.DATA, b"DATA")]
        if not arguments or not await self._prepare(steps):
            return
        send = self._session.send_chunks if chunks else self._session.send_content
        phase, reply = await send(wire_form(self._claim, read, chunks))
        self._conclude(phase, reply)

    def _conclude(self, phase: Phase, reply: Reply) -> None:
        """The reply decides for every recipient without a result of its own."""
        for at in self._open():
            self._results[at] = answered(self._rcpts[at], phase, reply, self._session.peer)

    async def _prepare(self, steps: Sequence[_Step]) -> bool:
        """Everything before the content; False when no recipient remains.

        If the host offers it, the commands go out together (RFC 2920 section 3.1): one round trip for all.
        """
        ahead = "pipelining" in self._session.extensions
        if ahead:
            self._say(steps[0].phase, *(step.command for step in steps))
        for step in steps:
            if not ahead:
                self._say(step.phase, step.command)
            reply = await self._hear(step)
            self._learn(step, reply)
            if reply.code == _CLOSING or (not ahead and not self._open()):
                return False
        if self._open():
            return True
        if ahead and steps[-1].phase is Phase.DATA and reply.code == _GO_AHEAD:
            # The host waits for content without a recipient: no octet of it is sent.
            self._session.abort()
        return False

    def _learn(self, step: _Step, reply: Reply) -> None:
        """Evaluate a reply before the content. After a refused MAIL the other replies only follow from it."""
        if reply.code == _CLOSING:
            # The host closes the session: this concerns all recipients (RFC 5321 section 3.8).
            self._conclude(step.phase, reply)
        elif step.phase is Phase.RCPT:
            if step.at not in self._results and not 200 <= reply.code < 300:
                self._results[step.at] = answered(self._rcpts[step.at], Phase.RCPT, reply, self._session.peer)
        elif reply.code != _GO_AHEAD if step.phase is Phase.DATA else not 200 <= reply.code < 300:
            self._conclude(step.phase, reply)

    def _say(self, phase: Phase, *commands: bytes) -> None:
        try:
            self._session.say(phase, *commands)
        except NoReply as error:
            if phase is Phase.MAIL and self._session.used:
                raise StaleSession from error
            raise

    async def _hear(self, step: _Step) -> Reply:
        try:
            reply = await self._session.hear(step.phase)
        except NoReply as error:
            if step.phase is Phase.MAIL and self._session.used:
                raise StaleSession from error
            raise
        if step.phase is Phase.MAIL and reply.code == _CLOSING and self._session.used:
            raise StaleSession
        return reply
