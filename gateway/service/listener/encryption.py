"""TLS of a client's connection: the handshake, what one session may hold, and what was negotiated.

Handshakes take turns. A step of one costs milliseconds; if all that have come were done in one turn of the loop, as its
own TLS layer does them, 900 clients that say hello at once would hold everybody else for seconds.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from asyncio.sslproto import SSLProtocol
from collections import OrderedDict, deque
from collections.abc import Callable
from functools import partial
from typing import cast

from gateway.model.ingress import Tls

_HANDSHAKE_SECONDS = 60
_INVALID_PURPOSE = 26
"""X509_V_ERR_INVALID_PURPOSE: a certificate for servers alone, shown by a client."""
_MOST_UNREAD = 4096
"""Octets of earlier replies; well below what stops a writer."""
_MOST_HELD = 16_384
"""Octets that the TLS layer may hold for us or for the client, beside those of one read. uvloop's layer has 256 KiB for
each read and takes as much again from it."""
_MOST_AT_FIRST = 4096
"""The same for what the client sends before its content is due."""


class Turns:
    """Steps of work for clients that wait: so many in a turn of the loop, so that what else has come is served between
    them. Client networks take turns, so that a newcomer does not wait for all those of one that floods."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._waiting: OrderedDict[str, deque[Callable[[], None]]] = OrderedDict()
        self._due = False

    def ask(self, network: str, step: Callable[[], None]) -> None:
        """Do the step when it is this network's turn."""
        self._waiting.setdefault(network, deque()).append(step)
        self._go_on()

    def _go_on(self) -> None:
        if self._waiting and not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._take_turn)

    def _take_turn(self) -> None:
        self._due = False
        try:
            for _ in range(self._at_once):
                if self._waiting:
                    self._take_step()
        finally:
            self._go_on()

    def _take_step(self) -> None:
        network, steps = self._waiting.popitem(last=False)
        step = steps.popleft()
        if steps:
            self._waiting[network] = steps
        step()


class _Encrypted(asyncio.Transport):
    """The transport of asyncio's TLS layer."""

    def set_read_buffer_limits(self, *, high: int) -> None: ...


_READ = memoryview(bytearray(_MOST_HELD))
"""Where all connections of the process are read to: what was read is taken from here before the next one is."""
_READ_AT_FIRST = _READ[:_MOST_AT_FIRST]


class TlsLayer(SSLProtocol):
    """asyncio's TLS layer, on either loop, with small buffers and handshakes that wait for their turn."""

    max_size = _MOST_HELD

    def __init__(
        self,
        inner: asyncio.BaseProtocol,
        context: ssl.SSLContext,
        secured: asyncio.Future[None],
        ask_turn: Callable[[Callable[[], None]], None],
    ) -> None:
        """`secured` is done when the handshake is."""
        super().__init__(
            asyncio.get_running_loop(),
            inner,
            context,
            secured,
            server_side=True,
            call_connection_made=False,
            ssl_handshake_timeout=_HANDSHAKE_SECONDS,
        )
        self._secured = secured
        self._ask_turn = ask_turn
        self._pipe: asyncio.Transport | None = None
        self._ssl_buffer_view = _READ
        self._read = _READ_AT_FIRST
        self.outer: _Encrypted = vars(self)["_app_transport"]
        """The transport of what is encrypted."""
        self.outer.set_read_buffer_limits(high=_MOST_AT_FIRST)
        self.outer.set_write_buffer_limits(high=_MOST_HELD)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._pipe = cast(asyncio.Transport, transport)
        self._pipe.set_write_buffer_limits(high=_MOST_HELD)
        super().connection_made(self._pipe)

    def widen(self) -> None:
        """Content is due: more is read at once."""
        self._read = _READ
        self.outer.set_read_buffer_limits(high=_MOST_HELD)

    def get_buffer(self, n: int) -> memoryview:
        return self._read

    def buffer_updated(self, nbytes: int) -> None:
        if self._secured.done():
            super().buffer_updated(nbytes)
        else:
            self.feed(bytes(_READ[:nbytes]))

    def feed(self, octets: bytes) -> None:
        """The next step of the handshake has come. Nothing more is read before its turn."""
        if self._pipe is not None:
            self._pipe.pause_reading()
            self._ask_turn(partial(self._step, octets))

    def connection_lost(self, exc: BaseException | None) -> None:
        self._pipe = None
        if not self._secured.done() and exc is None:
            exc = ConnectionAbortedError("the connection ended in the handshake")  # else the base would call it secured
        super().connection_lost(exc)

    def _step(self, octets: bytes) -> None:
        if self._pipe is None or self._pipe.is_closing():
            return
        self._pipe.resume_reading()
        for start in range(0, len(octets), len(_READ)):
            part = octets[start : start + len(_READ)]
            _READ[: len(part)] = part
            super().buffer_updated(len(part))


async def start_tls(
    pipe: asyncio.Transport,
    context: ssl.SSLContext,
    take_early: Callable[[], bytes],
    ask_turn: Callable[[Callable[[], None]], None],
) -> TlsLayer:
    """Do the handshake as the server. `take_early` gives what of it was read already:
    the client's first octets may come in one packet with a PROXY header, or before the loop has turned.

    Raises OSError (ssl.SSLError and timeouts are) when there is no TLS.
    """
    if pipe.get_write_buffer_size() > _MOST_UNREAD:
        raise TimeoutError("the client does not read")  # the handshake would wait for it
    secured = asyncio.get_running_loop().create_future()
    early = take_early()
    layer = TlsLayer(pipe.get_protocol(), context, secured, ask_turn)
    pipe.set_protocol(layer)
    layer.connection_made(pipe)
    if early:
        layer.feed(early)
    try:
        await secured
    except BaseException:
        pipe.close()
        raise
    return layer


def name_failure(error: OSError) -> str:
    """The word for the journal: what of the client's certificate was refused, if that is why."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return "tls"
    return "tls-certificate-purpose" if error.verify_code == _INVALID_PURPOSE else "tls-certificate"


def read_tls(transport: asyncio.BaseTransport) -> Tls:
    """The negotiated parameters. The subject is that of a client certificate that our TLS context has verified."""
    session = transport.get_extra_info("ssl_object")
    cipher = session.cipher()
    subject = (session.getpeercert() or {}).get("subject", ())
    return Tls(
        version=session.version() or "",
        cipher=cipher[0] if cipher else "",
        peer_subject=",".join(f"{key}={_escape(value)}" for part in subject for key, value in part),
    )


def _escape(value: str) -> str:
    """RFC 4514 section 2.4, so that no value of a subject reads as another attribute."""
    return re.sub(r'([,+"\\<>;=])', r"\\\1", value)
