"""Feedback reports: a check behind the recipient's own edge is distinguished from one at the edge."""

from __future__ import annotations

import pytest
from rich.console import Console

from gateway.diagnosis.bounce.arf import read_feedback
from gateway.diagnosis.bounce.feedback import feedback_json, judge_feedback, render_feedback
from gateway.diagnosis.mime import read_mime
from gateway.tools.results import Newlines

EDGE = (
    "Received: from mail.isp.example (198.51.100.25) by DM6NAM11FT1111.mail.protection.outlook.com (10.13.172.1)"
    " with Microsoft SMTP Server (version=TLS1_2, cipher=X) id 15.20.1; Sat, 21 Nov 2026 10:12:31 +0000\n"
)
INNER = (
    "Received: from DM6PR01MB2222.prod.outlook.com (2001:db8:f400::25) by BY5PR01MB3333.outlook.com"
    " (2001:db8:f400::77) with Microsoft SMTP Server id 15.20.1; Sat, 21 Nov 2026 10:12:40 +0000\n"
)


def arf(fields: str, original: str) -> bytes:
    text = (
        "From: abuse@outlook.com\nTo: postmaster@isp.example\nMIME-Version: 1.0\n"
        'Content-Type: multipart/report; report-type=feedback-report; boundary="b"\n\n'
        "--b\nContent-Type: text/plain\n\nAn email failed authentication.\n\n"
        f"--b\nContent-Type: message/feedback-report\n\n{fields}\n--b\nContent-Type: text/rfc822-headers\n\n"
        f"{original}From: postmaster@isp.example\nTo: abuse@outlook.com\n\n--b--\n"
    )
    return text.replace("\n", "\r\n").encode()


def spf_failure(source: str) -> str:
    return (
        "Feedback-Type: auth-failure\nVersion: 1\nUser-Agent: Outlook\nAuth-Failure: spf\n"
        f"Source-IP: {source}\nReported-Domain: isp.example\nOriginal-Mail-From: <postmaster@isp.example>\n"
        "Original-Rcpt-To: <abuse@outlook.com>\n"
    )


def judge(octets: bytes) -> list[tuple[str, str]]:
    feedback = read_feedback(read_mime(octets))
    assert feedback is not None
    return [(finding.kind, " ".join([finding.text, *finding.remedies])) for finding in judge_feedback(feedback)]


@pytest.mark.parametrize(
    ("source", "original"),
    [
        # the copy shows the inner hop, or ends at the edge
        ("2001:db8:f400::25", INNER + EDGE),
        ("2001:db8:f400::25", EDGE),
        ("2001:db8:f400::99 (DM6.prod.outlook.com)", INNER + EDGE),
    ],
)
def test_incident_5_is_a_check_behind_the_edge(source: str, original: str) -> None:
    [(kind, text)] = judge(arf(spf_failure(source), original))
    assert kind == "second-spf-check"
    assert "198.51.100.25 (mail.isp.example)" in text
    assert "do not change it" in text
    assert "Tell the postmaster of outlook.com" in text


@pytest.mark.parametrize("original", ["", EDGE])
def test_a_check_at_the_edge_is_the_senders_business(original: str) -> None:
    [(kind, text)] = judge(arf(spf_failure("198.51.100.25"), original))
    assert kind == "auth-failure"
    assert "If 198.51.100.25 sends for you, list it in SPF" in text


@pytest.mark.parametrize(
    ("fields", "kind", "word"),
    [
        ("Feedback-Type: abuse\nSource-IP: 192.0.2.1\n", "complaint", "unwanted"),
        ("Feedback-Type: auth-failure\nAuth-Failure: bodyhash\n", "auth-failure", "autopsy"),
        ("Feedback-Type: auth-failure\nAuth-Failure: revoked\n", "auth-failure", "dkim check"),
        (
            "Feedback-Type: auth-failure\nAuth-Failure: dmarc\nIdentity-Alignment: none\n",
            "auth-failure",
            "DMARC failed",
        ),
    ],
)
def test_other_reports(fields: str, kind: str, word: str) -> None:
    [(found, text)] = judge(arf(fields, EDGE))
    assert found == kind
    assert word in text


def test_text_and_json_say_the_same() -> None:
    feedback = read_feedback(read_mime(arf(spf_failure("2001:db8:f400::25"), INNER + EDGE)))
    assert feedback is not None
    findings = judge_feedback(feedback)
    console = Console(width=100, soft_wrap=True)
    with console.capture() as shown:
        console.print(render_feedback(feedback, findings, Newlines.CRLF))
    tree = feedback_json(feedback, findings, Newlines.CRLF)
    assert findings[0].text in shown.get()
    assert tree["source"] == "2001:db8:f400::25"
    assert "original" not in tree


def test_other_mail_is_no_report() -> None:
    assert read_feedback(read_mime(b"From: a@b.example\r\n\r\nhello\r\n")) is None
