"""The reasons why DMARC failed, or why no domain vouches: the named cause; and every sentence once."""

from __future__ import annotations

import pytest
from rich.console import Console

from gateway.diagnosis.headers import (
    HeaderFinding,
    find_all,
    headers_json,
    read_headers,
    render_headers,
    summarise,
    texts,
)
from gateway.tools.results import Newlines
from tests.support.sentences import unsaid

FROM = "From: Ann <ann@a.example>\r\nTo: bob@corp.example\r\n"
SIGNED = "DKIM-Signature: v=1; d={}; s=k1; b=x\r\n"


def hop(client: str, address: str, by: str, second: int = 0, kind: str = "ESMTPS") -> str:
    return (
        f"Received: from {client} ({client} [{address}])\r\n\tby {by} with {kind} id 1;"
        f" Sat, 21 Nov 2026 10:00:{second:02} +0000\r\n"
    )


DIRECT = hop("mail.a.example", "198.51.100.7", "mx.corp.example")


def block(results: str, *below: str, writer: str = "mx.corp.example; ") -> str:
    return f"Authentication-Results: {writer}{results}\r\n" + "".join(below or (DIRECT, FROM))


def find(text: str) -> dict[str, HeaderFinding]:
    return {finding.kind: finding for finding in find_all(read_headers(text.encode()))}


def show(text: str | bytes) -> str:
    reading = read_headers(text if isinstance(text, bytes) else text.encode())
    console = Console(width=400, soft_wrap=True, highlight=False)
    with console.capture() as shown:
        console.print(render_headers(reading, find_all(reading), Newlines.CRLF))
    return shown.get()


def first(text: str) -> str:
    return show(text).splitlines()[0]


def test_the_first_line_is_one_verdict_with_alignment() -> None:
    passed = "spf=pass smtp.mailfrom=b.example; dkim=pass header.d=news.a.example; dmarc=pass header.from=a.example"
    assert first(block(passed)) == (
        "DMARC passed for a.example: SPF passed for b.example, which is not aligned with From; DKIM passed for "
        "news.a.example, which is aligned."
    )
    failed = "spf=softfail smtp.mailfrom=a.example; dkim=none; dmarc=fail header.from=a.example"
    assert first(block(failed)) == (
        "DMARC failed for a.example: SPF came to softfail for a.example; the message is not signed."
    )
    tree = headers_json(read_headers(block(passed).encode()), (), Newlines.CRLF)["verdict"]
    assert isinstance(tree, dict)
    assert tree["alignment"] == {"spf": False, "dkim": True}


@pytest.mark.parametrize("policy", ["dmarc=fail (p=NONE dis=NONE)", "dmarc=fail action=none"])
def test_a_failure_under_a_policy_of_none_is_told(policy: str) -> None:
    writer = "" if "action" in policy else "mx.google.com; "
    said = f"spf=fail (sender IP is 198.51.100.7) smtp.mailfrom=a.example; dkim=none; {policy} header.from=a.example"
    found = find(block(said, writer=writer))["spf-fail"]
    assert found.weight == "problem"
    assert "198.51.100.7 is not listed for a.example" in found.text
    assert "p=none), so the message was delivered" in found.text
    assert "list it in the SPF record of a.example" in found.remedies[0]


def test_checks_that_passed_for_other_domains_only() -> None:
    said = (
        "spf=pass smtp.mailfrom=m.mailer.example; dkim=pass header.d=mailer.example; dmarc=fail header.from=a.example"
    )
    found = find(block(said))["not-aligned"]
    assert found.weight == "problem"
    assert "other domains (mailer.example)" in found.text
    for signer, word in (
        ("a-example.20230601.gappssmtp.com", "Google Workspace"),
        ("a.onmicrosoft.com", "Microsoft 365"),
    ):
        found = find(block(f"dkim=pass header.d={signer}; dmarc=fail header.from=a.example"))["not-aligned"]
        assert word in found.remedies[0]


@pytest.mark.parametrize(
    ("spf", "text"), [("none", "a.example has no SPF record"), ("permerror", "record of a.example could not be used")]
)
def test_a_failure_where_spf_has_no_answer(spf: str, text: str) -> None:
    said = f"spf={spf} smtp.mailfrom=a.example; dkim=none; dmarc=fail (p=NONE dis=NONE) header.from=a.example"
    found = find(block(said))["nothing-passed"]
    assert text in found.text
    assert found.weight == "problem"


@pytest.mark.parametrize(
    "word",
    [
        "neutral (body hash did not verify)",
        "hardfail (body hash did not verify [final])",
        "fail (body hash did not verify)",
    ],
)
def test_a_broken_signature_whatever_the_word(word: str) -> None:
    said = (
        f"dkim=pass header.d=list.example; dkim={word} header.d=a.example header.s=k; dmarc=fail header.from=a.example"
    )
    found = find(block(said))["broken-signature"]
    assert found.text == "The signature of a.example is broken: the body was changed after it was signed."
    assert "forged" not in show(block(said))


def test_a_neutral_that_is_no_damage() -> None:
    assert "broken-signature" not in find(block("dkim=neutral (no key) header.d=a.example; dmarc=fail"))


def test_a_broken_signature_beside_a_pass_is_a_note() -> None:
    said = (
        "dkim=pass header.d=a.onmicrosoft.com; dkim=neutral (body hash did not verify) header.d=a.example; "
        "spf=pass smtp.mailfrom=a.example; dmarc=pass header.from=a.example"
    )
    found = find(block(said))["broken-signature"]
    assert found.weight == "note"
    assert "once the message is forwarded, it fails" in found.text
    assert "broken-signature" not in find(block(said.replace("neutral", "pass")))


LIST = "List-Id: Talk <talk.lists.example>\r\nSender: talk-bounces@lists.example\r\n"
REFUSE = "dmarc=fail (p=REJECT sp=REJECT dis=NONE) header.from=a.example"
THROUGH = "spf=pass smtp.mailfrom=talk-bounces@lists.example; dkim=fail (body hash did not verify) header.d=a.example; "


def test_a_mailing_list_explains_the_failure() -> None:
    found = find(block(THROUGH + REFUSE, DIRECT, LIST, FROM))
    assert "so that the signature of a.example was broken" in found["mailing-list"].text
    assert found["policy-overridden"].weight == "note"
    assert found["policy-overridden"].remedies == ()
    assert "not-aligned" not in found


def test_a_newsletter_with_a_list_id_is_no_mailing_list() -> None:
    own = "List-Id: <news.a.example>\r\nList-Unsubscribe: <mailto:x@a.example>\r\n"
    said = "spf=fail smtp.mailfrom=news@a.example; dmarc=fail action=none header.from=a.example"
    assert "mailing-list" not in find(block(said, DIRECT, own, FROM, writer=""))


def test_arc_that_the_receiver_relied_on() -> None:
    chain = "arc=pass (i=1 spf=pass dkim=pass dkdomain=a.example dmarc=pass fromdomain=a.example); "
    found = find(block(chain + "dkim=fail header.d=a.example; " + REFUSE))
    assert found["policy-overridden"].weight == "note"
    assert "relied on ARC" in found["policy-overridden"].text
    assert "verified the chain" in found["arc"].text


@pytest.mark.parametrize(
    ("mark", "path"),
    [
        ("Resent-From: <carol@f.example>\r\n", "x@f.example"),
        ("X-Forwarded-For: carol@f.example bob@corp.example\r\n", "x@f.example"),
        ("", "SRS0=ab12=cd=a.example=ann@f.example"),
        ("", "carol+SRS=ab=cd=a.example=ann@f.example"),
        ("", "carol+caf_=bob=corp.example@f.example"),
    ],
)
def test_forwarding(mark: str, path: str) -> None:
    said = f'spf=pass smtp.mailfrom="{path}"; dkim=fail header.d=a.example; {REFUSE}'
    found = find(block(said, DIRECT, mark, FROM))
    assert "was forwarded" in found["forwarded"].text
    assert found["policy-overridden"].weight == "note"


def test_the_origin_is_never_an_inner_hop() -> None:
    way = (
        hop("gw.corp.example", "203.0.113.9", "mx.cloud.example", 9),
        hop("localhost", "127.0.0.1", "gw.corp.example", 7),
        hop("store.corp-inner.example", "10.1.1.1", "gw.corp.example", 6),
        hop("mail.a.example", "198.51.100.7", "store.corp-inner.example", 2),
    )
    found = find(
        block("spf=fail (sender IP is 203.0.113.9) smtp.mailfrom=a.example; dmarc=fail", *way, FROM, writer="")
    )
    text = found["second-spf-check"].text
    assert "had the message from 198.51.100.7 (mail.a.example)" in text
    assert "10.1.1.1" not in text


def test_a_message_that_only_inner_hops_have_seen_has_no_relay() -> None:
    way = (hop("a.corp.example", "203.0.113.9", "mx.corp.example", 3), hop("pc", "10.0.0.9", "a.corp.example", 1))
    assert "second-spf-check" not in find(block("spf=fail smtp.mailfrom=a.example", *way, FROM))


def test_a_known_filter_is_the_recipients() -> None:
    way = (
        hop("eu-smtp-delivery-1.mimecast.com", "207.82.80.1", "x.mail.protection.outlook.com", 3),
        hop("mail.a.example", "198.51.100.7", "relay.mimecast.com", 1),
    )
    said = "spf=fail (sender IP is 207.82.80.1) smtp.mailfrom=a.example; dmarc=fail action=none header.from=a.example"
    found = find(block(said, *way, FROM, writer=""))["second-spf-check"]
    assert "EFSkipIPs 207.82.80.1" in found.remedies[0]


def test_the_edge_that_had_judged_already() -> None:
    way = (
        hop("relay.big.example", "203.0.113.9", "x.mail.protection.outlook.com", 9),
        hop("edge.big-mail.example", "203.0.113.8", "relay.big.example", 5),
        "Authentication-Results: edge.big-mail.example; spf=Pass smtp.mailfrom=ann@a.example\r\n",
        hop("mail.a.example", "198.51.100.7", "edge.big-mail.example", 1),
    )
    said = "spf=softfail (sender IP is 203.0.113.9) smtp.mailfrom=a.example; dmarc=fail action=oreject"
    text = find(block(said, *way, FROM, writer=""))["second-spf-check"].text
    assert "from 198.51.100.7" in text
    assert "At the edge edge.big-mail.example had already found spf=pass" in text


def test_no_record_is_never_told_as_a_record_that_lacks_something() -> None:
    way = (
        hop("mx.f.example", "203.0.113.5", "mx.corp.example", 4),
        hop("mail.a.example", "198.51.100.7", "mx.f.example", 1),
    )
    said = "spf=none (sender IP is 203.0.113.5) smtp.mailfrom=a.example; dkim=pass header.d=f.example; dmarc=none"
    found = find(block(f"{said} header.from=a.example;compauth=fail reason=001", *way, FROM))
    assert "lacks it" not in " ".join(one.text for one in found.values())
    assert "a.example publishes no SPF and no DMARC record" in found["no-records"].text


def test_of_several_spf_results_that_of_mail_from_counts() -> None:
    said = f"spf=pass smtp.helo=mx.evil.example; spf=fail smtp.mailfrom=a.example; {REFUSE}"
    assert "SPF passed" not in show(block(said))
    assert summarise(read_headers(block(said).encode())).spf_aligned is False


@pytest.mark.parametrize(
    "comment",
    [
        "(google.com: 198.51.100.7 is neither permitted nor denied by best guess record for domain of x@a.example)",
        "(google.com: best guess record for domain of x@a.example designates 198.51.100.7 as permitted sender)",
        "(domain of transitioning a.example discourages use of 198.51.100.7 as permitted sender)",
        "(sender SPF authorized; client-ip=198.51.100.7)",
        "(sender IP is 198.51.100.7)",
    ],
)
def test_the_client_is_read_from_every_form(comment: str) -> None:
    reading = read_headers(block(f"spf=neutral {comment} smtp.mailfrom=x@a.example").encode())
    assert reading.judged[0].verdicts.client == "198.51.100.7"


def test_received_spf_alone() -> None:
    field = (
        "Received-SPF: SoftFail (mx.corp.example: domain of transitioning a.example does not designate 198.51.100.7 as "
        "permitted sender) client-ip=198.51.100.7; envelope-from=ann@a.example; helo=mail.a.example;\r\n"
    )
    found = find(field + FROM)["spf-fail"]
    assert "softfail for a.example, judged against 198.51.100.7" in found.text


def test_the_recipients_own_domain_in_the_hands_of_a_vendor() -> None:
    said = "spf=pass smtp.mailfrom=b.vendor.example; dkim=pass header.d=vendor.example; dmarc=none"
    said += " header.from=corp.example"
    text = block(f"{said};compauth=fail reason=601", DIRECT, FROM.replace("a.example", "corp.example"), writer="")
    found = find(text)["own-domain"]
    assert "but for vendor.example" in found.text
    assert "nothing authenticates it" not in found.text
    assert "DKIM key of corp.example" in found.remedies[0]


PLAIN = block(f"spf=pass smtp.mailfrom=b.example; {REFUSE}")
PASTES = {
    "quoted": "".join(f"> {line}\r\n" for line in PLAIN.split("\r\n")).encode(),
    "quoted twice": "".join(f">> {line}\r\n" for line in PLAIN.split("\r\n")).encode(),
    "blank lines": PLAIN.replace("\r\n", "\r\n\r\n").encode(),
    "indented": "".join(f"    {line}\r\n" for line in PLAIN.split("\r\n")).encode(),
    "utf-16": b"\xff\xfe" + PLAIN.encode("utf-16-le"),
    "utf-8 mark": b"\xef\xbb\xbf" + PLAIN.encode(),
    "one blank line within": PLAIN.replace("Received:", "\r\nReceived:", 1).encode(),
}


@pytest.mark.parametrize("octets", PASTES.values(), ids=PASTES)
def test_headers_as_they_are_pasted(octets: bytes) -> None:
    reading = read_headers(octets)
    assert len(reading.hops) == 1
    assert [one.kind for one in find_all(reading) if one.weight == "problem"] == ["policy-overridden"]


def test_a_body_after_the_blank_line_is_no_header() -> None:
    text = PLAIN + "\r\nReceived: from x by y; z\r\nSubject: one\r\nTo: two\r\n"
    assert len(read_headers(text.encode()).hops) == 1


FRAGMENTS = (
    *(
        "",
        "hello",
        PLAIN,
        "X-MS-Exchange-Message-Is-Ndr:\r\n" + FROM,
        "Content-Type: multipart/report; report-type=x\r\n",
    ),
    *(octets.decode("utf-8", "replace") for octets in (PASTES["quoted"], PASTES["blank lines"], PASTES["indented"])),
    block("spf=none smtp.mailfrom=a.example; dmarc=none header.from=a.example"),
    block("spf=neutral smtp.mailfrom=a.example; dmarc=none header.from=a.example"),
    block("spf=fail smtp.mailfrom=a.example; dkim=fail header.d=a.example; dmarc=fail header.from=a.example"),
    block("spf=fail (sender IP is 192.0.2.1) smtp.mailfrom=a.example", FROM),
    block("dmarc=temperror"),
    block("spf=none smtp.mailfrom=a.example; dmarc=fail header.from=a.example"),
    block("spf=permerror smtp.mailfrom=a.example; dmarc=fail header.from=a.example"),
    block("dkim=permerror (no key for signature) header.d=a.example header.s=k1; dmarc=fail header.from=a.example"),
    block("dmarc=bestguesspass action=none header.from=a.example"),
    block(THROUGH + REFUSE, DIRECT, LIST, FROM),
    block(THROUGH + "dmarc=pass header.from=a.example"),
    block("spf=fail smtp.mailfrom=a.example; dmarc=fail action=oreject"),
    block("dmarc=fail (p=REJECT dis=NONE)", DIRECT, "X-Forwarded-To: x@y.example\r\n", FROM),
    block("spf=pass smtp.mailfrom=SRS0=a=b@c.example; dmarc=fail", DIRECT, "X-Forwarded-For: x\r\n", FROM),
    block("spf=pass smtp.mailfrom=SRS0=a=b@c.example; dmarc=fail"),
    block("dmarc=fail", DIRECT, "Resent-From: x@y.example\r\n", FROM),
    block("compauth=pass reason=130"),
    block("dmarc=fail action=oreject", DIRECT, FROM.replace("a.example", "corp.example")),
)


def relays() -> list[str]:
    said = "spf=fail (sender IP is 203.0.113.9) smtp.mailfrom=a.example; "
    found = []
    for judge, by in (("x.mail.protection.outlook.com", "corp"), ("mx.google.com", "corp"), ("mx.q.example", "corp")):
        way = (
            hop(f"r.{by}.example", "203.0.113.9", judge, 5),
            hop("m.a.example", "198.51.100.7", f"r.{by}.example", 1),
        )
        found.append(block(f"{said}dmarc=fail action=oreject", *way, FROM))
    own = (hop("r.q.example", "203.0.113.9", "s.q.example", 5), hop("m.a.example", "198.51.100.7", "r.q.example", 1))
    found.append(block(f"{said}dmarc=fail action=oreject", *own, FROM))
    other = (
        hop("r.q.example", "203.0.113.9", "mx.corp.example", 5),
        hop("m.a.example", "198.51.100.7", "r.q.example", 1),
    )
    found += [
        block(f"spf={word} smtp.mailfrom=a.example; dmarc=fail action=oreject", *other, FROM)
        for word in ("fail", "permerror")
    ]
    return found


def microsoft() -> list[str]:
    found = [
        f"X-Forefront-Antispam-Report: CIP:192.0.2.1;SFV:{verdict};\r\n" + FROM for verdict in texts.FILTER_VERDICTS
    ]
    found += [f"X-Forefront-Antispam-Report: CAT:{word};SCL:5;\r\n" + FROM for word in texts.CATEGORIES]
    found += [f"X-Microsoft-Antispam-Mailbox-Delivery: OFR:{word};\r\n" + FROM for word in texts.FOLDER_RULES]
    found += [f"X-MS-Exchange-Organization-AuthAs: {word}\r\n" + FROM for word in texts.AUTH_AS]
    found += [f"X-MS-Exchange-Organization-SCL: {level}\r\n" + FROM for level in texts.SCL]
    found += [f"X-Microsoft-Antispam: BCL:{level};PCL:{level};\r\n" + FROM for level in (*texts.BCL, *texts.PCL)]
    found += [block(f"compauth=none reason={code}") for code in texts.REASONS]
    found += [block(f"dmarc=fail action={word} header.from=a.example") for word in texts.ACTIONS]
    found.append("X-MS-Exchange-SkipListedInternetSender: ip=[198.51.100.7];x\r\n" + FROM)
    return found


def test_every_sentence_is_said() -> None:
    seal = "ARC-Seal: i=1; cv={}; d=s.example; s=x; b=y\r\n"
    sealed = "ARC-Authentication-Results: i=1; s.example; dkim=pass header.d=a.example\r\n" + seal.format("none")
    late = hop("mx.corp.example", "10.0.0.1", "store.corp.example").replace("10:00", "11:00")
    early = hop("mx.corp.example", "10.0.0.1", "store.corp.example").replace("10:00", "09:00")
    cases: list[str] = [
        block("spf=pass smtp.mailfrom=a.example; dmarc=pass header.from=a.example"),
        block("dmarc=fail", DIRECT, SIGNED.format("a.example"), FROM),
        *(*FRAGMENTS, *relays(), *microsoft(), late + DIRECT + FROM, early + DIRECT + FROM),
        hop("m.a.example", "198.51.100.7", "mx.corp.example", kind="ESMTP") + FROM,
        sealed + block("dkim=fail (bad) header.d=a.example; arc=pass; dmarc=fail (p=REJECT dis=NONE)"),
        seal.format("fail") + FROM,
        "Received-SPF: Fail (x) client-ip=192.0.2.1; envelope-from=a@a.example\r\n" + FROM,
        block(
            "spf=fail (sender IP is 203.0.113.9) smtp.mailfrom=a.example; dmarc=fail",
            hop("relay.big.example", "203.0.113.9", "x.mail.protection.outlook.com", 9),
            "Authentication-Results: edge.example; spf=pass smtp.mailfrom=ann@a.example\r\n",
            hop("mail.a.example", "198.51.100.7", "relay.big.example", 1),
            FROM,
            writer="",
        ),
        block("spf=none smtp.mailfrom=a.example; dkim=pass header.d=f.example; dmarc=none header.from=a.example"),
        block(
            "spf=pass smtp.mailfrom=v.example; dmarc=none; compauth=fail reason=601",
            DIRECT,
            FROM.replace("a.ex", "corp.ex"),
        ),
        block(
            "spf=none; dmarc=fail",
            hop("x.example", "192.0.2.9", "y.mail.protection.outlook.com"),
            FROM.replace("a.ex", "corp.ex"),
        ),
        *(
            block(f"dkim=pass header.d={d}; dmarc=fail (p=none) header.from=a.example")
            for d in ("b.example", "x.gappssmtp.com", "x.onmicrosoft.com")
        ),
        "Received-SPF: fail client-ip=192.0.2.1; helo=x.example\r\n" + block("spf=fail (sender IP is 192.0.2.1)", FROM),
    ]
    cases += [
        block("dkim=pass; spf=pass; dmarc=fail header.from=a.example"),
        block("arc=pass; dkim=fail header.d=a.example; dmarc=fail header.from=a.example"),
        "Received: by mx.corp.example with HTTP id 1; Sat, 21 Nov 2026 12:00:00 +0000\r\n" + block("spf=none"),
    ]
    said = [show(case) for case in cases]
    said += [show(bytes.fromhex("d0cf11e0a1b11ae1") + bytes(500)), show(PASTES["utf-16"])]
    said += [finding.text for case in cases for finding in find(case).values()]
    missing = unsaid(texts, *said)
    assert not missing, " ".join(missing)
