"""Log lines about the result for a recipient: of Postfix, Exim, sendmail, qmail, OpenSMTPD and Exchange."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gateway.diagnosis.bounce.bounced import Bounce, Bounced, find_refusal, shorten
from gateway.mail.refusal import Witness

_MOST_LINES = 20_000
_MOST_RECIPIENTS = 200
_MAILBOX = r"[^\s<>,;\"']{1,64}@[^\s<>,;\"']{1,253}"
_SYSLOG = r"(?:<\d+>)?(?:[A-Z][a-z]{2}\s+\d+ [\d:]{8}|\d{4}-\d\d-\d\dT\S+)\s+(?P<reporter>[A-Za-z0-9._-]+)\s+"
_POSTFIX = re.compile(
    rf"(?:{_SYSLOG})?.{{0,80}}to=<(?P<to>[^>]*)>,.*?relay=(?P<relay>[^,\[\s]+)(?:\[[^\]]*\])?(?::\d+)?,.*?"
    r"(?:dsn=(?P<status>[245]\.\d+\.\d+), )?status=(?P<state>bounced|deferred|sent|expired|undeliverable)\S*"
    r"(?: \((?P<words>.*)\))?"
)
_POSTFIX_REFUSED = re.compile(
    rf"(?:{_SYSLOG})?.{{0,120}}(?:reject|milter-reject|NOQUEUE): (?:reject: )?(?:\S+) "
    r"from (?P<client>[^\[\s]+)\[[^\]]*\](?::\d+)?: (?P<words>[45]\d\d .*?);? from=<[^>]*>(?: to=<(?P<to>[^>]*)>)?"
)
_SENDMAIL = re.compile(
    rf"(?:{_SYSLOG})?.{{0,80}}to=(?P<to><[^>]*>|{_MAILBOX})[^=]*,.*?(?:relay=(?P<relay>[^\s,\[]+)[^,]*, )?"
    r"(?:dsn=(?P<status>[245]\.\d+\.\d+), )?(?:reply=(?P<reply>.*?), )?stat=(?P<words>.*)$"
)
_EXIM = re.compile(
    r"(?:\S+\s+)?(?:\d{4}-\d\d-\d\d [\d:.]+(?: [+-]\d{4})? )?(?:\[\d+\] )?"
    r"(?:[A-Za-z0-9]{6}-[A-Za-z0-9]{6,11}-[A-Za-z0-9]{2,4} )?"
    rf"(?P<mark>\*\*|==|\*>) (?P<to>{_MAILBOX})(?: <[^>]*>)?"
    r"(?: (?:R|T|P|F|H|X|C|DS|A|CV|S|K|DN|QT|DT|I|L)=(?:\"[^\"]*\"|\S+)(?: \[[^\]]*\])?(?:\([^)]*\))?)*"
    r":? ?(?P<words>.*)"
)
_EXIM_HOST = re.compile(r" H=(?P<host>[A-Za-z0-9._-]+)")
_QMAIL = re.compile(r"delivery (?P<id>\d+): (?P<state>failure|deferral|success): (?P<words>.*)")
_QMAIL_START = re.compile(r"starting delivery (?P<id>\d+): msg \d+ to (?:remote|local) (?P<to>\S+)")
_OPENSMTPD = re.compile(
    r"\bto=<(?P<to>[^>]*)>.*?relay=\"?(?P<relay>[^\s\"(]+)"
    r".*?result=\"?(?P<state>PermFail|TempFail|Ok)\"?,? stat=\"(?P<words>[^\"]*)"
)
_TRACKING = re.compile(r"^(?:#Fields: )?\"?(?:date-time|\d{4}-\d\d-\d\dT[\d:.]+Z?)\"?,")
_TRACKED = re.compile(r",\"?(?P<event>FAIL|DEFER|DSN|BADMAIL)\"?,")
_PROTOCOL = re.compile(r",<,\"?(?P<words>[45]\d\d[ -].*?)\"?(?:,[^,]*)?$")
_REMOTE = re.compile(r",(?P<host>[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)[,;\"]")
_ADDRESS = re.compile(rf"[,;'\"](?P<to>{_MAILBOX})[,;'\"]")
_REPLY = re.compile(r"(?:\[\{LED=|['\",]|^)(?P<words>[45]\d\d[ -]#?[45]?\.?.*)")
_DEFERRED = re.compile(r"deferred|deferral", re.IGNORECASE)


def read_log(text: str) -> Bounce | None:
    """The results in a log; the last line about each recipient counts. None when no line is from a known log."""
    found: dict[str, Bounced] = {}
    reporter = ""
    started: dict[str, str] = {}
    for line in text.splitlines()[:_MOST_LINES]:
        begun = _QMAIL_START.search(line)
        if begun:
            started[begun["id"]] = begun["to"]
        for row, host in _read_line(line.strip(), started):
            reporter = host or reporter
            found[row.recipient or line] = row
            if len(found) >= _MOST_RECIPIENTS:
                break
    return Bounce("log", reporter, tuple(found.values())) if found else None


def _read_line(line: str, started: dict[str, str]) -> Iterator[tuple[Bounced, str]]:
    postfix = _POSTFIX.match(line)
    if postfix:
        state = {"sent": "delivered", "deferred": "delayed"}.get(postfix["state"], "failed")
        relay = "" if postfix["relay"] in ("none", "local", "virtual") else postfix["relay"]
        yield _row(postfix["to"], state, postfix["status"], postfix["words"], relay), postfix["reporter"] or ""
        return
    refused = _POSTFIX_REFUSED.match(line)
    if refused:
        host = refused["reporter"] or ""
        state = "delayed" if refused["words"].startswith("4") else "failed"
        yield _row(refused["to"] or "", state, "", refused["words"], host), host
        return
    opensmtpd = _OPENSMTPD.search(line)
    if opensmtpd:
        state = {"Ok": "delivered", "TempFail": "delayed"}.get(opensmtpd["state"], "failed")
        yield _row(opensmtpd["to"], state, "", opensmtpd["words"], opensmtpd["relay"]), ""
        return
    exim = _EXIM.match(line)
    if exim:
        named = _EXIM_HOST.search(line)
        state = "delayed" if exim["mark"] == "==" else "failed"
        yield _row(exim["to"], state, "", exim["words"], named["host"] if named else ""), ""
        return
    qmail = _QMAIL.search(line)
    if qmail:
        state = {"success": "delivered", "deferral": "delayed"}.get(qmail["state"], "failed")
        words = qmail["words"].replace("_", " ").replace("/", "\n")
        yield _row(started.get(qmail["id"], ""), state, "", words, ""), ""
        return
    yield from _read_exchange(line) if _TRACKING.match(line) else _read_sendmail(line)


def _read_sendmail(line: str) -> Iterator[tuple[Bounced, str]]:
    sendmail = _SENDMAIL.match(line)
    if sendmail is None:
        return
    said = sendmail["words"]
    state = "delivered" if said.startswith("Sent") else "delayed" if _DEFERRED.match(said) else "failed"
    words = sendmail["reply"] or re.sub(r"^Deferred:?\s*", "", said)
    host = (sendmail["relay"] or "").strip(".")
    yield _row(sendmail["to"].strip("<>"), state, sendmail["status"], words, host), sendmail["reporter"] or ""


def _read_exchange(line: str) -> Iterator[tuple[Bounced, str]]:
    """Message tracking, or the protocol log of a send connector."""
    protocol = _PROTOCOL.search(line)
    event = _TRACKED.search(line)
    if protocol is None and event is None:
        return
    reply = _REPLY.search(line)
    words = protocol["words"] if protocol else reply["words"] if reply else line
    to = _ADDRESS.search(line)
    host = _REMOTE.search(line)
    state = "delayed" if (event and event["event"] == "DEFER") or words.startswith("4") else "failed"
    yield (
        _row(
            to["to"] if to else "", state, "", words.replace('""', '"'), "" if event else (host["host"] if host else "")
        ),
        "",
    )


def _row(to: str, action: str, status: str | None, words: str | None, relay: str) -> Bounced:
    said = words or ""
    refusal = None
    if action in ("failed", "delayed"):
        refusal = find_refusal(said, status or "", "", Witness(relay.lower().strip(".")), action)
    return Bounced(to, action, status or "", shorten(said), relay.lower().strip("."), refusal)
