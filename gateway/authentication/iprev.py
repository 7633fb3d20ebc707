"""The client's name in DNS, confirmed both ways: the method iprev of RFC 8601 section 2.7.3."""

from __future__ import annotations

from gateway.authentication.lookup import DnsView
from gateway.mail.domain import a_label
from gateway.model.dnsdata import Question
from gateway.model.envelope import IPText, ip_text, parse_ip
from gateway.model.result import IprevResult, IprevVerdict

_MOST_NAMES = 10
"""RFC 8601 section 3 asks for a limit on the names that the owner of the address makes us look up."""


def questions(client: IPText) -> tuple[Question, ...]:
    """The first questions of `evaluate`."""
    return (Question(parse_ip(client).reverse_pointer, "PTR"),)


def evaluate(client: IPText, window: DnsView) -> IprevResult:
    """Look the address up, then each of its names: one of them must lead back. Raises NeedAnswers, and nothing else."""
    reverse = window.ask(questions(client)[0])
    if reverse.failed:
        return IprevResult(IprevVerdict.TEMPERROR, reason=f"DNS {reverse.status} for the address")
    names = list(dict.fromkeys(filter(None, map(a_label, reverse.records[:_MOST_NAMES]))))
    if not names:
        return IprevResult(IprevVerdict.PERMERROR, reason="the address has no name in DNS")
    family = "AAAA" if ":" in client else "A"
    answers = window.ask_all(Question(name, family) for name in names)
    for name, answer in zip(names, answers, strict=True):
        if any(_same(record, client) for record in answer.records):
            return IprevResult(IprevVerdict.PASS, name)
    failed = [name for name, answer in zip(names, answers, strict=True) if answer.failed]
    if failed:
        return IprevResult(IprevVerdict.TEMPERROR, reason=f"no answer from DNS for {failed[0]}")
    return IprevResult(IprevVerdict.FAIL, reason=f"{names[0]} does not lead back to the address")


def _same(record: str, client: IPText) -> bool:
    try:
        return ip_text(record) == client
    except ValueError:
        return False
