"""A header's fields, read for people: the hops, and what each server that judged the message said."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gateway.diagnosis.exchange import Marks, read_marks
from gateway.diagnosis.hops import ReceivedHop, read_hops
from gateway.diagnosis.verdicts import Verdicts, read_verdicts
from gateway.mail.author import find_author
from gateway.mail.domain import a_label
from gateway.mail.header import Field, fields, parse_header, split_message, unfold
from gateway.mail.tags import parse_tags
from gateway.model.value import Value

_RECIPIENT = re.compile(r"@(?P<domain>[A-Za-z0-9._-]{1,253})")
_MOST_RECIPIENTS = 20


class StatedResults(Value):
    """One field of results, and the hop at which it was added."""

    verdicts: Verdicts
    hop: int | None
    """Index into the hops; None where no Received field is below it."""


class Signed(Value):
    """One DKIM-Signature, as it names itself."""

    domain: str
    selector: str


class StatedSeal(Value):
    """One ARC-Seal, as it names itself."""

    instance: int
    domain: str
    validation: str
    """cv=: what the sealer found of the chain before it."""


class Reading(Value):
    """All that the header says."""

    hops: tuple[ReceivedHop, ...]
    """The oldest first."""
    judged: tuple[StatedResults, ...]
    """The oldest first."""
    marks: Marks
    signatures: tuple[Signed, ...]
    seals: tuple[StatedSeal, ...]
    authors: tuple[str, ...]
    """Domains in From."""
    recipients: tuple[str, ...]
    """Domains of those it was delivered or addressed to."""

    def hop_of(self, judged: StatedResults) -> ReceivedHop | None:
        return None if judged.hop is None else self.hops[judged.hop]


def read_headers(octets: bytes) -> Reading:
    """Read a message, or a header block alone, with CRLF line ends. Never raises; linear time."""
    block, _ = split_message(octets.lstrip(b"\r\n"))
    header = parse_header(block)
    hops = read_hops(header)
    judged = [StatedResults(one, _find_hop(one, hops)) for one in read_verdicts(header)]
    return Reading(
        hops=hops,
        judged=tuple(reversed(judged)),
        marks=read_marks(header),
        signatures=_signatures(header),
        seals=_seals(header),
        authors=find_author(header).domains,
        recipients=_recipients(header, hops),
    )


def _find_hop(verdicts: Verdicts, hops: Sequence[ReceivedHop]) -> int | None:
    """The hop whose client was judged; where that is not noted, the nearest Received field below, since a server puts
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
