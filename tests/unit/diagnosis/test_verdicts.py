"""Results of other receivers, with the notes that only they write."""

from __future__ import annotations

from gateway.diagnosis.verdicts import Verdicts, read_verdicts
from gateway.mail.header import parse_header


def read(field: str) -> Verdicts:
    [found] = read_verdicts(parse_header(f"{field}\r\n".encode()))
    return found


def test_microsoft() -> None:
    found = read(
        "Authentication-Results: spf=pass (sender IP is 198.51.100.9)\r\n smtp.mailfrom=other.example; dkim=none"
        " (message not signed)\r\n header.d=none;dmarc=fail action=oreject\r\n header.from=microsoft.com;"
        "compauth=none reason=451"
    )
    assert (found.writer, found.client, found.action, found.compauth, found.reason) == (
        "",
        "198.51.100.9",
        "oreject",
        "none",
        "451",
    )
    assert [(one.method, one.result, one.domain) for one in found.results] == [
        ("spf", "pass", "other.example"),
        ("dkim", "none", ""),
        ("dmarc", "fail", "microsoft.com"),
        ("compauth", "none", ""),
    ]


def test_google() -> None:
    found = read(
        "Authentication-Results: mx.google.com;\r\n       dkim=pass header.i=@a.example header.s=k header.b=x;\r\n"
        "       spf=softfail (google.com: domain of transitioning x@a.example does not designate 203.0.113.9"
        " as permitted sender) smtp.mailfrom=x@a.example;\r\n"
        "       dmarc=fail (p=REJECT sp=REJECT dis=NONE) header.from=a.example"
    )
    assert (found.writer, found.client, found.policy, found.action) == (
        "mx.google.com",
        "203.0.113.9",
        "reject",
        "none",
    )
    assert found.results[0].note == "selector k"
    assert found.domain("spf") == "a.example"


def test_one_pass_of_several_signatures_is_a_pass() -> None:
    found = read("Authentication-Results: x; dkim=fail header.d=a.example; dkim=pass header.d=b.example")
    assert found.result("dkim") == "pass"
    assert found.result("spf") == ""


def test_comments_of_signatures() -> None:
    found = read("Authentication-Results: x; dkim=fail (body hash did not verify) header.d=a.example header.s=k")
    assert found.results[0].note == "selector k, body hash did not verify"


def test_arc_and_renamed_fields() -> None:
    found = read("ARC-Authentication-Results: i=2; mx.a.example; spf=pass smtp.mailfrom=a.example")
    assert (found.kind, found.instance, found.writer) == ("arc", 2, "mx.a.example")
    assert read("Authentication-Results-Original: x; spf=pass").kind == "original"


def test_empty_fields_are_left_out() -> None:
    assert list(read_verdicts(parse_header(b"Authentication-Results:\r\nSubject: x\r\n"))) == []
