"""The innermost reply is found in every kind of wrapping."""

from __future__ import annotations

import pytest

from gateway.mail.refusal import Cause, Provider, classify, classify_text
from gateway.mail.refusal.nesting import unwrap
from gateway.model.delivery import Scope
from gateway.model.reply import Reply

INCIDENT_1 = (
    "5.7.23 The message was rejected because of Sender Policy Framework violation -> 550 5.7.1 Unauthenticated email "
    "from author.example is not accepted due to 550-5.7.1 domain's DMARC policy. Please contact the administrator of "
    "550-5.7.1 author.example domain if this was a legitimate mail. To learn about the 550-5.7.1 DMARC initiative, go "
    "to 550 5.7.1 https://support.google.com/mail/?p=DmarcRejection a640c23a62f3a-b76-20020a17090a - gsmtp"
)


def test_incident_1_is_a_dmarc_refusal_at_google() -> None:
    refusal = classify(Reply.received(550, INCIDENT_1), "corp-example.mail.protection.outlook.com", backend=True)
    assert (refusal.cause, refusal.provider, refusal.relay) == (Cause.DMARC, Provider.GOOGLE, Provider.MICROSOFT)
    assert refusal.relayed
    assert str(refusal.reply).startswith("550 5.7.1 Unauthenticated email from author.example is not accepted due to")
    assert "550-5.7.1" not in refusal.reply.text
    assert [reply.enhanced for reply in refusal.layers] == ["5.7.23", "5.7.1"]
    assert refusal.scope is Scope.OURS


def test_incident_1_never_leads_to_spf_advice() -> None:
    advice = classify(Reply.received(550, INCIDENT_1)).advice
    for text in (advice.summary, advice.admin, advice.sender):
        assert "SPF" not in text
        assert "include" not in text
    assert advice.never.startswith("Do not change your SPF record")


def test_a_fault_of_the_server_between_is_not_ours() -> None:
    text = "5.4.300 Message expired -> 421 4.7.0 IP not in whitelist for RCPT domain, closing connection. x - gsmtp"
    refusal = classify(Reply.received(550, text), "corp-example.mail.protection.outlook.com", backend=True)
    assert (refusal.cause, refusal.scope) == (Cause.NOT_A_GATEWAY, Scope.MESSAGE)


@pytest.mark.parametrize(
    ("text", "replies", "host"),
    [
        ("550 5.1.1 <x@a.example>... User unknown", ["550 5.1.1 <x@a.example>... User unknown"], ""),
        (
            "host mx.a.example[192.0.2.1] said: 550 5.1.1 User unknown (in reply to RCPT TO command)",
            ["550 5.1.1 User unknown"],
            "mx.a.example",
        ),
        (
            "SMTP error from remote mail server after RCPT TO:<x@a.example>: host mx.a.example [192.0.2.1]: "
            "550 no such user",
            ["550 no such user"],
            "mx.a.example",
        ),
        (
            "192.0.2.1 does not like recipient. Remote host said: 550 no such user Giving up on 192.0.2.1.",
            ["550 no such user"],
            "",
        ),
        (
            "554 5.7.0 < #5.7.1 smtp; 550-5.7.1 first line 550 5.7.1 second line>",
            ["554 5.7.0 < #5.7.1", "550 5.7.1 first line second line"],
            "",
        ),
        (
            "Remote Server returned '550 5.4.300 Message expired -> 451 4.7.0 try later'",
            ["550 5.4.300 Message expired", "451 4.7.0 try later"],
            "",
        ),
        (
            "550 5.4.316 Message expired [{LED=450 4.4.317 Cannot connect [Message=x] "
            "[LastAttemptedServerName=mx.a.example] [LastAttemptedIP=192.0.2.1:25]};{MSG=};{FQDN=};{IP=}]",
            ["550 5.4.316 Message expired", "450 4.4.317 Cannot connect"],
            "mx.a.example",
        ),
        (
            "The response from the remote server mx.a.example. (192.0.2.1) was: 550 5.7.1 no",
            ["550 5.7.1 no"],
            "mx.a.example",
        ),
        ("554-gmx.net (mx) not available 554-No SMTP service 554 see there", ["554 gmx.net (mx) not available No"], ""),
        ("delivered: 250 2.0.0 OK, then smtp; 250 ok", [], ""),
        ("there were 550 apples and 421 pears", [], ""),
        ("", [], ""),
    ],
)
def test_shapes(text: str, replies: list[str], host: str) -> None:
    layers = unwrap(text)
    assert len(layers) == len(replies)
    for layer, reply in zip(layers, replies, strict=True):
        assert str(layer.reply).startswith(reply)
    assert (layers[-1].host if layers else "") == host


def test_lines_of_one_reply_are_one_reply() -> None:
    layers = unwrap(
        "550-5.1.1 The account does 550-5.1.1 not exist. Learn more at 550 5.1.1 https://x.example/ a - gsmtp"
    )
    assert [str(layer.reply) for layer in layers] == [
        "550 5.1.1 The account does not exist. Learn more at https://x.example/ a - gsmtp"
    ]


def test_a_text_without_a_reply_is_no_refusal() -> None:
    assert classify_text("The message could not be delivered.") is None


def test_a_reply_that_is_not_nested_names_no_relay() -> None:
    refusal = classify(Reply.received(550, "5.1.1 no such user"), "mx.a.example")
    assert (refusal.relay, refusal.refuser, refusal.relayed) == (None, "mx.a.example", False)
