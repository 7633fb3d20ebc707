"""Mail that leaves through us: whether its sender may send it, and what stands above it."""

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
    """What mail that leaves needs of the runtime configuration."""

    senders: Senders
    keys: tuple[SigningKey, ...]
    """Those that sign."""
    route: str
    """The backend that takes mail for domains that are not ours."""


NOBODY = Outgoing(Senders(), (), "")


class Permit(Value):
    """On what a client may begin: it is a sender, or could turn out to be one."""

    identity: Identity | None = None
    tenants: tuple[Tenant, ...] = ()
    """One of which its message must prove to be from, when there is no identity."""

    @property
    def name(self) -> str:
        """Whom limits count; empty as long as it is not proven."""
        return self.identity.name if self.identity else ""

    def return_path(self, mail_from: Mailbox | None) -> Mailbox | None:
        """MAIL FROM as it leaves: the forced sender in place of one that is not its own."""
        if mail_from is None or self.identity is None or self.identity.may_use(mail_from):
            return mail_from
        return self.identity.forced


def find_permit(senders: Senders, login: str, client: IPText, tls: Tls | None) -> Permit | None:
    """Who a client may be; None when it is nobody of ours. A login counts for itself alone."""
    if login:
        identity = senders.by_login(login)
        return Permit(identity) if identity else None
    identity = senders.by_address(client)
    if identity is not None:
        return Permit(identity)
    tenants = senders.tenants_at(client, tls)
    return Permit(tenants=tenants) if tenants else None


def refuse_sender(permit: Permit | None, mail_from: Mailbox | None, login: str) -> Refusal | None:
    """What MAIL is refused for; None when it may go on. RFC 6409 section 6.1: a submission server may refuse a return
    path that its client is not entitled to."""
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
    """Whether a judged message may leave. What a mail program forgot is added under the name of the host `fix_up`, on
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
    """Notifications and forwarded mail of a proven tenant may have a From that is not ours: they leave as they are."""
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
    # What has no sender is made by a machine about mail of strangers, whose words it repeats: we vouch for none of it.
    vouched = not proof.foreign and mail_from is not None
    above = _sign(arrival, message, dropped, (), authors or (), outgoing.keys) if vouched else ()
    return Departure(proof.tenant.name, f"tenant {proof.tenant.name}, {proof.by}", mail_from, above, dropped)


def _refuse_author(authors: Sequence[Mailbox] | None) -> Refusal:
    if authors is None:
        return "no-author", REPLIES["no-author"]
    said = ", ".join(str(author) for author in authors)
    return "author-not-owned", REPLIES["author-not-owned"].filled(address=said)


def _compose_missing(arrival: Arrival, hostname: str) -> tuple[bytes, ...]:
    """RFC 6409 sections 8.2 and 8.3: Date and Message-ID, where there is none."""
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
