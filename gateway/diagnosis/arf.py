"""Feedback reports: complaints (RFC 5965) and authentication failures (RFC 6591, RFC 9991) that a receiver sends."""

from __future__ import annotations

from gateway.diagnosis.mime import MimePart
from gateway.mail.header import Field, fields, parse_header, split_message, unfold
from gateway.model.address import IPText, ip_text
from gateway.model.value import Value


class Feedback(Value):
    """One report; what it does not say is empty or None."""

    type: str
    """abuse, auth-failure and so on."""
    failure: str
    """Auth-Failure: which check failed."""
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
    """Authentication-Results, as the reporter gives it."""
    alignment: str
    """Identity-Alignment (RFC 9991): what failed to align."""
    delivery: str
    """Delivery-Result: what became of the message."""
    incidents: str
    original: bytes
    """Header block of the message it is about; empty without one."""


def read_feedback(message: MimePart) -> Feedback | None:
    """The report in a message; None for a message that holds none."""
    part = message.find("message/feedback-report")
    if part is None:
        return None
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
