"""Invariant: any text is read in linear time without raising; the innermost reply is one of the text's own layers."""

from __future__ import annotations

from time import process_time

from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.refusal import classify, classify_text
from gateway.model.reply import Reply

_PIECES = st.sampled_from(
    [
        "550 5.7.1 ",
        "550-5.7.1 ",
        "421 ",
        "-> ",
        "smtp; ",
        "host mx.a.example[192.0.2.1] said: ",
        "(in reply to RCPT TO command)",
        "LED=450 4.4.317 ",
        "[LastAttemptedServerName=",
        "DMARC ",
        " - gsmtp",
        "<x@a.example>",
        "'",
        "\n",
        "Giving up on ",
    ]
)
_TEXTS = st.lists(st.one_of(_PIECES, st.text(max_size=12)), max_size=25).map("".join)


@given(_TEXTS)
def test_any_text(text: str) -> None:
    refusal = classify_text(text)
    if refusal is not None:
        assert refusal.reply == refusal.layers[-1]
        assert refusal.reply.code // 100 in (4, 5)
        assert refusal.relayed == (len(refusal.layers) > 1)


@given(st.integers(400, 599), _TEXTS)
def test_any_reply(code: int, text: str) -> None:
    refusal = classify(Reply.received(code, text), backend=True)
    assert refusal.advice.summary
    assert refusal.layers


def test_a_long_hostile_text_takes_no_time() -> None:
    for piece in ("550 5.7.1 ", "[a=", "(in reply to ", "relay ", "HELO ", "-> ", "550-", "host a[", "from a.b "):
        started = process_time()
        classify_text(piece * 20000)
        assert process_time() - started < 1
