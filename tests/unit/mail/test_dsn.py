"""Delivery status notifications: golden files, a reader's results, and their safety under any input."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage, Message
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.dsn import DsnAction, Notice, Report, compose
from gateway.model.envelope import Mailbox, Recipient
from gateway.model.reply import REPLIES, Reply
from gateway.model.value import replace

GOLDEN = Path(__file__).parent / "golden"
HEADER = b"Received: from a by b\r\nFrom: alice@sender.example\r\nSubject: Plans\r\n\tfor May\r\nMessage-ID: <1@x>\r\n"
ARRIVED = 1_800_000_000.0

BOB = Recipient(Mailbox("bob", "corp.example", "corp.example"), orcpt="rfc822;bob+2Bold@corp.example")
ANN = Recipient(Mailbox("ann", "corp.example", "corp.example"))
WIDE = Recipient(
    Mailbox("jörg", "bücher.example", "xn--bcher-kva.example"), orcpt="utf-8;j\\x{F6}rg@b\\x{FC}cher.example"
)

UNKNOWN = Reply.received(550, "5.1.1 <bob@corp.example>: Recipient address rejected: User unknown")
MICROSOFT = Reply.received(
    550,
    "5.7.23 The message was rejected because of Sender Policy Framework violation -> 550 5.7.23\n"
    "5.7.23 SPF check failed: add include:spf.protection.outlook.com to the record of sender.example",
)
NESTED = Reply.received(
    550,
    "5.7.23 The message was rejected because of Sender Policy Framework violation -> 550 5.7.1 Unauthenticated email "
    "from sender.example is not accepted due to domain's DMARC policy. Please contact the administrator of "
    "sender.example domain if this was a legitimate mail. a1-20020a05600c4f0100b003c6si123456wmq.1 - gsmtp",
)
LISTED = Reply.received(550, "5.7.606 Access denied, banned sending IP [192.0.2.7]. To request removal, see the page")
VERDICTS = ("SPF: pass for sender.example", "DKIM: pass for sender.example", "DMARC: pass for sender.example")
REFUSED = Reply(451, "4.1", "mx1.corp.example [192.0.2.25]: Connection refused (greeting)")


def make_report(
    *notices: Notice,
    header: bytes = HEADER,
    envid: str = "",
    return_path: Mailbox | None = None,
    verdicts: tuple[str, ...] = (),
) -> Report:
    return Report(
        id="0k2dsn",
        hostname="gw.example",
        return_path=return_path or Mailbox("alice", "sender.example", "sender.example"),
        message_id="0k1msg",
        envid=envid,
        arrived=ARRIVED,
        composed=ARRIVED + 15000,
        retried_until=ARRIVED + 432000,
        header=header,
        notices=notices,
        verdicts=verdicts,
    )


CASES = {
    "failed": make_report(Notice(BOB, DsnAction.FAILED, UNKNOWN, "mx1.corp.example"), envid="QQ+2B314159"),
    "delayed": make_report(Notice(ANN, DsnAction.DELAYED, REFUSED, "")),
    "expired": make_report(
        Notice(BOB, DsnAction.FAILED, REFUSED, "", expired=True),
        Notice(ANN, DsnAction.DELAYED, Reply(451, "7.1", "Wait"), "mx2.corp.example"),
    ),
    "spf": make_report(Notice(BOB, DsnAction.FAILED, MICROSOFT, "corp-example.mail.protection.outlook.com")),
    "nested": make_report(
        Notice(BOB, DsnAction.FAILED, NESTED, "corp-example.mail.protection.outlook.com", expired=True, ours=True),
        verdicts=VERDICTS,
    ),
    "ours": make_report(
        Notice(BOB, DsnAction.FAILED, LISTED, "corp-example.mail.protection.outlook.com", expired=True, ours=True),
        Notice(ANN, DsnAction.DELAYED, LISTED, "corp-example.mail.protection.outlook.com", ours=True),
        verdicts=VERDICTS,
    ),
    "relayed": make_report(
        Notice(BOB, DsnAction.RELAYED, Reply(250, "0.0", "Queued as 4cX"), "mx1.corp.example"), verdicts=VERDICTS
    ),
    "utf8": make_report(
        Notice(WIDE, DsnAction.FAILED, Reply(553, "6.7", "Kein Empfänger"), "mx1.corp.example"),
        header="Subject: Grüße\r\n".encode() + HEADER,
        return_path=Mailbox("jörg", "sender.example", "sender.example"),
    ),
}


def parts_of(octets: bytes) -> tuple[EmailMessage, list[Message], Message]:
    """The whole, the blocks of its delivery-status part, and the returned header."""
    message = email.message_from_bytes(octets, policy=email.policy.SMTP)
    text, status, header = message.get_payload()  # type: ignore[misc]
    assert [part.get_content_type() for part in (text, status, header)] == [
        "text/plain",
        "message/delivery-status",
        "text/rfc822-headers",
    ]
    return message, status.get_payload(), header


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    assert compose(CASES[name]) == (GOLDEN / f"{name}.eml").read_bytes()


@pytest.mark.parametrize("name", CASES)
def test_form(name: str) -> None:
    octets = compose(CASES[name])
    assert octets.isascii()
    assert octets.replace(b"\r\n", b"").count(b"\r") == octets.replace(b"\r\n", b"").count(b"\n") == 0
    assert octets.endswith(b"\r\n")
    assert max(map(len, octets.split(b"\r\n"))) < 998
    message, _, _ = parts_of(octets)
    assert message["Auto-Submitted"] == "auto-replied"
    assert message.get_param("report-type") == "delivery-status"
    assert not message.defects


WHOLE = HEADER + b"\r\n--=_their boundary\r\nThe text.\r\n"


def test_the_whole_message_is_returned_where_it_is_wanted() -> None:
    octets = compose(replace(CASES["failed"], content=WHOLE))
    message = email.message_from_bytes(octets, policy=email.policy.SMTP)
    returned = message.get_payload()[2]  # type: ignore[index]
    assert returned.get_content_type() == "message/rfc822"  # type: ignore[union-attr]
    assert b"Content-Type: message/rfc822\r\n\r\n" + WHOLE + b"\r\n--=_" in octets


@pytest.mark.parametrize(
    "content",
    [
        HEADER + b"\r\n" + "Grüße\r\n".encode(),
        HEADER + b"\r\n" + b"x" * 999 + b"\r\n",
        HEADER + b"\r\n--=_" + CASES["failed"].id.encode() + b"_--\r\n",
        HEADER + b"\r\n" + b"A line.\r\n" * 10_000,
        HEADER + b"\r\na bare\nnewline\r\n",
    ],
    ids=["beyond ASCII", "a long line", "our boundary", "large", "bare newline"],
)
def test_what_a_part_cannot_hold_is_returned_as_its_header(content: bytes) -> None:
    assert compose(replace(CASES["failed"], content=content)) == compose(CASES["failed"])


def test_fields_of_a_failure() -> None:
    _, (whole, bob), header = parts_of(compose(CASES["failed"]))
    assert whole["Reporting-MTA"] == "dns; gw.example"
    assert whole["Original-Envelope-Id"] == "QQ+314159"
    assert whole["Arrival-Date"] == "Fri, 15 Jan 2027 08:00:00 +0000"
    assert bob["Original-Recipient"] == "rfc822; bob+old@corp.example"
    assert bob["Final-Recipient"] == "rfc822; bob@corp.example"
    assert (bob["Action"], bob["Status"], bob["Remote-MTA"]) == (DsnAction.FAILED, "5.1.1", "dns; mx1.corp.example")
    assert bob["Diagnostic-Code"].replace("\r\n", "") == f"smtp; {UNKNOWN}"
    assert header.get_payload() == HEADER.decode()


def test_only_what_a_server_said_is_its_diagnostic() -> None:
    _, (_, ann), _ = parts_of(compose(CASES["delayed"]))
    assert ann["Remote-MTA"] is None
    assert ann["Diagnostic-Code"].startswith("x-waypost; 451 4.4.1 mx1.corp.example")
    assert (ann["Action"], ann["Status"]) == (DsnAction.DELAYED, "4.4.1")
    assert ann["Will-Retry-Until"] == "Wed, 20 Jan 2027 08:00:00 +0000"


def test_expiry_has_a_status_of_its_own() -> None:
    _, (_, bob, ann), _ = parts_of(compose(CASES["expired"]))
    assert (bob["Action"], bob["Status"]) == (DsnAction.FAILED, "4.4.7")
    assert (ann["Action"], ann["Status"]) == (DsnAction.DELAYED, "4.7.1")


def test_permanent_reply_that_is_tried_again_is_no_failure_yet() -> None:
    _, (_, ann), _ = parts_of(compose(make_report(Notice(ANN, DsnAction.DELAYED, Reply(554, "7.1", "no"), "mx"))))
    assert (ann["Action"], ann["Status"]) == (DsnAction.DELAYED, "4.7.1")


def test_reply_without_enhanced_code() -> None:
    _, (_, ann), _ = parts_of(compose(make_report(Notice(ANN, DsnAction.FAILED, Reply(550, "", "no"), "mx"))))
    assert (ann["Status"], ann["Diagnostic-Code"]) == ("5.0.0", "smtp; 550 no")


def test_wide_addresses_and_header_are_written_in_ascii() -> None:
    message, (_, wide), header = parts_of(compose(CASES["utf8"]))
    assert message["To"] == "undisclosed-recipients:;"
    assert wide["Final-Recipient"] == "utf-8; j\\x{F6}rg@b\\x{FC}cher.example"
    assert wide["Original-Recipient"] == "utf-8; j\\x{F6}rg@b\\x{FC}cher.example"
    assert header.get_payload(decode=True).decode() == "Subject: Grüße\r\n" + HEADER.decode()


def test_sender_is_told_to_leave_spf_alone() -> None:
    text = compose(CASES["spf"]).split(b"--=_")[1]
    assert b"include:spf.protection.outlook.com" in text, "the reply is quoted whole"
    assert b"Do not change your SPF record" in text
    assert b"SPF" not in compose(CASES["failed"])


def text_of(name: str) -> str:
    return " ".join(compose(CASES[name]).decode().split("--=_")[1].split())


def test_incident_1_names_the_true_cause() -> None:
    """Microsoft's wrapping says SPF, Google's reply inside says DMARC; the sender can fix neither."""
    text = text_of("nested")
    assert "DMARC policy" in text, "the reply is quoted whole"
    assert "It was refused by a check of DMARC." in text
    assert "passes on what a server of Google behind it had answered" in text
    assert "Do not change your SPF record" in text
    assert "DMARC: pass for sender.example" in text
    for advice in ("add include", "update your SPF", "Publish"):
        assert advice not in text
    _, (_, bob), _ = parts_of(compose(CASES["nested"]))
    assert bob["X-Waypost-Cause"] == "dmarc"


def test_what_is_our_fault_is_not_the_sender_s() -> None:
    text = text_of("ours")
    assert text.count("It is nothing that you did: the recipient's organisation has to mend it.") == 2
    assert "SPF record" not in text
    assert "ask for removal" not in text, "that is for the administrator"
    _, (_, bob, ann), _ = parts_of(compose(CASES["ours"]))
    assert (bob["Status"], ann["Status"], bob["X-Waypost-Cause"]) == ("4.4.7", "4.7.606", "address-listed")


def test_a_message_that_an_administrator_returned_was_refused_by_nobody() -> None:
    reply = replace(REPLIES["returned-by-admin"], text="Bob has left")
    octets = compose(make_report(Notice(BOB, DsnAction.FAILED, reply, "")))
    text = " ".join(parts_of(octets)[0].get_payload(0).get_payload().split())
    assert "An administrator of this mail gateway returned the message." in text
    assert "The recipient's server did not refuse it." in text
    assert "Bob has left" in text
    assert "was refused" not in text
    _, (_, bob), _ = parts_of(octets)
    assert bob["X-Waypost-Cause"] == "administrator"
    assert bob["Remote-MTA"] is None


def test_relayed_says_what_is_not_known() -> None:
    message, (_, bob), _ = parts_of(compose(CASES["relayed"]))
    assert message["Subject"] == "Message handed on"
    assert (bob["Action"], bob["Status"], bob["Remote-MTA"]) == ("relayed", "2.0.0", "dns; mx1.corp.example")
    assert bob["X-Waypost-Cause"] is None
    assert "not of the arrival in the mailbox" in text_of("relayed")


def test_long_reply_is_folded_and_bounded() -> None:
    octets = compose(make_report(Notice(ANN, DsnAction.FAILED, Reply(550, "7.1", "word " * 100 + "x" * 5000), "mx")))
    assert max(map(len, octets.split(b"\r\n"))) < 998
    assert octets.count(b"x" * 100) > 5
    assert len(octets) < 10_000


@pytest.mark.parametrize(
    "header",
    [
        b"Subject: x\r\n" + b"X: " + b"y" * 2000 + b"\r\n",
        b"Subject: a\rb\nc\0\r\n",
        b"--=_0k2dsn_\r\n\r\n",
        "Subject: Grüße =\r\nX: \xa0\xff \r\n".encode("latin-1"),
        b"",
        b"Subject: x",
    ],
)
def test_any_header_comes_back(header: bytes) -> None:
    octets = compose(make_report(Notice(ANN, DsnAction.FAILED, UNKNOWN, "mx"), header=header))
    assert octets.isascii()
    assert max(map(len, octets.split(b"\r\n"))) < 998
    _, _, part = parts_of(octets)
    assert part.get_payload(decode=True) in (header, header.removesuffix(b"\r\n"))


def test_huge_header_is_cut_at_a_line() -> None:
    header = b"".join(b"X-%05d: some value\r\n" % number for number in range(20_000))
    _, _, part = parts_of(compose(make_report(Notice(ANN, DsnAction.FAILED, UNKNOWN, "mx"), header=header)))
    returned = part.get_payload(decode=True)
    assert 60_000 < len(returned) <= 65_536
    assert header.startswith(returned)
    assert returned.endswith(b"\r\n")


EVIL = st.text(st.sampled_from("a \r\n\t:;<>@\\+0D\x00é\udcff-=_,\u2028"), max_size=60)


@given(EVIL, EVIL, EVIL, EVIL, EVIL)
def test_nothing_can_add_a_field_or_a_part(reply: str, orcpt: str, envid: str, remote: str, local: str) -> None:
    """A report made of any strings has the structure of its notices, in ASCII lines."""
    notice = Notice(
        Recipient(replace(BOB.mailbox, local=local), orcpt=orcpt), DsnAction.FAILED, Reply(550, "7.1", reply), remote
    )
    octets = compose(make_report(notice, envid=envid))
    assert octets.isascii()
    assert octets.replace(b"\r\n", b"").count(b"\r") == octets.replace(b"\r\n", b"").count(b"\n") == 0
    status = octets.split(b"--=_0k2dsn_")[2].partition(b"\r\n\r\n")[2]
    assert octets.count(b"--=_0k2dsn_") == 4
    names = [line.split(b":")[0] for line in status.split(b"\r\n") if line and not line.startswith(b" ")]
    allowed = [b"Original-Envelope-Id", b"Original-Recipient", b"Remote-MTA"]
    assert [name for name in names if name not in allowed] == [
        b"Reporting-MTA",
        b"Arrival-Date",
        b"X-Waypost-Id",
        b"Final-Recipient",
        b"Action",
        b"Status",
        b"Diagnostic-Code",
        b"Last-Attempt-Date",
        b"X-Waypost-Cause",
    ]
    assert status.count(b"\r\n\r\n") == 2
