"""Feedback reports: complaints (RFC 5965) and authentication failures (RFC 6591, RFC 9991) that a receiver sends."""

from __future__ import annotations

import re

from gateway.diagnosis.mime import MimePart
from gateway.mail.header import Field, fields, parse_header, split_message, unfold
from gateway.model.envelope import IPText, ip_text
from gateway.model.value import Value, replace

_JMRP = re.compile(r"\bstaff@(?:hotmail|outlook)\.com\b", re.IGNORECASE)
_IN_SUBJECT = re.compile(r"(?:from|about)[^\d\[]{0,40}\[?((?:\d{1,3}\.){3}\d{1,3})")
_FORENSIC = re.compile(r"DMARC (?:forensic|failure) report|failed the published DMARC policy", re.IGNORECASE)
_SAID = re.compile(r"^[ \t]*(?P<name>[A-Z][A-Za-z ]{2,30}):[ \t]*(?P<value>[^\n]*)", re.MULTILINE)
_COPY = re.compile(r"^-{2,}[^\n]*copy of the (?:headers|message)[^\n]*\n", re.IGNORECASE | re.MULTILINE)


class Feedback(Value):
    """One report; missing values are empty or None."""

    type: str
    """abuse, auth-failure and so on."""
    failure: str
    """Auth-Failure: the check that failed."""
    reporter: str
    """Reporting-MTA or the agent that wrote the report."""
    source: IPText | None
    """Source-IP: the address that the reporter judged."""
    domain: str
    """Reported-Domain."""
    mail_from: str
    recipient: str
    arrived: str
    results: str
    """Authentication-Results, as the reporter wrote it."""
    alignment: str
    """Identity-Alignment (RFC 9991): the identifier that failed to align."""
    delivery: str
    """Delivery-Result: the treatment of the message."""
    incidents: str
    original: bytes
    """Header block of the reported message; empty without one."""


def read_feedback(message: MimePart) -> Feedback | None:
    """The report in a message; None for a message without one."""
    part = message.find("message/feedback-report")
    if part is None:
        return _read_prose(message)
    header = parse_header(part.octets().strip(b"\r\n") + b"\r\n")
    return Feedback(
        type=_value(header, "feedback-type").lower(),
        failure=_value(header, "auth-failure").lower(),
        reporter=_value(header, "reporting-mta").partition(";")[2].strip() or _value(header, "user-agent"),
        source=_address(_value(header, "source-ip")),
        domain=_value(header, "reported-domain").lower(),
        mail_from=_value(header, "original-mail-from").strip("<>"),
        recipient=_value(header, "original-rcpt-to").strip("<>"),
        arrived=_value(header, "arrival-date") or _value(header, "received-date"),
        results=_value(header, "authentication-results"),
        alignment=_value(header, "identity-alignment").lower(),
        delivery=_value(header, "delivery-result").lower(),
        incidents=_value(header, "incidents"),
        original=_original(message),
    )


def _read_prose(message: MimePart) -> Feedback | None:
    """Reports without such a part: Microsoft's Junk Mail Reporting Program and Exim's DMARC reports."""
    if message.value("x-hmxmroriginalrecipient") or _JMRP.search(message.value("from")):
        attached = _original(message)
        if not attached:
            return None
        header = parse_header(attached)
        recipient = _value(header, "x-hmxmroriginalrecipient") or message.value("x-hmxmroriginalrecipient")
        address = _IN_SUBJECT.search(message.text_of("subject"))
        return _make("abuse", "", "", recipient.strip("<>"), address[1] if address else "", attached, "Microsoft JMRP")
    text = "\n".join(part.text() for part in message.walk() if part.type == "text/plain").replace("\r\n", "\n")
    if not _FORENSIC.search(f"{message.text_of('subject')}\n{text[:2000]}"):
        return None
    said = {found["name"].lower(): found["value"].strip() for found in _SAID.finditer(text[:4000])}
    copy = _COPY.search(text)
    original = text[copy.end() :].lstrip("\n").replace("\n", "\r\n").encode("utf-8", "replace") if copy else b""
    results = "; ".join(f"{name}: {said[name]}" for name in ("spf alignment", "dkim alignment") if name in said)
    source = said.get("sender ip address", "")
    found = _make("auth-failure", "dmarc", said.get("sender domain", "").lower(), "", source, original, "")
    return replace(found, arrived=said.get("received date", ""), results=results, reporter=_host(message))


def _make(
    type: str, failure: str, domain: str, recipient: str, source: str, original: bytes, reporter: str
) -> Feedback:
    return Feedback(
        type=type,
        failure=failure,
        reporter=reporter,
        source=_address(source),
        domain=domain,
        mail_from="",
        recipient=recipient,
        arrived="",
        results="",
        alignment="",
        delivery="",
        incidents="",
        original=split_message(original)[0],
    )


def _host(message: MimePart) -> str:
    return message.value("from").rpartition("@")[2].strip("<> ")


def _original(message: MimePart) -> bytes:
    part = message.find("message/rfc822", "text/rfc822-headers", "text/rfc822", "message/rfc822-headers")
    return split_message(part.octets().lstrip(b"\r\n"))[0] if part is not None else b""


def _address(text: str) -> IPText | None:
    try:
        return ip_text(text.partition(" ")[0].strip("[]"))
    except ValueError:
        return None


def _value(header: tuple[Field, ...], name: str) -> str:
    found = fields(header, name)
    return " ".join(unfold(found[0].value[:8192]).encode("utf-8", "replace").decode().split()) if found else ""
