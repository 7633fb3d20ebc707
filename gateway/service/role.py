"""What distinguishes listeners by their role: whom they let in, where recipients may be, and what a message needs
besides a judgement. The role here, `mx`, serves anyone who has mail for our domains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway.mail.header import Field
from gateway.model.address import Mailbox
from gateway.model.envelope import Envelope
from gateway.model.ingress import Ingress, Tls
from gateway.model.message import Message
from gateway.model.result import Authentication
from gateway.model.route import Route
from gateway.model.value import Value
from gateway.plan.admission import Refusal
from gateway.plan.intake import Arrival
from gateway.policy.routing import RoutingTable
from gateway.ports import Connection
from gateway.service.ingress import find_ingress
from gateway.service.runtime import RuntimeConfig


class Client(Value):
    """What a session knows of its client."""

    connection: Connection
    helo: str = ""
    esmtp: bool = False
    tls: Tls | None = None
    login: str = ""


class Role(Protocol):
    """A listener's."""

    sends: bool
    """Its clients are senders of ours: their mail may go anywhere, waits in the queue, and is signed."""

    def find_ingress(self, client: Client, runtime: RuntimeConfig, header: tuple[Field, ...] | None) -> Ingress:
        """Where a message of this client comes in; `header` is None before it is there."""

    def find_routing(self, runtime: RuntimeConfig) -> RoutingTable:
        """Where its recipients live."""

    def find_forced(self, client: Client, runtime: RuntimeConfig) -> Mailbox | None:
        """The address that this client sends as, whatever it says."""

    def refuse_mail(self, client: Client, runtime: RuntimeConfig, mail_from: Mailbox | None) -> Refusal | None:
        """Why this client may not begin a transaction with this return path."""

    def depart(
        self,
        arrival: Arrival,
        message: Message,
        authentication: Authentication,
        client: Client,
        runtime: RuntimeConfig,
        routes: Sequence[Route],
    ) -> Arrival | Refusal:
        """A judged message as it goes on, or why it may not."""

    def note_taken(self, arrival: Arrival, runtime: RuntimeConfig) -> None:
        """The message was stored, and the client is told 250."""

    def note_refused(self, client: Client, runtime: RuntimeConfig, envelope: Envelope) -> None:
        """The one recipient of `envelope` was refused for good."""


class EdgeRole:
    """`mx`."""

    sends = False

    def find_ingress(self, client: Client, runtime: RuntimeConfig, header: tuple[Field, ...] | None) -> Ingress:
        return find_ingress(client.connection, client.helo, client.esmtp, client.tls, runtime.config, header)

    def find_routing(self, runtime: RuntimeConfig) -> RoutingTable:
        return runtime.routing

    def find_forced(self, client: Client, runtime: RuntimeConfig) -> Mailbox | None:
        return None

    def refuse_mail(self, client: Client, runtime: RuntimeConfig, mail_from: Mailbox | None) -> Refusal | None:
        return None

    def depart(
        self,
        arrival: Arrival,
        message: Message,
        authentication: Authentication,
        client: Client,
        runtime: RuntimeConfig,
        routes: Sequence[Route],
    ) -> Arrival | Refusal:
        return arrival

    def note_taken(self, arrival: Arrival, runtime: RuntimeConfig) -> None:
        pass

    def note_refused(self, client: Client, runtime: RuntimeConfig, envelope: Envelope) -> None:
        pass
