"""The senders that may send through us, and the addresses that they may use. Trust comes from a login, an address, or a
tenant's proof, never from the message's own words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from hmac import compare_digest
from ipaddress import IPv4Network, IPv6Network, ip_address

from gateway.mail.author import read_mailboxes
from gateway.mail.domain import is_subdomain
from gateway.mail.header import Field, fields, find_fields, unfold
from gateway.mail.path import mailbox as parse_mailbox
from gateway.model.envelope import IPText, Mailbox
from gateway.model.ingress import Tls
from gateway.model.message import Span
from gateway.model.result import ArcVerdict, Authentication, DkimResult, DkimVerdict
from gateway.model.value import Value

TENANT_ID = "X-MS-Exchange-CrossTenant-Id"
"""The field in which Exchange Online names the tenant that a message is from."""


_MISLEADING = re.compile(r'[@<>,:;()\[\]"\\]')
"""Characters that separate addresses in a header field; a local part contains them only inside quotes."""


class Identity(Value):
    """A sender known before its first command: by its login or its address."""

    name: str
    owns: frozenset[str]
    """`Mailbox.key` of addresses, and whole domains in A-labels."""
    forced: Mailbox | None = None
    login: str = ""
    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    def may_use(self, mailbox: Mailbox) -> bool:
        """True when it owns the address, also with a sub-address (RFC 5233), or all of its domain. A local part that
        hasty readers would take for another address, as `"ceo@bank.example"@own.example`, must be listed itself."""
        if _MISLEADING.search(unicodedata.normalize("NFKC", mailbox.name)):
            return mailbox.key in self.owns
        base = mailbox.name.partition("+")[0]
        keys = {mailbox.key, f"{base}@{mailbox.ascii_domain}" if base else mailbox.key, mailbox.ascii_domain}
        return not self.owns.isdisjoint(keys)


class Tenant(Value):
    """Our account at a shared provider."""

    name: str
    domains: frozenset[str]
    networks: tuple[IPv4Network | IPv6Network, ...]
    certificates: tuple[str, ...] = ()
    backend: str = ""
    tenant_id: str = ""
    dkim: bool = False
    secret_header: str = ""
    secret: str = ""


class OwnershipProof(Value):
    """A message proven to be from a tenant of ours."""

    tenant: Tenant
    by: str
    """The proof, for the trace."""
    foreign: bool
    """Its From is not ours: forwarded or automatic mail, which we do not sign."""


class Senders(Value):
    """All senders that may send through us."""

    identities: tuple[Identity, ...] = ()
    tenants: tuple[Tenant, ...] = ()
    own: frozenset[str] = frozenset()
    """Our domains."""

    def by_login(self, login: str) -> Identity | None:
        """The owner of a login, in upper or lower case: a directory accepts both, and they must not be two senders. A
        login that is an address of ours, and is not listed, owns that address."""
        wanted = login.lower()
        listed = next((one for one in self.identities if one.login.lower() == wanted and wanted), None)
        address = parse_mailbox(login)
        if listed is not None or address is None or address.ascii_domain not in self.own:
            return listed
        return Identity(address.key, frozenset({address.key}), login=address.key)

    def by_address(self, client: IPText) -> Identity | None:
        """The owner of a machine: if several of its networks are listed, the narrowest decides."""
        address = ip_address(client)
        found = [(net.prefixlen, one) for one in self.identities for net in one.networks if address in net]
        return max(found, key=lambda pair: pair[0])[1] if found else None

    def tenants_at(self, client: IPText, tls: Tls | None) -> tuple[Tenant, ...]:
        """The tenants that a message from this client may belong to. The message must still prove one of them."""
        address = ip_address(client)
        names = _common_names(tls)
        return tuple(
            one
            for one in self.tenants
            if any(address in network for network in one.networks) or any(_names(one, name) for name in names)
        )


def prove_tenant(
    tenants: Collection[Tenant], header: Sequence[Field], authentication: Authentication, author: Collection[str]
) -> OwnershipProof | None:
    """The tenant that this message is proven to be from; None when it is from none of ours, or from two.

    The provider's network is not checked here again: `tenants` are those of `tenants_at`. `author` are the domains of
    From, all of them, or none when From could not be read whole.
    """
    found = [(one, by) for one in tenants if (by := _find_proof(one, header, authentication, author))]
    if len(found) != 1:
        return None
    tenant, by = found[0]
    if author and all(domain in tenant.domains for domain in author):
        return OwnershipProof(tenant, by, foreign=False)
    return OwnershipProof(tenant, by, foreign=True) if _vouched(authentication, author) else None


def secret_spans(tenants: Collection[Tenant], header: Sequence[Field]) -> tuple[Span, ...]:
    """The secret fields in the message: they never leave, whoever wrote them (SPEC promise P2)."""
    names = dict.fromkeys(one.secret_header for one in tenants if one.secret_header)
    found = [field for name in names for fields in find_fields(header, name) for field in fields]
    return tuple(Span(start, end) for start, end in sorted({(field.start, field.end) for field in found}))


def claims(header: Sequence[Field], name: str) -> tuple[Field, ...]:
    """All fields of that name, with the lines that only some software reads as one."""
    found, hidden = find_fields(header, name, within=True)
    return (*found, *hidden)


def find_authors(header: Sequence[Field], name: str = "from") -> tuple[Mailbox, ...] | None:
    """The addresses of From, or of the field `name`, when there is one such field with only one reading; else None."""
    found, hidden = find_fields(header, name, within=True)
    return read_mailboxes(found[0].value) if len(found) == 1 and not hidden else None


def find_claims(header: Sequence[Field], identity: Identity) -> dict[str, tuple[Mailbox, ...] | None]:
    """The authors and senders that the message names, by field. Its actual sender must own them all.

    Mail programs show Sender beside From: "on behalf of" (RFC 5322 section 3.6.2). A person who resends a message names
    himself in Resent-From above earlier such fields (section 3.6.6): the topmost of these fields is his. A device
    resends nothing: all of them are its own claims.
    """
    named = {"from": find_authors(header)}
    if claims(header, "sender"):
        named["sender"] = find_authors(header, "sender")
    for name in ("resent-from", "resent-sender"):
        found = sorted(claims(header, name), key=lambda field: field.start)
        read = [read_mailboxes(field.value) for field in (found if identity.forced else found[:1])]
        if read:
            named[name] = None if None in read else tuple(one for some in read for one in some or ())
    return named


def _find_proof(
    tenant: Tenant, header: Sequence[Field], authentication: Authentication, author: Collection[str]
) -> str:
    """The proof that the message is this tenant's; empty when there is none."""
    if tenant.tenant_id:
        stamps = [unfold(field.value).lower() for field in fields(header, TENANT_ID)]
        # Another tenant can write our id into its mail, but the provider then adds its own beside it.
        if stamps == [tenant.tenant_id.lower()]:
            return TENANT_ID
    if tenant.secret_header:
        secrets = [unfold(field.value) for field in fields(header, tenant.secret_header)]
        if len(secrets) == 1 and compare_digest(secrets[0].encode("utf-8", "replace"), tenant.secret.encode()):
            return f"secret in {tenant.secret_header}"
    if tenant.dkim and author and all(domain in tenant.domains for domain in author):
        signers = [one.domain for one in authentication.dkim if _signs(one, author) and one.domain in tenant.domains]
        if signers:
            return f"DKIM signature of {signers[0]}"
    return ""


def _signs(signature: DkimResult, author: Collection[str]) -> bool:
    """A passing signature in the name of each author's domain, or of one above it."""
    passed = signature.result is DkimVerdict.PASS
    return passed and all(is_subdomain(domain, signature.domain) for domain in author)


def _vouched(authentication: Authentication, author: Collection[str]) -> bool:
    """Mail that is passed on unchanged proves its origin by its own signature, or by a chain of seals."""
    signed = bool(author) and any(_signs(one, author) for one in authentication.dkim)
    return signed or authentication.arc.result is ArcVerdict.PASS


def _common_names(tls: Tls | None) -> list[str]:
    parts = tls.peer_subject.split(",") if tls else []
    return [part.removeprefix("commonName=").lower() for part in parts if part.startswith("commonName=")]


def _names(tenant: Tenant, common_name: str) -> bool:
    """RFC 6125 section 6.4.3: a wildcard stands for one label."""
    _, _, rest = common_name.partition(".")
    return any(common_name == name or (name.startswith("*.") and rest == name[2:]) for name in tenant.certificates)
