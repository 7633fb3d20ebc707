"""A backend as a window of sessions over its hosts, tried in order. Knows no protocol library: a `Dialer` opens the
sessions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Protocol

from gateway.config.backends import BackendSettings
from gateway.model.delivery import Claim, Outcome, OutcomeKind, Scope
from gateway.model.envelope import IPText, Mailbox, Recipient
from gateway.model.message import Capabilities, Unanswered
from gateway.model.reply import Reply
from gateway.net.mx import Host, HostFinder, NoHost
from gateway.net.outcomes import (
    HostRefused,
    NoReply,
    Peer,
    Phase,
    Result,
    Unsendable,
    answered,
    at_another_site,
    at_backend,
    decided_here,
    supersedes,
    unanswered,
)
from gateway.net.pool import ConcurrencyWindow, Health, Pool, PoolLimits, Reusable
from gateway.net.transaction import Session, StaleSession, Transaction, rcpt_argument, read_capabilities
from gateway.net.wire import wire_size
from gateway.ports import Tally


async def ask_about(session: Session, mailbox: Mailbox) -> Reply | Unanswered:
    """The reply to RCPT; ADDRESS when this host cannot be asked about such an address, SILENT when MAIL was already
    refused. The transaction stays open; the user of the session resets it. Raises NoReply."""
    try:
        argument = rcpt_argument(Recipient(mailbox), session.extensions)
    except Unsendable:
        return Unanswered.ADDRESS
    utf8 = b"" if str(mailbox).isascii() else b" SMTPUTF8"
    sender = await session.ask(Phase.MAIL, b"MAIL FROM:<>" + utf8)
    if not sender.positive:
        return Unanswered.SILENT
    return await session.ask(Phase.RCPT, b"RCPT " + argument)


_ATTEMPT_SECONDS = 1800.0
"""Seconds for all hosts of one attempt together before the final dot."""

_INTERRUPTED = Reply(451, "3.0", "The attempt was broken off before this recipient's turn was over")
_REMEMBERED = 3600.0
"""Seconds for which a host's EHLO reply is valid."""
_VERIFY_SECONDS = 10.0
"""Seconds for asking all hosts about one mailbox."""

Read = Callable[[], AsyncIterator[bytes]]


class HostSession(Session, Reusable, Protocol):
    """A session for several transactions in turn."""

    deadline: float
    """The loop's time by which the final dot must have been sent."""
    transactions: int

    async def is_ready(self) -> bool:
        """The connection works and no transaction is open on it."""

    def abort(self) -> None:
        """Drop the connection: written but unsent octets are discarded."""


class Dialer(Protocol):
    """Opens sessions."""

    async def open(self, host: Host, address: IPText, deadline: float) -> HostSession:
        """A session on which MAIL may follow. Raises NoReply and Refused."""


class HostBackend:
    """Implements `ports.Backend`."""

    def __init__(self, name: str, settings: BackendSettings, hosts: HostFinder, dialer: Dialer, tally: Tally) -> None:
        self._name = name
        self._hosts = hosts
        self._dialer = dialer
        self._size_limit = settings.message_size
        self._most_recipients = settings.transaction_recipients
        self._by_domain = hosts.uses_mx or settings.one_domain_per_transaction
        self._window = ConcurrencyWindow(name, settings.connections, tally)
        self._asking = 0
        """Number of used places that are for questions."""
        limits = PoolLimits(settings.idle_seconds, settings.connection_seconds, settings.connection_messages)
        self._pool: Pool[HostSession] = Pool(limits, self._window.keep)
        self._health = Health()
        self._said: dict[Host, tuple[float, Capabilities]] = {}
        """For each configured host the loop's time of its last greeting, and its capabilities."""

    @property
    def name(self) -> str:
        return self._name

    def has_room(self) -> bool:
        return self.room() > 0

    def room(self) -> int:
        return self._window.room()

    async def deliver(self, claim: Claim, content: Read) -> tuple[Outcome, ...]:
        rcpts = claim.transfer.rcpts
        results: dict[int, Result] = {}
        refusal = self._refuse_size(claim)
        if refusal is not None:
            return tuple(decided_here(rcpt, Scope.MESSAGE, refusal).outcome for rcpt in rcpts)
        try:
            async with self._window.place():
                deadline = _time() + _ATTEMPT_SECONDS
                for domain, places in self._transactions(rcpts).items():
                    await self._try_hosts(claim, domain, places, results, content, deadline)
        except (asyncio.CancelledError, Exception):
            # Never retry recipients already delivered, whatever interrupted the attempt. The others are deferred; if
            # the fault persists, their next attempt will show it.
            if not any(result.outcome.kind is OutcomeKind.DELIVERED for result in results.values()):
                raise
            for at in range(len(rcpts)):
                results.setdefault(at, decided_here(rcpts[at], Scope.SESSION, _INTERRUPTED))
        return tuple(self._place(results[at].outcome) for at in range(len(rcpts)))

    def _place(self, outcome: Outcome) -> Outcome:
        """The outcome for this kind of backend. A reply that cannot be classified stays unchanged."""
        try:
            return at_another_site(outcome) if self._hosts.uses_mx else at_backend(outcome)
        except Exception:
            return outcome

    def capabilities(self) -> Capabilities | None:
        since = _time() - _REMEMBERED
        known = [said for greeted, said in self._said.values() if greeted > since]
        if not known:
            return None
        sizes = [said.size for said in known]
        size = max(sizes) if all(sizes) else 0
        size = min(size or self._size_limit, self._size_limit or size)
        # For size and SMTPUTF8 the most that any host takes, because a message that one of them may take is not
        # refused. CHUNKING only if all of them offer it, because messages that need it are accepted on that basis.
        return Capabilities(size, any(said.smtputf8 for said in known), all(said.chunking for said in known))

    async def verify(self, mailbox: Mailbox) -> Reply | Unanswered:
        if not self.has_room() or self._asking >= max(self._window.most // 2, 1):
            return Unanswered.NO_ROOM
        self._asking += 1
        try:
            async with asyncio.timeout(_VERIFY_SECONDS), self._window.place():
                return await self._ask_hosts(mailbox)
        except (NoHost, TimeoutError):
            return Unanswered.SILENT
        finally:
            self._asking -= 1

    async def close(self) -> None:
        self._pool.close()

    def _refuse_size(self, claim: Claim) -> Reply | None:
        """The refusal by the admin's own limit; a host's limit is handled when the host refuses."""
        size = wire_size(claim.transfer.prefix, claim.message)
        if not self._size_limit or size <= self._size_limit:
            return None
        return Reply(552, "3.4", f"The message has {size} octets, this backend is given at most {self._size_limit}")

    def _transactions(self, rcpts: Sequence[Recipient]) -> dict[str, list[int]]:
        """The recipients of each transaction, by recipient domain if that matters."""
        groups: dict[str, list[int]] = {}
        for at, rcpt in enumerate(rcpts):
            groups.setdefault(rcpt.mailbox.ascii_domain if self._by_domain else "", []).append(at)
        return groups

    async def _try_hosts(
        self,
        claim: Claim,
        domain: str,
        places: Sequence[int],
        results: dict[int, Result],
        content: Read,
        deadline: float,
    ) -> None:
        """Try one host after another, as long as there are recipients that the next one may take. `places` names them;
        `results` always has the known results."""
        rcpts, waiting = claim.transfer.rcpts, list(places)
        try:
            async with aclosing(self._health.order(self._hosts.candidates(domain))) as candidates:
                async for host, address in candidates:
                    waiting = await self._try_host(host, address, claim, waiting, results, content, deadline)
                    if not waiting or _time() > deadline:
                        break
        except NoHost as error:
            results.update((at, decided_here(rcpts[at], error.scope, error.reply)) for at in places)

    async def _try_host(
        self,
        host: Host,
        address: IPText,
        claim: Claim,
        places: Sequence[int],
        results: dict[int, Result],
        content: Read,
        deadline: float,
    ) -> list[int]:
        """One host, in as many transactions as it takes. Returns the recipients that the next one may take.

        Recipients beyond the limit of a transaction go in further ones at once (RFC 5321 section 4.5.3.1.10), as long
        as each transaction takes at least one.
        """
        rcpts, left, onwards, most = claim.transfer.rcpts, list(places), list[int](), self._most_recipients
        while left:
            batch, left = left[:most], left[most:]
            found = await self._at_host(host, address, claim, [rcpts[at] for at in batch], content, deadline)
            trouble = next((result for result in found if result.concerns_all), None)
            too_many = [at for at, result in zip(batch, found, strict=True) if result.too_many]
            if too_many and len(too_many) < len(batch) and trouble is None and _time() <= deadline:
                most = len(batch) - len(too_many)
                left = too_many + left
            elif left and (trouble is not None or _time() > deadline):
                # The host's reply about the message or itself also applies to the recipients not yet named.
                said = trouble or decided_here(rcpts[left[0]], Scope.SESSION, _INTERRUPTED)
                batch, found = [*batch, *left], [*found, *(said.about(rcpts[at]) for at in left)]
                left = []
            for at, result in zip(batch, found, strict=True):
                if supersedes(result, results.get(at)):
                    results[at] = result
            onwards += [at for at, result in zip(batch, found, strict=True) if result.next_host and at not in left]
        return onwards

    async def _at_host(
        self, host: Host, address: IPText, claim: Claim, rcpts: Sequence[Recipient], content: Read, deadline: float
    ) -> Sequence[Result]:
        """One transaction."""
        session = self._pool.take(host)
        if session is not None:
            session.deadline = deadline
            try:
                if await session.is_ready():
                    return await self._transact(session, claim, rcpts, content)
            except StaleSession:
                pass
            session.close()
        try:
            session = await self._open(host, address, deadline)
        except NoReply as silence:
            return [unanswered(rcpt, silence, Peer(host.name, address)) for rcpt in rcpts]
        except HostRefused as refusal:
            return [answered(rcpt, refusal.phase, refusal.reply, Peer(host.name, address)) for rcpt in rcpts]
        return await self._transact(session, claim, rcpts, content)

    async def _open(self, host: Host, address: IPText, deadline: float) -> HostSession:
        self._pool.shrink(self._window.spare())
        try:
            session = await self._dialer.open(host, address, deadline)
        except (NoReply, HostRefused):
            self._health.fail((host, address))
            raise
        self._health.recover((host, address))
        self._remember(host, session)
        return session

    def _remember(self, host: Host, session: HostSession) -> None:
        if not self._hosts.uses_mx:
            self._said[host] = _time(), read_capabilities(session.extensions)

    async def _ask_hosts(self, mailbox: Mailbox) -> Reply | Unanswered:
        """The first host that has a reply. Raises NoHost."""
        nothing = Unanswered.SILENT
        deadline = _time() + _VERIFY_SECONDS
        async with aclosing(self._hosts.candidates(mailbox.ascii_domain)) as candidates:
            async for host, address in candidates:
                try:
                    reply = await self._ask_host(host, address, mailbox, deadline)
                except (NoReply, HostRefused):
                    continue
                if isinstance(reply, Reply):
                    return reply
                if reply is Unanswered.ADDRESS:
                    nothing = reply
        return nothing

    async def _ask_host(self, host: Host, address: IPText, mailbox: Mailbox, deadline: float) -> Reply | Unanswered:
        session = self._pool.take(host)
        if session is not None:
            session.deadline = deadline
            if not await session.is_ready():
                session.close()
                session = None
        session = session or await self._open(host, address, deadline)
        self._remember(host, session)
        session.transactions += 1
        try:
            reply = await ask_about(session, mailbox)
            clean = await session.is_ready()
        except BaseException:
            session.abort()
            raise
        if clean:
            self._keep(session)
        else:
            session.close()
        return reply

    async def _transact(
        self, session: HostSession, claim: Claim, rcpts: Sequence[Recipient], content: Read
    ) -> Sequence[Result]:
        try:
            results = await Transaction(session, claim, rcpts).run(content)
        except BaseException:
            session.abort()
            raise
        try:
            self._keep(session)
        except Exception:
            session.abort()  # delivered recipients have the message
        return results

    def _keep(self, session: HostSession) -> None:
        self._pool.put(session)
        # This session's own place becomes free now.
        self._pool.shrink(self._window.spare() + 1)


def _time() -> float:
    return asyncio.get_running_loop().time()
