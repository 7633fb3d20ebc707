"""A source in an aggregate report: the result of each check, its meaning, and the remedy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from gateway.diagnosis.hops import is_internal, organisation
from gateway.diagnosis.reports import texts
from gateway.diagnosis.reports.aggregate import AggregateReport, AuthResult, Row
from gateway.mail.domain import is_subdomain
from gateway.model.envelope import IPText, ip_text

_FORWARDED = ("forwarded", "trusted_forwarder", "mailing_list")
_UNUSABLE = ("permerror", "temperror", "neutral", "policy", "unknown")
_PROVIDERS: dict[str, tuple[IPv4Network | IPv6Network, ...]] = {
    # from the records of spf.protection.outlook.com and _spf.google.com, read on 2026-11-30
    "Exchange Online": tuple(
        ip_network(network)
        for network in (
            *("40.92.0.0/15", "40.107.0.0/16", "52.100.0.0/15", "52.102.0.0/16", "52.103.0.0/17", "104.47.0.0/17"),
            *("2a01:111:f400::/48", "2a01:111:f403::/49"),
        )
    ),
    "Google": tuple(
        ip_network(network)
        for network in (
            *("35.190.247.0/24", "64.233.160.0/19", "66.102.0.0/20", "66.249.80.0/20", "72.14.192.0/18"),
            *("74.125.0.0/16", "108.177.8.0/21", "173.194.0.0/16", "209.85.128.0/17", "216.58.192.0/19"),
            *("2001:4860:4000::/36", "2a00:1450:4000::/36"),
        )
    ),
}


def judge_check(aligned: str, results: Sequence[AuthResult], author: str, tag: str, policy: dict[str, str]) -> str:
    """The result of DKIM or SPF for a row, in words. `tag`: the policy's `adkim` or `aspf`."""
    if aligned == "pass":
        return texts.ALIGNED
    passed = [one.domain for one in results if one.result == "pass"]
    if not passed:
        return aligned or "?"
    if author in passed:
        return texts.SAME_DOMAIN
    if any(_same(author, domain) for domain in passed):
        if policy.get(tag, "").lower() == "s":
            return texts.STRICT.format(tag=tag)
        return texts.SAME_ORGANISATION
    return texts.OTHER_DOMAIN


def _same(one: str, other: str) -> bool:
    """Two domains that seem to belong to one organisation."""
    return bool(one and other) and (is_subdomain(one, other) or is_subdomain(other, one) or _share(one, other))


def _share(one: str, other: str) -> bool:
    return organisation(one) != "" and organisation(one) == organisation(other)


def advise_source(row: Row, report: AggregateReport) -> tuple[str, ...]:
    """The meaning of the row and the remedies, in order; empty when there is no fault."""
    return tuple(_advise(row, row.header_from or report.domain, dict(report.policy)))


def _advise(row: Row, author: str, policy: dict[str, str]) -> Iterator[str]:
    address = row.source or "the source"
    if row.passes:
        if row.dkim != "pass" and not any(_same(author, one.domain) for one in row.dkim_results):
            yield texts.SPF_ONLY.format(author=author)
        return
    known = _address(row.source)
    if known is not None and is_internal(known):
        yield texts.PRIVATE.format(address=address)
        return
    provider = _provider(known)
    if provider:
        yield texts.HOSTED.format(address=address, provider=provider)
    if any(type in _FORWARDED for type, _ in row.reasons):
        yield texts.MAILING_LIST
    else:
        yield _explain(row, author, address, policy)


def _explain(row: Row, author: str, address: str, policy: dict[str, str]) -> str:
    """The one most helpful sentence."""
    for tag, results in (("adkim", row.dkim_results), ("aspf", row.spf_results)):
        own = [one for one in results if one.result == "pass" and _same(author, one.domain)]
        if own and policy.get(tag, "").lower() == "s" and all(one.domain != author for one in own):
            return texts.STRICT_ADVICE.format(tag=tag, author=author)
        if own:
            return texts.REPORTERS_FAULT.format(author=author)
    signed = [one for one in row.dkim_results if _same(author, one.domain)]
    if signed and signed[0].result in _UNUSABLE and "body hash" not in signed[0].note.lower():
        return texts.KEY_TROUBLE.format(domain=signed[0].domain, selector=signed[0].selector or "SELECTOR")
    if signed and signed[0].result not in ("", "none"):
        return texts.BROKEN_SIGNATURE.format(domain=signed[0].domain, address=address)
    signer = next((one.domain for one in row.dkim_results if one.result == "pass" and one.domain), "")
    if signer.endswith(".gappssmtp.com"):
        return texts.GOOGLE_DEFAULT.format(author=author)
    if signer.endswith(".onmicrosoft.com"):
        return texts.MICROSOFT_DEFAULT.format(author=author)
    if signer:
        return texts.SERVICE.format(signer=signer, author=author)
    envelope = next((one.domain for one in row.spf_results if one.result == "pass" and one.domain), "")
    if envelope:
        return texts.FORWARDER.format(envelope=envelope, address=address, author=author)
    broken = next((one for one in row.spf_results if one.result == "permerror" and _same(author, one.domain)), None)
    if broken is not None:
        return texts.SPF_BROKEN.format(domain=broken.domain)
    return texts.NOT_LISTED.format(author=author, address=address)


def _address(text: str) -> IPText | None:
    try:
        return ip_text(text)
    except ValueError:
        return None


def _provider(address: IPText | None) -> str:
    """The provider whose servers send from this address."""
    if address is None:
        return ""
    found = ip_address(address)
    return next((name for name, networks in _PROVIDERS.items() if any(found in one for one in networks)), "")
