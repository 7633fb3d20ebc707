"""The front end as configured: every listener with its certificates and users, and the limits that all share."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress

from gateway.config.edge import Listener
from gateway.config.model import Config
from gateway.config.recipients import LoginSource
from gateway.model.event import Event, Level
from gateway.model.reply import REPLIES, Reply
from gateway.model.value import replace
from gateway.ports import Clock, Connection, Conversation, EventSink, Reception, Tally
from gateway.service.certificates import Certificates
from gateway.service.credentials import Credentials
from gateway.service.listener import ConnectionLimits, ListenerSettings, SmtpListener, bind_socket, serve


class AdmissionSwitch:
    """Lets sessions in or none."""

    def __init__(self) -> None:
        self._closed = False

    def close(self) -> None:
        self._closed = True

    def open(self) -> None:
        self._closed = False

    def before(self, reception: Reception) -> Reception:
        """The same reception, behind this switch."""
        return _Guarded(self, reception)

    @property
    def closed(self) -> bool:
        return self._closed


class _Guarded:
    def __init__(self, gate: AdmissionSwitch, reception: Reception) -> None:
        self._gate = gate
        self._reception = reception

    async def connect(self, connection: Connection) -> Conversation | Reply:
        return REPLIES["shutting-down"] if self._gate.closed else await self._reception.connect(connection)


_LOOK_SECONDS = 30.0
"""Seconds between checks of the certificates' files."""


class FrontEnd:
    """All listeners of one configuration. `open` comes before everything else, `close` after it."""

    def __init__(
        self,
        config: Config,
        receptions: Mapping[str, Reception],
        clock: Clock,
        report: Callable[[BaseException], str],
        emit: EventSink,
        tally: Tally,
        sockets: Mapping[str, socket.socket],
        directory: LoginSource | None = None,
    ) -> None:
        """`receptions` by the role of the listeners that they serve; `sockets` are already bound ones, by address."""
        self._config = config
        self._tally = tally
        self._sockets = sockets
        self._receptions = receptions
        self._report = report
        self._emit = emit
        self._listeners: list[SmtpListener] = []
        self._certificates: list[tuple[str, Certificates]] = []
        self._watch: asyncio.Task[None] | None = None
        users = config.submission.users
        successes = config.server.spool / "logins"
        known = users is not None or directory is not None
        self._credentials = Credentials(users, clock, emit, directory, successes) if known else None

    async def open(self) -> None:
        """Listen on every address. Raises OSError for an unavailable address or an unreadable file, ssl.SSLError and
        ValueError for unusable certificates; call `close` then, too."""
        ours = [one for relay in self._config.relay for one in relay.addresses]
        ours += [one for hop in self._config.own_hop for one in hop.addresses]
        connections = ConnectionLimits(self._config.limits, self._tally, ours)
        for one in self._config.listener:
            settings = self._settings(one)
            listener = await serve(settings, self._receptions[one.role], self._report, connections, self._emit)
            self._listeners.append(listener)
            fields = [("listener", settings.name), ("address", one.address), ("role", one.role), ("tls", one.tls)]
            if one.address.startswith("[::]"):
                fields.append(("takes", "IPv6 only; for IPv4 add a listener on 0.0.0.0"))
            self._emit(Event("listening", "", tuple(fields)))
        self._watch = asyncio.create_task(self._keep_fresh())

    async def refresh(self) -> None:
        """Check for changed certificates, and use the new ones. Unusable ones change nothing."""
        for name, certificates in self._certificates:
            try:
                changed = await asyncio.to_thread(certificates.refresh)
            except Exception as error:  # after any fault in a file, the others are still checked
                fields = (("listener", name), ("error", f"{type(error).__name__}: {error}"))
                self._emit(Event("certificates-refused", "", fields, Level.ALARM))
            else:
                if changed:
                    self._emit(Event("certificates-reloaded", "", (("listener", name),)))

    async def drain(self, seconds: float) -> None:
        """Accept no new session, and let open ones end for so long."""
        await asyncio.gather(*(listener.drain(seconds) for listener in self._listeners))

    async def close(self) -> None:
        """End everything."""
        if self._watch is not None:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch
        for listener in self._listeners:
            await listener.close()
        if self._credentials is not None:
            self._credentials.close()

    async def _keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            await self.refresh()

    def _settings(self, one: Listener) -> ListenerSettings:
        submission = one.role == "submission"
        name, listeners = one.name or one.address, self._config.listener
        settings = ListenerSettings(
            name=name,
            hostname=self._config.server.hostname,
            address=one.address,
            sock=self._sockets.get(one.address) or bind_socket(one.address, [two.address for two in listeners]),
            implicit_tls=one.tls == "implicit",
            proxy_from=one.proxy_from,
            xclient_from=one.xclient_from,
            credentials=self._credentials if submission else None,
            limits=self._config.limits,
            require_tls=submission,
            greet_pause=one.greet_pause,
            carry=one.bare_newline == "carry",
            debug=self._config.log.level == "debug",
            devices=one.role != "mx",
        )
        if one.certificate is None:
            return settings
        pairs = [(one.certificate, one.key), *((more.certificate, more.key) for more in one.certificates)]
        certificates = Certificates(pairs, one.client_ca, one.session_tickets)
        self._certificates.append((name, certificates))
        return replace(settings, tls=certificates.context)
