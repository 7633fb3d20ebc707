"""The findings about a header, one mark at a time."""

from __future__ import annotations

import pytest

from gateway.diagnosis.headers import find_all, read_headers

DIRECT = (
    "Received: from mail.a.example (mail.a.example [198.51.100.7])\r\n\tby mx.corp.example with ESMTPS id 1;"
    " Sat, 21 Nov 2026 10:00:00 +0000\r\n"
    "From: ann@a.example\r\nTo: bob@corp.example\r\n"
)


def kinds(block: str) -> list[str]:
    return [finding.kind for finding in find_all(read_headers(block.encode()))]


def results(text: str, below: str = DIRECT) -> str:
    return f"Authentication-Results: mx.corp.example; {text}\r\n{below}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "spf=pass smtp.mailfrom=a.example; dkim=pass header.d=a.example; dmarc=pass header.from=a.example",
            "authenticated",
        ),
        (
            "spf=pass smtp.mailfrom=b.example; dmarc=fail (p=REJECT sp=REJECT dis=NONE) header.from=a.example",
            "policy-overridden",
        ),
        ("dkim=fail (body hash did not verify) header.d=a.example", "broken-signature"),
        ("dmarc=bestguesspass action=none header.from=a.example", "dmarc-word"),
        ("dmarc=fail action=pct.reject header.from=a.example", "dmarc-action"),
        ("dmarc=fail action=o.reject header.from=a.example", "policy-overridden"),
        ("compauth=pass reason=130", "compauth"),
    ],
)
def test_results(text: str, expected: str) -> None:
    assert expected in kinds(results(text))


def test_a_direct_client_is_no_relay() -> None:
    assert "second-spf-check" not in kinds(results("spf=fail smtp.mailfrom=a.example"))


def test_a_forwarder_of_someone_else_may_be_the_senders_own() -> None:
    forwarded = DIRECT.replace("mx.corp.example", "mail.f.example")
    hop = (
        "Received: from mail.f.example (mail.f.example [203.0.113.9])\r\n\tby mx.corp.example with ESMTPS id 2;"
        " Sat, 21 Nov 2026 10:00:01 +0000\r\n"
    )
    [found] = [
        finding
        for finding in find_all(read_headers(results("spf=softfail smtp.mailfrom=a.example", hop + forwarded).encode()))
        if finding.kind == "forwarded"
    ]
    assert "if it forwards, only DKIM can help" in found.text


def test_the_recipients_own_domain_with_nobody_behind_it() -> None:
    block = results("spf=none; dkim=none; dmarc=none header.from=corp.example").replace(
        "ann@a.example", "ceo@corp.example"
    )
    assert "own-domain" in kinds(block)
    assert "own-domain" not in kinds(block.replace("dkim=none", "dkim=pass header.d=corp.example"))


def test_a_late_hop_and_a_wrong_clock() -> None:
    for seconds, kind in (("10:20:00", "delay"), ("09:50:00", "clock")):
        later = (
            f"Received: from mx.corp.example ([10.0.0.1]) by store.corp.example with LMTP; Sat, 21 Nov 2026 {seconds} "
            "+0000\r\n"
        )
        assert kind in kinds(later + DIRECT)


def test_a_hop_in_the_clear() -> None:
    assert "no-tls" in kinds(DIRECT.replace("ESMTPS", "ESMTP"))
    assert "no-tls" not in kinds(DIRECT)


def test_marks_of_microsoft() -> None:
    assert "spam-level" in kinds("X-MS-Exchange-Organization-SCL: -1\r\n" + DIRECT)
    skipped = "X-MS-Exchange-SkipListedInternetSender: ip=[198.51.100.7];domain=mail.a.example\r\n"
    assert "skip-listing" in kinds(skipped + DIRECT)


def test_seals() -> None:
    seal = "ARC-Seal: i={}; a=rsa-sha256; cv={}; d=s.example; s=x; b=y\r\n"
    assert "arc" in kinds(seal.format(1, "none") + DIRECT)
    [found] = [
        f
        for f in find_all(read_headers((seal.format(2, "fail") + seal.format(1, "none") + DIRECT).encode()))
        if f.kind == "arc"
    ]
    assert "broken" in found.text


def test_nothing_at_all() -> None:
    assert kinds("") == ["no-header"]
    assert kinds("From: ann@a.example\r\n") == ["no-results"]


def test_results_in_several_fields_of_one_server() -> None:
    block = results("dkim=pass header.d=a.example", results("dmarc=pass header.from=a.example"))
    [found] = [finding for finding in find_all(read_headers(block.encode())) if finding.kind == "authenticated"]
    assert found.text == "DMARC passed for a.example; DKIM passed."


def test_the_line_above_a_message_in_a_mailbox_file() -> None:
    assert len(read_headers(b"From ann@a.example Sat Nov 21 10:00:00 2026\r\n" + DIRECT.encode()).hops) == 1


def test_an_override_behind_a_relay_is_no_forgery() -> None:
    forwarded = DIRECT.replace("mx.corp.example", "mail.f.example")
    hop = "Received: from mail.f.example ([203.0.113.9]) by mx.corp.example with ESMTPS id 2; x\r\n"
    said = "spf=fail smtp.mailfrom=a.example; dkim=fail header.d=a.example; dmarc=fail action=oreject"
    block = results(said, hop + forwarded)
    [found] = [finding for finding in find_all(read_headers(block.encode())) if finding.kind == "policy-overridden"]
    assert (found.weight, found.remedies) == ("note", ())
    assert "no proof of forgery" in found.text
