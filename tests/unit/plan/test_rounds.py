"""The rounds of one judgement: a finished result is not computed again."""

from __future__ import annotations

from typing import Any

import pytest

from gateway import app
from gateway.authentication import arc, dkim, spf
from gateway.authentication.lookup import DnsView, NeedAnswers
from gateway.config.model import Config
from gateway.mail.path import mailbox
from gateway.model.dnsdata import Answer, DnsStatus, Question
from gateway.model.envelope import Envelope, Recipient
from gateway.model.result import ArcVerdict, DkimVerdict, SpfVerdict
from gateway.plan.judgement import Judgement, judge
from gateway.policy.weighing import Case
from tests.support.sealing import INGRESS, known, pass_on, read
from tests.support.signing import MESSAGE, NOW, sign

ONE, TWO = Question("one.example", "A"), Question("two.example", "A")
ANSWER = Answer(DnsStatus.NXDOMAIN)


def test_a_finished_result_is_kept_whatever_others_lack() -> None:
    window, runs = DnsView({ONE: ANSWER}.get), []

    def check() -> int:
        window.ask(ONE)
        runs.append(1)
        return len(runs)

    window.peek(TWO)
    assert window.remember("a", check) == 1
    assert window.pending == {TWO}
    used = window.used
    window.rerun({TWO: ANSWER})
    assert window.remember("a", check) == 1
    assert window.remember("b", check) == 2
    assert used == window.used[:1]


@pytest.mark.parametrize("raises", [True, False])
def test_what_lacks_an_answer_is_computed_again(raises: bool) -> None:
    """Also when another check has noted the same name before, and when the check goes on without its answer."""
    window = DnsView({}.get)

    def check() -> bool:
        return window.peek(ONE) is not None or (raises and bool(window.ask(TWO)))

    window.peek(ONE)
    try:
        assert window.remember("a", check) is False
    except NeedAnswers:
        assert raises
    assert window.pending == ({ONE, TWO} if raises else {ONE})
    window.rerun({ONE: ANSWER, TWO: ANSWER})
    assert window.remember("a", check) is True


SPF = {
    "src.example": "v=spf1 include:one.example -all",
    "one.example": "v=spf1 include:two.example -all",
    "two.example": "v=spf1 include:three.example -all",
    "three.example": "v=spf1 ip6:2001:db8::/32 -all",
    "out.src.example": "v=spf1 -all",
}
DNS = known() | {Question(name, "TXT"): Answer(DnsStatus.FOUND, (text,)) for name, text in SPF.items()}
CARRIED = read(pass_on(sign(MESSAGE), 1))
LAW = {
    "server": {"hostname": "mx.ours.example"},
    "listener": [{"address": "127.0.0.1:25"}],
    "domain": [{"name": "ours.example", "backend": "inside"}],
    "backend": {"inside": {"hosts": "127.0.0.1"}},
}


def look_up(question: Question) -> Answer:
    return DNS.get(question, ANSWER)


def run(window: DnsView) -> tuple[Judgement, int]:
    """The judgement, and the number of its rounds."""
    evidence, header = CARRIED
    sender, rcpt = mailbox("a@src.example"), mailbox("b@ours.example")
    assert sender is not None
    assert rcpt is not None
    envelope, bench = Envelope(sender, (Recipient(rcpt),)), app.make_runtime(Config.model_validate(LAW)).context
    case = Case.of(INGRESS, envelope, evidence, NOW, header=header)
    for rounds in range(1, 20):
        try:
            found = judge(case, window, bench)
        except NeedAnswers:
            window.rerun({question: look_up(question) for question in window.pending})
        else:
            return found, rounds
    raise AssertionError("the judgement never ends")


def test_a_judgement_of_many_rounds_does_the_work_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    finished: list[str] = []

    def count(module: Any, name: str) -> None:
        work = getattr(module, name)

        def counted(*given: Any) -> Any:
            result = work(*given)
            finished.append(name)
            return result

        monkeypatch.setattr(module, name, counted)

    count(dkim, "verify")
    count(arc, "validate")
    count(spf, "evaluate")
    warm, cold = DnsView(look_up), DnsView({}.get)
    (at_once, one), (in_rounds, many) = run(warm), run(cold)
    assert (one, many > 3) == (1, True)
    results = in_rounds.authentication
    assert (results.spf.result, results.spf_helo.result) == (SpfVerdict.PASS, SpfVerdict.FAIL)
    assert (results.dkim[0].result, results.arc.result) == (DkimVerdict.PASS, ArcVerdict.PASS)
    assert in_rounds == at_once
    assert cold.used == warm.used
    assert sorted(finished) == sorted(["verify", "validate", "evaluate", "evaluate"] * 2)
