"""A message of an unknown sender: the questions it asks; no check is made again once it has its answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from gateway import app
from gateway.authentication.body import BodyHasher, wanted_digests
from gateway.authentication.lookup import DnsView, NeedAnswers
from gateway.config.model import Config
from gateway.mail.header import parse_header, split_message
from gateway.model.dnsdata import Answer, Question
from gateway.model.envelope import Envelope, Mailbox, Recipient, ip_text
from gateway.model.ingress import ClientSource, EdgeIngress
from gateway.model.message import Evidence
from gateway.net.resolver import ZoneResolver
from gateway.net.zone import build_zone
from gateway.plan import judgement
from gateway.plan.judgement import Judgement, judge
from gateway.policy.weighing import Case
from tests.support.samples import plain, sign, signing_key

SENDER, CLIENT, NOW = "sender.example", ip_text("192.0.2.7"), 1_800_000_000.0
QUESTIONS = 7
"""SPF of MAIL FROM and of HELO, two includes, the key, the DMARC records of the domain and of the one above it."""
ROUNDS = 2


def make_known() -> Callable[[Question], Answer | None]:
    return ZoneResolver(
        build_zone(
            {
                SENDER: {"TXT": [f"v=spf1 include:_spf.{SENDER} include:_spf.host.example -all"]},
                f"_spf.{SENDER}": {"TXT": ["v=spf1 ip4:203.0.113.0/24 -all"]},
                "_spf.host.example": {"TXT": ["v=spf1 ip4:192.0.2.0/24 -all"]},
                "mail.host.example": {"TXT": ["v=spf1 ip4:192.0.2.0/24 -all"]},
                f"_dmarc.{SENDER}": {"TXT": ["v=DMARC1; p=reject"]},
                f"sel1._domainkey.{SENDER}": {"TXT": [signing_key()[1]]},
            }
        )
    ).known


def make_case() -> Case:
    message = sign(plain(f"ann@{SENDER}"), SENDER)
    block, start = split_message(message)
    hasher = BodyHasher(wanted_digests(parse_header(block)))
    hasher.update(message[start:])
    ingress = EdgeIngress(CLIENT, ClientSource.PEER, "mail.host.example", "mx", CLIENT)
    envelope = Envelope(Mailbox("ann", SENDER, SENDER), (Recipient(Mailbox("bob", "dst.example", "dst.example")),))
    return Case.of(ingress, envelope, Evidence(block, hasher.digests(), len(message)), NOW)


def count_endings(patch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each check came to its end, counted while the judgement runs."""
    ended: Counter[str] = Counter()

    def watch(module: Any, name: str) -> None:
        check = getattr(module, name)

        def counting(*arguments: Any, **options: Any) -> Any:
            result = check(*arguments, **options)
            identity = f" {arguments[2].value}" if module is judgement.spf else ""
            ended[module.__name__.rpartition(".")[2] + identity] += 1
            return result

        patch.setattr(module, name, counting)

    watch(judgement.spf, "evaluate")
    watch(judgement.dkim, "verify")
    watch(judgement.arc, "validate")
    watch(judgement.dmarc, "evaluate")
    return ended


def test_questions_rounds_and_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = {"server": {"hostname": "mx.dst.example"}, "listener": [{"address": "127.0.0.1:25"}]}
    tree |= {"domain": [{"name": "dst.example", "backend": "in"}], "backend": {"in": {"hosts": ["127.0.0.1"]}}}
    context = app.make_runtime(Config.model_validate(tree)).context
    known, case, answers = make_known(), make_case(), dict[Question, Answer]()
    ended = count_endings(monkeypatch)
    window, result, rounds = DnsView(answers.get), None, 0
    while True:
        try:
            result = judge(case, window, context)
        except NeedAnswers:
            result = None
        if not window.pending:
            break
        rounds += 1
        found = {question: known(question) for question in window.pending}
        answers |= found
        window.rerun(found)
    assert isinstance(result, Judgement)
    assert (result.authentication.spf.result, result.authentication.dmarc.result) == ("pass", "pass")
    assert (len(answers), rounds) == (QUESTIONS, ROUNDS)
    assert ended == {"spf mailfrom": 1, "spf helo": 1, "dkim": 1, "arc": 1, "dmarc": 1}
