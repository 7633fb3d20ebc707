"""A header's fields, read for people: the hops, and the results of each server that judged the message."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gateway.diagnosis.headers.indirect import ForwardMark, MailingList, find_forwarding, find_list
from gateway.diagnosis.headers.marks import Marks, read_marks
from gateway.diagnosis.headers.paste import Pasted, read_paste
from gateway.diagnosis.hops import ReceivedHop, read_hops
from gateway.diagnosis.verdicts import ReceivedSpf, Verdicts, read_received_spf, read_verdicts
from gateway.mail.author import find_author
from gateway.mail.domain import a_label
from gateway.mail.header import Field, fields, parse_header, split_message, unfold
from gateway.mail.tokens import parse_tags
from gateway.model.value import Value, replace

_RECIPIENT = re.compile(r"@(?P<domain>[A-Za-z0-9._-]{1,253})")
_MOST_RECIPIENTS = 20
_MAIL_FROM = re.compile(r"smtp\.mail(?:from)?=\"?<?(?P<path>[^\s;<>\"]{1,320})", re.IGNORECASE)


class StatedResults(Value):
    """One field of results, and the hop at which it was added."""

    verdicts: Verdicts
    hop: int | None
    """Index into the hops; None when no Received field is below it."""


class Signed(Value):
    """One DKIM-Signature, as it names itself."""

    domain: str
    selector: str


class StatedSeal(Value):
    """One ARC-Seal, as it names itself."""

    instance: int
    domain: str
    validation: str
    """cv=: the sealer's result for the chain before it."""


class Reading(Value):
    """The whole contents of the header."""

    hops: tuple[ReceivedHop, ...]
    """The oldest first."""
    judged: tuple[StatedResults, ...]
    """The oldest first."""
    received_spf: tuple[ReceivedSpf, ...]
    """The newest first."""
    marks: Marks
    signatures: tuple[Signed, ...]
    seals: tuple[StatedSeal, ...]
    authors: tuple[str, ...]
    """Domains in From."""
    recipients: tuple[str, ...]
    """Domains of the addresses that it was delivered or addressed to."""
    list: MailingList | None
    forwarding: tuple[ForwardMark, ...]
    bounce: bool
    """The message is itself a notification of non-delivery."""
    pasted: Pasted

    def hop_of(self, judged: StatedResults) -> ReceivedHop | None:
        return None if judged.hop is None else self.hops[judged.hop]


def read_headers(octets: bytes) -> Reading:
    """Read a message, or a header block alone, with CRLF line ends. Never raises; linear time."""
    pasted = read_paste(octets)
    block, _ = split_message(pasted.octets.lstrip(b"\r\n"))
    header = parse_header(block)
    if not pasted.problem and not any(field.name for field in header):
        pasted = replace(pasted, problem="empty")
    hops = read_hops(header)
    verdicts = list(read_verdicts(header))
    authors = find_author(header).domains
    envelope = next((one.domain("spf") for one in verdicts if one.domain("spf")), "")
    returned = next((_text(field).strip(" <>") for field in fields(header, "return-path")), "")
    return Reading(
        hops=hops,
        judged=tuple(reversed([StatedResults(one, _find_hop(one, hops)) for one in verdicts])),
        received_spf=read_received_spf(header),
        marks=read_marks(header),
        signatures=_signatures(header),
        seals=_seals(header),
        authors=authors,
        recipients=_recipients(header, hops),
        list=find_list(header, authors, envelope or returned.rpartition("@")[2].lower()),
        forwarding=find_forwarding(header, _rewritten(header)),
        bounce=_is_bounce(header),
        pasted=pasted,
    )


def _rewritten(header: Sequence[Field]) -> str:
    """MAIL FROM according to the newest results."""
    texts = (_text(field) for field in fields(header, "authentication-results"))
    found = (_MAIL_FROM.search(text) for text in texts)
    return next((one["path"] for one in found if one), "")


def _is_bounce(header: Sequence[Field]) -> bool:
    types = [" ".join(_text(field).lower().split()) for field in fields(header, "content-type")[:1]]
    return any("report-type=delivery-status" in one.replace('"', "") for one in types) or any(
        fields(header, name) for name in ("x-ms-exchange-message-is-ndr", "x-failed-recipients")
    )


def _find_hop(verdicts: Verdicts, hops: Sequence[ReceivedHop]) -> int | None:
    """The hop whose client was judged. If that is not noted, the nearest Received field below, because a server puts
    its results above its own (RFC 8601 section 5)."""
    newest = range(len(hops) - 1, -1, -1)
    named = (at for at in newest if verdicts.client and hops[at].address == verdicts.client)
    return next(named, next((at for at in newest if hops[at].start > verdicts.start), None))


def _signatures(header: Sequence[Field]) -> tuple[Signed, ...]:
    found = [parse_tags(_text(field)) or {} for field in fields(header, "dkim-signature")]
    return tuple(Signed(tags.get("d", ""), tags.get("s", "")) for tags in found)


def _seals(header: Sequence[Field]) -> tuple[StatedSeal, ...]:
    found = [parse_tags(_text(field)) or {} for field in fields(header, "arc-seal")]
    seals = [
        StatedSeal(int(tags["i"]), tags.get("d", ""), tags.get("cv", "").lower())
        for tags in found
        if tags.get("i", "").isascii() and tags.get("i", "").isdigit() and len(tags["i"]) < 4
    ]
    return tuple(sorted(seals, key=lambda seal: seal.instance))


def _recipients(header: Sequence[Field], hops: Sequence[ReceivedHop]) -> tuple[str, ...]:
    texts = [hop.recipient for hop in reversed(hops) if hop.recipient]
    texts += [_text(field) for name in ("delivered-to", "to", "cc") for field in fields(header, name)]
    names = (a_label(found["domain"]) for text in texts for found in _RECIPIENT.finditer(text[:4096]))
    return tuple(dict.fromkeys(name for name in names if name))[:_MOST_RECIPIENTS]


def _text(field: Field) -> str:
    return unfold(field.value[:16384]).encode("utf-8", "replace").decode()
