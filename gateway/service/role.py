"""The differences between listeners by their role: the clients accepted, the backends of recipients, and a message's
needs besides a judgement. The role here, `mx`, serves anyone who has mail for our domains."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from gateway.config.outbound import Rates
from gateway.mail.header import Field
from gateway.model.envelope import Envelope, Mailbox
from gateway.model.event import Event
from gateway.model.ingress import Ingress, InternalIngress, Tls
from gateway.model.message import Message, Route
from gateway.model.reply import REPLIES
from gateway.model.result import Authentication
from gateway.model.value import Value, replace
from gateway.plan.admission import Refusal
from gateway.plan.departure import Permit, depart, find_permit, refuse_sender
from gateway.plan.intake import Arrival
from gateway.policy.routing import RoutingTable
from gateway.ports import Connection
from gateway.service.ingress import find_ingress
from gateway.service.runtime import RuntimeConfig
from gateway.service.sending_limits import SendingLimits


class Client(Value):
    """A session's knowledge of its client."""

    connection: Connection
    helo: str = ""
    esmtp: bool = False
    tls: Tls | None = None
    login: str = ""


class Role(Protocol):
    """The role of a listener."""

    sends: bool
    """Its clients are senders of ours: their mail may go anywhere, waits in the queue, and is signed."""

    def find_ingress(self, client: Client, runtime: RuntimeConfig, header: tuple[Field, ...] | None) -> Ingress:
        """The ingress of a message from this client; `header` is None before the message has arrived."""

    def find_routing(self, runtime: RuntimeConfig) -> RoutingTable:
        """The routing table for its recipients."""

    def find_forced(self, client: Client, runtime: RuntimeConfig) -> Mailbox | None:
        """The address that this client always sends as."""

    def refuse_mail(self, client: Client, runtime: RuntimeConfig, mail_from: Mailbox | None) -> Refusal | None:
        """The refusal of a transaction from this client with this return path."""

    def depart(
        self,
        arrival: Arrival,
        message: Message,
        authentication: Authentication,
        client: Client,
        runtime: RuntimeConfig,
        routes: Sequence[Route],
    ) -> Arrival | Refusal:
        """A judged message as it leaves, or the refusal."""

    def note_taken(self, arrival: Arrival, runtime: RuntimeConfig) -> None:
        """The message was stored, and the client gets 250."""

    def note_refused(self, client: Client, runtime: RuntimeConfig, envelope: Envelope) -> None:
        """The one recipient of `envelope` was refused permanently."""


class EdgeRole:
    """The role `mx`."""

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


class SendingRole:
    """Both sending roles; on `submission` clients log in, and fields that their mail programs forgot are added."""

    sends = True

    def __init__(self, submission: bool, sending_limits: SendingLimits) -> None:
        self._submission = submission
        self._sending_limits = sending_limits

    def find_ingress(self, client: Client, runtime: RuntimeConfig, header: tuple[Field, ...] | None) -> Ingress:
        """Inside: the receiver of this mail evaluates SPF, not this gateway (promise P3)."""
        permit = self._find_permit(client, runtime)
        trusted_by = "nothing"
        if permit is not None:
            names = ", ".join(tenant.name for tenant in permit.tenants)
            trusted_by = f"sender {permit.name}" if permit.identity else f"tenant {names}, to be proven"
        connection = client.connection
        return InternalIngress(
            client=connection.client,
            helo=connection.helo or client.helo,
            listener=connection.listener,
            peer=connection.peer,
            trusted_by=trusted_by,
            login=client.login,
            tls=client.tls,
            esmtp=client.esmtp,
        )

    def find_routing(self, runtime: RuntimeConfig) -> RoutingTable:
        return runtime.routing.reaching(runtime.outgoing.route)

    def find_forced(self, client: Client, runtime: RuntimeConfig) -> Mailbox | None:
        permit = self._find_permit(client, runtime)
        return permit.identity.forced if permit is not None and permit.identity is not None else None

    def refuse_mail(self, client: Client, runtime: RuntimeConfig, mail_from: Mailbox | None) -> Refusal | None:
        permit = self._find_permit(client, runtime)
        refusal = refuse_sender(permit, mail_from, client.login)
        if refusal is not None or permit is None:
            return refusal
        for account in _accounts(permit.name, permit.return_path(mail_from)):
            if self._sending_limits.is_suspended(account):
                return "suspended", REPLIES["suspended"].filled(name=account.partition(" ")[2])
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
        permit = self._find_permit(client, runtime)
        if permit is None:
            return "not-a-sender", REPLIES["not-a-sender"]
        fix_up = runtime.config.server.hostname if self._submission else ""
        departure = depart(arrival, message, permit, authentication, runtime.outgoing, routes, fix_up)
        if isinstance(departure, tuple):
            return departure
        account = f"sender {departure.sender}"
        if self._sending_limits.is_suspended(account):  # a tenant is known only now
            return "suspended", REPLIES["suspended"].filled(name=departure.sender)
        return replace(arrival, departure=departure)

    def note_taken(self, arrival: Arrival, runtime: RuntimeConfig) -> None:
        departure = arrival.departure
        if departure is None:
            return
        for account in _accounts(departure.sender, departure.mail_from):
            self._sending_limits.count(account, find_rates(account, runtime), len(arrival.envelope.rcpts))

    def note_refused(self, client: Client, runtime: RuntimeConfig, envelope: Envelope) -> None:
        permit = self._find_permit(client, runtime)
        if permit is not None and permit.name:
            for account in _accounts(permit.name, permit.return_path(envelope.mail_from)):
                for rcpt in envelope.rcpts:
                    self._sending_limits.fail(account, find_rates(account, runtime), rcpt.mailbox.key)

    def _find_permit(self, client: Client, runtime: RuntimeConfig) -> Permit | None:
        if self._submission and not client.login:
            return None
        connection = client.connection
        if connection.unknown:
            # A listed filter reports that it does not know its client: no other source knows it.
            return None
        return find_permit(runtime.outgoing.senders, client.login, connection.client, client.tls)


class Failures:
    """A sink: recipients of our senders' mail that a next hop refused permanently count for the sender and its
    domain."""

    def __init__(self, sending_limits: SendingLimits, runtime: Callable[[], RuntimeConfig]) -> None:
        self._sending_limits = sending_limits
        self._runtime = runtime

    def __call__(self, event: Event) -> None:
        fields = dict(event.fields) if event.name == "failed" else {}
        if fields.get("expired"):
            return
        for kind in ("sender", "domain"):
            if kind in fields:
                account = f"{kind} {fields[kind]}"
                self._sending_limits.fail(account, find_rates(account, self._runtime()), str(fields.get("rcpt", "")))


def find_rates(account: str, runtime: RuntimeConfig) -> Rates:
    """The limits of an account in an hour."""
    kind, _, name = account.partition(" ")
    config = runtime.config
    if kind == "domain":
        return config.outbound.domain_rates
    known = {one.name: one.rates for one in config.sender} | {one.name: one.rates for one in config.tenant}
    return known.get(name, Rates())


def _accounts(sender: str, mail_from: Mailbox | None) -> Iterator[str]:
    """The accounts that a message counts for."""
    if sender:
        yield f"sender {sender}"
    if mail_from is not None:
        yield f"domain {mail_from.ascii_domain}"
