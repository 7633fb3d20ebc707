"""The sections about mail that leaves through us: its senders, their addresses, and its route."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, model_validator

from gateway.config.values import CertificateNames, Count, DomainNames, File, Networks, Section, check_form, wrong
from gateway.mail.domain import a_label
from gateway.mail.path import mailbox


def _check_identity(value: str) -> str:
    """An address, or a whole domain; as `Mailbox.key` or in A-labels."""
    found = mailbox(value)
    if found is not None and found.domain:
        return found.key
    label = a_label(value)
    if label is None or "." not in label:
        raise wrong(f'"{value}" is neither an address nor a domain', 'write "alice@example.com" or "example.com"')
    return label


def _check_address(value: str) -> str:
    found = mailbox(value)
    if found is None or not found.domain or not value.isascii():
        raise wrong(f'"{value}" is no mail address', 'write it as "scanner@example.com"')
    return value


Identities = Annotated[
    tuple[Annotated[str, AfterValidator(_check_identity)], ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
]


class Rates(Section):
    """Limits of one sender, or one domain of ours, in an hour, beyond which it is suspended."""

    messages: Count = 500
    recipients: Count = 2000
    failures: Count = 100
    """Distinct recipients that were refused permanently."""


class SenderSettings(Section):
    """A sender that may send through us: a person who logs in, or machines by their addresses."""

    name: Annotated[str, check_form(r"[A-Za-z0-9._@-]{1,64}", "write at most 64 letters, digits, dots, -, _ and @")]
    """Used in logs, traces and commands."""
    login: str = ""
    """The name of the login, for listeners of role `submission`."""
    networks: Networks = ()
    """The machines' addresses, for listeners of role `smarthost`."""
    owns: Identities
    """Addresses and domains that it may use in From and MAIL FROM."""
    forced: Annotated[str, AfterValidator(_check_address)] | None = None
    """For devices that cannot be configured: an address that replaces a From or MAIL FROM that is not theirs."""
    rates: Rates = Rates()

    @model_validator(mode="after")
    def _check_who(self) -> Self:
        if bool(self.login) == bool(self.networks):
            raise wrong("is known by neither or both of login and networks", "set login, or networks")
        return self


class TenantSettings(Section):
    """Our account at a provider whose machines send for everybody: its proof needs more than the client's address."""

    name: Annotated[str, check_form(r"[A-Za-z0-9._-]{1,64}", "write at most 64 letters, digits, dots, - and _")]
    provider: Literal["microsoft-365", "google-workspace"]
    domains: DomainNames
    """The own domains that it writes for: in From, and in MAIL FROM unless that is null."""
    backend: str = ""
    """The backend that is the same account: the tenant's mail is never sent back there."""
    tenant_id: Annotated[
        str,
        check_form(
            r"([0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})?",
            'write the directory id, as "01234567-89ab-cdef-0123-456789abcdef"',
        ),
    ] = ""
    """Microsoft's directory id of ours, which it adds as X-MS-Exchange-CrossTenant-Id."""
    dkim: bool = False
    """A passing signature of the From domain, which is ours, proves the tenant."""
    secret_header: Annotated[
        str,
        check_form(
            r"([A-Za-z][A-Za-z0-9-]{2,60})?",
            "write the name of a field: 3 to 61 letters, digits and hyphens, and a letter first",
        ),
    ] = ""
    """A field that the tenant is configured to add; it is removed before the message leaves."""
    secret: str = ""
    """Its value, best as `env:NAME` or `file:/path`."""
    networks: Networks = ()
    """The networks of its mail; the provider's known networks when empty."""
    certificates: CertificateNames = ()
    """Names of client certificates that the provider uses; they count as its network. Empty: none."""
    rates: Rates = Rates(messages=10_000, recipients=50_000, failures=2000)

    @model_validator(mode="after")
    def _check_proof(self) -> Self:
        if self.tenant_id and self.provider != "microsoft-365":
            raise wrong("tenant_id is Microsoft's", "prove a Google tenant by dkim = true or by a secret header")
        if bool(self.secret_header) != bool(self.secret):
            raise wrong("secret_header and secret go together", "set both, or neither")
        if self.secret and len(self.secret) < _SHORTEST_SECRET:
            raise wrong("secret is short enough to be guessed", f"use {_SHORTEST_SECRET} characters or more")
        if not (self.tenant_id or self.dkim or self.secret_header):
            raise wrong(
                "nothing proves this tenant: every customer of the provider sends from its networks and shows its "
                "certificate, so by these alone we would relay for all of them",
                "set tenant_id, dkim = true, or secret_header and secret",
            )
        return self


_SHORTEST_SECRET = 16


class Outbound(Section):
    """The route of outgoing mail, and its signatures."""

    route: str = "direct"
    """`direct`: to the MX of each recipient's domain; or the name of a backend: the next smarthost."""
    keyring: File | None = None
    """Directory of the DKIM keys that `waypost key` keeps; nothing is signed without one."""
    domain_rates: Rates = Rates(messages=5000, recipients=20_000, failures=1000)
    """Limits of all senders of one domain together in an hour."""
