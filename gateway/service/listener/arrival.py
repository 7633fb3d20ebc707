"""Who is there: the client's address as far as the transport proves it, and its TLS."""

from __future__ import annotations

import asyncio
import ipaddress

from gateway.model.address import IPText
from gateway.model.envelope import Envelope, Recipient
from gateway.model.ingress import ClientSource, Tls
from gateway.model.reply import REPLIES, Reply
from gateway.ports import Connection
from gateway.service.listener.house import House
from gateway.service.listener.inflow import Inflow, SessionOver
from gateway.service.proxy import HEADER_OCTETS, NotProxy, ProxyHeader, read_proxy

_PROXY_SECONDS = 5.0
"""How long a balancer may take to send its header; it has it ready when it connects."""


class HealthCheck:
    """The conversation with a balancer itself: it may greet and leave, and no mail is taken from it."""

    def hello(self, name: str, esmtp: bool, tls: Tls | None) -> None:
        pass

    async def mail(self, envelope: Envelope, size: int | None) -> Reply:
        return Reply(421, "3.2", "No mail is taken on a health check")

    async def rcpt(self, recipient: Recipient) -> Reply:
        return REPLIES["internal"]

    async def begin(self) -> Reply:
        return REPLIES["internal"]

    async def take(self, chunk: bytes) -> None:
        pass

    async def finish(self) -> Reply:
        return REPLIES["internal"]

    def abandon(self) -> None:
        pass

    def close(self) -> None:
        pass


async def identify(inflow: Inflow, peer: IPText, house: House) -> Connection | None:
    """The connection as the transport proves it; None for a balancer's own, such as a health check.

    A listed balancer must send a PROXY header. Without one the session is over: what it passes on is not known to come
    from the client, and is reported, because it is a mistake in the balancer's configuration or in ours.
    """
    settings = house.settings
    address = ipaddress.ip_address(peer)
    if not any(address in network for network in settings.proxy_from):
        return Connection(settings.name, peer, peer, ClientSource.PEER)
    try:
        header = await _read_header(inflow)
    except NotProxy as error:
        house.report(error)
        raise SessionOver(None) from None
    if header.client is None:
        return None
    return Connection(settings.name, peer, header.client, ClientSource.PROXY)


async def _read_header(inflow: Inflow) -> ProxyHeader:
    deadline = asyncio.get_running_loop().time() + _PROXY_SECONDS
    while (header := read_proxy(inflow.peek(HEADER_OCTETS))) is None:
        try:
            await inflow.wait_more(deadline)
        except SessionOver as over:
            if over.reply is None:
                raise  # it left again without a word: a balancer that only tries the port
            raise NotProxy("no whole header in time") from None
    inflow.skip(header.octets)
    return header


def read_tls(transport: asyncio.BaseTransport) -> Tls:
    """What was negotiated. The subject is that of a client certificate that our TLS context has verified."""
    session = transport.get_extra_info("ssl_object")
    cipher = session.cipher()
    subject = (session.getpeercert() or {}).get("subject", ())
    return Tls(
        version=session.version() or "",
        cipher=cipher[0] if cipher else "",
        peer_subject=",".join(f"{key}={value}" for part in subject for key, value in part),
    )
