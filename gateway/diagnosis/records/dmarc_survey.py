"""The state of a domain's DMARC in DNS: the record that applies, records meant to apply, and related records."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.authentication import dmarc
from gateway.authentication.dmarc import list_walk, select_records
from gateway.authentication.lookup import DnsView, NeedAnswers
from gateway.diagnosis.records import texts
from gateway.diagnosis.records.aliases import explain_absence
from gateway.diagnosis.records.dmarc_lint import Lint, Tag, explain, lint
from gateway.diagnosis.records.spf_record import is_spf
from gateway.diagnosis.records.typography import find_tag_slips, read_text, repair_tags
from gateway.mail.author import Author
from gateway.mail.domain import a_label, is_subdomain
from gateway.model.dnsdata import Question
from gateway.model.result import DmarcResult, SpfIdentity, SpfResult, SpfVerdict
from gateway.model.value import Value


class RecordPlace(Value):
    """One name of the tree walk, and its records."""

    name: str
    status: str
    records: tuple[str, ...]
    """DMARC records, as decoded text."""


class Destination(Value):
    """Another organisation that should receive reports."""

    host: str
    allowed: bool | None
    """It declares that it accepts them (RFC 9990 section 4); None when DNS gave no answer."""
    record: str
    """The name of the record with that declaration."""


class Survey(Value):
    """Everything about one domain."""

    domain: str
    places: tuple[RecordPlace, ...]
    result: DmarcResult
    record: str
    """The record that applies, as decoded text; empty without one."""
    tags: tuple[Tag, ...]
    applies: str
    """The tag whose policy applies to the domain: p, or sp or np of a record above it."""
    lints: tuple[Lint, ...]
    destinations: tuple[Destination, ...]
    meant: str
    """The probable intention of a record that receivers do not see; empty without one."""
    spf: str
    """The domain's SPF record."""
    sends: bool
    """No record declares that the domain sends no mail."""
    receives: bool
    """No record declares that the domain takes no mail."""

    @property
    def sound(self) -> bool:
        """A record applies, and no part of it is void."""
        return bool(self.record) and self.result.published is not None and not self.errors

    @property
    def errors(self) -> tuple[Lint, ...]:
        return tuple(one for one in self.lints if one.weight == "error")


def survey(domain: str, window: DnsView) -> Survey:
    """Examine a domain, given as A-labels. Raises NeedAnswers, and nothing else."""
    names = list_walk(domain)
    answers = window.ask_all([*(Question(f"_dmarc.{name}", "TXT") for name in names), *_others(domain)])
    around, mx = answers[len(names)], answers[len(names) + 1]
    places = tuple(
        RecordPlace(name, answer.status.value, tuple(read_text(one) for one in answer.records if select_records([one])))
        for name, answer in zip(names, answers, strict=False)
    )
    nobody = SpfResult(SpfVerdict.NONE, "", SpfIdentity.MAILFROM, "")
    result = dmarc.evaluate(Author(1, (domain,), ""), nobody, (), window)
    if window.pending:
        raise NeedAnswers
    record = next((text for place in places if place.name == result.policy_domain for text in place.records[:1]), "")
    spf = next((text for text in around.records if is_spf(text)), "")
    lints = [*lint(record, exact=result.policy_domain == domain)] if record else []
    near = [read_text(one) for one in answers[0].records if "dmarc1" in one.lower() and not select_records([one])]
    lints += _misplaced(domain, near, around.records, result)
    if len(places[0].records) > 1:
        lints.append(Lint("error", texts.SEVERAL_DMARC.format(domain=domain, count=len(places[0].records))))
    if not answers[0].records and not answers[0].failed:
        why = explain_absence(f"_dmarc.{domain}", domain, window)
        if window.pending:
            raise NeedAnswers
        lints += [Lint("error", text) for text in why]
    applies = _applies(domain, result)
    destinations = _destinations(record, result.policy_domain or domain, window) if record else ()
    return Survey(
        domain=domain,
        places=places,
        result=result,
        record=record,
        tags=explain(record, applies, domain) if record else (),
        applies=applies,
        lints=tuple(lints),
        destinations=destinations,
        meant=next((repair_tags(text) for text in near if select_records([repair_tags(text)])), ""),
        spf=read_text(spf),
        sends=spf.lower().split() != ["v=spf1", "-all"],
        receives=mx.records != ("0 .",),
    )


def _others(domain: str) -> list[Question]:
    return [Question(domain, "TXT"), Question(domain, "MX")]


def _applies(domain: str, result: DmarcResult) -> str:
    """The record's policy that applies to the domain."""
    if result.policy_domain == domain:
        return "p"
    parsed = next(iter(select_records([result.record])), None)
    if parsed is None or result.policy is None:
        return "sp"
    return "sp" if result.policy == parsed.apply(parsed.subdomain_policy) else "np"


def _misplaced(domain: str, near: list[str], around: tuple[str, ...], result: DmarcResult) -> Iterator[Lint]:
    """Records meant for DMARC that receivers do not see."""
    for text in near:
        meant = repair_tags(text)
        reasons = list(find_tag_slips(text))
        if not select_records([meant]):
            letters = texts.LETTERS if meant.lower().startswith("v=dmarc1") else texts.BEGINNING
            reasons.append(letters.format(beginning="v=DMARC1;"))
        elif not reasons:
            reasons.append(texts.BEGINNING.format(beginning="v=DMARC1;"))
        said = texts.NEAR.format(name=f"_dmarc.{domain}", record=text, reasons="; it ".join(reasons))
        said = texts.MEND.format(said=said, publish=texts.PUBLISH.format(record=meant)) if _sound(meant) else said
        yield Lint("error", said)
    if any(text.lower().startswith("v=dmarc1") for text in around):
        yield Lint("error", texts.DMARC_AT_DOMAIN.format(domain=domain))
    if result.policy_domain and result.policy_domain != domain:
        yield Lint("warning", texts.INHERITED.format(domain=domain, place=result.policy_domain))


def _sound(text: str) -> bool:
    return bool(select_records([text]))


def _destinations(record: str, policy_domain: str, window: DnsView) -> tuple[Destination, ...]:
    """Report addresses at other organisations (RFC 9990 section 4)."""
    tags = {tag.name: tag.value for tag in explain(record)}
    uris = [uri.strip() for name in ("rua", "ruf") for uri in tags[name].split(",")]
    hosts = dict.fromkeys(a_label(uri.partition("!")[0].rpartition("@")[2]) for uri in uris if "@" in uri)
    others = [host for host in hosts if host and not _same(host, policy_domain)][:10]
    names = [f"{policy_domain}._report._dmarc.{host}" for host in others]
    answers = window.ask_all(Question(name, "TXT") for name in names)
    return tuple(
        Destination(host, None if answer.failed else any(one.startswith("v=DMARC1") for one in answer.records), name)
        for host, answer, name in zip(others, answers, names, strict=True)
    )


def _same(host: str, domain: str) -> bool:
    return is_subdomain(host, domain) or is_subdomain(domain, host)
