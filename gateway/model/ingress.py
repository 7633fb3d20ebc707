"""The place where a message came in. Only an `EdgeIngress` can be asked about SPF (promise P3)."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

from gateway.model.envelope import IPText
from gateway.model.value import Value


class ClientSource(StrEnum):
    """The proof of the client's address."""

    PEER = "peer"
    PROXY = "proxy"
    XCLIENT = "xclient"
    RECEIVED = "received"


class Tls(Value):
    """The TLS session of a connection."""

    version: str
    cipher: str
    peer_subject: str = ""


class EdgeIngress(Value):
    """A message crossing the border of our ADMD (RFC 5598 section 2.3): the one place where SPF has data."""

    client: IPText | None
    """The address that delivered to our ADMD; None when it cannot be known. `reason` then says why."""
    source: ClientSource
    helo: str
    listener: str
    peer: IPText
    """The TCP peer of this connection: a balancer or relay where `client` differs."""
    tls: Tls | None = None
    esmtp: bool = True
    rdns: str = ""
    """Name of `client` in reverse DNS, confirmed forward; empty when unknown."""
    reason: str = ""
    via: tuple[str, ...] = ()
    """Names of our own relays on the way, nearest first. The Received line of the last one names the client."""


class InternalIngress(Value):
    """A message that crossed no border here: submission, smarthost, or a hop of our own behind the edge."""

    client: IPText
    helo: str
    listener: str
    peer: IPText
    trusted_by: str
    """The setting that makes this hop ours."""
    login: str = ""
    tls: Tls | None = None
    esmtp: bool = True
    rdns: str = ""


Ingress: TypeAlias = EdgeIngress | InternalIngress
