"""`waypost check --dns`: whether each half of a domain signs as it, and the other senders that its SPF record passes.

Only a signature of the domain proves mail from one half to the other, above all a bounce or an invitation. Until each
provider signs, such mail is marked here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from ipaddress import ip_network

from gateway.authentication.lookup import DnsView, NeedAnswers
from gateway.config.providers import GOOGLE, MICROSOFT, find_shared, read_signers
from gateway.diagnosis.records import texts
from gateway.diagnosis.records.aliases import find_alias
from gateway.diagnosis.records.dkim_report import KeyCheck, check_key
from gateway.diagnosis.records.spf_walk import Network, SpfWalk, walk
from gateway.mail.domain import is_subdomain
from gateway.model.dnsdata import DnsStatus, Question
from gateway.model.value import Value
from gateway.tools.results import Json, safe_json

OK, WARNING, UNKNOWN = "ok", "warning", "unknown"
_SELECTORS = {GOOGLE: ("google",), MICROSOFT: ("selector1", "selector2")}
"""Selectors that a provider offers for a domain. Google lets an admin choose another."""
_UNANSWERED = (DnsStatus.TIMEOUT.value, DnsStatus.SERVFAIL.value)
_MICROSOFT_SIDE = (".onmicrosoft.com", ".dkim.mail.microsoft")
"""Targets of the aliases of Microsoft's selectors."""


class DomainFinding(Value):
    """One point that was examined."""

    domain: str
    id: str
    state: str
    """`ok`, `warning`, or `unknown` when DNS gave no answer."""
    found: str
    fix: str
    """The next step; empty when none is needed."""


def examine_domain(
    domain: str, providers: Collection[str], guarded: bool, window: DnsView
) -> tuple[DomainFinding, ...]:
    """Examine a domain of ours, given as A-labels, with mailboxes at these providers. `guarded`: the rules in force
    check mail that only SPF supports. Raises NeedAnswers."""
    keys = {one: [check_key(selector, domain, window) for selector in _SELECTORS[one]] for one in sorted(providers)}
    record = walk(domain, window)
    found = [_tell_keys(domain, provider, checks, window) for provider, checks in keys.items()]
    if window.pending:
        raise NeedAnswers
    if window.ask(Question(domain, "TXT")).failed:
        return (*found, _unanswered(domain, "spf.record", domain))
    signs = all(one.state == OK for one in found)
    return (*found, *_tell_spf(record, guarded, signs))


def examine_signer(domain: str, window: DnsView) -> DomainFinding:
    """Examine a `dkim` of a named sender or forwarder. Raises NeedAnswers."""
    answer = window.ask(Question(domain, "TXT"))
    if answer.failed:
        return _unanswered(domain, "signer.missing", domain)
    if answer.status is DnsStatus.NXDOMAIN:
        said = texts.NO_SIGNER.format(domain=domain)
        return DomainFinding(domain, "signer.missing", WARNING, said, texts.NO_SIGNER_FIX)
    return DomainFinding(domain, "signer.missing", OK, texts.SIGNER.format(domain=domain), "")


def _unanswered(domain: str, id: str, name: str) -> DomainFinding:
    return DomainFinding(domain, id, UNKNOWN, texts.UNANSWERED.format(name=name), texts.UNANSWERED_FIX)


def _tell_keys(domain: str, provider: str, checks: Sequence[KeyCheck], window: DnsView) -> DomainFinding:
    """Whether a provider signs as the domain: one sound key of its selectors is enough, because it uses one at a
    time."""
    id = "dkim.google" if provider == GOOGLE else "dkim.microsoft"
    sound = [one.name for one in checks if one.keys and one.sound]
    if sound:
        said = texts.HALF_SIGNS.format(provider=provider, domain=domain, name=sound[0])
        return DomainFinding(domain, id, OK, said, "")
    lost = [one.name for one in checks if one.status in _UNANSWERED]
    if lost:
        return _unanswered(domain, id, lost[0])
    wrong = "; ".join(f"{one.name}: {_say_wrong(one)}" for one in checks)
    said = texts.HALF_UNSIGNED.format(provider=provider, domain=domain, wrong=wrong)
    if provider == GOOGLE:
        return DomainFinding(domain, id, WARNING, said, texts.GOOGLE_FIX.format(domain=domain))
    targets = [target for one in checks if (target := find_alias(one.name, window).rstrip("."))]
    foreign = [target for target in targets if not target.endswith(_MICROSOFT_SIDE)]
    if foreign:
        fix = texts.MICROSOFT_FOREIGN_FIX.format(target=foreign[0])
    elif targets:
        tenant = targets[0].partition("._domainkey.")[2] or targets[0]
        fix = texts.MICROSOFT_SWITCH_FIX.format(domain=domain, tenant=tenant)
    else:
        fix = texts.MICROSOFT_ALIAS_FIX.format(domain=domain)
    return DomainFinding(domain, id, WARNING, said, fix)


def _say_wrong(check: KeyCheck) -> str:
    problems = [problem for key in check.keys for problem in key.problems]
    return (*check.faults, *problems, texts.KEY_USELESS)[0].partition(":")[0]


def _tell_spf(record: SpfWalk, guarded: bool, signs: bool) -> Iterator[DomainFinding]:
    """The faults of the record, and the other senders that pass by it."""
    errors = [fault.text for fault in record.faults if fault.weight == "error"]
    if errors:
        fix = texts.SPF_FIX.format(domain=record.domain)
        yield DomainFinding(record.domain, "spf.record", WARNING, errors[0], fix)
    if not any(step.record for step in record.steps):
        if not errors:
            yield DomainFinding(record.domain, "spf.record", WARNING, texts.SPF_ABSENT, texts.SPF_ABSENT_FIX)
        return
    services = dict.fromkeys(name for one in record.networks if one.result == "pass" for name in _find_services(one))
    if not services:
        yield DomainFinding(record.domain, "spf.shared", OK, texts.SPF_OWN, "")
        return
    said = texts.SPF_SHARED.format(services=", ".join(services), domain=record.domain)
    if guarded:
        yield DomainFinding(record.domain, "spf.shared", OK, f"{said} {texts.SPF_GUARDED}", "")
    else:
        fix = texts.SPF_SHARED_FIX if signs else f"{texts.SPF_SIGN_FIRST} {texts.SPF_SHARED_FIX}"
        yield DomainFinding(record.domain, "spf.shared", WARNING, said, fix)


def _find_services(network: Network) -> Iterator[str]:
    """The services that send for all their customers from this network: by the network, or by the record that lists
    it."""
    shared = find_shared(ip_network(network.network))
    if shared is not None:
        yield shared[0]
        return
    for one in read_signers():
        if any(is_subdomain(name, house) for name in network.path[1:] for house in one.domains):
            yield one.name


def find_worst(findings: Collection[DomainFinding]) -> str:
    """The state of all of them together."""
    states = {one.state for one in findings}
    return next((state for state in (WARNING, UNKNOWN) if state in states), OK)


def domains_json(findings: Collection[DomainFinding]) -> list[Json]:
    """For programs; `fix` is null when none is needed."""
    return [
        safe_json({"domain": one.domain, "id": one.id, "state": one.state, "found": one.found, "fix": one.fix or None})
        for one in findings
    ]


def render_domains(findings: Collection[DomainFinding]) -> Iterator[str]:
    """Lines for people: each finding, and below it the remedy."""
    for one in findings:
        yield f"{one.domain}: {one.state}: {one.found}"
        if one.fix:
            yield f"    next: {one.fix}"
