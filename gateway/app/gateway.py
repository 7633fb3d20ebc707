"""Everything that runs: adapters become services, and those run, drain and stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from gateway.admin.api import make_application, serve_http
from gateway.app.adapters import DIRECT, make_backends, make_resolver
from gateway.app.law import make_law, read_config, read_law, with_lists
from gateway.config.mistakes import ConfigErrors
from gateway.model.address import Mailbox
from gateway.model.event import Event, Level
from gateway.net.system import SystemClock
from gateway.policy.routing import RoutingTable
from gateway.policy.rules import RuleErrors
from gateway.ports import Backend, Clock, Spool
from gateway.service.authenticator import Authenticator
from gateway.service.blocklists import keep_usable
from gateway.service.delivery import LEASE, Delivery
from gateway.service.directory import Directory, keep_maps
from gateway.service.front import FrontEnd
from gateway.service.housekeeper import Housekeeper
from gateway.service.inquiry import Callout
from gateway.service.observer import Observer
from gateway.service.reception import Desk, Law, MxReception
from gateway.spool.sqlite import SqliteSpool


class Gateway:
    """Everything that runs. Made by `open`."""

    def __init__(
        self, law: Law, clock: Clock, spool: Spool, backends: Mapping[str, Backend], observer: Observer
    ) -> None:
        self.ready = False
        self._law = law
        self._clock = clock
        self._spool = spool
        self._observer = observer
        self._delivery = Delivery(spool, backends, clock, observer, law.config, self._route_dsn)
        self._front: FrontEnd | None = None
        self._looking: asyncio.Task[None] | None = None
        self._reloading: asyncio.Task[None] | None = None
        self._reload_wanted = False

    @classmethod
    @asynccontextmanager
    async def open(cls, law: Law, observer: Observer) -> AsyncIterator[Gateway]:
        """Everything started in the order in which it is needed, and stopped in the reverse order."""
        config, clock = law.config, SystemClock()
        resolver = make_resolver(config)
        async with AsyncExitStack() as stack:
            spool = await SqliteSpool.open(config.server.spool, clock, LEASE)
            stack.push_async_callback(spool.close)
            backends = make_backends(config, resolver, clock)
            for backend in backends.values():
                stack.push_async_callback(backend.close)
            gateway = cls(law, clock, spool, backends, observer)
            delivery = gateway._delivery
            stack.push_async_callback(delivery.close)
            authenticator = Authenticator(resolver, clock, config.dns.budget_seconds)
            usable = await keep_usable(law.bench.client.lists, authenticator, observer)
            gateway._law = with_lists(law, usable)
            callout = Callout(backends, clock, observer, config.limits)
            stack.push_async_callback(callout.close)
            await gateway._start(stack, Desk(clock, spool, authenticator, delivery, observer, callout))
            yield gateway

    async def _start(self, stack: AsyncExitStack, desk: Desk) -> None:
        config = self._law.config
        self._delivery.start()
        housekeeping = asyncio.create_task(Housekeeper(self._spool, self._clock, self._observer).run())
        stack.callback(housekeeping.cancel)
        directory = Directory(lambda: self._law, self._reroute, self._clock, self._observer, self._delivery.backends)
        watching = asyncio.create_task(directory.run())
        stack.callback(watching.cancel)
        stack.push_async_callback(self._stop_reloading)
        host, _, port = config.admin.address.rpartition(":")
        application = make_application(self._observer.registry, lambda: self.ready, self._spool.counts)
        await stack.enter_async_context(serve_http(application, host.strip("[]"), int(port)))
        reception = MxReception(desk, lambda: self._law)
        self._front = FrontEnd(config, reception, self._clock, self._report, self._observer)
        stack.push_async_callback(self._front.close)
        await self._front.open()
        self.ready = True

    def _reroute(self, routing: RoutingTable) -> None:
        """New addresses, under the same law. Open transactions keep those they began under."""
        self._law = replace(self._law, routing=routing)

    def _route_dsn(self, return_path: Mailbox) -> str:
        """A DSN to one of ours goes by our routes, any other by the configured backend or directly."""
        return self._law.routing.backend_for(return_path) or self._law.config.delivery.dsn_backend or DIRECT

    def _report(self, error: BaseException) -> str:
        """An unknown exception: the client gets the event's id, the log gets the rest (promise P5)."""
        id = self._clock.new_id()
        where = error.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        at = f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}" if where else ""
        fields = (("where", "session"), ("error", f"{type(error).__name__}: {error}"), ("at", at))
        self._observer(Event("error", id, fields, Level.WARNING))
        return id

    def reload(self, path: Path) -> None:
        """Begin to read configuration and rules again: all or nothing. Open transactions keep the law they began under.
        Certificates are looked at in any case. While one reading runs, the next waits for its end."""
        if self._front is not None:
            self._looking = asyncio.get_running_loop().create_task(self._front.refresh())
        self._reload_wanted = True
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.get_running_loop().create_task(self._reload(path))

    async def _reload(self, path: Path) -> None:
        while self._reload_wanted:
            self._reload_wanted = False
            try:
                # In a thread: the maps of a large organisation take seconds.
                law = await asyncio.to_thread(read_law, path)
            except (ConfigErrors, RuleErrors) as error:
                self._refuse_reload(str(error))
            except Exception as error:
                self._refuse_reload(repr(error))
            else:
                self._adopt(law)

    def _adopt(self, law: Law) -> None:
        law = replace(law, routing=keep_maps(law, self._law))
        unknown = sorted(law.routing.backends() - self._delivery.backends)
        if unknown:
            self._refuse_reload(f"backend {', '.join(unknown)} is new: restart to use it")
            return
        # Only lists that passed their self-test at start are asked.
        law = with_lists(law, self._law.bench.client.lists)
        fixed = ("server", "listener", "submission", "backend", "limits", "dns", "dnsbl", "delivery", "admin", "log")
        later = [name for name in fixed if getattr(law.config, name) != getattr(self._law.config, name)]
        self._law = law
        fields = (("policy", law.bench.rules.name), ("after_restart", ",".join(later)))
        self._observer(Event("reloaded", "", fields))

    def _refuse_reload(self, problem: str) -> None:
        self._observer(Event("reload-refused", "", (("error", problem),), Level.ALARM))

    async def _stop_reloading(self) -> None:
        if self._reloading is not None:
            self._reloading.cancel()
            await asyncio.gather(self._reloading, return_exceptions=True)

    async def drain(self) -> None:
        """Take no new session, let open ones end for `drain_timeout` seconds, then 421; end running attempts."""
        self.ready = False
        seconds = self._law.config.server.drain_timeout
        self._observer(Event("draining", "", (("seconds", seconds),)))
        deadline = self._clock.monotonic() + seconds
        if self._front is not None:
            await self._front.drain(seconds)
        await self._delivery.drain(max(deadline - self._clock.monotonic(), 0.0))
        self._observer(Event("stopped", ""))


async def run_gateway(path: Path) -> int:
    """Serve until SIGTERM or SIGINT, drain, and return the exit status. SIGHUP reads the configuration again."""
    law = make_law(read_config(path))
    observer = Observer(law.config.log.format, Level(law.config.log.level))
    try:
        async with Gateway.open(law, observer) as gateway:
            loop, stopping = asyncio.get_running_loop(), asyncio.Event()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stopping.set)
            loop.add_signal_handler(signal.SIGHUP, partial(gateway.reload, path))
            await stopping.wait()
            await gateway.drain()
    finally:
        observer.close()
    return 0
