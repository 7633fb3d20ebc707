"""The formats in which mail servers write Received, and in which a listed relay may name the client.

Each layout is matched whole, octet for octet where its writer is fixed. The address comes from the one bracket or
parenthesis that the server fills in itself. The client's own words (HELO, MAIL FROM, RCPT) are matched only in
characters that cannot end their own place. Any other line is not that server's.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Literal, TypeAlias

from gateway.mail.header import Field
from gateway.model.envelope import IPText, ip_text
from gateway.model.value import Value

RelayFormat: TypeAlias = Literal["postfix", "exim", "exchange", "exchange-online", "google"]

_MOST_OCTETS = 4096
"""A Received line of a relay is far shorter; a longer one is not examined."""


class RelayLine(Value):
    """The contents of a relay's line."""

    helo: str
    name: str
    """The client's name in DNS, if the relay looked it up and confirmed it forward; else empty."""
    address: IPText | None
    """None when the line is the relay's own but holds no address."""
    by: str


class _Layout(Value):
    """The format of one mail server."""

    pattern: re.Pattern[str]
    folded: bool = False
    """The server folds long lines anywhere, always with CRLF and one space, so the pattern is for the unfolded text."""
    tagged: bool = False
    """Its IPv6 addresses carry the tag of RFC 5321 section 4.1.3; otherwise they never do."""
    names: bool = False
    """Its `name` is confirmed forward."""
    banned: frozenset[str] = frozenset()
    """Characters that never occur in its HELO."""


_MONTH_DATE = r"\d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}"
_BY = r"(?P<by>[A-Za-z0-9._-]{1,255})"
_HELO = r"(?P<helo>[A-Za-z0-9_][A-Za-z0-9._-]{0,254}|\[(?:IPv6:)?[0-9A-Fa-f:.]{2,64}\])"
_BARE = r"(?P<address>[0-9A-Fa-f:.]{2,64})"
_MAILBOX = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.@-]{1,320}"

_POSTFIX = re.compile(
    r" from (?P<helo>[!-~]{1,255}) \((?P<name>[A-Za-z0-9._-]{1,255}) \[(?P<address>[0-9A-Za-z:.]{1,64})\]\)\r\n"
    r"(?:\t\(using [A-Za-z0-9.]+ with cipher [A-Za-z0-9_-]+ \(\d+/\d+ bits\)"
    r"(?:\r\n\t (?:key-exchange|server-signature|client-signature) [ -~]{1,200}){0,3}\)\r\n)?"
    r'(?:\t\((?:Client CN "[ -~]{0,500}" \([a-zA-Z ]+\)|No client certificate requested'
    r"|Client did not present a certificate)\)\r\n)?"
    r"(?:\t\(Authenticated sender: [ -~]{1,300}\)\r\n)?"
    rf"\tby {_BY} \(Postfix\) with (?:E?SMTP|UTF8SMTP)S?A? id [A-Za-z0-9]{{1,64}}"
    r"(?:;\r\n\t|\r\n\tfor <[^\r\n<>]{1,400}>; )"
    r"(?:[A-Z][a-z]{2}, )?[ 0-9]?\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}(?: \([A-Za-z0-9+:-]{1,16}\))?"
)
"""Text chosen by a client (HELO, certificate, login) stays inside its own line, and in HELO Postfix has replaced white
space and the characters banned below."""

_IDENT = r"ident=[A-Za-z0-9._-]{1,64}"
_EXIM_NOTES = rf"(?:helo={_HELO}(?: {_IDENT})?|{_IDENT})"
_EXIM = re.compile(
    # Without a confirmed name the line begins with the address; with one the address opens the parenthesis.
    r" from (?:"
    rf"\[{_BARE}\](?:(?: |\r\n\t)\((?:port=\d{{1,5}}(?: {_EXIM_NOTES})?|{_EXIM_NOTES.replace('<helo>', '<helo3>')})\))?"
    r"|(?P<name>[A-Za-z0-9._-]{1,255})(?: |\r\n\t)"
    rf"\(\[(?P<address2>[0-9A-Fa-f:.]{{2,64}})\](?::\d{{1,5}})?(?: {_EXIM_NOTES.replace('<helo>', '<helo2>')})?\)"
    r")\r\n"
    rf"\tby {_BY} with (?:utf8|local-)?e?smtps?a?"
    r"(?: {1,2}\((?:TLS[A-Za-z0-9.]{1,8})(?::[A-Za-z0-9_:-]{1,80})?\)(?: tls [A-Za-z0-9_-]{1,80})?\r\n\t| )"
    r"\(Exim [0-9][0-9.]{1,12}(?:-[A-Za-z0-9_.-]{1,40}| #\d{1,3})?\)\r\n"
    rf"(?:\t\(envelope-from <{_MAILBOX}>\)\r\n)?"
    r"\tid [0-9A-Za-z]{6}-[0-9A-Za-z]{6,11}-[0-9A-Za-z]{2,4}"
    rf"(?:\r\n\tfor {_MAILBOX})?"
    rf";\r\n\t[A-Z][a-z]{{2}}, {_MONTH_DATE}"
)
"""The default of `received_header_text`. The text of an identification service (ident) is the client's word, and Exim
does not guard it, so only plain words are accepted."""

_EXCHANGE = (
    rf" from {_HELO} \({_BARE}\) by {_BY} \([0-9A-Fa-f:.]{{2,64}}\) with Microsoft SMTP Server"
    r"(?: \(TLS\)| \(version=TLS[0-9_]{1,4}, cipher=[A-Z0-9_]{1,80}\))? id %s(?: via Frontend Transport)?"
    rf"; [A-Z][a-z]{{2}}, {_MONTH_DATE}"
)
_ON_PREMISES = re.compile(_EXCHANGE % r"(?:8|14|15)\.(?!20\.)\d{1,2}\.\d{1,5}\.\d{1,5}")
_ONLINE = re.compile(_EXCHANGE % r"15\.20\.\d{1,5}\.\d{1,5}")
"""The service has its own branch of version numbers, 15.20."""

_GOOGLE = re.compile(
    # The name has a final dot. Google does not document that it confirms the name, so the name is not used.
    rf" from {_HELO} \((?:[A-Za-z0-9._-]{{1,255}}\. )?\[{_BARE}\]\)\r\n"
    rf" {{8}}by {_BY} with (?:E?SMTP|UTF8SMTP)S?A? id [A-Za-z0-9.-]{{1,128}}"
    r"(?:\r\n {8}for <[^\r\n<>]{1,400}>)?"
    r"(?:\r\n {8}\(version=[A-Za-z0-9._/]{1,20} cipher=[A-Za-z0-9_-]{1,80}(?: bits=\d{1,4}/\d{1,4})?\))?"
    rf";\r\n {{8}}[A-Z][a-z]{{2}}, {_MONTH_DATE} \([A-Z]{{3}}\)"
)

_LAYOUTS: dict[RelayFormat, _Layout] = {
    "postfix": _Layout(_POSTFIX, tagged=True, names=True, banned=frozenset('<>()\\";@')),
    "exim": _Layout(_EXIM, names=True),
    "exchange": _Layout(_ON_PREMISES, folded=True),
    "exchange-online": _Layout(_ONLINE, folded=True),
    "google": _Layout(_GOOGLE),
}


def read_hop(field: Field, format: RelayFormat, writer: IPText) -> RelayLine | None:
    """The hop, or None for a line that this server does not write. `writer` is the address of the relay that should
    have written the line."""
    if field.name != "Received" or len(field.value) > _MOST_OCTETS:
        return None
    if field.end - field.start != len("Received:") + len(field.value) + 2:
        # Obsolete white space before the colon, or a header block cut off inside the line.
        return None
    layout = _LAYOUTS[format]
    text = field.value.decode("utf-8", "replace")
    if layout.folded:
        text = text.replace("\r\n ", " ")
    found = layout.pattern.fullmatch(text)
    if found is None:
        return None
    said = found.groupdict()
    helo = said["helo"] or said.get("helo2") or said.get("helo3") or ""
    if not layout.banned.isdisjoint(helo):
        return None
    name = (said.get("name") or "") if layout.names else ""
    address = _client_address(said["address"] or said["address2"], layout.tagged, writer)
    return RelayLine(helo, "" if name == "unknown" else name, address, said["by"])


def _client_address(text: str, tagged: bool, writer: IPText) -> IPText | None:
    """The address as this server writes it; None for `unknown` and for an address that cannot be a client's."""
    literal = text.removeprefix("IPv6:") if tagged else text
    if tagged and (":" in literal) != (literal != text):
        return None
    try:
        address = ip_text(literal)
    except ValueError:
        return None
    parsed = ipaddress.ip_address(address)
    if parsed.is_unspecified or parsed.is_multicast or parsed.is_link_local:
        return None
    # A loopback address is the writing machine's own, such as a content filter's; it names no client to us.
    if parsed.is_loopback and not ipaddress.ip_address(writer).is_loopback:
        return None
    return address
