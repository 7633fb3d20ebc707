"""A cached SPF result: it equals a new one for every caller, or it is not used."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.authentication import spf
from gateway.authentication.lookup import DnsView, Memory, NeedAnswers
from gateway.model.dnsdata import Question
from gateway.model.envelope import IPText, Mailbox
from gateway.model.ingress import ClientSource, EdgeIngress
from gateway.model.result import SpfIdentity, SpfResult, SpfVerdict
from gateway.net.resolver import ZoneResolver
from gateway.net.zone import build_zone
from tests.support.spf_suites import Case, read_mail_auth, read_openspf

CLIENT = "192.0.2.7"
ZONE = {
    "corp.example": {"TXT": ["v=spf1 include:pass.example -all"]},
    "pass.example": {"TXT": ["v=spf1 ip4:192.0.2.7"]},
}


def window(zone: dict[str, Any], memory: Memory | None) -> DnsView:
    return DnsView(ZoneResolver(build_zone(zone)).known, memory)


def ask(
    zone: dict[str, Any], memory: Memory | None, sender: str = "a", client: str = CLIENT, helo: str = "mail.example"
) -> SpfResult:
    ingress = EdgeIngress(IPText(client), ClientSource.PEER, helo, "mx", IPText(client))
    mailbox = Mailbox(sender, "corp.example", "corp.example")
    return spf.evaluate(ingress, mailbox, SpfIdentity.MAILFROM, window(zone, memory), "mx.example")


@pytest.fixture
def queries(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The evaluations that were really made."""
    made: list[object] = []
    prepare = spf._prepare

    def note(*given: Any) -> Any:
        made.append(given)
        return prepare(*given)

    monkeypatch.setattr(spf, "_prepare", note)
    return made


def test_same_client_and_domain_are_evaluated_once(queries: list[object]) -> None:
    memory = Memory()
    results = {ask(ZONE, memory, sender, helo=helo).result for sender in "abc" for helo in ("x.example", "y.example")}
    assert results == {SpfVerdict.PASS}
    assert len(queries) == 1
    assert ask(ZONE, memory, client="192.0.2.8").result is SpfVerdict.FAIL
    assert len(queries) == 2


def test_changed_answer_is_evaluated_anew(queries: list[object]) -> None:
    memory = Memory()
    assert ask(ZONE, memory).result is SpfVerdict.PASS
    changed = ZONE | {"pass.example": {"TXT": ["v=spf1 ip4:192.0.2.9"]}}
    assert ask(changed, memory).result is SpfVerdict.FAIL
    assert len(queries) == 2
    assert ask(changed, memory).result is SpfVerdict.FAIL
    assert len(queries) == 2


def test_what_is_used_is_in_the_trace_all_the_same() -> None:
    memory = Memory()
    ingress = EdgeIngress(IPText(CLIENT), ClientSource.PEER, "mail.example", "mx", IPText(CLIENT))
    used = []
    for _ in range(2):
        view = window(ZONE, memory)
        spf.evaluate(ingress, Mailbox("a", "corp.example", "corp.example"), SpfIdentity.MAILFROM, view, "mx.example")
        used.append(view.used)
    assert used[0] == used[1]
    assert [lookup.question.name for lookup in used[1]] == ["corp.example", "pass.example"]


def test_answer_that_has_expired_is_asked_for() -> None:
    memory = Memory()
    ask(ZONE, memory)
    ingress = EdgeIngress(IPText(CLIENT), ClientSource.PEER, "mail.example", "mx", IPText(CLIENT))
    view = DnsView(lambda question: None, memory)
    with pytest.raises(NeedAnswers):
        spf.evaluate(ingress, Mailbox("a", "corp.example", "corp.example"), SpfIdentity.MAILFROM, view, "mx.example")
    assert view.pending == {Question("corp.example", "TXT")}


def test_macros_are_evaluated_each_time(queries: list[object]) -> None:
    zone: dict[str, Any] = {"corp.example": {"TXT": ["v=spf1 exists:%{l}.ok.example -all"]}}
    zone["good.ok.example"] = {"A": ["127.0.0.2"]}
    memory = Memory()
    for _ in range(2):
        assert ask(zone, memory, "good").result is SpfVerdict.PASS
        assert ask(zone, memory, "bad").result is SpfVerdict.FAIL
    assert len(queries) == 4


def test_memory_is_bounded() -> None:
    memory = Memory(most=3)
    for number in range(10):
        ask(ZONE, memory, client=f"192.0.2.{number}")
    assert len(memory._kept) == 3


@pytest.mark.parametrize("suite", [read_openspf, read_mail_auth], ids=["openspf", "mail-auth"])
def test_suites_say_the_same_with_a_memory(suite: Any) -> None:
    """Every case twice, in a memory that all cases of its zone share."""
    memories: dict[int, Memory] = {}

    def judge(case: Case, memory: Memory | None) -> SpfResult | None:
        ingress = EdgeIngress(IPText(case.ip), ClientSource.PEER, case.helo, "mx", IPText(case.ip))
        local, _, domain = case.sender.rpartition("@")
        sender = Mailbox(local, domain, domain.lower()) if case.sender else None
        try:
            return spf.evaluate(ingress, sender, SpfIdentity.MAILFROM, window(case.zone, memory), "mx.receiver.example")
        except NeedAnswers:
            return None

    for case in suite():
        memory = memories.setdefault(id(case.zone), Memory())
        expected = judge(case, None)
        assert [judge(case, memory), judge(case, memory)] == [expected, expected], case.id
