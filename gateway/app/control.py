"""The execution of an admin's command: by the running gateway, or on the spool while no gateway runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from gateway.admin.control import Arguments, CommandRefused, Commands, NobodyThere, ask, run_command
from gateway.admin.queue import QueueDesk, hold_commands
from gateway.app.adapters import make_retention
from gateway.app.reading import read_partly
from gateway.app.runtime_config import make_partial_runtime, route_dsn
from gateway.config.maps import DIRECT
from gateway.model.event import Event
from gateway.net.system import SystemClock
from gateway.service.delivery import LEASE
from gateway.service.held_mail import HeldMail
from gateway.spool.disk import SpoolInUse
from gateway.spool.reader import find_shards
from gateway.spool.sqlite import SqliteSpool

_TRIES = 20
_PAUSE = 0.5
"""Seconds between tries while a starting or stopping gateway has the lock and does not answer."""

Owning = Callable[[Path], AbstractAsyncContextManager[Commands]]
"""Takes a shard's lock, and gives the commands that need no running gateway."""


async def order(config: Path, command: str, arguments: Arguments) -> list[Any]:
    """Each shard's answer: its running gateway's, or else that of the same operation done here, under its lock.

    `config` is the configuration file. Raises CommandRefused when a shard refuses, SpoolUnusable when there is no spool
    or its lock is unavailable, ConfigErrors.
    """

    def own(shard: Path) -> AbstractAsyncContextManager[Commands]:
        return _own(config, shard)

    return [
        await order_one(shard, own, command, arguments)
        for shard in find_shards(read_partly(config).config.server.spool)
    ]


async def order_one(shard: Path, own: Owning, command: str, arguments: Arguments, pause: float = _PAUSE) -> Any:
    """One shard's answer."""
    tries = 0
    while True:
        with suppress(NobodyThere):
            return await ask(shard, command, arguments)
        try:
            async with own(shard) as commands:
                if command not in commands:
                    raise CommandRefused(f"`{command}` is for a gateway that runs, and none does")
                return await run_command(commands, command, arguments)
        except SpoolInUse:
            tries += 1
            if tries == _TRIES:
                raise
            await asyncio.sleep(pause)


@asynccontextmanager
async def _own(path: Path, shard: Path) -> AsyncIterator[Commands]:
    partial, clock = read_partly(path), SystemClock()
    config = partial.config
    # Only what plans a route needs it: the rest is done whatever is wrong with the configuration.
    runtime = cache(lambda: make_partial_runtime(partial))
    backends = frozenset({DIRECT, *config.backend})
    spool = await SqliteSpool.open(shard.parent, clock, LEASE, make_retention(config), shard=shard.name)
    try:
        held_mail = HeldMail(spool, runtime, clock, _unheard, lambda: None, lambda to: route_dsn(runtime(), to))
        services = QueueDesk(
            spool, clock, _unheard, lambda: config, runtime, backends, lambda to: route_dsn(runtime(), to)
        )
        yield {**services.commands(), **hold_commands(held_mail)}
    finally:
        await spool.close()


def _unheard(event: Event) -> None:
    """Drop the event: the answer reports the result, and the log belongs to the gateway."""
