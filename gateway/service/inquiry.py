"""What can be learnt of a backend before a message is delivered to it: what it takes, and which mailboxes it has.

In: mailboxes, and the backends' own sessions. Out: "no such mailbox" where that is proven, else nothing: what cannot be
told is accepted, and delivery decides.
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
    """True for a reply to RCPT that says that there is no such mailbox. 550 alone, a 4yz, and a 5.7.x or any other code
    may as well be about us."""
    return reply.permanent and reply.detail in _NO_SUCH_MAILBOX


_EXISTS_SECONDS = 21_600.0
_UNKNOWN_SECONDS = 300.0
"""Short: a mailbox that was just created is not refused for longer."""
_PROOF_SECONDS = 3600.0
_TAKES_SECONDS = 600.0
_PAUSE_SECONDS = 60.0
"""After no answer, or one that tells nothing."""
_PATIENCE = 15.0
"""Seconds that a client waits for what a backend says; the answer is remembered when it comes later."""
_MOST_REMEMBERED = 50_000


class Inquiry(Protocol):
    """What reception asks."""

    def capabilities(self, backend: str) -> Capabilities | None:
        """What the backend takes; None when that is not known."""

    async def is_unknown(self, mailbox: Mailbox, backend: str, client: IPText) -> bool:
        """True when the backend is proven to say that it has no such mailbox; False when it has, or nobody can tell."""

    async def takes_chunks(self, route: Route, client: IPText) -> bool | None:
        """Whether the route's backend takes BDAT; None when nobody can tell now."""


class NoInquiry:
    """Nothing is known, and nobody is asked."""

    def capabilities(self, backend: str) -> Capabilities | None:
        return None

    async def is_unknown(self, mailbox: Mailbox, backend: str, client: IPText) -> bool:
        return False

    async def takes_chunks(self, route: Route, client: IPText) -> bool | None:
        return None


class Callout:
    """Asks backends with RCPT from the null sender. It remembers what they say, and asks within a budget."""

    def __init__(
        self, backends: Mapping[str, Backend], clock: Clock, emit: EventSink, limits: Limits, tally: Tally
    ) -> None:
        self._backends = backends
        self._clock = clock
        self._emit = emit
        self._budget = Budget(limits.callouts_per_client, limits.callouts_per_backend, tally)
        self._unknown: dict[str, tuple[float, bool]] = {}
        """By backend and mailbox: until when it counts, and whether there is no such mailbox."""
        self._proofs: dict[str, tuple[float, bool]] = {}
        """By backend and domain: until when it counts, and whether the backend says that a mailbox does not exist."""
        self._takes: dict[str, tuple[float, bool]] = {}
        """By backend and domain: until when it counts, and whether the backend takes anybody there."""
        self._silent: dict[str, float] = {}
        """Backends that did not answer, each with the time until which it is left alone."""
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
        # Nobody has greeted it lately: a question does that. Who answers and is still not known differs by recipient.
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
        """The backend refuses a random name of the domain. Who wants to know meanwhile waits for the same answer."""
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
        """The backend does not refuse every name of the domain, as one does that does not serve it any more: it has
        taken a mailbox lately, or takes postmaster (RFC 5321 section 4.5.1)."""
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
    """How many RCPTs each client may cause and each backend gets, by the minute: questions and proofs alike, of all
    workers together."""

    def __init__(self, per_client: int, per_backend: int, tally: Tally) -> None:
        self._per_client = per_client
        self._per_backend = per_backend
        self._minute = Minute(tally)

    def take(self, client: IPText, backend: str, now: float) -> bool:
        """True when one more may be asked; `now` is monotonic."""
        keys = (f"callouts of {site_of(client)}", f"callouts to {backend}")
        most = (self._per_client, self._per_backend)
        # Counted first: of two workers that are after the last question, none asks one too many.
        counts = [self._minute.add(key, now) for key in keys]
        if all(count <= bound for count, bound in zip(counts, most, strict=True)):
            return True
        for key in keys:
            self._minute.take_back(key)
        return False
