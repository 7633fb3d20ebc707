"""The arrival of a client: its address as far as the transport proves it."""

from __future__ import annotations

import asyncio

from gateway.model.envelope import Envelope, IPText, Mailbox, Recipient, network_of, parse_ip
from gateway.model.ingress import ClientSource, Tls
from gateway.model.reply import REPLIES, Reply
from gateway.ports import Connection, Conversation
from gateway.service import proxy
from gateway.service.listener.dialogue import Dialogue
from gateway.service.listener.inflow import Inflow, SessionOver
from gateway.service.listener.listener_state import ListenerState
from gateway.service.proxy import HEADER_OCTETS, NotProxy, ProxyHeader, read_proxy

_PROXY_SECONDS = 5.0
"""Seconds for a balancer to send its header, which is ready when it connects."""
_MOST_UNKNOWN = 64
"""Connections beyond the limit that may wait for a PROXY header: until it has come, nobody makes room for them."""


class HealthCheck:
    """The conversation with a balancer itself: it may greet and leave, but no mail is accepted from it."""

    def hello(self, name: str, esmtp: bool, tls: Tls | None) -> None:
        pass

    def login(self, name: str) -> None:
        pass

    def forced_sender(self) -> Mailbox | None:
        return None

    async def refuse(self, reply: Reply, path: Mailbox | None = None) -> Reply:
        return reply

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

    def answered(self, heard: bool) -> None:
        pass

    def lost(self) -> None:
        pass

    def abandon(self) -> None:
        pass

    def close(self) -> None:
        pass


class ClientIdentity:
    """The client of a connection, as far as it is proven, and whether it is counted."""

    def __init__(self, state: ListenerState) -> None:
        self._state = state
        self._connection: Connection | None = None
        self.client: IPText | None = None
        """None before it is known, and for a balancer's own connection."""
        self.network = ""
        """The client's, in whose turn its handshake and its commands are."""
        self._entered = False

    async def arrive(self, inflow: Inflow, peer: IPText) -> None:
        """Take a place for the connection, and identify the client. Raises SessionOver when there are too many, or a
        required PROXY header is missing.

        Another connection makes room only for a client that is within its own limits.
        """
        connections = self._state.connections
        self._entered = True
        crowded = not connections.arrive()
        self._connection = await _identify(inflow, peer, self._state)
        if self._connection is not None:
            self._admit(self._connection.client)
        if crowded and connections.excess() > 0 and not self._state.make_room():
            raise SessionOver(REPLIES["too-busy"], "too-many-connections")

    async def meet(self) -> Dialogue:
        """Begin a session for the client. Raises SessionOver when it is refused."""
        conversation: Conversation | Reply = HealthCheck()
        if self._connection is not None:
            conversation = await self._state.reception.connect(self._connection)
        if isinstance(conversation, Reply):
            raise SessionOver(conversation, "connection")
        return Dialogue(conversation, self._state.settings.limits.message_size, self._state.report)

    @property
    def may_introduce(self) -> bool:
        """XCLIENT is for the TCP peer itself: not for a client behind a balancer with a listed address."""
        connection = self._connection
        if connection is None or connection.source is ClientSource.PROXY:
            return False
        return any(parse_ip(connection.peer) in network for network in self._state.settings.xclient_from)

    def introduce(self, argument: str) -> Reply | None:
        """XCLIENT: from now on the connection is another client's; or the reply that refuses it."""
        if self._connection is None or not self.may_introduce:
            self._state.journal.note("xclient", self.client or "")
            return proxy.DENIED
        introduced = proxy.introduce(self._connection, argument)
        if isinstance(introduced, Reply):
            return introduced
        self._connection = introduced
        self._admit(introduced.client)
        return None

    def tls(self, own: Tls | None) -> Tls | None:
        """The known TLS of the client. The connection's own TLS belongs to the peer, if that has introduced the client
        by XCLIENT."""
        introduced = self._connection is not None and self._connection.source is ClientSource.XCLIENT
        return None if introduced else own

    def leave(self) -> None:
        """The connection is gone: return its place. Not earlier, or a client could hold more than its limit."""
        self._release()
        if self._entered:
            self._entered = False
            self._state.connections.depart()

    def _release(self) -> None:
        if self.client is not None:
            self._state.connections.release(self.client)
            self.client = None

    def _admit(self, client: IPText) -> None:
        self._release()
        self.client = client
        self.network = network_of(client)
        if not self._state.connections.admit(client):
            raise SessionOver(REPLIES["too-busy"], "too-many-of-one-client")
        if self._state.connections.is_too_fast(client):
            raise SessionOver(REPLIES["too-many-a-minute"], "too-many-a-minute")


async def _identify(inflow: Inflow, peer: IPText, state: ListenerState) -> Connection | None:
    """The connection as the transport proves it; None for a balancer's own, such as a health check.

    A listed balancer must send a PROXY header. Without one the session is over, because its octets are not known to
    come from the client. That is reported, because it is a mistake in the balancer's configuration or in ours.
    """
    settings = state.settings
    address = parse_ip(peer)
    if not any(address in network for network in settings.proxy_from):
        return Connection(settings.name, peer, peer, ClientSource.PEER, carry=settings.carry)
    if state.connections.excess() > _MOST_UNKNOWN:
        raise SessionOver(REPLIES["too-busy"], "too-many-connections")
    try:
        header = await _read_header(inflow)
        if header is None:
            raise SessionOver(None, "no-proxy-header")
    except NotProxy as error:
        state.report(error)
        raise SessionOver(None, "no-proxy-header") from None
    if header.client is None:
        return None
    return Connection(settings.name, peer, header.client, ClientSource.PROXY, carry=settings.carry)


async def _read_header(inflow: Inflow) -> ProxyHeader | None:
    """The header; None when no octet came: a health check that only opens the port is counted, and is not a fault."""
    deadline = asyncio.get_running_loop().time() + _PROXY_SECONDS
    while (header := read_proxy(inflow.peek(HEADER_OCTETS))) is None:
        try:
            await inflow.wait_more(deadline)
        except SessionOver as over:
            if over.reply is None:
                raise  # it left without an octet: a balancer that only tries the port
            if not len(inflow):
                return None
            raise NotProxy("no whole header in time") from None
    inflow.skip(header.octets)
    return header
