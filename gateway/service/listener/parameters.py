"""The parameters of MAIL and RCPT: what they say, and which of them are refused."""

from __future__ import annotations

import re

from gateway.mail.path import ParsedPath
from gateway.mail.xtext import mend_xtext
from gateway.model.envelope import Body, Envelope, Notify, Recipient, Ret
from gateway.model.reply import REPLIES, Reply

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
        return _UNKNOWN  # `AUTH=<>` says nothing and is sent also where AUTH is not offered (RFC 4954 section 5)
    if given.get("AUTH", "<>") != "<>" and not _XTEXT.fullmatch(mend_xtext(given["AUTH"])):
        return _malformed("AUTH")  # otherwise it is taken as `<>`: nobody here is trusted to say it
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
