"""The sections about how a message is judged, and marked for those behind us."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gateway.config.values import Count, DomainName, DomainNames, File, Networks, Seconds, Section, check_form, wrong

_Hour = Annotated[int, Field(ge=0, le=23)]


class Holding(Section):
    """What the action `hold` may keep, how long, and who hears of it."""

    expire: Seconds = 2_592_000.0
    """Seconds after which a held message is given up: 30 days."""
    domain_messages: Count = 200
    """How many may be held of one author domain; what comes then is told to come back (452 4.7.28)."""
    domain_octets: Count = 52_428_800
    messages: Count = 5_000
    """How many may be held in all."""
    octets: Count = 1_073_741_824
    digest: bool = True
    """Send a daily list of what is held to `digest_to`, when anything is."""
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
    """In traces and reports."""
    dkim: DomainNames = ()
    """d= of the signatures that it puts on. Either proof is enough."""
    networks: Networks = ()
    """Where it sends from; never what a provider's tenants share."""

    @model_validator(mode="after")
    def _check_proof(self) -> Self:
        if not self.dkim and not self.networks:
            raise wrong(f'nothing proves that mail is from "{self.name}"', "write dkim, networks, or both")
        return self


class NamedSender(Forwarder):
    """A service that writes as one of our domains without that domain's own authentication."""

    domains: DomainNames = ()
    """As which domains it may write; all of ours and the protected ones when empty."""


class Policy(Section):
    """How we judge."""

    set: str = "enforce"
    shadow: str = ""
    """Another set, which is asked beside it and decides nothing: what it would do is in traces, logs and metrics."""
    directory: File | None = None
    """Rule files of the admin's own; the shipped ones when empty."""
    firewall: Literal["published", "reject", "quarantine"] = "published"
    """What happens to unauthenticated mail of our own domains; `published`: reject where the domain publishes p=reject,
    else quarantine."""
    protected_domains: DomainNames = ()
    enforce_for: DomainNames = ()
    """Author domains whose DMARC failures are treated as under p=reject, though they publish p=none: those that are
    known to sign all they send, such as mailbox providers."""
    help: Annotated[
        str, check_form(r"[!-~]{0,120}", "write one address or URL: at most 120 ASCII characters, without spaces")
    ] = ""
    """Where a refused sender finds a person: an address, better a URL. It stands at the end of each refusal."""
    sender: tuple[NamedSender, ...] = ()
    """Who passes that firewall."""
    forwarder: tuple[Forwarder, ...] = ()
    listed: Literal["ignore", "quarantine", "reject"] = "ignore"
    """What happens to mail of a client that a [[dnsbl]] lists."""
    networks: dict[str, Networks] = Field(default_factory=dict)
    """Networks with names, for the admin's own rules: the fact `ingress.networks`."""
    fcrdns: bool = False
    """Look the client's name up in reverse DNS and confirm it forward: a fact, and the name that Received shows."""
    trusted_sealers: DomainNames = ()
    """d= of ARC sealers whose word counts when they say that a message passed DMARC with them."""


class GreylistSettings(Section):
    """Whether senders that are new here are told to come back once (RFC 6647)."""

    enabled: bool = False
    delay: Seconds = 300.0
    """Between the first try and the one that is let in."""
    retry: Seconds = 172_800.0
    """For which a first try is remembered."""
    keep: Seconds = 3_024_000.0
    """For which who was let in is remembered, from its last message on: 35 days."""

    @model_validator(mode="after")
    def _check_times(self) -> Self:
        if self.retry <= self.delay:
            said = f"retry ({self.retry:g}) is not longer than delay ({self.delay:g}), so nobody would be let in"
            raise wrong(said, "write a longer retry, or a shorter delay")
        return self


class SealSettings(Section):
    """Who we are in ARC seals (RFC 8617)."""

    domain: DomainName
    """d=: our own domain, where the public key stands at `selector._domainkey`."""
    selector: DomainName
    key: File
    """PEM file, not encrypted: RSA, 2048 to 4096 bits."""


class Dnsbl(Section):
    """A DNS block list. What it says is a fact for rules; shipped ones act on it as policy.listed says."""

    zone: DomainName
    codes: Networks = ()
    """Answers that count as a listing, e.g. `127.0.0.2` or `127.0.0.8/30`; empty: every code of the list."""

    @model_validator(mode="after")
    def _check_codes(self) -> Self:
        for code in self.codes:
            if not isinstance(code, IPv4Network) or not code.subnet_of(IPv4Network("127.0.0.0/8")):
                raise wrong(f"{code} is no answer of a block list", "write codes from 127.0.0.0/8")
        return self
