"""DMARC (RFC 9989): whether an authenticated domain stands behind the header From, and the policy of its owner."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from gateway.authentication.lookup import DnsView
from gateway.mail.author import Author
from gateway.mail.domain import is_subdomain, parent
from gateway.model.dnsdata import DnsStatus, Question
from gateway.model.result import DkimResult, DkimVerdict, DmarcPolicy, DmarcResult, DmarcVerdict, SpfResult, SpfVerdict
from gateway.model.value import Value, replace

_VERSION = re.compile(r"[vV][ \t]*=[ \t]*DMARC1[ \t]*(?:;|$)")
"""RFC 9989 section 4.8: the first tag. Only its value is case-sensitive."""
_URI = re.compile(r"[a-z][a-z0-9+.-]*:[!-~]+", re.ASCII | re.IGNORECASE)
_MAILBOX_URI = re.compile(r"mailto:[^@]+@[^@]+", re.ASCII | re.IGNORECASE)
_MOST_LABELS = 8
_LOWER = {
    DmarcPolicy.REJECT: DmarcPolicy.QUARANTINE,
    DmarcPolicy.QUARANTINE: DmarcPolicy.NONE,
    DmarcPolicy.NONE: DmarcPolicy.NONE,
}


class DmarcRecord(Value):
    """One record, its defaults filled in."""

    text: str
    policy: DmarcPolicy
    """p: for the name that has the record."""
    subdomain_policy: DmarcPolicy
    """sp: for existing names below it."""
    nonexistent_policy: DmarcPolicy
    """np: for non-existent names below it."""
    strict_dkim: bool
    strict_spf: bool
    psd: str
    """`y`, `n` or `u`."""
    testing: bool
    """t=y; also pct=0 without t, which t replaces (RFC 9989 appendix A.6). Any other pct is ignored."""
    verdict: DmarcVerdict | None = None
    """Set when no DMARC processing applies to this record (RFC 9989 section 4.10.1): none or permerror."""
    reason: str = ""

    def apply(self, policy: DmarcPolicy) -> DmarcPolicy:
        """The policy one level lower while testing (RFC 9989 section 4.7, t)."""
        return _LOWER[policy] if self.testing else policy


def select_records(records: Iterable[str]) -> list[DmarcRecord]:
    """The DMARC Policy Records among a name's TXT records; records without the version at the start are dropped. The
    caller must treat several records as none (RFC 9989 section 4.10)."""
    return [_parse(record) for record in records if _VERSION.match(record)]


def list_walk(domain: str) -> list[str]:
    """The names a Tree Walk from `domain` visits, itself first: at most eight (RFC 9989 section 4.10)."""
    names = [domain]
    labels = domain.split(".")
    name = ".".join(labels[1 - _MOST_LABELS :]) if len(labels) >= _MOST_LABELS else parent(domain)
    while name:
        names.append(name)
        name = parent(name)
    return names


@lru_cache(maxsize=1024)
def _parse(text: str) -> DmarcRecord:
    tags = _read_tags(text)
    policy = _read_policy(tags.get("p"))
    subdomain = _read_policy(tags.get("sp"))
    nonexistent = _read_policy(tags.get("np"))
    verdict, reason = None, ""
    bad = [tag for tag, value in (("p", policy), ("sp", subdomain), ("np", nonexistent)) if tag in tags and not value]
    if bad or policy is None:
        # RFC 9989 section 4.10.1: with a valid rua the record counts as p=none alone, else there is no processing.
        policy = subdomain = nonexistent = DmarcPolicy.NONE
        if not _has_report_address(tags.get("rua", "")):
            verdict = DmarcVerdict.PERMERROR if bad else DmarcVerdict.NONE
            reason = f"invalid {bad[0]} tag" if bad else "neither p nor rua"
    subdomain = subdomain or policy
    testing = tags["t"].lower() == "y" if "t" in tags else tags.get("pct") in {"0", "00", "000"}
    psd = tags.get("psd", "u").lower()
    return DmarcRecord(
        text=text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text),
        policy=policy,
        subdomain_policy=subdomain,
        nonexistent_policy=nonexistent or subdomain,
        strict_dkim=tags.get("adkim", "").lower() == "s",
        strict_spf=tags.get("aspf", "").lower() == "s",
        psd=psd if psd in {"y", "n"} else "u",
        testing=testing,
        verdict=verdict,
        reason=reason,
    )


def _read_tags(text: str) -> dict[str, str]:
    """Tags by lower-case name. The first of a name counts; a part without `=` is skipped (RFC 9989 section 4.8)."""
    tags: dict[str, str] = {}
    for part in text.split(";"):
        name, equals, value = part.partition("=")
        if equals:
            tags.setdefault(name.strip(" \t").lower(), value.strip(" \t"))
    return tags


def _read_policy(value: str | None) -> DmarcPolicy | None:
    try:
        return DmarcPolicy(value.lower()) if value is not None else None
    except ValueError:
        return None


def _has_report_address(value: str) -> bool:
    """At least one syntactically valid URI; an RFC 7489 size suffix is ignored."""
    for part in value.split(","):
        uri = part.strip(" \t").partition("!")[0]
        if _URI.fullmatch(uri) and (uri[:7].lower() != "mailto:" or _MAILBOX_URI.fullmatch(uri)):
            return True
    return False


_SEVERITY = {
    (DmarcVerdict.FAIL, DmarcPolicy.REJECT): 6,
    (DmarcVerdict.FAIL, DmarcPolicy.QUARANTINE): 5,
    (DmarcVerdict.TEMPERROR, None): 4,
    (DmarcVerdict.FAIL, DmarcPolicy.NONE): 3,
    (DmarcVerdict.PERMERROR, None): 2,
    (DmarcVerdict.NONE, None): 1,
    (DmarcVerdict.PASS, None): 0,
}


class _Walk(Value):
    """One DNS Tree Walk (RFC 9989 section 4.10)."""

    domain: str
    found: tuple[tuple[str, DmarcRecord], ...]
    """Names with their record, longest name first, up to a psd=y or psd=n."""
    failed: str
    """The name whose lookup failed during the walk; empty when the walk is complete."""

    @property
    def record(self) -> DmarcRecord | None:
        """The record at the start."""
        return self.found[0][1] if self.found and self.found[0][0] == self.domain else None

    @property
    def organizational_domain(self) -> str:
        """RFC 9989 section 4.10.2."""
        for name, record in self.found:
            if record.psd == "n":
                return name
            if record.psd == "y" and name != self.domain:
                labels = self.domain.split(".")
                return ".".join(labels[-(name.count(".") + 2) :])
        return self.found[-1][0] if self.found else self.domain


class _Walks:
    """Walks of one evaluation, each made once."""

    def __init__(self, window: DnsView) -> None:
        self._window = window
        self._made: dict[str, _Walk] = {}

    def ask(self, domains: Iterable[str]) -> None:
        """Ask for all names of all these walks together, in one round. Raises NeedAnswers."""
        self._window.ask_all(question for domain in domains for question in _list_questions(domain))

    def walk(self, domain: str) -> _Walk:
        if domain not in self._made:
            self._made[domain] = self._make(domain)
        return self._made[domain]

    def _make(self, domain: str) -> _Walk:
        found: list[tuple[str, DmarcRecord]] = []
        answers = self._window.ask_all(_list_questions(domain))
        for name, answer in zip(list_walk(domain), answers, strict=True):
            if answer.failed:
                return _Walk(domain, tuple(found), name)
            records = select_records(answer.records)
            # Several records at one name are all discarded, and the walk goes on (RFC 9989 section 4.10).
            if len(records) == 1:
                found.append((name, records[0]))
                if records[0].psd != "u":
                    break
        return _Walk(domain, tuple(found), "")


def evaluate(
    author: Author, spf: SpfResult, dkim: tuple[DkimResult, ...], window: DnsView, *, can_fail: bool = True
) -> DmarcResult:
    """Judge the message (RFC 9989 section 5.3). Raises NeedAnswers, and nothing else.

    `spf` is the result for MAIL FROM, which for a null sender is the HELO identity (RFC 9989 section 3.2.4). `can_fail`
    is False when SPF was impossible because the true ingress is unknown: a failure is then none.
    """
    domain = author.domains[0] if author.domains else ""
    nothing = DmarcResult(DmarcVerdict.NONE, domain, dkim_aligned=(False,) * len(dkim))
    if author.fields > 1:
        return replace(nothing, reason=f"{author.fields} From fields")
    if not author.domains:
        return replace(nothing, reason=author.reason or "no author domain")
    walks = _Walks(window)
    walks.ask(author.domains)
    # RFC 9989 section 11.5: From may name several authors; the strictest outcome counts. A name that only some readers
    # see, and that has no record, is usually not a domain at all.
    sure = len(author.domains) - author.doubtful
    results = [_judge(name, spf, dkim, walks, window) for name in author.domains]
    results = results[:sure] + [one for one in results[sure:] if one.result is not DmarcVerdict.NONE or not sure]
    result = max(results, key=_rank)
    if author.reason and result.authenticated:
        # Part of From was not judged, so no result holds for all of it.
        return replace(result, result=DmarcVerdict.NONE, reason=author.reason)
    if result.result is DmarcVerdict.FAIL and not can_fail:
        return replace(result, result=DmarcVerdict.NONE, reason="SPF could not be judged, so DMARC cannot fail")
    return result


def questions(author: Author) -> tuple[Question, ...]:
    """The names of the author domains' walks."""
    return tuple(dict.fromkeys(question for domain in author.domains for question in _list_questions(domain)))


@lru_cache(maxsize=4096)
def _list_questions(domain: str) -> tuple[Question, ...]:
    return tuple(Question(f"_dmarc.{name}", "TXT") for name in list_walk(domain))


def _rank(result: DmarcResult) -> int:
    if result.result is DmarcVerdict.TEMPERROR and result.authenticated:
        return _SEVERITY[DmarcVerdict.PASS, None]
    return _SEVERITY[result.result, result.policy if result.result is DmarcVerdict.FAIL else None]


def _judge(domain: str, spf: SpfResult, dkim: tuple[DkimResult, ...], walks: _Walks, window: DnsView) -> DmarcResult:
    """One author domain."""
    walk = walks.walk(domain)
    spf_same = spf.result is SpfVerdict.PASS and spf.domain == domain
    dkim_same = tuple(one.result is DkimVerdict.PASS and one.domain == domain for one in dkim)
    nothing = DmarcResult(DmarcVerdict.NONE, domain, dkim_aligned=(False,) * len(dkim))
    if walk.failed and walk.record is None:
        if spf_same or any(dkim_same):
            # Identical domains are aligned in either mode, so no record could turn this into a failure. Without the
            # record it is not a pass either (RFC 9989 section 5.3.6).
            reason = f"aligned, but no answer for _dmarc.{walk.failed}"
            return replace(
                nothing, result=DmarcVerdict.TEMPERROR, spf_aligned=spf_same, dkim_aligned=dkim_same, reason=reason
            )
        return replace(nothing, result=DmarcVerdict.TEMPERROR, reason=f"no answer for _dmarc.{walk.failed}")
    place, record = _discover(walk)
    if record is None:
        return replace(nothing, reason="no DMARC record", organizational_domain=walk.organizational_domain)
    nothing = replace(
        nothing,
        policy_domain=place,
        organizational_domain="" if walk.failed else walk.organizational_domain,
        record=record.text,
        testing=record.testing,
    )
    if record.verdict is not None:
        return replace(nothing, result=record.verdict, reason=record.reason)
    policy, doubt = _choose_policy(domain, place, record, window)
    known = replace(nothing, published=record.policy, policy=record.apply(policy))
    return _conclude(known, _Alignment(walk, record, walks), spf, dkim, doubt)


def _discover(walk: _Walk) -> tuple[str, DmarcRecord | None]:
    """DMARC Policy Discovery (RFC 9989 section 4.10.1): the author domain's own record, else the Organizational
    Domain's, else the Public Suffix Domain's."""
    if walk.record is not None:
        return walk.domain, walk.record
    organizational = walk.organizational_domain
    for name, record in walk.found:
        if name == organizational or (record.psd == "y" and name != walk.domain):
            return name, record
    return "", None


def _choose_policy(domain: str, place: str, record: DmarcRecord, window: DnsView) -> tuple[DmarcPolicy, str]:
    """The policy for the author domain, and the reason for any doubt about it."""
    if domain == place:
        return record.policy, ""
    if record.nonexistent_policy == record.subdomain_policy:
        return record.subdomain_policy, ""
    # RFC 9989 section 4.7, np: only NXDOMAIN means non-existent; the answer for any record type shows it.
    answer = window.ask(Question(domain, "A"))
    if answer.status is DnsStatus.NXDOMAIN:
        return record.nonexistent_policy, ""
    if answer.failed:
        return max(record.subdomain_policy, record.nonexistent_policy, key=_STRICTNESS.index), f"no answer for {domain}"
    return record.subdomain_policy, ""


_STRICTNESS = (DmarcPolicy.NONE, DmarcPolicy.QUARANTINE, DmarcPolicy.REJECT)


class _Alignment:
    """Identifier Alignment with one author domain (RFC 9989 section 4.4)."""

    def __init__(self, walk: _Walk, record: DmarcRecord, walks: _Walks) -> None:
        self._walk = walk
        self._record = record
        self._walks = walks

    def ask(self, spf_domains: Iterable[str], dkim_domains: Iterable[str]) -> None:
        """Ask for the walks of all these domains together."""
        spf_needed = [] if self._record.strict_spf else list(spf_domains)
        dkim_needed = [] if self._record.strict_dkim else list(dkim_domains)
        self._walks.ask({domain for domain in spf_needed + dkim_needed if self._could_align(domain)})

    def covers_spf(self, domain: str) -> bool | None:
        """Whether the domain is aligned; None when DNS gave no answer."""
        return self._covers(domain, self._record.strict_spf)

    def covers_dkim(self, domain: str) -> bool | None:
        """Whether the domain is aligned; None when DNS gave no answer."""
        return self._covers(domain, self._record.strict_dkim)

    def _covers(self, domain: str, strict: bool) -> bool | None:
        if domain == self._walk.domain:
            return True
        if strict or not domain:
            return False
        if self._walk.failed:
            return None
        if not self._could_align(domain):
            return False
        walk = self._walks.walk(domain)
        return None if walk.failed else walk.organizational_domain == self._walk.organizational_domain

    def _could_align(self, domain: str) -> bool:
        """An Organizational Domain is the domain itself or above it, so a domain outside the author's needs no walk."""
        same = domain == self._walk.domain or bool(self._walk.failed)
        return not same and is_subdomain(domain, self._walk.organizational_domain)


def _conclude(
    known: DmarcResult, alignment: _Alignment, spf: SpfResult, dkim: tuple[DkimResult, ...], doubt: str
) -> DmarcResult:
    """Pass, fail or temperror for a known policy (RFC 9989 section 5.3, steps 3 to 5)."""
    spf_passes = spf.result is SpfVerdict.PASS
    passing = [one.domain for one in dkim if one.result is DkimVerdict.PASS]
    alignment.ask([spf.domain] if spf_passes else [], passing)
    spf_covers = alignment.covers_spf(spf.domain) if spf_passes else False
    dkim_covers = [alignment.covers_dkim(one.domain) if one.result is DkimVerdict.PASS else False for one in dkim]
    known = replace(known, spf_aligned=spf_covers is True, dkim_aligned=tuple(one is True for one in dkim_covers))
    if known.spf_aligned or any(known.dkim_aligned):
        return replace(known, result=DmarcVerdict.PASS)
    # A failure is final only if no missing answer could have made it a pass (RFC 9989 section 5.3.6).
    if spf_covers is None or None in dkim_covers:
        return replace(known, result=DmarcVerdict.TEMPERROR, reason="alignment is unknown: a lookup failed")
    doubtful = [one.domain for one in dkim if one.result is DkimVerdict.TEMPERROR]
    spf_doubtful = [spf.domain] if spf.result is SpfVerdict.TEMPERROR else []
    alignment.ask(spf_doubtful, doubtful)
    if any(alignment.covers_dkim(name) is not False for name in doubtful):
        return replace(known, result=DmarcVerdict.TEMPERROR, reason="an aligned DKIM signature could not be checked")
    if any(alignment.covers_spf(name) is not False for name in spf_doubtful):
        return replace(known, result=DmarcVerdict.TEMPERROR, reason="SPF of an aligned domain could not be checked")
    if doubt:
        return replace(known, result=DmarcVerdict.TEMPERROR, reason=doubt)
    unaligned = list(dict.fromkeys(([spf.domain] if spf_passes else []) + passing))
    reason = f"passed but not aligned: {', '.join(unaligned)}" if unaligned else "neither SPF nor DKIM passed"
    return replace(known, result=DmarcVerdict.FAIL, reason=reason)
