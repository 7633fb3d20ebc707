"""The state that all sessions of one listener share."""

from __future__ import annotations

import asyncio
import socket
import ssl
from asyncio import Future, Task, get_running_loop, sleep
from collections import Counter
from collections.abc import Callable
from functools import partial
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Protocol

from gateway.config.edge import Limits
from gateway.model.envelope import IPText
from gateway.model.event import Event, Level
from gateway.model.reply import REPLIES, Reply
from gateway.model.value import Value, field
from gateway.ports import EventSink, Reception
from gateway.service.credentials import Credentials
from gateway.service.listener.connection_limits import ConnectionLimits
from gateway.service.listener.encryption import Turns

_WINDOW_SECONDS = 60.0


class Journal:
    """The first refusal of a kind is reported at once; further ones within a minute are counted, and reported together
    at its end.

    Reasons are a dozen words of ours: so the number of clients does not affect memory and log lines.
    """

    def __init__(self, emit: EventSink, listener: str) -> None:
        self._emit = emit
        self._listener = listener
        self._alarm_again = 0.0
        self._more: dict[str, tuple[int, str, asyncio.TimerHandle]] = {}

    def note(self, reason: str, client: str) -> None:
        """A session or one of its commands was refused."""
        if reason in self._more:
            count, _, timer = self._more[reason]
            self._more[reason] = count + 1, client, timer
            return
        timer = asyncio.get_running_loop().call_later(_WINDOW_SECONDS, self._tell, reason)
        self._more[reason] = 0, "", timer
        self._send(reason, client, 1)

    def alarm(self, error: OSError) -> None:
        """The system gives no connection: descriptors or memory are exhausted."""
        now = asyncio.get_running_loop().time()
        if now >= self._alarm_again:
            self._alarm_again = now + _WINDOW_SECONDS
            fix = "raise the limit on open files (LimitNOFILE, ulimits), or lower [limits] connections"
            fields = (("listener", self._listener), ("error", error.strerror or str(error)), ("fix", fix))
            self._emit(Event("no-connection-taken", "", fields, Level.ALARM))

    def close(self) -> None:
        """Report the counted refusals."""
        for reason in tuple(self._more):
            self._more[reason][2].cancel()
            self._tell(reason)

    def _tell(self, reason: str) -> None:
        count, client, _ = self._more.pop(reason)
        if count:
            self._send(reason, client, count)

    def _send(self, reason: str, client: str, count: int) -> None:
        fields = (("listener", self._listener), ("reason", reason), ("client", client), ("count", count))
        self._emit(Event("listener-refused", "", fields))


EXTENSIONS = ("PIPELINING", "SIZE", "8BITMIME", "STARTTLS", "ENHANCEDSTATUSCODES", "DSN", "SMTPUTF8", "CHUNKING")
"""The service extensions of a listener, in the order of the EHLO reply."""


class ListenerSettings(Value):
    """The settings of one listening socket."""

    name: str
    hostname: str
    """Our name in the greeting and in the reply to EHLO."""
    address: str = ""
    """`host:port`, `[::1]:25`; port 0 takes a free one. Not used when `sock` is given."""
    sock: socket.socket | None = None
    """A socket that is already bound."""
    tls: ssl.SSLContext | None = None
    """For STARTTLS; None: not offered. TLS 1.2 or newer (RFC 8996)."""
    implicit_tls: bool = False
    """TLS from the first octet (RFC 8314 section 3), after the PROXY header if one is required."""
    proxy_from: tuple[IPv4Network | IPv6Network, ...] = ()
    """Balancers that must send a PROXY header; no other peer may."""
    xclient_from: tuple[IPv4Network | IPv6Network, ...] = ()
    """TCP peers that may name their client by XCLIENT."""
    credentials: Credentials | None = None
    """For AUTH, under TLS only; mail then requires a login. None: AUTH is not supported."""
    limits: Limits = field(default_factory=Limits)
    extensions: tuple[str, ...] = EXTENSIONS
    """The extensions in the EHLO reply, in order. Those of `EXTENSIONS` left out are not supported; other words are
    only listed."""
    devices: bool = False
    """MAIL and RCPT are accepted as devices write them: without brackets, and a forced sender's MAIL with any
    argument."""
    debug: bool = False
    """Each command and its reply is an event of level debug."""
    carry: bool = False
    """Bare newlines in a body are carried if that is safe."""
    require_tls: bool = False
    """No mail before STARTTLS."""
    banner: str = "ESMTP Waypost"
    """The text after our name in the greeting."""
    greet_pause: float = 0.0
    """Seconds that a client must be silent before its greeting. A client that talks before it is cut off in any
    case."""

    def name_extensions(self, secured: bool, may_introduce: bool) -> tuple[str, ...]:
        """The lines of the EHLO reply: SIZE with its limit (RFC 1870), STARTTLS not under TLS (RFC 3207 section 4.2),
        AUTH only under TLS (RFC 4954 section 4), XCLIENT only for listed peers."""
        hidden = "STARTTLS" if secured or self.tls is None else ""
        words = [
            f"SIZE {self.limits.message_size}" if word == "SIZE" else word for word in self.extensions if word != hidden
        ]
        if self.credentials is not None and secured:
            words.append("AUTH PLAIN LOGIN")
        if may_introduce:
            words.append("XCLIENT NAME ADDR PORT PROTO HELO LOGIN")
        return tuple(words)

    def check(self) -> None:
        """Raises ValueError when the settings contradict each other."""
        if self.tls is not None and self.tls.minimum_version < ssl.TLSVersion.TLSv1_2:
            raise ValueError(f"listener {self.name}: TLS below 1.2 is allowed (RFC 8996)")
        if self.tls is None and (self.require_tls or self.implicit_tls or self.credentials is not None):
            raise ValueError(f"listener {self.name}: TLS is required and there is no certificate")


_MOST_OF_A_COMMAND = 500
_TURN = 32
"""Commands after which other sessions get their turn, however many this client has pipelined."""
_AT_ONCE = 32
"""Commands of all sessions that are done in one turn of the loop; beyond, they wait for the next."""
FREE_COMMANDS = 16
"""Commands of a session, since its last message, that are not delayed: most sessions have no more."""
_MANY = 8
"""Sessions with pipelined commands beyond which each of them is slowed down, so that the others are served at once."""
_PAUSE = 0.0005
"""Seconds that each such session adds to a turn of its own network's, times the networks that have any."""
_MOST_HELD = 4_194_304
"""Octets that clients may have sent ahead of reading, in sessions with many of them. Beyond that limit, the sessions
that hold most and have brought no mail are ended."""


def _end(turn: Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)


class SessionState(Protocol):
    """A session, from the listener's view."""

    @property
    def task(self) -> Task[Any]:
        """Done when the session is over."""

    def stop(self, reply: Reply) -> None:
        """End it with this reply as soon as it waits for its client."""

    def retire(self, reply: Reply) -> None:
        """End it with this reply if it waits for a command outside a transaction."""

    @property
    def proven(self) -> bool:
        """The session has mail for us."""

    @property
    def gives_way_at(self) -> float | None:
        """The loop's time from which a newcomer may have its place; None while it works, or while content comes."""

    def give_way(self, reply: Reply) -> None:
        """End it with this reply, or without one in a TLS handshake."""

    def abort(self) -> None:
        """Drop its connection."""


class ListenerState:
    """Settings, the reception, and the open sessions."""

    def __init__(
        self,
        settings: ListenerSettings,
        reception: Reception,
        report: Callable[[BaseException], str],
        connections: ConnectionLimits,
        emit: EventSink,
    ) -> None:
        self.settings = settings
        self.reception = reception
        self.report = report
        self.connections = connections
        self.journal = Journal(emit, settings.name)
        self.handshakes = Turns(1)
        self._commands = Turns(_AT_ONCE)
        self._turn = 0.0
        self._done = 0
        """Commands in this turn of the loop."""
        self._emit = emit
        self.sessions: set[SessionState] = set()
        """Sessions that have not ended."""
        self.draining = False
        """No new transaction may begin."""
        self.busy = 0
        """Sessions that have pipelined commands and wait for their next turn."""
        self._busy_networks: Counter[str] = Counter()
        """The same by client network."""
        self._held: dict[SessionState, int] = {}
        self._held_in_all = 0
        self._connected: set[SessionState] = set()
        self.empty = asyncio.Event()
        """No connection is open. An ended session may still have to send its last reply."""
        self.empty.set()

    async def take_turns(self, commands: int, network: str) -> None:
        """Let others go first when so many commands were done without a message, or when many have come at once: then
        client networks take turns. Of many sessions that go on and on each waits the longer, the more networks they
        are of, and the more of them are of its own: a flood of commands takes a part of the time only, and of that part
        each network has the same share."""
        now = get_running_loop().time()
        if now != self._turn:
            self._turn, self._done = now, 0
        self._done += 1
        if self._done > _AT_ONCE:
            turn = get_running_loop().create_future()
            self._commands.ask(network, partial(_end, turn))
            await turn
        if commands < FREE_COMMANDS or commands % max(_TURN // (1 + self.busy), 1):
            return
        self.busy += 1
        self._busy_networks[network] += 1
        try:
            await sleep(0 if self.busy <= _MANY else self._busy_networks[network] * len(self._busy_networks) * _PAUSE)
        finally:
            self.busy -= 1
            self._busy_networks[network] -= 1
            if not self._busy_networks[network]:
                del self._busy_networks[network]

    def note_held(self, session: SessionState, octets: int) -> None:
        """Note the octets of this session that wait to be read: many, or 0."""
        self._held_in_all += octets - self._held.pop(session, 0)
        if not octets:
            return
        self._held[session] = octets
        if self._held_in_all > _MOST_HELD:
            unproven = [one for one in self._held if not one.proven]
            if unproven:
                self.journal.note("sends-too-far-ahead", "")
                max(unproven, key=self._held.__getitem__).abort()

    def make_room(self) -> bool:
        """End the session whose client has had its time for longest, so that a newcomer gets its place; False when
        there is none."""
        due = [(at, one) for one in self.sessions if (at := one.gives_way_at) is not None]
        if not due:
            return False
        at, idlest = min(due, key=lambda one: one[0])
        if get_running_loop().time() < at:
            return False
        self.journal.note("idle-made-room", "")
        idlest.give_way(REPLIES["too-busy"])
        return True

    @property
    def connected(self) -> frozenset[SessionState]:
        """The sessions with an open connection."""
        return frozenset(self._connected)

    def enter(self, session: SessionState) -> None:
        """A connection was made, and its session begins."""
        self.sessions.add(session)
        self._connected.add(session)
        self.empty.clear()

    def note_exchange(self, client: IPText | None, line: bytes | None, reply: Reply | None) -> None:
        """Emit a command and its reply, for a log of level debug. It never contains a password: passwords that do not
        follow AUTH come when no command is expected."""
        said = (line or b"")[:_MOST_OF_A_COMMAND].decode("utf-8", "backslashreplace")
        words = said.split(" ")
        if words[0].upper() == "AUTH":
            said = " ".join([*words[:2], *(["..."] if len(words) > 2 else [])])
        fields = (
            ("listener", self.settings.name),
            ("client", client or ""),
            ("command", said),
            ("reply", str(reply or "")),
        )
        self._emit(Event("smtp", "", fields, Level.DEBUG))

    def disconnect(self, session: SessionState) -> None:
        """Its connection is gone."""
        self.note_held(session, 0)
        self._connected.discard(session)
        if not self._connected:
            self.empty.set()
