"""The verdict field, and which fields of ours a signature forbids."""

from __future__ import annotations

import pytest

from gateway.mail.header import parse_header
from gateway.mail.verdict import compose, would_break
from gateway.model.decision import Action, Aside, Decision
from gateway.model.reply import REPLIES
from gateway.model.result import DkimResult, DkimVerdict, DmarcVerdict


def decision(rule: str, would: Aside | None = None) -> Decision:
    return Decision(Action.ACCEPT, rule, "enforce", REPLIES["accepted"], would=would)


def test_one_line() -> None:
    assert compose("quarantine", DmarcVerdict.FAIL, decision("dmarc-quarantine"), "0k3abc") == (
        b"X-Waypost-Verdict: action=quarantine; dmarc=fail; rule=dmarc-quarantine;\r\n\tid=0k3abc\r\n"
    )


def test_what_the_set_that_is_prepared_would_do_is_marked_where_it_differs() -> None:
    would = decision("default", Aside("enforce", Action.REJECT, "dmarc-reject"))
    field = compose("accept", DmarcVerdict.FAIL, would, "i")
    assert b"rule=default; would=reject;\r\n\twould-rule=dmarc-reject; id=i\r\n" in field
    alike = decision("default", Aside("enforce", Action.ACCEPT, "trusted-sealer"))
    assert b"would" not in compose("accept", DmarcVerdict.FAIL, alike, "i")


def test_rule_ids_cannot_inject() -> None:
    assert compose("accept", DmarcVerdict.NONE, decision("a; action=accept\r\nX: y"), "i") == (
        b"X-Waypost-Verdict: action=accept; dmarc=none; rule=a__action_accept__X__y;\r\n\tid=i\r\n"
    )


HEADER = parse_header(b"From: a@b.example\r\nReceived: x\r\nAuthentication-Results: other; none\r\nRECEIVED: y\r\n")


def signed(*names: str, result: DkimVerdict = DkimVerdict.PASS) -> DkimResult:
    return DkimResult(result, "b.example", "s", "rsa-sha256", signed_fields=names)


@pytest.mark.parametrize(
    ("name", "signature", "broken"),
    [
        ("Authentication-Results", signed("from"), False),
        ("Authentication-Results", signed("from", "authentication-results"), False),
        ("Authentication-Results", signed("authentication-results", "authentication-results"), True),
        ("X-Waypost-Verdict", signed("from", "x-waypost-verdict"), True),
        ("Received", signed("received", "received"), False),
        ("received", signed("received", "received", "received"), True),
        ("X-Waypost-Verdict", signed("x-waypost-verdict", result=DkimVerdict.FAIL), False),
    ],
)
def test_a_name_signed_more_often_than_present_breaks(name: str, signature: DkimResult, broken: bool) -> None:
    assert would_break(name, (signature,), HEADER) is broken


def test_any_of_several_signatures_counts() -> None:
    assert would_break("X-Waypost-Verdict", (signed("from"), signed("x-waypost-verdict")), HEADER)
    assert not would_break("X-Waypost-Verdict", (), HEADER)
