"""Results of the authentication checks. The words are those of RFC 8601 section 2.7."""

from __future__ import annotations

from enum import StrEnum

from gateway.model.value import Value


class SpfVerdict(StrEnum):
    """RFC 7208 section 2.6."""

    NONE = "none"
    NEUTRAL = "neutral"
    PASS = "pass"
    FAIL = "fail"
    SOFTFAIL = "softfail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


class SpfIdentity(StrEnum):
    """The identity that was checked (RFC 7208 section 2.3 and 2.4)."""

    MAILFROM = "mailfrom"
    HELO = "helo"


class SpfResult(Value):
    """SPF for one identity at the true ingress address."""

    result: SpfVerdict
    domain: str
    """The domain checked, as lower-case A-labels; empty when there was none to check."""
    identity: SpfIdentity
    reason: str = ""
    mechanism: str = ""
    """The mechanism that decided, e.g. `ip4:192.0.2.0/24` or `-all`."""
    sends_no_mail: bool = False
    """The record is exactly `v=spf1 -all`: the domain declares that it sends no mail."""


class DkimVerdict(StrEnum):
    """RFC 8601 section 2.7.1, for one signature."""

    PASS = "pass"
    FAIL = "fail"
    POLICY = "policy"
    NEUTRAL = "neutral"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


NO_KEY, REVOKED = "no key for signature", "key is revoked"
"""Reasons of a signature whose key DNS does not have, or has no more."""


class DkimResult(Value):
    """The result for one DKIM-Signature field."""

    result: DkimVerdict
    domain: str
    """d= as lower-case A-labels; empty when it could not be read."""
    selector: str
    algorithm: str
    """a= as written, e.g. `rsa-sha256`."""
    reason: str = ""
    identity: str = ""
    """i=, or `@d` when absent."""
    signature: str = ""
    """The first characters of b=, for header.b (RFC 6008)."""
    signed_fields: tuple[str, ...] = ()
    """h= in order, lower case."""
    header_holds: bool = False
    """Only the body fails: the signer did sign this header. Older traces lack this field, so comparing two results
    ignores it."""

    @property
    def key_name(self) -> str:
        """The DNS name of its key (RFC 6376 section 3.6.2.1)."""
        return f"{self.selector}._domainkey.{self.domain}".lower()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DkimResult) and self._compared() == other._compared()

    def __hash__(self) -> int:
        return hash(self._compared())

    def _compared(self) -> tuple[object, ...]:
        return (
            *(self.result, self.domain, self.selector, self.algorithm),
            *(self.reason, self.identity, self.signature, self.signed_fields),
        )


class ArcVerdict(StrEnum):
    """RFC 8617 section 4.4."""

    NONE = "none"
    PASS = "pass"
    FAIL = "fail"


class ArcResult(Value):
    """The ARC chain."""

    result: ArcVerdict
    oldest_pass: int = 0
    """Lowest instance whose message signature still passes; 0 when all do (RFC 8617 section 5.2)."""
    sealers: tuple[str, ...] = ()
    """d= of the seals, oldest first."""
    reason: str = ""


class DmarcVerdict(StrEnum):
    """RFC 9989 section 9.1."""

    NONE = "none"
    PASS = "pass"
    FAIL = "fail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


class DmarcPolicy(StrEnum):
    """The p, sp and np tags; also a disposition's words (RFC 9989 section 4.7)."""

    NONE = "none"
    QUARANTINE = "quarantine"
    REJECT = "reject"


class DmarcResult(Value):
    """DMARC for the Author Domain."""

    result: DmarcVerdict
    domain: str
    """The Author Domain (RFC5322.From) as A-labels; empty when there is none."""
    policy_domain: str = ""
    """The name at which the record was found."""
    organizational_domain: str = ""
    published: DmarcPolicy | None = None
    """p as published."""
    policy: DmarcPolicy | None = None
    """The policy that applies, after sp, np and t."""
    spf_aligned: bool = False
    """SPF passed and is aligned."""
    dkim_aligned: tuple[bool, ...] = ()
    """For each DKIM result: it passed and is aligned."""
    record: str = ""
    testing: bool = False
    """t=y (or pct=0 without t)."""
    reason: str = ""

    @property
    def authenticated(self) -> bool:
        """The domain stands behind the message: a pass, or a temperror only because the record could not be fetched."""
        aligned = self.spf_aligned or any(self.dkim_aligned)
        return self.result is DmarcVerdict.PASS or (self.result is DmarcVerdict.TEMPERROR and aligned)


class IprevVerdict(StrEnum):
    """RFC 8601 section 2.7.3; `none` where it was not checked."""

    NONE = "none"
    PASS = "pass"
    FAIL = "fail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


class IprevResult(Value):
    """The client's name in reverse DNS."""

    result: IprevVerdict = IprevVerdict.NONE
    name: str = ""
    """The name that leads back to the address; empty when there is none."""
    reason: str = ""


class DnsblResult(Value):
    """The answers of DNS block lists about the client. Lists are named by their zones."""

    asked: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    """Lists without an answer, or whose answer is not a listing: they prove nothing either way."""
    codes: tuple[tuple[str, ...], ...] = ()
    """For each list in `asked` the networks of answers that counted; empty means all. Older traces lack this field, so
    comparing two results ignores it."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DnsblResult) and self._compared() == other._compared()

    def __hash__(self) -> int:
        return hash(self._compared())

    def _compared(self) -> tuple[tuple[str, ...], ...]:
        return self.asked, self.listed, self.errors


class DomainState(StrEnum):
    """The state in DNS of a domain in an address."""

    UNKNOWN = "unknown"
    """Not asked, because an identity authenticated the message; or not answered."""
    EXISTS = "exists"
    MISSING = "missing"
    """The name does not exist."""
    NO_MAIL = "no-mail"
    """It has neither an MX nor an address record: no answer could be delivered to it."""
    NULL_MX = "null-mx"
    """Its null MX says that it takes no mail (RFC 7505)."""
    LOCAL = "local"
    """A local name of some network, such as `localhost.localdomain`, or a name of one label."""


class NamedDomains(Value):
    """The states in DNS of the domains that a message names, asked only when no identity authenticated it."""

    envelope: DomainState = DomainState.UNKNOWN
    author: DomainState = DomainState.UNKNOWN
    author_silent: bool = False
    """The Author Domain's SPF record is exactly `v=spf1 -all`, or its MX is null."""
    author_spf: SpfVerdict | None = None
    """For an unproven author of ours: the SPF result of its domain for the client; None when not asked."""


class Authentication(Value):
    """All results for one message."""

    spf: SpfResult
    spf_helo: SpfResult
    dkim: tuple[DkimResult, ...]
    arc: ArcResult
    dmarc: DmarcResult
    iprev: IprevResult = IprevResult()
    dnsbl: DnsblResult = DnsblResult()
    named: NamedDomains = NamedDomains()
