"""The sections about judging a message, and about marking it for backends."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gateway.config.values import Count, DomainName, DomainNames, File, Networks, Seconds, Section, check_form, wrong

_Hour = Annotated[int, Field(ge=0, le=23)]


class Holding(Section):
    """The limits of the action `hold`, and the recipient of its daily list."""

    expire: Seconds = 2_592_000.0
    """Seconds after which a held message expires: 30 days."""
    domain_messages: Count = 200
    """Maximum of held messages of one author domain; further ones are deferred (452 4.7.28)."""
    domain_octets: Count = 52_428_800
    messages: Count = 5_000
    """Maximum of held messages in all."""
    octets: Count = 1_073_741_824
    digest: bool = True
    """Send a daily list of held messages to `digest_to`, if there are any."""
    digest_to: Annotated[str, check_form(r"([^@\s]+@[^@\s]+)?", 'write one address, as "admin@example.com"')] = ""
    """postmaster of the first domain when empty."""
    digest_hour: _Hour = 6
    """UTC."""


_Name = Annotated[
    str,
    check_form(
        r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
        "write at most 64 letters, digits, dots, - and _, and a letter or a digit first",
    ),
]


class Forwarder(Section):
    """A service that passes others' mail on to us, so that it fails DMARC here."""

    name: _Name
    """Used in traces and reports."""
    dkim: DomainNames = ()
    """d= of its signatures. One proof is enough."""
    networks: Networks = ()
    """The networks that it sends from; never those that a provider's tenants share."""

    @model_validator(mode="after")
    def _check_proof(self) -> Self:
        if not self.dkim and not self.networks:
            raise wrong(f'nothing proves that mail is from "{self.name}"', "write dkim, networks, or both")
        return self


class NamedSender(Forwarder):
    """A service that writes as one of our domains without that domain's own authentication."""

    domains: DomainNames = ()
    """The domains that it may write as; all own and protected ones when empty."""


class Policy(Section):
    """The judgement of messages."""

    set: str = "enforce"
    shadow: str = ""
    """Another set, asked beside this one. It decides nothing; its decisions are in traces, logs and metrics."""
    directory: File | None = None
    """Rule files of the admin's own; the shipped ones when empty."""
    firewall: Literal["published", "reject", "quarantine"] = "published"
    """The action on unauthenticated mail of our own domains; `published`: reject if the domain publishes p=reject, else
    quarantine."""
    protected_domains: DomainNames = ()
    enforce_for: DomainNames = ()
    """Author domains whose DMARC failures are treated as under p=reject, though they publish p=none: domains that are
    known to sign all their mail, such as mailbox providers."""
    help: Annotated[
        str, check_form(r"[!-~]{0,120}", "write one address or URL: at most 120 ASCII characters, without spaces")
    ] = ""
    """The source of help for a refused sender: an address, better a URL. It stands at the end of each refusal."""
    sender: tuple[NamedSender, ...] = ()
    """The services that pass that firewall."""
    forwarder: tuple[Forwarder, ...] = ()
    listed: Literal["ignore", "quarantine", "reject"] = "ignore"
    """The action on mail of a client that a [[dnsbl]] lists."""
    networks: dict[str, Networks] = Field(default_factory=dict)
    """Networks with names, for the admin's own rules: the fact `ingress.networks`."""
    fcrdns: bool = False
    """Look the client's name up in reverse DNS and confirm it forward: a fact, and the name that Received shows."""
    trusted_sealers: DomainNames = ()
    """d= of ARC sealers that are trusted when they report that a message passed DMARC with them."""


class GreylistSettings(Section):
    """Whether new senders are told once to come back (RFC 6647)."""

    enabled: bool = False
    delay: Seconds = 300.0
    """Seconds between the first try and acceptance."""
    retry: Seconds = 172_800.0
    """Seconds for which a first try is remembered."""
    keep: Seconds = 3_024_000.0
    """Seconds for which an accepted sender is remembered, from its last message on: 35 days."""

    @model_validator(mode="after")
    def _check_times(self) -> Self:
        if self.retry <= self.delay:
            said = f"retry ({self.retry:g}) is not longer than delay ({self.delay:g}), so nobody would be let in"
            raise wrong(said, "write a longer retry, or a shorter delay")
        return self


class SealSettings(Section):
    """Our identity in ARC seals (RFC 8617)."""

    domain: DomainName
    """d=: our own domain, which has the public key at `selector._domainkey`."""
    selector: DomainName
    key: File
    """PEM file, not encrypted: RSA, 2048 to 4096 bits."""


class Dnsbl(Section):
    """A DNS block list. Its answer is a fact for rules; shipped rules act on it according to policy.listed."""

    zone: DomainName
    codes: Networks = ()
    """Answers that count as a listing, e.g. `127.0.0.2` or `127.0.0.8/30`; empty: every code of the list."""

    @model_validator(mode="after")
    def _check_codes(self) -> Self:
        for code in self.codes:
            if not isinstance(code, IPv4Network) or not code.subnet_of(IPv4Network("127.0.0.0/8")):
                raise wrong(f"{code} is no answer of a block list", "write codes from 127.0.0.0/8")
        return self
