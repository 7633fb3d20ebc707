"""Invariant: for any header, envelope and DNS answers, a message's judgement is a decision and never an exception.

The same evidence is judged the same a second time.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import app
from gateway.authentication.body import BodyHasher, wanted_digests
from gateway.config.model import Config
from gateway.mail.header import parse_header
from gateway.mail.path import mailbox
from gateway.model.envelope import Envelope, Mailbox, Recipient, ip_text
from gateway.model.ingress import ClientSource, EdgeIngress
from gateway.model.message import Evidence
from gateway.plan.judgement import JudgementContext, judge
from gateway.policy.weighing import Case
from tests.support.judging import judge_zone

NAMES = [
    "From",
    "from ",
    "Sender",
    "DKIM-Signature",
    "ARC-Seal",
    "ARC-Message-Signature",
    "ARC-Authentication-Results",
    "Authentication-Results",
    "Received",
    "Received-SPF",
    "List-Id",
    "Subject",
    "",
]
WORDS = [
    *(
        "v=1",
        "a=rsa-sha256",
        "a=ed25519-sha256",
        "c=relaxed/simple",
        "d=a.example",
        "s=sel",
        "h=from:from",
        "bh=AA==",
        "b=",
    ),
    *(
        "i=1",
        "i=2",
        "i=@b.a.example",
        "cv=none",
        "cv=pass",
        "l=0",
        "t=9",
        "x=1",
        "q=dns/txt",
        ";",
        "=",
        ":",
        "@",
        "<",
        ">",
    ),
    *(
        '"',
        "(",
        ")",
        "\\",
        ",",
        "a@a.example",
        "<b@b.example>",
        "=?utf-8?q?=40?=",
        "\u00e9",
        "\r\n ",
        "\r\n\t",
        "\r",
        "\n",
    ),
    *(
        "from a.example ([192.0.2.1]) by mx.ours.example with ESMTP id 1; ",
        "mx.ours.example; dmarc=pass",
        "[192.0.2.1]",
    ),
]
VALUE = st.one_of(
    st.lists(st.sampled_from(WORDS), max_size=14).map(lambda words: "; ".join(words).encode()),
    st.lists(st.sampled_from(WORDS), max_size=14).map(lambda words: "".join(words).encode()),
    st.binary(max_size=60),
)
FIELD = st.tuples(st.sampled_from(NAMES), VALUE).map(lambda field: field[0].encode() + b":" + field[1] + b"\r\n")
RECORDS = [
    *(
        "v=spf1 -all",
        "v=spf1 include:a.example redirect=b.example",
        "v=spf1 a mx ptr exists:%{i}.%{d} ip4:192.0.2.0/24 ?all",
    ),
    *(
        "v=spf1 %{x}",
        "v=spf1 exp=a.example -all",
        "v=DMARC1; p=reject; sp=none; np=x; psd=n",
        "v=DMARC1; p=quarantine; t=y",
    ),
    *(
        "v=DMARC1",
        "v=DKIM1; p=",
        "v=DKIM1; k=ed25519; p=AAAA",
        "v=DKIM1; p=AAAA; t=s:y",
        "",
        "\u00e9",
        "v=spf1 " + "a " * 40,
    ),
]
ZONE = st.dictionaries(
    st.sampled_from(
        ["a.example", "b.example", "_dmarc.a.example", "_dmarc.example", "sel._domainkey.a.example", "example"]
    ),
    st.one_of(
        st.sampled_from(["TIMEOUT", "SERVFAIL"]),
        st.fixed_dictionaries({"TXT": st.lists(st.sampled_from(RECORDS), min_size=1, max_size=2)}),
    ),
    max_size=6,
)
SENDER = st.sampled_from([None, "x@a.example", "x@b.a.example", "x@[192.0.2.1]", '"x y"@b.example'])


@pytest.fixture(scope="module")
def context() -> JudgementContext:
    config = Config.model_validate(
        {
            "server": {"hostname": "mx.ours.example"},
            "listener": [{"address": "127.0.0.1:25"}],
            "domain": [{"name": "ours.example", "backend": "inside"}],
            "backend": {"inside": {"hosts": "127.0.0.1"}},
        }
    )
    return app.make_runtime(config).context


def collect(header: bytes) -> Evidence:
    """The evidence of a message with this header and a short body."""
    hasher = BodyHasher(wanted_digests(parse_header(header)))
    hasher.update(b"body  \r\n\r\n")
    return Evidence(header, hasher.digests(), len(header) + 12)


@given(
    st.lists(FIELD, max_size=12).map(b"".join),
    ZONE,
    SENDER,
    st.sampled_from(["a.example", "[192.0.2.1]", "\u00e9", ""]),
)
def test_a_judgement_is_always_a_decision(
    context: JudgementContext, header: bytes, zone: dict[str, object], sender: str | None, helo: str
) -> None:
    ours = mailbox("user@ours.example")
    assert isinstance(ours, Mailbox)
    envelope = Envelope(mailbox(sender) if sender else None, (Recipient(ours),))
    client = ip_text("192.0.2.1")
    ingress = EdgeIngress(client, ClientSource.PEER, helo, "mx", client)
    case = Case.of(ingress, envelope, collect(header), 1_700_000_000.0)
    first = judge_zone(zone, lambda window: judge(case, window, context))
    assert first.decision.reply.code in (250, 451, 550)
    assert judge_zone(zone, lambda window: judge(case, window, context)) == first
