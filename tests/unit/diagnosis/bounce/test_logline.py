"""Log lines of each server: the recipient, the result, the server, and the reason."""

from __future__ import annotations

import pytest

from gateway.diagnosis.bounce import Bounced, read_handed, read_reply
from gateway.diagnosis.bounce.logline import read_log
from gateway.mail.refusal import Cause

POSTFIX = "Nov 21 10:00:00 out postfix/smtp[4242]: 4ABC: to=<bob@corp.example>, "
EXCHANGE = "2026-11-21T10:00:00.000Z,,,,out,,,SMTP,{event},77,<1@author.example>,bob@corp.example,{said},4096,1,,,hello"
LINES = {
    "postfix bounced": (
        f"{POSTFIX}relay=mx.corp.example[192.0.2.9]:25, delay=2, delays=1/0/0/1, dsn=5.1.1, status=bounced (host "
        "mx.corp.example[192.0.2.9] said: 550 5.1.1 <bob@corp.example>: User unknown (in reply to RCPT TO command))",
        *("failed", "mx.corp.example", Cause.UNKNOWN_RECIPIENT, "550 5.1.1 "),
    ),
    "postfix deferred": (
        f"{POSTFIX}relay=mx.corp.example[192.0.2.9]:25, delay=2, dsn=4.2.0, status=deferred (host "
        "mx.corp.example[192.0.2.9] said: 450 4.2.0 <bob@corp.example>: Greylisted (in reply to RCPT TO command))",
        *("delayed", "mx.corp.example", Cause.GREYLISTED, "450 4.2.0 "),
    ),
    "postfix connection": (
        f"{POSTFIX}relay=none, delay=30, dsn=4.4.1, status=deferred (connect to mx.corp.example[192.0.2.9]:25: "
        f"Connection "
        "timed out)",
        *("delayed", "", Cause.UNREACHABLE, ""),
    ),
    "postfix ISO time": (
        "2026-11-21T10:00:00.123456+01:00 out postfix/smtp[1]: 4A: to=<bob@corp.example>, "
        "relay=mx.corp.example[192.0.2.9]:25"
        ", delay=1, dsn=5.7.26, status=bounced (host mx.corp.example[192.0.2.9] said: 550-5.7.26 unauthenticated 550 "
        "5.7.26 x - gsmtp (in reply to end of DATA command))",
        *("failed", "mx.corp.example", Cause.UNAUTHENTICATED, "550 5.7.26 "),
    ),
    "postfix refused here": (
        "Nov 21 10:00:00 in postfix/smtpd[1]: NOQUEUE: reject: RCPT from a.example[198.51.100.7]: 554 5.7.1 Service "
        "unavailable; Client host [198.51.100.7] blocked using zen.spamhaus.org; from=<ann@author.example> "
        "to=<bob@corp.example> proto=ESMTP helo=<a.example>",
        *("failed", "in", Cause.ADDRESS_LISTED, "554 5.7.1 "),
    ),
    "exim failed": (
        "2026-11-21 10:00:00 1kAbCd-0001Ab-Xy ** bob@corp.example R=dnslookup T=remote_smtp H=mx.corp.example "
        "[192.0.2.9] "
        "X=TLS1.3:TLS_AES_256_GCM_SHA384:256 CV=yes: SMTP error from remote mail server after RCPT "
        "TO:<bob@corp.example>: 550 No such user here",
        *("failed", "mx.corp.example", Cause.UNKNOWN_RECIPIENT, "550 No such user"),
    ),
    "exim deferred": (
        "2026-11-21 10:00:00 1kAbCd-0001Ab-Xy == bob@corp.example R=dnslookup T=remote_smtp defer (-44) "
        "H=mx.corp.example "
        "[192.0.2.9]: SMTP error from remote mail server after RCPT TO:<bob@corp.example>: 451 4.7.1 "
        "Greylisting in action",
        *("delayed", "mx.corp.example", Cause.GREYLISTED, "451 4.7.1 "),
    ),
    "sendmail failed": (
        "Nov 21 10:00:00 out sendmail[7]: 0AL1: to=<bob@corp.example>, ctladdr=<ann@author.example> (1/1), "
        "delay=00:00:02, "
        "xdelay=00:00:01, mailer=esmtp, pri=1, relay=mx.corp.example. [192.0.2.9], dsn=5.1.1, stat=User unknown",
        *("failed", "mx.corp.example", Cause.UNKNOWN_RECIPIENT, ""),
    ),
    "sendmail deferred": (
        "Nov 21 10:00:00 out sm-mta[7]: 0AL1: to=<bob@corp.example>, delay=00:00:02, mailer=esmtp, "
        "relay=mx.corp.example. "
        "[192.0.2.9], dsn=4.0.0, stat=Deferred: Connection refused by mx.corp.example.",
        *("delayed", "mx.corp.example", Cause.UNREACHABLE, ""),
    ),
    "qmail": (
        "@40000000673f delivery 12: failure: "
        "192.0.2.9_does_not_like_recipient./Remote_host_said:_550_5.1.1_no_such_user/"
        "Giving_up_on_192.0.2.9./",
        *("failed", "", Cause.UNKNOWN_RECIPIENT, "550 5.1.1 "),
    ),
    "opensmtpd": (
        "Nov 21 10:00:00 out smtpd[1]: 0a mta delivery evpid=1 from=<ann@author.example> to=<bob@corp.example> "
        "rcpt=<-> "
        'source="-" relay="mx.corp.example (192.0.2.9)" delay=1s result="PermFail" stat="550 5.2.2 Mailbox full"',
        *("failed", "mx.corp.example", Cause.MAILBOX_FULL, "550 5.2.2 "),
    ),
    "exchange tracking": (
        EXCHANGE.format(event="FAIL", said="550 5.1.10 RESOLVER.ADR.RecipientNotFound; not found"),
        *("failed", "", Cause.UNKNOWN_RECIPIENT, "550 5.1.10 "),
    ),
    "exchange tracking, last error": (
        EXCHANGE.format(
            event="DEFER", said='"[{LED=450 4.4.316 Connection refused [Message=x]};{MSG=};{FQDN=};{IP=}]"'
        ),
        *("delayed", "", Cause.UNREACHABLE, "450 4.4.316 "),
    ),
    "exchange protocol": (
        "2026-11-21T10:00:00.000Z,Outbound,08DE21,12,10.0.0.1:4711,192.0.2.9:25,<,550 5.7.1 Unable to relay,",
        *("failed", "", Cause.RELAY_DENIED, "550 5.7.1 "),
    ),
}


def only(line: str) -> Bounced:
    found = read_log(line)
    assert found is not None
    assert found.form == "log"
    [row] = found.recipients
    return row


@pytest.mark.parametrize(("line", "action", "remote", "cause", "reply"), LINES.values(), ids=LINES)
def test_line(line: str, action: str, remote: str, cause: Cause, reply: str) -> None:
    row = only(line)
    assert row.refusal is not None
    assert (row.action, row.remote, row.refusal.cause) == (action, remote, cause)
    assert row.refusal.quote.startswith(reply)
    assert bool(row.refusal.quote) == bool(reply)
    assert row.recipient in ("bob@corp.example", "")


@pytest.mark.parametrize("line", [row[0] for row in LINES.values()], ids=LINES)
def test_a_line_is_read_alike_from_a_file_and_as_a_reply(line: str) -> None:
    expected = read_log(line)
    assert read_handed(line.encode()) == expected
    assert read_reply(line) == expected


def test_what_was_sent_is_no_refusal() -> None:
    row = only(f"{POSTFIX}relay=mx.corp.example[192.0.2.9]:25, delay=2, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued)")
    assert (row.action, row.refusal) == ("delivered", None)


def test_the_last_line_about_a_recipient_counts() -> None:
    later, failed = LINES["postfix deferred"][0], LINES["postfix bounced"][0]
    assert only(f"{later}\n{failed}\n").action == "failed"


def test_qmail_names_the_recipient_where_the_delivery_starts() -> None:
    row = only(f"@40 starting delivery 12: msg 34 to remote bob@corp.example\n{LINES['qmail'][0]}")
    assert row.recipient == "bob@corp.example"


@pytest.mark.parametrize("text", ["", "Nov 21 10:00:00 out kernel: eth0 up", "to=<x> stat"])
def test_other_lines_say_nothing(text: str) -> None:
    assert read_log(text) is None
