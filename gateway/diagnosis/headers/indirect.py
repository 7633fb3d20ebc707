"""Marks that a message did not come directly from its author: mailing lists and forwarding."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gateway.diagnosis.hops import organisation
from gateway.mail.domain import is_subdomain
from gateway.mail.header import Field, fields, unfold
from gateway.model.value import Value

_LIST_FIELDS = ("x-mailman-version", "x-beenthere", "x-google-group-id", "mailing-list", "x-mailing-list", "list-post")
_SRS = re.compile(r"\bsrs[01]?[=+-]|[+]srs=|\+caf_=|^prvs=", re.IGNORECASE)
_FORWARD_FIELDS = ("resent-from", "x-forwarded-for", "x-forwarded-to")


class MailingList(Value):
    """The list that a message came through."""

    name: str


class ForwardMark(Value):
    """One mark of forwarding: a key of `texts.FORWARD_MARKS` and the field's value."""

    kind: str
    value: str


def share_organisation(one: str, other: str) -> bool:
    """Two domains seem to belong to one organisation, as relaxed alignment requires."""
    if not one or not other:
        return False
    related = is_subdomain(one, other) or is_subdomain(other, one)
    return (related and "." in one and "." in other) or (
        organisation(one) != "" and organisation(one) == organisation(other)
    )


def find_list(header: Sequence[Field], authors: Sequence[str], envelope: str) -> MailingList | None:
    """A mailing list; a newsletter with a List-Id of the author's own is not one."""
    strong = next((field for name in _LIST_FIELDS for field in fields(header, name)), None)
    ids = fields(header, "list-id")
    foreign = bool(authors and envelope) and not any(share_organisation(one, envelope) for one in authors)
    sender = next(iter(fields(header, "sender")), None)
    foreign |= sender is not None and not any(one in _text(sender).lower() for one in authors)
    if strong is None and not (ids and foreign):
        return None
    text = next((_text(field) for field in (*ids, strong) if field is not None), "")
    bracketed = re.search(r"<([^<>]{1,200})>", text)
    return MailingList((bracketed[1] if bracketed else text.strip())[:200])


def find_forwarding(header: Sequence[Field], mail_from: str) -> tuple[ForwardMark, ...]:
    """The marks that a mailbox or an alias sent the message on."""
    found = [
        ForwardMark(name, _text(fields(header, name)[0]).strip()[:200])
        for name in _FORWARD_FIELDS
        if fields(header, name)
    ]
    paths = [_text(field).strip(" <>") for field in fields(header, "return-path")[:1]] + [mail_from]
    rewritten = next((path for path in paths if _SRS.search(path)), "")
    return (*found, *([ForwardMark("srs", rewritten[:200])] if rewritten else []))


def _text(field: Field) -> str:
    return " ".join(unfold(field.value[:4096]).encode("utf-8", "replace").decode().split())
