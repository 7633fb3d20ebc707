"""Inquiries about a backend before delivery: its capabilities, and its mailboxes.

In: mailboxes, and the backends' own sessions. Out: "no such mailbox" when that is proven, else nothing: doubtful
recipients are accepted, and delivery decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from gateway.config.edge import Limits
from gateway.model.envelope import IPText, Mailbox, site_of
from gateway.model.event import Event
from gateway.model.message import Capabilities, Route, Unanswered
from gateway.model.reply import Reply
from gateway.ports import Backend, Clock, EventSink, Tally
from gateway.service.tally import Minute

# RFC 3463 section 3.2, "Bad destination mailbox address"; Exchange Online says X.1.10, "Recipient not found".
_NO_SUCH_MAILBOX = ("1.1", "1.10")


def denies_mailbox(reply: Reply) -> bool:
    """True for a reply to RCPT that reports an unknown mailbox. 550 alone, a 4yz, and a 5.7.x or any other code may
    also be about us."""
    return reply.permanent and reply.detail in _NO_SUCH_MAILBOX


_EXISTS_SECONDS = 21_600.0
_UNKNOWN_SECONDS = 300.0
"""Short, so that a newly created mailbox is not refused for longer."""
_PROOF_SECONDS = 3600.0
_TAKES_SECONDS = 600.0
_PAUSE_SECONDS = 60.0
"""After no answer, or an inconclusive one."""
_PATIENCE = 15.0
"""Seconds for which a client waits for a backend's answer; a later answer is still remembered."""
_MOST_REMEMBERED = 50_000


class Inquiry(Protocol):
    """The questions of reception."""

    def capabilities(self, backend: str) -> Capabilities | None:
        """The backend's capabilities; None when they are not known."""

    async def is_unknown(self, mailbox: Mailbox, backend: str, client: IPText) -> bool:
        """True when the backend is proven to report the mailbox as unknown; False when it exists, or the answer is in
        doubt."""

    async def takes_chunks(self, route: Route, client: IPText) -> bool | None:
        """Whether the route's backend takes BDAT; None when that is unknown now."""


class NoInquiry:
    """Knows nothing and asks no backend."""

    def capabilities(self, backend: str) -> Capabilities | None:
        return None

    async def is_unknown(self, mailbox: Mailbox, backend: str, client: IPText) -> bool:
        return False

    async def takes_chunks(self, route: Route, client: IPText) -> bool | None:
        return None


class Callout:
    """Asks backends with RCPT from the null sender. It remembers the answers, and asks within a budget."""

    def __init__(
        self, backends: Mapping[str, Backend], clock: Clock, emit: EventSink, limits: Limits, tally: Tally
    ) -> None:
        self._backends = backends
        self._clock = clock
        self._emit = emit
        self._budget = Budget(limits.callouts_per_client, limits.callouts_per_backend, tally)
        self._unknown: dict[str, tuple[float, bool]] = {}
        """By backend and mailbox: the end of validity, and whether the mailbox is unknown."""
        self._proofs: dict[str, tuple[float, bool]] = {}
        """By backend and domain: the end of validity, and whether the backend refuses unknown mailboxes."""
        self._takes: dict[str, tuple[float, bool]] = {}
        """By backend and domain: the end of validity, and whether the backend takes any recipient there."""
        self._silent: dict[str, float] = {}
        """Backends without an answer, each with the time until which it is not asked."""
        self._asking: dict[str, asyncio.Task[bool]] = {}
        self._proving: dict[str, asyncio.Task[bool]] = {}

    def capabilities(self, backend: str) -> Capabilities | None:
        known = self._backends.get(backend)
        return known.capabilities() if known else None

    async def is_unknown(self, mailbox: Mailbox, backend: str, client: IPText) -> bool:
        now = self._clock.monotonic()
        key = f"{backend} {mailbox.key}"
        until, unknown = self._unknown.get(key, (0.0, False))
        if now < until:
            return unknown
        until, proven = self._proofs.get(f"{backend} {mailbox.ascii_domain}", (0.0, True))
        if (now < until and not proven) or now < self._silent.get(backend, 0.0) or backend not in self._backends:
            return False
        task = self._asking.get(key)
        if task is None:
            task = asyncio.create_task(self._ask(mailbox, backend, client, key))
            self._asking[key] = task
            task.add_done_callback(lambda _: self._asking.pop(key))
        await asyncio.wait({task}, timeout=_PATIENCE)
        return task.done() and not task.cancelled() and task.result()

    async def takes_chunks(self, route: Route, client: IPText) -> bool | None:
        known = self.capabilities(route.backend)
        if known is not None:
            return known.chunking
        # No session has greeted it lately, so a question opens one. If the backend answers and CHUNKING is still
        # unknown, it differs by recipient.
        reply = await self._verify(route.rcpts[0].mailbox, route.backend, client)
        known = self.capabilities(route.backend)
        if known is not None:
            return known.chunking
        return False if isinstance(reply, Reply) else None

    async def close(self) -> None:
        """Stop asking."""
        tasks = [*self._asking.values(), *self._proving.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, mailbox: Mailbox, backend: str, client: IPText, key: str) -> bool:
        if not await self._is_proven(mailbox.ascii_domain, backend, client):
            return False
        reply = await self._verify(mailbox, backend, client)
        if reply is Unanswered.NO_ROOM:
            return False
        unknown, seconds = False, _PAUSE_SECONDS
        if isinstance(reply, Reply):
            if reply.positive:
                self._takes[f"{backend} {mailbox.ascii_domain}"] = self._clock.monotonic() + _TAKES_SECONDS, True
            unknown = denies_mailbox(reply) and await self._takes_somebody(mailbox.ascii_domain, backend, client)
            seconds = _UNKNOWN_SECONDS if unknown else _EXISTS_SECONDS if reply.positive else _PAUSE_SECONDS
        while len(self._unknown) >= _MOST_REMEMBERED:
            del self._unknown[next(iter(self._unknown))]
        self._unknown[key] = self._clock.monotonic() + seconds, unknown
        fields = (("rcpt", str(mailbox)), ("backend", backend), ("unknown", unknown), ("reply", _told(reply)))
        self._emit(Event("callout", "", fields))
        return unknown

    async def _is_proven(self, domain: str, backend: str, client: IPText) -> bool:
        """True when the backend refuses a random name of the domain. Concurrent callers wait for the same answer."""
        key = f"{backend} {domain}"
        until, proven = self._proofs.get(key, (0.0, False))
        if self._clock.monotonic() < until:
            return proven
        task = self._proving.get(key)
        if task is None:
            task = asyncio.create_task(self._prove(domain, backend, client, key))
            self._proving[key] = task
            task.add_done_callback(lambda _: self._proving.pop(key))
        return await task

    async def _prove(self, domain: str, backend: str, client: IPText, key: str) -> bool:
        reply = await self._verify(Mailbox(f"no-such-{self._clock.new_id()}", domain, domain), backend, client)
        if reply is Unanswered.NO_ROOM:
            return False
        proven, seconds = False, _PAUSE_SECONDS
        if isinstance(reply, Reply) and not reply.transient:
            proven, seconds = denies_mailbox(reply), _PROOF_SECONDS
        self._proofs[key] = self._clock.monotonic() + seconds, proven
        fields = (("backend", backend), ("domain", domain), ("proven", proven), ("reply", _told(reply)))
        self._emit(Event("callout-proof", "", fields))
        return proven

    async def _takes_somebody(self, domain: str, backend: str, client: IPText) -> bool:
        """True when the backend serves the domain, rather than refusing every name of it: it has taken a mailbox
        lately, or takes postmaster (RFC 5321 section 4.5.1)."""
        key = f"{backend} {domain}"
        until, takes = self._takes.get(key, (0.0, False))
        if self._clock.monotonic() < until:
            return takes
        reply = await self._verify(Mailbox("postmaster", domain, domain), backend, client)
        takes = isinstance(reply, Reply) and reply.positive
        self._takes[key] = self._clock.monotonic() + (_TAKES_SECONDS if takes else _PAUSE_SECONDS), takes
        return takes

    async def _verify(self, mailbox: Mailbox, backend: str, client: IPText) -> Reply | Unanswered:
        """One RCPT, within the budget."""
        now = self._clock.monotonic()
        if now < self._silent.get(backend, 0.0) or not self._budget.take(client, backend, now):
            return Unanswered.NO_ROOM
        reply = await self._backends[backend].verify(mailbox)
        if reply is Unanswered.SILENT:
            self._silent[backend] = self._clock.monotonic() + _PAUSE_SECONDS
        return reply


def _told(reply: Reply | Unanswered) -> str:
    return reply.value if isinstance(reply, Unanswered) else str(reply)


class Budget:
    """Limits on the RCPTs that each client may cause and each backend gets in a minute: questions and proofs together,
    over all workers."""

    def __init__(self, per_client: int, per_backend: int, tally: Tally) -> None:
        self._per_client = per_client
        self._per_backend = per_backend
        self._minute = Minute(tally)

    def take(self, client: IPText, backend: str, now: float) -> bool:
        """True when one more question may be asked; `now` is monotonic."""
        keys = (f"callouts of {site_of(client)}", f"callouts to {backend}")
        most = (self._per_client, self._per_backend)
        # Count first: if two workers want the last question, neither exceeds the limit.
        counts = [self._minute.add(key, now) for key in keys]
        if all(count <= bound for count, bound in zip(counts, most, strict=True)):
            return True
        for key in keys:
            self._minute.take_back(key)
        return False
