"""A connection put under TLS: after STARTTLS, or before the greeting, also behind a PROXY header."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Protocol, cast

_HANDSHAKE_SECONDS = 60.0


async def start_tls(writer: asyncio.StreamWriter, context: ssl.SSLContext, take_early: Callable[[], bytes]) -> None:
    """Do the handshake as the server. `take_early` gives what of it was read already: the client's first octets may
    come in one packet with a PROXY header, or before the loop has turned.

    Raises OSError (ssl.SSLError and timeouts are) when there is no TLS.
    """
    pipe = writer.transport
    before = pipe.get_protocol()
    upgrade = asyncio.ensure_future(writer.start_tls(context, ssl_handshake_timeout=_HANDSHAKE_SECONDS))
    # The loop gives the transport its TLS protocol in one turn and connects it in the next, before it reads again.
    while pipe.get_protocol() is before and not upgrade.done():  # noqa: ASYNC110 one turn, and no event tells it
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    early = take_early()
    if early and not upgrade.done():
        _feed(cast(_Buffered, pipe.get_protocol()), early)
    await upgrade


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
