"""Mail that leaves through us: whether its sender may send it, and the fields put above it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gateway.authentication.signing import SigningKey, find_keys, sign
from gateway.mail.author import find_author
from gateway.mail.header import find_fields
from gateway.mail.received import format_date
from gateway.model.envelope import IPText, Mailbox
from gateway.model.ingress import Tls
from gateway.model.message import Departure, Message, Route, Span
from gateway.model.reply import REPLIES
from gateway.model.result import Authentication
from gateway.model.value import Value
from gateway.plan.admission import Refusal
from gateway.plan.intake import Arrival
from gateway.policy.sender import Identity, Senders, Tenant, find_authors, find_claims, prove_tenant, secret_spans


class Outgoing(Value):
    """The part of the runtime configuration that mail on its way out needs."""

    senders: Senders
    keys: tuple[SigningKey, ...]
    """The signing keys."""
    route: str
    """The backend that takes mail for domains that are not ours."""


NOBODY = Outgoing(Senders(), (), "")


class Permit(Value):
    """A client's permission to begin: it is a sender, or may prove to be one."""

    identity: Identity | None = None
    tenants: tuple[Tenant, ...] = ()
    """The tenants to one of which the message must prove to belong, when there is no identity."""

    @property
    def name(self) -> str:
        """The sender's name for the limits; empty until it is proven."""
        return self.identity.name if self.identity else ""

    def return_path(self, mail_from: Mailbox | None) -> Mailbox | None:
        """MAIL FROM on departure: the forced sender replaces one that the client does not own."""
        if mail_from is None or self.identity is None or self.identity.may_use(mail_from):
            return mail_from
        return self.identity.forced


def find_permit(senders: Senders, login: str, client: IPText, tls: Tls | None) -> Permit | None:
    """The permission of a client; None when it is not a sender of ours. A login counts by itself."""
    if login:
        identity = senders.by_login(login)
        return Permit(identity) if identity else None
    identity = senders.by_address(client)
    if identity is not None:
        return Permit(identity)
    tenants = senders.tenants_at(client, tls)
    return Permit(tenants=tenants) if tenants else None


def refuse_sender(permit: Permit | None, mail_from: Mailbox | None, login: str) -> Refusal | None:
    """The refusal of MAIL; None when it may go on. RFC 6409 section 6.1: a submission server may refuse a return path
    that its client is not entitled to."""
    if permit is None:
        name = "login-owns-nothing" if login else "not-a-sender"
        return name, REPLIES[name]
    if mail_from is None:
        return None
    identity = permit.identity
    if identity is None:
        owned = any(mail_from.ascii_domain in tenant.domains for tenant in permit.tenants)
    else:
        owned = identity.may_use(mail_from) or identity.forced is not None
    return None if owned else ("sender-not-owned", REPLIES["sender-not-owned"].filled(address=str(mail_from)))


def depart(
    arrival: Arrival,
    message: Message,
    permit: Permit,
    authentication: Authentication,
    outgoing: Outgoing,
    routes: Sequence[Route],
    fix_up: str = "",
) -> Departure | Refusal:
    """The departure of a judged message, or its refusal. Missing fields are added under the host name `fix_up`, on
    submission only (RFC 6409 section 8); it is empty elsewhere."""
    if permit.identity is None:
        return _depart_from_tenant(arrival, message, permit.tenants, authentication, outgoing, routes)
    identity = permit.identity
    claims = find_claims(arrival.header, identity)
    authors = claims["from"]
    foreign = [name for name, found in claims.items() if found is None or not all(map(identity.may_use, found))]
    if foreign and identity.forced is None:
        return _refuse_author(claims[foreign[0]])
    replaced = [field for name in foreign for found in find_fields(arrival.header, name) for field in found]
    left = tuple(Span(field.start, field.end) for field in replaced)
    dropped = (*left, *secret_spans(outgoing.senders.tenants, arrival.header))
    above = _compose_missing(arrival, fix_up) if fix_up else ()
    if "from" in foreign and identity.forced is not None:
        authors = (identity.forced,)
        above = (f"From: <{identity.forced}>\r\n".encode(), *above)
    mail_from = permit.return_path(arrival.envelope.mail_from)
    above = _sign(arrival, message, dropped, above, authors or (), outgoing.keys)
    return Departure(identity.name, f"sender {identity.name}", mail_from, above, dropped)


def _depart_from_tenant(
    arrival: Arrival,
    message: Message,
    tenants: Sequence[Tenant],
    authentication: Authentication,
    outgoing: Outgoing,
    routes: Sequence[Route],
) -> Departure | Refusal:
    """Notifications and forwarded mail of a proven tenant may have a From that is not ours: they leave unchanged."""
    author = find_author(arrival.header)
    proof = prove_tenant(tenants, arrival.header, authentication, () if author.reason else author.domains)
    mail_from = arrival.envelope.mail_from
    if proof is None:
        return "tenant-not-proven", REPLIES["tenant-not-proven"]
    if mail_from is not None and mail_from.ascii_domain not in proof.tenant.domains:
        return "sender-not-owned", REPLIES["sender-not-owned"].filled(address=str(mail_from))
    if any(route.backend == proof.tenant.backend for route in routes):
        return "loop-to-origin", REPLIES["loop-to-origin"]
    authors = find_authors(arrival.header)
    if authors is None and not proof.foreign:
        return _refuse_author(None)
    dropped = secret_spans(outgoing.senders.tenants, arrival.header)
    # A message with a null sender is made by a machine and repeats words of strangers, so we do not vouch for it.
    vouched = not proof.foreign and mail_from is not None
    above = _sign(arrival, message, dropped, (), authors or (), outgoing.keys) if vouched else ()
    return Departure(proof.tenant.name, f"tenant {proof.tenant.name}, {proof.by}", mail_from, above, dropped)


def _refuse_author(authors: Sequence[Mailbox] | None) -> Refusal:
    if authors is None:
        return "no-author", REPLIES["no-author"]
    said = ", ".join(str(author) for author in authors)
    return "author-not-owned", REPLIES["author-not-owned"].filled(address=said)


def _compose_missing(arrival: Arrival, hostname: str) -> tuple[bytes, ...]:
    """Date and Message-ID, if they are missing (RFC 6409 sections 8.2 and 8.3)."""
    there = {field.lower for field in arrival.header}
    date, id = format_date(arrival.received), f"<{arrival.id}@{hostname}>"
    made = (("date", f"Date: {date}\r\n"), ("message-id", f"Message-ID: {id}\r\n"))
    return tuple(field.encode() for name, field in made if name not in there)


def _sign(
    arrival: Arrival,
    message: Message,
    dropped: Sequence[Span],
    above: tuple[bytes, ...],
    authors: Sequence[Mailbox],
    keys: Collection[SigningKey],
) -> tuple[bytes, ...]:
    """`above` with the signatures of the first author's domain on top."""
    chosen = find_keys(keys, authors[0].ascii_domain) if authors else ()
    if not chosen:
        return above
    return (*sign(message.evidence, dropped, b"".join(above), chosen, arrival.received), *above)
