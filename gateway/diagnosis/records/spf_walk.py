"""An SPF record followed through its includes: the networks that may send, the lookups needed, and the faults.

Unlike an evaluation it follows every term, so it shows the results for all clients. Nothing here is a verdict.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_network

from gateway.authentication.lookup import DnsView, NeedAnswers
from gateway.diagnosis.records import texts
from gateway.diagnosis.records.aliases import explain_absence
from gateway.diagnosis.records.spf_record import RESULTS, Term, find_cut_terms, is_spf, merge_records, read_terms
from gateway.diagnosis.records.typography import find_slips, read_text, repair
from gateway.mail.domain import a_label
from gateway.model.dnsdata import Answer, DnsStatus, Question
from gateway.model.value import Value

MOST_LOOKUPS = 10
"""RFC 7208 section 4.6.4."""
MOST_VOID = 2
_MOST_HOSTS = 10
_MOST_FOLLOWED = 60
"""Terms with lookups that are followed at all, so that terms beyond the limit are seen."""


class Network(Value):
    """One network, and the result for its addresses."""

    network: str
    result: str
    path: tuple[str, ...]
    """The domains whose records lead to it, the first one asked first."""
    term: str
    reached: bool
    """Within the lookups that a receiver makes; beyond them its answer is permerror."""


class WalkFault(Value):
    """A fault, or a point worth knowing."""

    weight: str
    """`error` when receivers get no result, else `warning`."""
    domain: str
    text: str


class WalkStep(Value):
    """One record of the walk."""

    depth: int
    domain: str
    record: str
    """As published; empty when there is none."""
    lookups: int
    """Lookups made before this record was asked for, its own included."""


class SpfWalk(Value):
    """The whole result of a domain's record."""

    domain: str
    steps: tuple[WalkStep, ...]
    networks: tuple[Network, ...]
    lookups: int
    void: int
    last: str
    """The result for all others; empty when the record has none, which means neutral."""
    faults: tuple[WalkFault, ...]


@dataclass(slots=True)
class _Walk:
    """A walk under way."""

    window: DnsView
    steps: list[WalkStep] = field(default_factory=list)
    networks: list[Network] = field(default_factory=list)
    faults: list[WalkFault] = field(default_factory=list)
    lookups: int = 0
    void: int = 0
    last: str = ""


def walk(domain: str, window: DnsView) -> SpfWalk:
    """Follow the record of a domain, given as A-labels. Raises NeedAnswers, and nothing else."""
    run = _Walk(window)
    _follow(run, domain, (domain,), None)
    if window.pending:
        raise NeedAnswers
    if run.lookups > MOST_LOOKUPS:
        text = texts.MANY_LOOKUPS.format(lookups=run.lookups, most=MOST_LOOKUPS)
        run.faults.append(WalkFault("error", domain, text))
    if run.void > MOST_VOID:
        text = texts.MANY_VOID.format(void=run.void, most=MOST_VOID)
        run.faults.append(WalkFault("error", domain, text))
    faults = tuple(dict.fromkeys(run.faults))
    return SpfWalk(domain, tuple(run.steps), tuple(run.networks), run.lookups, run.void, run.last, faults)


def _follow(run: _Walk, domain: str, path: tuple[str, ...], outer: str | None) -> None:
    """Read one record; `outer` is the value of a pass inside the include that leads to it (see `_inside`), None outside
    of any."""
    answer = run.window.peek(Question(domain, "TXT"))
    if answer is None:
        return
    records = _select(run, domain, answer, first=len(path) == 1)
    run.steps += [WalkStep(len(path) - 1, domain, record, run.lookups) for record in records or ("",)]
    terms = read_terms(records[0]) if len(records) == 1 else ()
    run.faults += _find_faults(domain, terms, included=len(path) > 1)
    ended = False
    for term in terms:
        if term.name == "all" and not term.problem:
            ended = True
            run.last = run.last or (RESULTS[term.qualifier] if len(path) == 1 else "")
        elif not term.problem and not ended and term.name not in ("redirect", "exp"):
            _take(run, domain, term, path, outer)
    redirect = next((term for term in terms if term.name == "redirect" and not term.problem), None)
    if redirect is not None and not ended:
        _take(run, domain, redirect, path, outer)


def _select(run: _Walk, domain: str, answer: Answer, *, first: bool) -> tuple[str, ...]:
    """The domain's SPF records, of which there should be one; faults are noted."""

    def note(text: str, weight: str = "error") -> None:
        run.faults.append(WalkFault(weight, domain, text))

    if answer.failed:
        note(texts.NO_ANSWER.format(status=answer.status))
        return ()
    records = tuple(read_text(record) for record in answer.records if is_spf(record))
    if len(records) == 1:
        slips = "; it ".join(find_slips(records[0]))
        if slips:
            note(f"{slips}; {texts.PUBLISH.format(record=repair(records[0]))}")
        return records
    if records:
        note(texts.SEVERAL_SPF.format(count=len(records), merged=merge_records(records)))
        return records
    for near in (read_text(record) for record in answer.records):
        if _NEAR.search(near):
            note(_explain_near(near))
    problem = texts.ABSENT["missing" if answer.status is DnsStatus.NXDOMAIN else "none"]
    if not first:
        note(texts.INCLUDED.format(problem=problem))
    else:
        note(texts.NO_RESULT.format(problem=problem), "warning")
    for why in explain_absence(domain, "", run.window):
        note(why)
    return ()


_NEAR = re.compile(r"v\s*=\s*spf\d|\bspf1\b|spf2\.0/|v\s*=\s*spf\b", re.IGNORECASE)
_GLUED = re.compile(r"(v=spf1)(?=[^\s])[;,]?", re.IGNORECASE)


def _explain_near(near: str) -> str:
    """A record meant for SPF: the reason why receivers do not see it, and the correct record."""
    meant = repair(near)
    reasons = list(find_slips(near))
    if meant.lower().startswith("spf2.0/"):
        reasons.append(texts.OLD_SPF)
        meant = "v=spf1" + meant[meant.find(" ") :] if " " in meant else ""
    elif _GLUED.match(meant):
        reasons.append(texts.NO_BLANK)
        meant = _GLUED.sub(r"\1 ", meant, count=1).replace("  ", " ")
    elif not is_spf(meant):
        reasons.append(texts.BEGINNING.format(beginning="v=spf1 and a blank"))
        meant = ""
    said = texts.NEAR_SPF.format(record=near, reasons="; it ".join(reasons))
    return f"{said}; {texts.PUBLISH.format(record=meant)}" if meant else said


def _take(run: _Walk, domain: str, term: Term, path: tuple[str, ...], outer: str | None) -> None:
    """One term: its networks, or the record that it names."""
    if term.counts:
        run.lookups += 1
        if run.lookups > _MOST_FOLLOWED:
            return
    if term.name in ("ip4", "ip6"):
        _add(run, [term.value], term, path, outer)
    elif term.macro or term.name in ("ptr", "exists"):
        return
    elif term.name in ("include", "redirect"):
        target = a_label(term.value)
        if target is None:
            run.faults.append(WalkFault("error", domain, texts.NO_NAME.format(term=term.text)))
        elif target in path:
            run.faults.append(WalkFault("error", domain, texts.CIRCLE.format(term=term.text)))
        else:
            _follow(run, target, (*path, target), outer if term.name == "redirect" else _inside(outer, term))
    else:
        target = a_label(term.value or domain)
        if target is None:
            run.faults.append(WalkFault("error", domain, texts.NO_NAME.format(term=term.text)))
        else:
            hosts = [target] if term.name == "a" else _hosts(run, domain, target, term)
            _add(run, [address for host in hosts for address in _addresses(run, host, term)], term, path, outer)


def _inside(outer: str | None, term: Term) -> str:
    """The value, outside all includes, of a pass inside this include; empty for none."""
    if outer is None:
        return term.qualifier
    return outer if term.qualifier == "+" else ""


def _hosts(run: _Walk, domain: str, target: str, term: Term) -> list[str]:
    answer = run.window.peek(Question(target, "MX"))
    if answer is None:
        return []
    _count_void(run, answer)
    if len(answer.records) > _MOST_HOSTS:
        run.faults.append(WalkFault("error", domain, texts.MANY_MX.format(term=term.text, most=_MOST_HOSTS)))
    hosts = [record.partition(" ")[2] for record in answer.records[:_MOST_HOSTS]]
    return [host for host in hosts if host and host != "."]


def _addresses(run: _Walk, host: str, term: Term) -> Iterator[str]:
    answers = [(run.window.peek(Question(host, type)), bits) for type, bits in (("A", term.four), ("AAAA", term.six))]
    if term.name == "a" and answers[0][0] is not None and not (answers[1][0] and answers[1][0].records):
        _count_void(run, answers[0][0])
    for answer, bits in answers:
        for address in answer.records if answer else ():
            yield f"{address}/{bits}"


def _count_void(run: _Walk, answer: Answer) -> None:
    run.void += answer.status in (DnsStatus.NODATA, DnsStatus.NXDOMAIN)


def _add(run: _Walk, values: list[str], term: Term, path: tuple[str, ...], outer: str | None) -> None:
    """Networks of one term. `outer` is the qualifier of the include around it, None outside of any. Inside an include
    only a pass matters, and its value is the include's own qualifier (RFC 7208 section 5.2)."""
    if outer == "" or (outer is not None and term.qualifier != "+"):
        return
    result = RESULTS[outer or term.qualifier]
    for value in values:
        network = str(ip_network(value, strict=False))
        run.networks.append(Network(network, result, path, term.text, run.lookups <= MOST_LOOKUPS))


def _find_faults(domain: str, terms: tuple[Term, ...], *, included: bool) -> Iterator[WalkFault]:
    """Faults of the record itself."""
    for term in terms:
        if term.problem:
            yield WalkFault("error", domain, texts.BAD_TERM.format(term=term.text, problem=term.problem))
        elif term.name == "ptr":
            yield WalkFault("warning", domain, texts.PTR.format(term=term.text))
        elif term.name in ("ip4", "ip6") and ip_network(term.value, strict=False).prefixlen <= int(term.name[2]) * 2:
            yield WalkFault("warning", domain, texts.LARGE.format(term=term.text))
    yield from (WalkFault("error", domain, text) for text in find_cut_terms(terms))
    names = [term.name for term in terms]
    if "all" in names:
        at = names.index("all")
        if [name for name in names[at + 1 :] if name not in ("exp", "redirect")]:
            yield WalkFault("warning", domain, texts.AFTER_ALL)
        if "redirect" in names:
            yield WalkFault("warning", domain, texts.ALL_REDIRECT)
        if terms[at].qualifier == "+" and not included:
            yield WalkFault("error", domain, texts.PLUS_ALL)
        elif terms[at].qualifier == "?" and not included:
            yield WalkFault("warning", domain, texts.NEUTRAL_ALL)
    elif terms and "redirect" not in names and not included:
        yield WalkFault("warning", domain, texts.NO_ALL)
    if names.count("redirect") > 1 or names.count("exp") > 1:
        yield WalkFault("error", domain, texts.MODIFIER_TWICE)
