"""The refusing and the refused party, whether the failure is final, and that no reply is shown that nobody gave."""

from __future__ import annotations

import pytest
from rich.console import Console

from gateway.diagnosis.bounce import Bounce, Bounced, bounce_json, read_handed, read_reply, render_bounce
from gateway.mail.dsn import DsnAction, Notice, compose
from gateway.mail.refusal import Cause, Provider
from gateway.model.reply import REPLIES
from gateway.model.value import replace
from gateway.tools.results import Newlines
from tests.support.bounces import GMAIL_DMARC, exim, gmail, plain, report
from tests.unit.mail.test_dsn import BOB, make_report

EXO = "AM9PR05MB7777.eurprd05.prod.outlook.com"
OUTLOOK = "corp-example.mail.protection.outlook.com"

AT_HOST = "host mx.corp.example [192.0.2.9]\n    SMTP error from remote mail server "


def read(text: str) -> Bounce:
    bounce = read_handed(text.replace("\n", "\r\n").encode())
    assert isinstance(bounce, Bounce)
    return bounce


def only(text: str) -> Bounced:
    [row] = read(text).recipients
    return row


def show(bounce: Bounce) -> str:
    console = Console(width=100, soft_wrap=True, highlight=False)
    with console.capture() as shown:
        console.print(render_bounce(bounce, Newlines.CRLF))
    return shown.get()


RELAYED = {
    # reporter, remote, diagnostic -> the provider that wrapped the reply, the one that refused, its host
    "Exchange Online at Google": (
        *(EXO, "mx.google.com", f"550 5.7.23 Sender Policy Framework violation -> {GMAIL_DMARC}"),
        *(Provider.MICROSOFT, Provider.GOOGLE, "mx.google.com"),
    ),
    "Exchange Online at another": (
        *(EXO, "mx.corp.example", "550 5.7.350 Remote server returned message detected as spam -> 554 5.7.1 spam"),
        *(Provider.MICROSOFT, Provider.OTHER, "mx.corp.example"),
    ),
    "Exchange Online, no remote named": (
        *(EXO, "", "550 5.0.350 Remote server returned an error -> 550 5.1.1 User unknown"),
        *(Provider.MICROSOFT, Provider.OTHER, ""),
    ),
    "Exchange Online at Mimecast": (
        *(EXO, "us-smtp-inbound-1.mimecast.com", "550 5.0.350 Remote server -> 550 Invalid Recipient mimecast"),
        *(Provider.MICROSOFT, Provider.MIMECAST, "us-smtp-inbound-1.mimecast.com"),
    ),
    "Exchange Online at another tenant": (
        *(EXO, OUTLOOK, "550 5.0.350 Remote server -> 550 5.4.1 Access denied [AM5.prod.protection.outlook.com]"),
        *(Provider.MICROSOFT, Provider.MICROSOFT, ""),
    ),
    "Postfix at Exchange Online before Google": (
        *("out.author.example", OUTLOOK, f"550 5.7.23 Sender Policy Framework violation -> {GMAIL_DMARC}"),
        *(Provider.MICROSOFT, Provider.GOOGLE, ""),
    ),
    "Gmail at Exchange Online before another": (
        *("googlemail.com", OUTLOOK, "550 5.0.350 Remote server returned an error -> 550 5.1.1 User unknown"),
        *(Provider.MICROSOFT, Provider.OTHER, ""),
    ),
    "Postfix at a filter before another": (
        *("out.author.example", "mx.corp.example"),
        "550 5.1.1 undeliverable: host in.corp.example[10.0.0.1] said: 550 5.2.2 full",
        *(Provider.OTHER, Provider.OTHER, "in.corp.example"),
    ),
}


@pytest.mark.parametrize(("reporter", "remote", "said", "relay", "provider", "refuser"), RELAYED.values(), ids=RELAYED)
def test_the_relay_is_the_one_that_wrapped(
    reporter: str, remote: str, said: str, relay: Provider, provider: Provider, refuser: str
) -> None:
    refusal = only(report(reporter, "5.0.0", said, remote)).refusal
    assert refusal is not None
    assert (refusal.relay, refusal.provider, refusal.refuser) == (relay, provider, refuser)


def test_a_provider_never_refuses_what_it_handed_on_itself() -> None:
    for reporter, remote, said, *_ in RELAYED.values():
        line = show(read(report(reporter, "5.0.0", said, remote))).splitlines()[3]
        who, _, whom = line.strip().removesuffix(" handed on.").partition(" refused what ")
        assert who.split(" ")[0] != whom


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            report("out.author.example", "5.1.1", "550 5.1.1 User unknown", "mx.corp.example"),
            "mx.corp.example refused what out.author.example handed on.",
        ),
        (
            report("out.author.example", "4.2.0", "450 4.2.0 Greylisted", "mx.corp.example", action="delayed"),
            "mx.corp.example did not take what out.author.example handed on, for now.",
        ),
        (report(EXO, "5.7.520", "550 5.7.520 Access denied"), f"Microsoft ({EXO}) refused the message itself."),
        (
            report("out.author.example", "5.1.1", "550 5.1.1 User unknown"),
            "out.author.example quotes this reply and does not say whose it is.",
        ),
        (
            exim("Unrouteable address"),
            "out.author.example gave this reason itself: no reply of another server is quoted.",
        ),
        (
            "Your message could not be delivered.\nbob@corp.example\nUnrouteable address\n",
            "The server that wrote this gave the reason itself: no reply of another server is quoted.",
        ),
        (
            report("out.author.example", "5.0.0", "550 5.1.1 x -> 550 5.2.2 Mailbox full", "mx.corp.example"),
            "The next server refused what a server between handed on.",
        ),
        (
            exim(f"{AT_HOST}after initial connection:\n    550 no"),
            "mx.corp.example refused what out.author.example handed on.",
        ),
    ],
)
def test_the_sentence(text: str, line: str) -> None:
    assert show(read(text)).splitlines()[3].strip() == line


@pytest.mark.parametrize(
    ("reply", "line"),
    [
        ("550 5.1.1 no such user", "The reply does not say which server gave it."),
        ("550 5.1.1 no such user x - gsmtp", "Google refused the message."),
        ("421 4.7.0 IP not in whitelist for RCPT domain x - gsmtp", "Google did not take the message, for now."),
    ],
)
def test_the_sentence_on_a_reply_alone(reply: str, line: str) -> None:
    assert show(read_reply(reply)).splitlines()[3].strip() == line


NO_REPLY = {
    "gmail": plain(
        "Mail Delivery Subsystem <mailer-daemon@googlemail.com>",
        "Delivery Status Notification (Failure)",
        "Delivery to the following recipient failed permanently:\n\n     bob@corp.example\n\nTechnical details "
        "of permanent "
        "failure:\nThe recipient server did not accept our requests to connect. [mx.corp.example 192.0.2.9: "
        "timed out]\n",
        "X-Failed-Recipients: bob@corp.example\n",
    ),
    "exim, hosts": exim("all hosts have been failing for a long time and were last tried after this message arrived"),
    "exim, time": exim("retry timeout exceeded"),
    "postfix": report("out.author.example", "4.4.1", "X-Postfix; connect to mx.corp.example[192.0.2.9]:25: timed out"),
    "own words in the form of a reply": report(
        "gw.author.example",
        "4.4.7",
        "451 4.4.1 mx.corp.example: refused",
        prose="The reason:\n451 4.4.1 mx.corp.example: refused",
    ).replace("smtp; 451", "x-waypost; 451"),
    "no words at all": report("out.author.example", "5.0.0", ""),
}


@pytest.mark.parametrize("text", NO_REPLY.values(), ids=NO_REPLY)
def test_no_reply_is_invented(text: str) -> None:
    bounce = read(text)
    tree = bounce_json(bounce, Newlines.CRLF)
    assert isinstance(tree["recipients"], list)
    assert isinstance(tree["recipients"][0], dict)
    assert isinstance(tree["recipients"][0]["refusal"], dict)
    assert tree["recipients"][0]["refusal"]["reply"] is None
    assert tree["recipients"][0]["refusal"]["layers"] == []
    assert "The reply:" not in show(bounce)
    assert "550" not in show(bounce)


EXIM_WARNING = plain(
    "Mail Delivery System <Mailer-Daemon@out.author.example>",
    "Warning: message 1kAbCd-0001Ab-Xy delayed 24 hours",
    "This message was created automatically by mail delivery software.\nA message that you sent has not yet "
    "been delivered to "
    "one or more of its\nrecipients after more than 24 hours on the queue on out.author.example.\n\nThe address "
    "to which the "
    "message has not yet been delivered is:\n\n  bob@corp.example\n    host mx.corp.example [192.0.2.9]\n    "
    "Delay reason: SMTP "
    "error from remote mail server after end of data:\n    451 4.3.0 Temporary trouble\n\nNo action is required "
    "on your part. "
    "Delivery attempts will continue for\nsome time.\n",
    "X-Failed-Recipients: bob@corp.example\n",
)
FAILED = "Action: failed\n"
ACTIONS = {
    "Exim's warning": (EXIM_WARNING, "delayed", Cause.SERVER_TROUBLE),
    "Exchange delays": (
        report("mail.author.example", "4.4.7", "400 4.4.7 Message delayed", action="delayed"),
        *("delayed", Cause.DELAYED),
    ),
    "Exchange gives up": (
        report("mail.author.example", "4.4.7", "550 4.4.7 QUEUE.Expired; message expired"),
        *("failed", Cause.EXPIRED),
    ),
    "this gateway gives up": (
        report("gw.author.example", "4.4.7", "451 4.3.0 Temporary trouble", "mx.corp.example"),
        *("failed", Cause.SERVER_TROUBLE),
    ),
    "4.4.7 without an action, in a final report": (
        report("out.author.example", "4.4.7", "450 4.2.0 Greylisted", "mx.corp.example").replace(FAILED, ""),
        *("failed", Cause.GREYLISTED),
    ),
    "4.4.7 without an action, in a warning": (
        report("x.example", "4.4.7", "450 4.2.0 Greylisted", prose="Delayed: it will be retried.").replace(FAILED, ""),
        *("delayed", Cause.GREYLISTED),
    ),
    "Gmail delays": (
        gmail("421 4.3.0 Temporary trouble", "4.3.0", "mx.corp.example").replace(FAILED, "Action: delayed\n"),
        *("delayed", Cause.SERVER_TROUBLE),
    ),
    "delivered": (report("out.author.example", "2.0.0", "250 ok", action="delivered"), "delivered", None),
}


@pytest.mark.parametrize(("text", "action", "cause"), ACTIONS.values(), ids=ACTIONS)
def test_what_became_of_it(text: str, action: str, cause: Cause | None) -> None:
    row = only(text)
    assert (row.action, row.refusal.cause if row.refusal else None) == (action, cause)
    again = "Nothing yet: the message is tried again by itself." in show(read(text))
    assert again == (action == "delayed")


def test_a_reply_ends_where_the_text_goes_on() -> None:
    refusal = only(EXIM_WARNING).refusal
    assert refusal is not None
    assert refusal.quote == "451 4.3.0 Temporary trouble"


def test_that_the_time_was_over_is_told_beside_the_cause() -> None:
    told = "until the time limit of the queue was over"
    assert told in show(read(ACTIONS["this gateway gives up"][0]))
    assert told not in show(read(ACTIONS["Exchange gives up"][0]))
    assert told not in show(read(ACTIONS["Exchange delays"][0]))


@pytest.mark.parametrize(
    ("said", "note"),
    [
        ("550 5.7.515 no. Spf= Pass , Dkim= Fail , DMARC= Pass", "it is DKIM that failed; SPF and DMARC passed."),
        ("550 DKIM = did not pass SPF [a.example] with ip: [192.0.2.1] = did not pass", "DKIM and SPF failed."),
    ],
)
def test_the_check_that_failed_is_named(said: str, note: str) -> None:
    assert note in show(read(report("out.author.example", "5.7.1", said, "mx.corp.example")))


def test_a_reply_to_mail_is_about_the_sender() -> None:
    """The same words refer to another address in the reply to another command."""
    causes = {"MAIL FROM": Cause.SENDER_UNKNOWN, "RCPT TO": Cause.NO_SUCH_DOMAIN, "HELO": Cause.HELO}
    for command, cause in causes.items():
        refusal = only(exim(f"{AT_HOST}after {command}:<x@a.example>: 550 unknown domain")).refusal
        assert refusal is not None
        assert refusal.cause is cause


def test_what_an_administrator_of_this_gateway_returned_was_refused_by_nobody() -> None:
    reply = replace(REPLIES["returned-by-admin"], text="Bob has left")
    octets = compose(make_report(Notice(BOB, DsnAction.FAILED, reply, ""))).decode().replace("\r\n", "\n")
    found = only(octets).refusal
    assert found is not None
    assert (found.cause, found.refuser) == (Cause.ADMINISTRATOR, "")
    # Other servers' words are read as their own, whatever the field says.
    other = only(octets.replace("x-waypost; 550", "smtp; 550")).refusal
    assert other is not None
    assert other.cause is Cause.POLICY
