"""A connection put under TLS: after STARTTLS, or before the greeting, also behind a PROXY header."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Protocol, cast

_HANDSHAKE_SECONDS = 60.0
_INVALID_PURPOSE = 26
"""X509_V_ERR_INVALID_PURPOSE: a certificate for servers alone, shown by a client."""
_MOST_UNREAD = 4096
"""Octets of earlier replies; well below what stops a writer."""
_MOST_HELD = 16_384
"""Octets that the TLS layer may hold for us or for the client, beside those of one read: its loop's own bound is 512
KiB each way."""


async def start_tls(writer: asyncio.StreamWriter, context: ssl.SSLContext, take_early: Callable[[], bytes]) -> None:
    """Do the handshake as the server. `take_early` gives what of it was read already: the client's first octets may
    come in one packet with a PROXY header, or before the loop has turned.

    Raises OSError (ssl.SSLError and timeouts are) when there is no TLS.
    """
    pipe = writer.transport
    if pipe.get_write_buffer_size() > _MOST_UNREAD:
        raise TimeoutError("the client does not read")  # the handshake would wait for it
    before = pipe.get_protocol()
    upgrade = asyncio.ensure_future(writer.start_tls(context, ssl_handshake_timeout=_HANDSHAKE_SECONDS))
    # The loop gives the transport its TLS protocol in one turn and connects it in the next, before it reads again.
    try:
        await _hand_over(pipe, before, upgrade, take_early)
        await upgrade
        secured = cast(_Bounded, writer.transport)
        secured.set_read_buffer_limits(high=_MOST_HELD)
        secured.set_write_buffer_limits(high=_MOST_HELD)
    finally:
        upgrade.cancel()


def name_failure(error: OSError) -> str:
    """The word for the journal: what of the client's certificate was refused, if that is why."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return "tls"
    return "tls-certificate-purpose" if error.verify_code == _INVALID_PURPOSE else "tls-certificate"


async def _hand_over(
    pipe: asyncio.WriteTransport,
    before: asyncio.BaseProtocol,
    upgrade: asyncio.Future[None],
    take_early: Callable[[], bytes],
) -> None:
    """Give the TLS layer, once it is in place, what was read before."""
    while pipe.get_protocol() is before and not upgrade.done():  # noqa: ASYNC110 one turn, and no event tells it
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    early = take_early()
    if early and not upgrade.done():
        _feed(cast(_Buffered, pipe.get_protocol()), early)


class _Bounded(Protocol):
    """The transport that both loops' TLS protocols give."""

    def set_read_buffer_limits(self, *, high: int) -> None: ...

    def set_write_buffer_limits(self, *, high: int) -> None: ...


class _Buffered(Protocol):
    """asyncio.BufferedProtocol, which both loops' TLS protocols are."""

    def get_buffer(self, sizehint: int) -> memoryview: ...

    def buffer_updated(self, nbytes: int) -> None: ...


def _feed(protocol: _Buffered, octets: bytes) -> None:
    while octets:
        space = protocol.get_buffer(len(octets))
        count = min(len(space), len(octets))
        space[:count] = octets[:count]
        protocol.buffer_updated(count)
        octets = octets[count:]
