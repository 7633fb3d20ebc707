"""Where a message came in: the one place that tells the edge from the inside, for the live path and for `simulate`."""

from __future__ import annotations

import ipaddress

from gateway.config.model import Config
from gateway.mail.header import Field
from gateway.mail.received import find_relay, walk
from gateway.model.address import IPText
from gateway.model.ingress import ClientSource, EdgeIngress, Ingress, InternalIngress, Tls
from gateway.ports import Connection


def find_ingress(
    connection: Connection, helo: str, esmtp: bool, tls: Tls | None, config: Config, header: tuple[Field, ...] | None
) -> Ingress:
    """The ingress of a message on this connection.

    Trust is by the address that the transport proves (TCP peer, or what a listed balancer's PROXY header says), never
    by anything inside the message. `header` is None before the content is in: for a listed relay the client is then
    still unknown, and the ingress is asked for again at the end of data.
    """
    peer = connection.client
    hop = _own_hop_name(peer, config)
    if hop:
        return _internal(connection, peer, helo, esmtp, tls, hop)
    if find_relay(peer, config.relay) is None:
        return _edge(connection, peer, connection.source, helo, esmtp, tls)
    if header is None:
        reason = "behind a listed relay: known when the header is in"
        return _edge(connection, None, ClientSource.RECEIVED, helo, esmtp, tls, reason=reason)
    walked = walk(header, config.relay, peer)
    if walked.client is None:
        return _edge(connection, None, ClientSource.RECEIVED, helo, esmtp, tls, reason=walked.reason)
    hop = _own_hop_name(walked.client, config)
    if hop:
        return _internal(connection, walked.client, walked.helo, esmtp, tls, hop, walked.rdns)
    return _edge(connection, walked.client, ClientSource.RECEIVED, walked.helo, esmtp, tls, walked.rdns)


def _own_hop_name(address: IPText, config: Config) -> str:
    """Which own hop has this address; empty when none."""
    parsed = ipaddress.ip_address(address)
    for hop in config.own_hop:
        if any(parsed in network for network in hop.addresses):
            return hop.name
    return ""


def _internal(
    connection: Connection, client: IPText, helo: str, esmtp: bool, tls: Tls | None, hop: str, rdns: str = ""
) -> InternalIngress:
    return InternalIngress(
        client=client,
        helo=helo,
        listener=connection.listener,
        peer=connection.peer,
        trusted_by=f"own hop {hop}",
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
    )
