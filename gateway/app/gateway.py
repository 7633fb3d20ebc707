"""The running gateway: adapters become services, and those run, drain and stop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from gateway import __version__
from gateway.admin.api import make_application, serve_http
from gateway.admin.control import Arguments, Commands, serve_control
from gateway.admin.queue import QueueDesk, hold_commands
from gateway.app.adapters import (
    make_backends,
    make_couriers,
    make_imports,
    make_login_source,
    make_resolver,
    make_retention,
    make_traffic,
)
from gateway.app.reload import Reloaded, Reloader
from gateway.app.runtime_config import route_dsn, with_lists
from gateway.app.supervisor import WorkerContext, ready_key
from gateway.model.envelope import Mailbox
from gateway.model.event import Event, Level
from gateway.model.value import asdict, replace
from gateway.net.resolver import DnsResolver
from gateway.net.system import SystemClock
from gateway.policy.routing import RoutingTable
from gateway.ports import Backend, Clock, Spool
from gateway.service.alarms import Alarms, fan_out
from gateway.service.authenticator import Authenticator, keep_usable
from gateway.service.delivery import LEASE, Delivery
from gateway.service.directory import Directory
from gateway.service.front import AdmissionSwitch, FrontEnd
from gateway.service.held_mail import ClockWatch, HeldMail, Housekeeper, StorageWatch, tell_start
from gateway.service.importer import Importer
from gateway.service.inquiry import Callout
from gateway.service.listener import bind_socket
from gateway.service.observer import Observer
from gateway.service.open_alarms import AlarmFile
from gateway.service.reception import MxReception
from gateway.service.repetition import pass_on
from gateway.service.role import Failures, SendingRole
from gateway.service.runtime import RuntimeConfig, Services
from gateway.service.sending_limits import SendingLimits, Suspensions
from gateway.service.tally import Minute, OctetsInFlight
from gateway.service.watch import AlarmWatch, Subject
from gateway.spool.shards import ShardedSpool
from gateway.spool.sqlite import SqliteSpool
from gateway.spool.view import ShardedView
from gateway.tools.results import Json


class Gateway:
    """All services of a running gateway. Made by `open`."""

    def __init__(
        self,
        runtime: RuntimeConfig,
        clock: Clock,
        spool: Spool,
        backends: Mapping[str, Backend],
        observer: Observer,
        post: WorkerContext | None = None,
    ) -> None:
        self.ready = False
        self._post = post or WorkerContext()
        self._since = clock.now()
        self._runtime = runtime
        self._clock = clock
        self._spool = spool
        self._observer = observer
        couriers = make_couriers(runtime.config, spool, clock, self._route_dsn, self._wake)
        self._open_alarms = AlarmFile(runtime.config.server.spool, runtime.config.alarm.repeat_after)
        self._alarms = Alarms(couriers, clock, observer, self._open_alarms, self._post.number, self._post.workers)
        told = fan_out(observer, self._alarms)
        self._sending_limits = SendingLimits(self._post.tally, clock, Suspensions(runtime.config.server.spool), told)
        self._emit = fan_out(told, Failures(self._sending_limits, lambda: self._runtime))
        self._traffic = make_traffic(runtime.config, clock, self._emit, self._post.tally)
        self._delivery = Delivery(spool, backends, clock, self._emit, runtime.config, self._route_dsn, self._traffic)
        self._storage = StorageWatch(spool, self._emit, {one.kind for one in self._alarms.current()})
        self._held_mail = HeldMail(spool, lambda: self._runtime, clock, self._emit, self._wake, self._route_dsn)
        self._gate = AdmissionSwitch()
        self._front: FrontEnd | None = None
        self._looking: asyncio.Task[None] | None = None
        self._reloader = Reloader(lambda: self._runtime, self._adopt, self._delivery.backends, self._emit)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, runtime: RuntimeConfig, observer: Observer, path: Path, post: WorkerContext
    ) -> AsyncIterator[Gateway]:
        """Start everything in the order of dependence, and stop it in reverse. `path` is the configuration that a
        reload reads."""
        config, clock = runtime.config, SystemClock(post.number)
        resolver = make_resolver(config)
        async with AsyncExitStack() as stack:
            kept = make_retention(config)
            spool = await ShardedSpool.open(config.server.spool, clock, LEASE, post.number, post.workers, kept)
            stack.push_async_callback(spool.close)
            post.arrivals.begin()
            backends = make_backends(config, resolver, clock, post.tally)
            for backend in backends.values():
                stack.push_async_callback(backend.close)
            gateway = cls(runtime, clock, spool, backends, observer, post)
            delivery, emit = gateway._delivery, gateway._emit
            tell_start(spool.moved, emit)
            stack.push_async_callback(delivery.drain)
            if isinstance(resolver, DnsResolver):
                stack.push_async_callback(resolver.close)
            authenticator = Authenticator(resolver, clock, config.dns.budget_seconds)
            usable = await keep_usable(runtime.context.client.lists, authenticator, emit)
            gateway._runtime = with_lists(runtime, usable)
            callout = Callout(backends, clock, emit, config.limits, post.tally)
            stack.push_async_callback(callout.close)
            flow = OctetsInFlight(post.tally)
            minute = Minute(post.tally)
            services = Services(clock, spool, authenticator, delivery, emit, callout, flow, minute=minute)
            await gateway._start(stack, replace(services, arrivals=post.arrivals))
            for shard in spool.shards:
                commands = gateway._commands(shard, path)
                await stack.enter_async_context(serve_control(shard.path, commands, gateway._report))
            yield gateway

    async def _start(self, stack: AsyncExitStack, services: Services) -> None:
        config = self._runtime.config
        for work in (self._alarms.run(), self._alarms.keep_looking()):
            stack.callback(asyncio.create_task(work).cancel)
        stack.push_async_callback(self._alarms.close)
        self._delivery.start()
        housekeeping = Housekeeper(self._spool, self._clock, self._emit).run()
        for service in (housekeeping, pass_on(self._spool, services.arrivals.repeats), self._storage.run()):
            stack.callback(asyncio.create_task(service).cancel)
        if isinstance(self._clock, SystemClock):
            clock = ClockWatch(self._clock, self._delivery.move_times, self._emit)
            looking = asyncio.create_task(clock.run())
            stack.callback(looking.cancel)
        keeping = asyncio.create_task(self._held_mail.run(lists=self._post.number == 0))
        stack.callback(keeping.cancel)
        counting = asyncio.create_task(self._sending_limits.run())
        stack.callback(counting.cancel)
        directory = Directory(lambda: self._runtime, self._reroute, self._clock, self._emit, self._delivery.backends)
        watching = asyncio.create_task(directory.run())
        stack.callback(watching.cancel)
        if self._post.number == 0:
            # All workers see a map that one worker fetched as a file.
            importer = Importer(lambda: self._runtime, make_imports, self._delivery.backends, self._emit)
            importing = asyncio.create_task(importer.run())
            stack.callback(importing.cancel)
        watch = AlarmWatch(self._watched(), self._clock, self._emit, self._alarms, self._alarms.current())
        stack.callback(asyncio.create_task(watch.run()).cancel)
        stack.push_async_callback(self._reloader.close)
        await self._serve_admin(stack)
        post = self._post
        doing = {
            "submission": SendingRole(True, self._sending_limits),
            "smarthost": SendingRole(False, self._sending_limits),
        }
        roles = {role: MxReception(services, lambda: self._runtime, does) for role, does in doing.items()}
        roles["mx"] = MxReception(services, lambda: self._runtime)
        self._front = FrontEnd(
            config,
            {role: self._gate.before(reception) for role, reception in roles.items()},
            self._clock,
            self._report,
            self._emit,
            post.tally,
            post.sockets,
            make_login_source(config),
        )
        stack.push_async_callback(self._front.close)
        await self._front.open()
        self.ready = True
        self._post.report_ready()

    def _watched(self) -> Subject:
        tally = self._post.tally
        return Subject(
            number=self._post.number,
            config=lambda: self._runtime.config,
            reader=self._spool.reader,
            traffic=self._traffic,
            tally=tally,
            deaths=self._post.deaths,
            hindrance=self._find_hindrance,
            is_ready=lambda number: tally.total(ready_key(number)) > 0,
            lost=lambda: self._observer.lost,
        )

    async def _serve_admin(self, stack: AsyncExitStack) -> None:
        """Metrics and health of all workers, from any worker."""
        config = self._runtime.config
        view = ShardedView(config.server.spool, running=True)
        stack.push_async_callback(view.close)
        counters = self._post.counters or self._observer.registry
        application = make_application(counters, self._find_hindrance, view.backlogs)
        listening = self._post.sockets.get(config.admin.address) or bind_socket(config.admin.address)
        await stack.enter_async_context(serve_http(application, listening))

    def _find_hindrance(self) -> str:
        """The reason for refusing mail; empty when mail is accepted."""
        if not self.ready or self._gate.closed:
            return "draining"
        return "" if self._storage.takes else "no-storage"

    def tell(self, event: Event) -> None:
        """Emit the event to the log, the metrics and, for an alarm, the couriers."""
        self._emit(event)

    def _reroute(self, routing: RoutingTable) -> None:
        """New addresses, under the same runtime configuration. Open transactions keep the earlier ones."""
        self._runtime = replace(self._runtime, routing=routing)

    def _wake(self) -> None:
        self._delivery.wake()

    def _hurry(self) -> None:
        """An admin has decided something: it is tried at once, even if its backend is in a pause."""
        self._traffic.hurry()
        self._wake()

    def _route_dsn(self, return_path: Mailbox) -> str:
        return route_dsn(self._runtime, return_path)

    def _report(self, error: BaseException) -> str:
        """An unknown exception: the client gets the event's id, the log gets the rest (promise P5)."""
        id = self._clock.new_id()
        where = error.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        at = f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}" if where else ""
        fields = (("where", "session"), ("error", f"{type(error).__name__}: {error}"), ("at", at))
        self._emit(Event("error", id, fields, Level.WARNING))
        return id

    def reload(self, path: Path) -> asyncio.Task[Reloaded]:
        """Begin to read configuration and rules again: all or nothing. Open transactions keep the earlier ones.
        Certificates are checked in any case."""
        if self._front is not None:
            self._looking = asyncio.create_task(self._front.refresh())
        return self._reloader.reload(path)

    def _commands(self, shard: SqliteSpool, path: Path) -> Commands:
        """The commands of one shard's control socket."""
        services = QueueDesk(
            shard,
            self._clock,
            self._emit,
            lambda: self._runtime.config,
            lambda: self._runtime,
            self._delivery.backends,
            self._route_dsn,
            self._hurry,
        )
        whole: Commands = {
            "reload": partial(self._answer_reload, path),
            "drain": self._answer_drain,
            "status": self._answer_status,
        }
        return {**whole, **services.commands(), **hold_commands(self._held_mail)}

    async def _answer_reload(self, path: Path, arguments: Arguments) -> Json:
        # The client of the socket may leave: the reading goes on.
        return asdict(await asyncio.shield(self.reload(path)))

    async def _answer_drain(self, arguments: Arguments) -> Json:
        """Refuse new sessions from now on, or with `undo` no longer; waiting mail is still delivered."""
        if arguments.get("undo"):
            self._gate.open()
        else:
            self._gate.close()
        self._emit(Event("draining-spool", "", (("undone", bool(arguments.get("undo"))),)))
        return None

    async def _answer_status(self, arguments: Arguments) -> Json:
        """The facts that only the running worker knows; `tools/status.py` makes the whole view."""
        storage = await self._spool.storage()
        alarms = self._alarms.current()
        return {
            "number": self._post.number,
            "workers": self._post.workers,
            "pid": os.getpid(),
            "since": self._since,
            "restarts": self._post.deaths.count(self._post.number),
            "version": __version__,
            "hindrance": self._find_hindrance(),
            "routes": [asdict(route) for route in self._traffic.conditions()],
            "storage": {"free_octets": storage.free, "reserve_octets": storage.reserve, "refusing": not storage.takes},
            "pending_restart": list(self._reloader.pending),
            "alarms": [{"kind": one.kind, "since": one.since, "text": one.text, "fix": one.fix} for one in alarms],
        }

    def _adopt(self, runtime: RuntimeConfig) -> None:
        self._runtime = runtime

    async def drain(self, seconds: float) -> None:
        """Accept no new session, let open ones end for so many seconds, then 421; end running attempts."""
        self.ready = False
        self._emit(Event("draining", "", (("seconds", seconds),)))
        deadline = self._clock.monotonic() + seconds
        if self._front is not None:
            await self._front.drain(seconds)
        await self._delivery.drain(max(deadline - self._clock.monotonic(), 0.0))
        self._storage.tell_damage()
        self._emit(Event("stopped", ""))
