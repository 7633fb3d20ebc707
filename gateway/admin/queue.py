"""Commands on waiting mail: hold, release, retry, reroute, bounce, delete. Each takes ids of messages or transfers.

The answer to each is a list with one object for each id: `done` has the changed transfers, `refused` the reasons for
the unchanged ones. Both are empty when nothing waits here under that id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from gateway.admin.control import Arguments, CommandRefused, Commands
from gateway.config.model import Config
from gateway.config.policies import retry_terms
from gateway.model.delivery import Act, Amendment, Change, Pending, Settlement
from gateway.model.envelope import Mailbox
from gateway.model.event import Event
from gateway.model.reply import REPLIES, Reply
from gateway.model.value import Value, replace
from gateway.plan import amendment
from gateway.plan.settlement import AttemptContext
from gateway.policy.routing import RoutingTable
from gateway.ports import Clock, EventSink, SpoolReader, emit_all
from gateway.service.held_mail import HeldMail, NotHeld
from gateway.service.runtime import RuntimeConfig
from gateway.tools.results import Json


def hold_commands(held_mail: HeldMail) -> Commands:
    """Each takes `id` and `by`, and answers with the reason when nothing was done, or null. A message that another
    shard holds is not this one's, so that is not a refusal."""

    async def release(arguments: Arguments) -> Json:
        try:
            await held_mail.release(str(arguments.get("id")), str(arguments.get("by")))
        except NotHeld as error:
            return str(error)
        return None

    async def delete(arguments: Arguments) -> Json:
        try:
            await held_mail.delete(str(arguments.get("id")), str(arguments.get("by")))
        except NotHeld as error:
            return str(error)
        return None

    return {"hold release": release, "hold delete": delete}


MOST_IDS = 1000
"""Ids in one command."""
_LONGEST_REASON = 400
_AT_ONCE = 32
_DONE = {
    "hold": "held",
    "release": "released",
    "reroute": "rerouted to {backend}",
    "bounce": "bounced",
    "delete": "deleted",
}
"""The entry for a command in a message's story. An earlier retry has no entry."""


class QueueStore(Protocol):
    """The requirements of an admin's queue commands for a shard."""

    @property
    def reader(self) -> SpoolReader: ...

    async def amend(self, message_id: str, plan: Callable[[tuple[Pending, ...]], Amendment]) -> Amendment:
        """Read a message's transfers, have the pure `plan` decide about them, and write that: one transaction, in which
        no attempt can begin or end. Returns the result of `plan`; its exceptions are raised here."""


class QueueDesk(Value):
    """The context of the commands."""

    spool: QueueStore
    clock: Clock
    emit: EventSink
    config: Callable[[], Config]
    runtime: Callable[[], RuntimeConfig]
    """Called only where a route is planned: the configuration may be broken."""
    backends: Collection[str]
    """The backends that can take mail."""
    route_dsn: Callable[[Mailbox], str]
    wake: Callable[[], None] = lambda: None
    """Called when a transfer may have become due."""

    def commands(self) -> Commands:
        """The commands by their names in the control socket."""
        return {
            "queue hold": self.hold,
            "queue release": self.release,
            "queue retry": self.retry,
            "queue reroute": self.reroute,
            "queue bounce": self.bounce,
            "queue delete": self.delete,
        }

    async def hold(self, arguments: Arguments) -> Json:
        """Hold until released: {"ids": [...], "reason": "..."}."""
        reason = _reason(arguments, "held by the administrator")
        return await self._amend_all("hold", arguments, lambda pending: amendment.hold(pending, reason))

    async def release(self, arguments: Arguments) -> Json:
        """Release held transfers, at once."""
        now = self.clock.now()
        return await self._amend_all("release", arguments, lambda pending: amendment.release(pending, now))

    async def retry(self, arguments: Arguments) -> Json:
        """Try now."""
        now = self.clock.now()
        return await self._amend_all("retry", arguments, lambda pending: amendment.retry(pending, now))

    async def reroute(self, arguments: Arguments) -> Json:
        """Route to another backend: {"ids": [...], "backend": "..."}."""
        backend = arguments.get("backend")
        if not isinstance(backend, str) or backend not in self.backends:
            raise CommandRefused(f"no backend {backend!r}; there are: {', '.join(sorted(self.backends))}")
        routing, now = self.runtime().routing, self.clock.now()

        def act(pending: Pending) -> Change:
            routes = routing.divide(backend, pending.claim.transfer.rcpts)
            return amendment.reroute(pending, routes, now, self.clock.new_id())

        return await self._amend_all("reroute", arguments, act, await self._find_loops(arguments, routing, backend))

    async def bounce(self, arguments: Arguments) -> Json:
        """Fail all remaining recipients, with a DSN if one is allowed: {"ids": [...], "reason": "..."}."""
        config = self.runtime().config
        reply, terms, now = self._reply("returned-by-admin", arguments, config), retry_terms(config), self.clock.now()

        def act(pending: Pending) -> Change:
            at = AttemptContext(now, now, 0.0, False, self.clock.new_id(), self.route_dsn, by_hand=True)
            return amendment.bounce(pending, reply, terms, at)

        return await self._amend_all("bounce", arguments, act)

    async def delete(self, arguments: Arguments) -> Json:
        """End all remaining recipients without a DSN: {"ids": [...], "reason": "..."}."""
        reply, now = self._reply("deleted-by-admin", arguments, self.config()), self.clock.now()
        return await self._amend_all("delete", arguments, lambda pending: amendment.delete(pending, reply, now))

    def _reply(self, name: str, arguments: Arguments, config: Config) -> Reply:
        reply = REPLIES[name].filled(host=config.server.hostname)
        return replace(reply, text=_reason(arguments, reply.text))

    async def _find_loops(self, arguments: Arguments, routing: RoutingTable, backend: str) -> dict[str, str]:
        """The messages that came from that backend, and would loop."""
        loops = {}
        for id in _ids(arguments):
            story = await self.spool.reader.story(_message_id(id))
            ingress = (story.trace.edge or story.trace.internal) if story else None
            if ingress is not None and ingress.client and routing.came_from(backend, ingress.client):
                loops[id] = f"it came from {backend}, where it would go round for ever"
        return loops

    async def _amend_all(
        self,
        command: str,
        arguments: Arguments,
        act: Callable[[Pending], Change],
        forbidden: dict[str, str] | None = None,
    ) -> Json:
        ids = _ids(arguments)
        answers: list[Json] = []
        for start in range(0, len(ids), _AT_ONCE):
            some = ids[start : start + _AT_ONCE]
            tasks = [self._amend(command, arguments, id, act, (forbidden or {}).get(id, "")) for id in some]
            answers += await asyncio.gather(*tasks)
        self.wake()
        return answers

    async def _amend(
        self, command: str, arguments: Arguments, id: str, act: Callable[[Pending], Change], forbidden: str
    ) -> Json:
        if forbidden:
            return {"id": id, "done": [], "refused": [forbidden]}
        told = _tell(command, arguments, id, self.clock.now())

        def plan(pendings: Sequence[Pending]) -> Amendment:
            return replace(amendment.amend(id, pendings, act), act=told)

        made = await self.spool.amend(_message_id(id), plan)
        for change in made.changes:
            fields = (("command", command), ("transfer", change.transfer_id))
            self.emit(Event("queue-changed", _message_id(id), fields))
            if isinstance(change, Settlement):
                emit_all(self.emit, change.events)
        refused: list[Json] = list(made.refusals)
        if not made.changes and not refused:
            story = await self.spool.reader.story(_message_id(id))
            refused += ["a rule holds it: `waypost hold` decides about it"] if story and story.held else []
        return {"id": id, "done": [change.transfer_id for change in made.changes], "refused": refused}


def _tell(command: str, arguments: Arguments, id: str, now: float) -> Act | None:
    if command not in _DONE:
        return None
    what = _DONE[command].format(backend=arguments.get("backend"))
    return Act(now, f"{what}, {id} only" if id != _message_id(id) else what, str(arguments.get("by", "")))


def _message_id(id: str) -> str:
    """A transfer's id begins with its message's."""
    return id.partition("-")[0]


def _ids(arguments: Arguments) -> list[str]:
    ids = arguments.get("ids")
    if not isinstance(ids, list) or not all(isinstance(id, str) for id in ids):
        raise CommandRefused('"ids" is a list of ids of messages or transfers')
    if len(ids) > MOST_IDS:
        raise CommandRefused(f"at most {MOST_IDS} ids at once")
    return ids


def _reason(arguments: Arguments, default: str) -> str:
    reason = arguments.get("reason") or default
    if not isinstance(reason, str) or not reason.isprintable() or len(reason) > _LONGEST_REASON:
        raise CommandRefused(f'"reason" is one line of at most {_LONGEST_REASON} printable characters')
    return reason
