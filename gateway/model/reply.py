"""SMTP replies: the value, and the one table of the replies we send.

An enhanced code's class digit is computed from the basic code, so a 4yz with a 5.x.y cannot be written (RFC 2034).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from gateway.model.value import Value

_MOST_LINE = 512 - len("250 \r\n")
"""Octets of a reply line after its code (RFC 5321 section 4.5.3.1.5)."""
_NO_CONTROL = {code: " " for code in (*range(32), 127) if code != 10}
_ENHANCED = re.compile(r"([245])\.([0-9]{1,3})\.([0-9]{1,3})(?:\s+|$)")


class Reply(Value):
    """One SMTP reply. `text` may have several lines, separated by LF, when it came from elsewhere."""

    code: int
    detail: str
    """Subject and detail of the enhanced code, e.g. `7.1`; empty when there is none."""
    text: str

    @property
    def enhanced(self) -> str:
        """The whole enhanced status code (RFC 3463), e.g. `5.7.1`; empty when there is none."""
        return f"{self.code // 100}.{self.detail}" if self.detail else ""

    @property
    def positive(self) -> bool:
        return 200 <= self.code < 400

    @property
    def transient(self) -> bool:
        return 400 <= self.code < 500

    @property
    def permanent(self) -> bool:
        return 500 <= self.code < 600

    def __str__(self) -> str:
        return " ".join(part for part in (str(self.code), self.enhanced, self.text) if part)

    def with_id(self, id: str) -> Reply:
        """The same reply ending in `(id)`; `waypost explain` finds the message by it."""
        return Reply(self.code, self.detail, f"{self.text} ({id})")

    def filled(self, **values: str) -> Reply:
        """The same reply with the `{names}` in its text replaced."""
        return Reply(self.code, self.detail, self.text.format(**values))

    def wire(self, utf8: bool = False) -> bytes:
        """The reply's lines as sent (RFC 5321 section 4.2.1): in ASCII unless `utf8`, of at most 512 octets each. A
        control character in the text becomes a space, so text from elsewhere cannot end a line."""
        charset = "utf-8" if utf8 else "ascii"
        octets = self.text.translate(_NO_CONTROL).encode(charset, "backslashreplace")
        lead = f"{self.enhanced} ".encode() if self.enhanced else b""
        room = _MOST_LINE - len(lead)
        lines = octets.split(b"\n")
        if len(octets) > room:
            lines = [piece for line in lines for piece in _cut(line, room)]
        last = len(lines) - 1
        return b"".join(
            b"%d%s%s%s\r\n" % (self.code, b" " if at == last else b"-", lead, line) for at, line in enumerate(lines)
        )

    @classmethod
    def received(cls, code: int, text: str) -> Reply:
        """A reply from another server. Its enhanced code is taken from the text when it agrees with `code`."""
        lines = []
        detail = ""
        for line in text.split("\n"):
            found = _ENHANCED.match(line)
            if found and found[1] == str(code)[0]:
                detail = detail or f"{found[2]}.{found[3]}"
                line = line[found.end() :]
            lines.append(line)
        return cls(code, detail, "\n".join(lines))


def _cut(line: bytes, room: int) -> Iterator[bytes]:
    """The line in pieces that fit, cut at spaces where possible, and never inside a character."""
    while len(line) > room:
        at = line.rfind(b" ", 1, room + 1)
        if at < 0:
            at = room
            while line[at] & 0xC0 == 0x80:
                at -= 1
        yield line[:at]
        line = line[at:].lstrip(b" ")
    yield line


REPLIES: dict[str, Reply] = {
    # judgement: the names that rules use
    "accepted": Reply(250, "0.0", "Queued"),
    "dmarc-policy": Reply(550, "7.1", "Email rejected per DMARC policy for {domain}. {advice}"),
    "own-domain": Reply(550, "7.1", "This is not from {domain}: neither its SPF nor its DKIM says so. {advice}"),
    "spf-fail": Reply(
        550, "7.23", "SPF: {spf_domain} sends no mail. Send from a domain whose SPF record lists your server"
    ),
    "no-author": Reply(550, "7.1", "Message has no valid From field. Write one From field with your own address"),
    "several-authors": Reply(550, "7.1", "Message has more than one From field. Write only one"),
    "dns-wait": Reply(451, "7.0", "DNS gave no answer that this decision needs, try again later"),
    # 4.7.28, mail flood: a genuine sender comes again once the admin has decided about the held mail.
    "hold-full": Reply(452, "7.28", "Too much mail from {domain} waits for a decision already, try again later"),
    "listed": Reply(550, "7.1", "Mail from {client} is refused: it is on {lists}"),
    "greylisted": Reply(451, "7.1", "Greylisted: this sender is new here, try again in a few minutes"),
    "unacceptable": Reply(550, "7.1", "Message refused by policy"),
    "not-now": Reply(451, "7.0", "Not taken now by policy, try again later"),
    # recipients and routes
    "relay-denied": Reply(550, "7.1", "Relaying denied: {domain} is not served here"),
    "unknown-mailbox": Reply(550, "1.1", "No such mailbox here"),
    "directory-stale": Reply(451, "4.3", "Cannot tell now whether this mailbox exists, try again later"),
    "too-big-for-route": Reply(552, "3.4", "This recipient's mail server takes {limit} octets, the message has more"),
    "no-utf8-on-route": Reply(550, "6.7", "This recipient's mail server takes no addresses outside ASCII"),
    "loop-to-origin": Reply(550, "1.1", "No such mailbox here: this message came from where its mailbox should be"),
    "no-bounce": Reply(550, "7.1", "This address takes bounces only"),
    "mixed-recipients": Reply(452, "5.3", "Send this recipient in a transaction of its own"),
    "too-many-recipients": Reply(452, "5.3", "Too many recipients, send the rest in another transaction"),
    "route-stopped": Reply(451, "3.5", "The system behind this gateway refuses its mail, try again later"),
    # an admin's commands
    "returned-by-admin": Reply(550, "7.1", "Returned by the administrator of {host}"),
    "deleted-by-admin": Reply(550, "7.1", "Deleted by the administrator of {host}"),
    # senders through us
    "not-a-sender": Reply(550, "7.1", "Relaying denied: this client is not known here as a sender"),
    "login-owns-nothing": Reply(550, "7.1", "This login has no address to send as"),
    "sender-not-owned": Reply(550, "7.1", "This client may not send as {address}"),
    "author-not-owned": Reply(550, "7.1", "This client may not write as {address}"),
    "tenant-not-proven": Reply(550, "7.1", "Relaying denied: nothing proves that this message is from one of us"),
    "suspended": Reply(451, "7.1", "Sending is suspended for {name}, ask your administrator"),
    # content
    "bare-newline": Reply(550, "6.11", "Message has a bare CR, bare LF or NUL"),
    "chunking-unknown": Reply(451, "4.1", "Cannot tell now whether bare newlines can be carried, try again later"),
    "malformed-header": Reply(550, "6.0", "Header is malformed"),
    "too-big": Reply(552, "3.4", "Message exceeds the size limit"),
    "header-too-big": Reply(552, "3.4", "Header exceeds the size limit"),
    "mail-loop": Reply(554, "4.6", "Too many hops: this message is in a loop"),
    # the gateway itself
    "internal": Reply(451, "3.0", "Internal error, try again later"),
    "under-way": Reply(451, "3.0", "This message is being taken already, try again later"),
    "no-storage": Reply(452, "3.1", "Cannot store the message now, try again later"),
    "shutting-down": Reply(421, "3.2", "Shutting down, try again later"),
    "too-fast": Reply(450, "7.1", "Too many recipients from your address in a minute, try again later"),
    "too-many-a-minute": Reply(421, "7.0", "Too many connections from your address in a minute, try again later"),
    "too-busy": Reply(421, "3.2", "Too many connections, try again later"),
}
"""Every reply of ours that is not plain protocol syntax, under the name that rules and code use."""
