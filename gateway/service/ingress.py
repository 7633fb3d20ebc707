"""The place where a message came in: the one function that tells the edge from the inside, for the live path and for
`simulate`."""

from __future__ import annotations

from gateway.config.model import Config
from gateway.mail.header import Field
from gateway.mail.received import find_relay, walk
from gateway.model.envelope import IPText, parse_ip
from gateway.model.ingress import ClientSource, EdgeIngress, Ingress, InternalIngress, Tls
from gateway.ports import Connection


def find_ingress(
    connection: Connection,
    helo: str,
    esmtp: bool,
    tls: Tls | None,
    config: Config,
    header: tuple[Field, ...] | None,
    login: str = "",
) -> Ingress:
    """The ingress of a message on this connection.

    Trust comes from the address that the transport proves (the TCP peer, or the address given by a listed balancer or
    XCLIENT peer), or from login, never from the message itself. `header` is None before the content has arrived: for a
    listed relay the client is then still unknown, and the ingress is asked for again at the end of data.
    """
    peer = connection.client
    helo = connection.helo or helo
    if login:
        return _internal(connection, peer, helo, esmtp, tls, "login", login=login)
    if connection.unknown:
        return _edge(connection, None, connection.source, helo, esmtp, tls, reason=connection.unknown)
    hop = _own_hop_name(peer, config)
    if hop:
        return _internal(connection, peer, helo, esmtp, tls, f"own hop {hop}")
    if find_relay(peer, config.relay) is None:
        return _edge(connection, peer, connection.source, helo, esmtp, tls)
    if header is None:
        reason = "behind a listed relay: known when the header is in"
        return _edge(connection, None, ClientSource.RECEIVED, helo, esmtp, tls, reason=reason)
    walked = walk(header, config.relay, peer)
    if walked.client is None:
        return _edge(connection, None, ClientSource.RECEIVED, helo, esmtp, tls, reason=walked.reason, via=walked.relays)
    hop = _own_hop_name(walked.client, config)
    if hop:
        return _internal(connection, walked.client, walked.helo, esmtp, tls, f"own hop {hop}", walked.rdns)
    return _edge(
        connection, walked.client, ClientSource.RECEIVED, walked.helo, esmtp, tls, walked.rdns, via=walked.relays
    )


def _own_hop_name(address: IPText, config: Config) -> str:
    """The own hop with this address; empty when there is none."""
    parsed = parse_ip(address)
    for hop in config.own_hop:
        if any(parsed in network for network in hop.addresses):
            return hop.name
    return ""


def _internal(
    connection: Connection,
    client: IPText,
    helo: str,
    esmtp: bool,
    tls: Tls | None,
    trusted_by: str,
    rdns: str = "",
    login: str = "",
) -> InternalIngress:
    return InternalIngress(
        client=client,
        helo=helo,
        listener=connection.listener,
        peer=connection.peer,
        trusted_by=trusted_by,
        login=login,
        tls=tls,
        esmtp=esmtp,
        rdns=rdns,
    )


def _edge(
    connection: Connection,
    client: IPText | None,
    source: ClientSource,
    helo: str,
    esmtp: bool,
    tls: Tls | None,
    rdns: str = "",
    reason: str = "",
    via: tuple[str, ...] = (),
) -> EdgeIngress:
    return EdgeIngress(
        client=client,
        source=source,
        helo=helo,
        listener=connection.listener,
        peer=connection.peer,
        tls=tls,
        esmtp=esmtp,
        rdns=rdns,
        reason=reason,
        via=via,
    )
