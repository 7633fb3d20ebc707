"""The parameters of MAIL and RCPT: their values, and the refusal of bad ones."""

from __future__ import annotations

import re

from gateway.mail.path import ParsedPath, mend_xtext
from gateway.model.envelope import Body, Envelope, IPText, Notify, Recipient, Ret
from gateway.model.reply import REPLIES, Reply
from gateway.service.listener.inflow import SessionOver

COMMAND_OCTETS = 2048
"""RFC 5321 section 4.5.3.1.4 asks for 512; RFC 3461 section 5 and RFC 6531 section 3.4 add to that."""

NOT_HERE = Reply(502, "5.1", "Command not implemented")
CONSTANT = {
    "NOOP": Reply(250, "0.0", "OK"),
    "QUIT": Reply(221, "0.0", "Bye"),
    "HELP": Reply(214, "0.0", "See RFC 5321"),
    "VRFY": Reply(252, "0.0", "Cannot verify a user, but will take mail and try"),
    "EXPN": NOT_HERE,
}
"""Commands whose reply is always the same."""

BEFORE_TLS = frozenset({"EHLO", "HELO", "STARTTLS", "NOOP", "RSET", "QUIT", "BDAT", "AUTH"})
"""Commands that are not refused when TLS is required (RFC 3207 section 4); BDAT refuses when it has read its chunk, and
AUTH has a reply of its own for it."""

_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_FOREIGN = frozenset({b"CONNECT", b"DELETE", b"GET", b"HEAD", b"OPTIONS", b"POST", b"PUT", b"PROXY"})
"""HTTP that a web page caused a browser to send us, and PROXY headers of unlisted balancers."""
_CLIENT_NAME = re.compile(r"[!#-'*-:=?-\[\]-~]{1,255}")
"""Printable, and without characters that nest or end text where the name is written (comments of Received)."""
_CHUNK = re.compile(r"([0-9]{1,15})(?: +(LAST))?", re.ASCII | re.IGNORECASE)


def read_command(line: bytes) -> tuple[str, str]:
    """The verb in upper case and the argument. Raises SessionOver for a line that no SMTP client sends.

    Octets that are not UTF-8 become lone surrogates, which no argument allows.
    """
    verb, _, argument = line.partition(b" ")
    verb = verb.upper()
    if _CONTROL.search(line):
        raise SessionOver(Reply(500, "5.2", "Command line has a control character"), "control-character")
    if verb in _FOREIGN:
        raise SessionOver(Reply(554, "5.1", "This is not SMTP"), "not-smtp")
    return verb.decode("ascii", "replace"), argument.decode("utf-8", "surrogateescape").strip(" ")


def is_client_name(name: str) -> bool:
    """The text can be a client's name; its truth is not checked (RFC 5321 section 4.1.4)."""
    return bool(_CLIENT_NAME.fullmatch(name))


def read_client_name(name: str, any: bool, client: IPText | None) -> str:
    """The client's own name; empty when it is not allowed. If `any` name is acceptable, because it proves nothing
    there, the client's address replaces an impossible name (RFC 5321 section 4.1.3)."""
    if is_client_name(name):
        return name
    if not any or not name or client is None:
        return ""
    return f"[IPv6:{client}]" if ":" in client else f"[{client}]"


def read_chunk(argument: str) -> tuple[int, bool]:
    """BDAT's octets, and whether the chunk is the last (RFC 3030 section 2).

    Raises SessionOver when it is malformed: the end of the chunk is then unknown, so nothing after it can be read.
    """
    found = _CHUNK.fullmatch(argument)
    if not found:
        raise SessionOver(Reply(501, "5.4", "Syntax: BDAT size [LAST]"))
    return int(found[1]), bool(found[2])


TOO_LONG = Reply(500, "5.2", "Command line too long")
UNKNOWN = Reply(500, "5.1", "Command not recognised")
TLS_FIRST = Reply(530, "7.0", "Must issue a STARTTLS command first")
HELLO_FIRST = Reply(503, "5.1", "Send EHLO or HELO first")
LOGIN_FIRST = Reply(530, "7.0", "Authentication required")
IN_MAIL = Reply(503, "5.1", "Not during a mail transaction")
TLS_TWICE = Reply(503, "5.1", "TLS is up already")
START_TLS = Reply(220, "0.0", "Ready to start TLS")
EARLY = Reply(554, "5.1", "You talk before you are greeted")
INJECTION = Reply(554, "5.1", "Nothing may follow STARTTLS before TLS is up")
TOO_MANY_COMMANDS = Reply(421, "7.0", "Too many commands")
TOO_MANY_ERRORS = Reply(421, "7.0", "Too many errors")

SYNTAX_EHLO = Reply(501, "5.4", "Syntax: EHLO name")
SYNTAX_HELO = Reply(501, "5.4", "Syntax: HELO name")
SYNTAX_MAIL = Reply(501, "1.7", "Syntax: MAIL FROM:<address> [parameters]")
SYNTAX_RCPT = Reply(501, "1.3", "Syntax: RCPT TO:<address> [parameters]")
SYNTAX_DATA = Reply(501, "5.4", "Syntax: DATA")
SYNTAX_STARTTLS = Reply(501, "5.4", "Syntax: STARTTLS")


_EXTENSION_OF = {
    "SIZE": "SIZE",
    "BODY": "8BITMIME",
    "SMTPUTF8": "SMTPUTF8",
    "RET": "DSN",
    "ENVID": "DSN",
    "NOTIFY": "DSN",
    "ORCPT": "DSN",
}
_OF_MAIL = frozenset({"SIZE", "BODY", "SMTPUTF8", "RET", "ENVID", "AUTH"})
_OF_RCPT = frozenset({"NOTIFY", "ORCPT"})

_BODIES = frozenset(Body)
_RETS = frozenset(Ret)
_NOTIFIES = frozenset(Notify)
_SIZE = re.compile(r"[0-9]{1,20}")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+")
_ORCPT = re.compile(r"[A-Za-z0-9-]{1,40};[^\x00- =\x7f]+")
_ENVID_OCTETS = 100
_ORCPT_OCTETS = 500

_UNKNOWN = Reply(555, "5.4", "Parameter not recognised or not implemented")
_WIDE = Reply(553, "6.7", "An address beyond ASCII needs the SMTPUTF8 parameter")


def read_sender(path: ParsedPath, extensions: tuple[str, ...], most_octets: int) -> tuple[Envelope, int | None] | Reply:
    """The envelope that MAIL opens and its SIZE in octets, or the reply that refuses it."""
    given = path.parameters
    if not _are_known(given, _OF_MAIL, extensions) or (given.get("AUTH", "<>") != "<>" and "AUTH" not in extensions):
        return _UNKNOWN  # `AUTH=<>` means nothing and is also sent when AUTH is not offered (RFC 4954 section 5)
    if given.get("AUTH", "<>") != "<>" and not _XTEXT.fullmatch(mend_xtext(given["AUTH"])):
        return _malformed("AUTH")  # otherwise it counts as `<>`: no client here is trusted to name another sender
    size = given.get("SIZE")
    if size is not None and not _SIZE.fullmatch(size):
        return _malformed("SIZE")
    if size is not None and int(size) > most_octets:
        return REPLIES["too-big"]  # RFC 1870 section 6.1
    body = given.get("BODY", "7BIT").upper()
    if body not in _BODIES:
        return _malformed("BODY")
    if given.get("SMTPUTF8"):
        return _malformed("SMTPUTF8")
    if path.wide and "SMTPUTF8" not in given:
        return _WIDE  # RFC 6531 section 3.5
    ret = given["RET"].upper() if "RET" in given else None
    if ret is not None and ret not in _RETS:
        return _malformed("RET")
    envid = mend_xtext(given.get("ENVID", ""))
    if "ENVID" in given and (not _XTEXT.fullmatch(envid) or len(envid) > _ENVID_OCTETS):
        return _malformed("ENVID")  # RFC 3461 section 4.4
    envelope = Envelope(path.mailbox, (), Body(body), "SMTPUTF8" in given, Ret(ret) if ret else None, envid)
    return envelope, int(size) if size is not None else None


def read_recipient(path: ParsedPath, extensions: tuple[str, ...], smtputf8: bool) -> Recipient | Reply:
    """The recipient that RCPT names, or the reply that refuses it. `smtputf8`: MAIL had that parameter."""
    given = path.parameters
    if path.mailbox is None or not _are_known(given, _OF_RCPT, extensions):
        return _UNKNOWN
    if path.wide and not smtputf8:
        return _WIDE
    notify = _read_notify(given["NOTIFY"]) if "NOTIFY" in given else ()
    if notify is None:
        return _malformed("NOTIFY")
    orcpt = mend_xtext(given.get("ORCPT", ""))
    if "ORCPT" in given and (not _ORCPT.fullmatch(orcpt) or len(orcpt.encode()) > _ORCPT_OCTETS):
        return _malformed("ORCPT")  # RFC 3461 section 4.2
    return Recipient(path.mailbox, notify, orcpt)


def _read_notify(value: str) -> tuple[Notify, ...] | None:
    """RFC 3461 section 4.1: NEVER alone, or some of the others, each once."""
    words = value.upper().split(",")
    if not all(word in _NOTIFIES for word in words) or len(set(words)) < len(words):
        return None
    if Notify.NEVER in words and len(words) > 1:
        return None
    return tuple(Notify(word) for word in words)


def _are_known(given: dict[str, str], known: frozenset[str], extensions: tuple[str, ...]) -> bool:
    return all(
        keyword in known and (keyword not in _EXTENSION_OF or _EXTENSION_OF[keyword] in extensions) for keyword in given
    )


def _malformed(keyword: str) -> Reply:
    return Reply(501, "5.4", f"Malformed {keyword} parameter")
