"""What DNS says about a domain's DMARC: the record that applies, those meant to, and what stands around it."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.authentication import dmarc
from gateway.authentication.dmarc_record import list_walk, select_records
from gateway.authentication.lookup import DnsView, NeedAnswers
from gateway.diagnosis.records.dmarc_lint import Lint, Tag, explain, lint
from gateway.diagnosis.records.spf_record import is_spf
from gateway.diagnosis.records.typography import read_text, repair
from gateway.mail.author import Author
from gateway.mail.domain import a_label, is_subdomain
from gateway.model.dnsdata import Question
from gateway.model.result import DmarcResult, SpfIdentity, SpfResult, SpfVerdict
from gateway.model.value import Value


class RecordPlace(Value):
    """One name of the tree walk, and what stands there."""

    name: str
    status: str
    records: tuple[str, ...]
    """DMARC records, in people's characters."""


class Destination(Value):
    """Another organisation that reports are to go to."""

    host: str
    allowed: bool | None
    """It says that it takes them (RFC 9990 section 4); None when DNS gave no answer."""
    record: str
    """The name of the record by which it says so."""


class Survey(Value):
    """Everything about one domain."""

    domain: str
    places: tuple[RecordPlace, ...]
    result: DmarcResult
    record: str
    """The record that applies, in people's characters; empty without one."""
    tags: tuple[Tag, ...]
    lints: tuple[Lint, ...]
    destinations: tuple[Destination, ...]
    meant: str
    """What a record that is none was probably meant to be; empty without one."""
    spf: str
    """The domain's SPF record."""
    sends: bool
    """Nothing says that the domain sends no mail."""
    receives: bool
    """Nothing says that the domain takes no mail."""

    @property
    def sound(self) -> bool:
        """A record applies, and nothing in it is void."""
        return bool(self.record) and self.result.published is not None and not self.errors

    @property
    def errors(self) -> tuple[Lint, ...]:
        return tuple(one for one in self.lints if one.weight == "error")


def survey(domain: str, window: DnsView) -> Survey:
    """Look at a domain, given as A-labels. Raises NeedAnswers, and nothing else."""
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
    destinations = _destinations(record, result.policy_domain or domain, window) if record else ()
    return Survey(
        domain=domain,
        places=places,
        result=result,
        record=record,
        tags=explain(record) if record else (),
        lints=tuple(lints),
        destinations=destinations,
        meant=next((repair(text) for text in near if select_records([repair(text)])), ""),
        spf=read_text(spf),
        sends=spf.lower().split() != ["v=spf1", "-all"],
        receives=mx.records != ("0 .",),
    )


def _others(domain: str) -> list[Question]:
    return [Question(domain, "TXT"), Question(domain, "MX")]


def _misplaced(domain: str, near: list[str], around: tuple[str, ...], result: DmarcResult) -> Iterator[Lint]:
    """Records that were meant for DMARC and are not seen as such."""
    if result.reason.startswith("several"):
        yield Lint("error", f"_dmarc.{domain} has several records: all of them are ignored")
    for text in near:
        words = next((f" It {one.text}" for one in lint(text, exact=True) if "holds" in one.text), "")
        reason = words or " It must begin with v=DMARC1, in exactly these letters."
        yield Lint("error", f"_dmarc.{domain} has {text!r}, which is no DMARC record.{reason}")
    if any(text.lower().startswith("v=dmarc1") for text in around):
        yield Lint("error", f"{domain} itself has a DMARC record, where nobody looks: it belongs at _dmarc.{domain}")
    if result.policy_domain and result.policy_domain != domain:
        yield Lint("warning", f"has no record of its own: that of {result.policy_domain} applies, by its sp= or np=")


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
