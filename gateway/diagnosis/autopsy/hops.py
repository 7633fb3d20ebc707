"""The way of a message: its Received fields, the programs that wrote them, and the hops that saw it intact.

In: a message's anatomy. Out: the hop that most likely changed it, with grounds. A header proves nothing: it yields
grounds, never a verdict.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from gateway.authentication.body import AMS_FORMS
from gateway.authentication.signature import Signature, read_signature
from gateway.diagnosis import hops
from gateway.diagnosis.autopsy import texts
from gateway.diagnosis.autopsy.anatomy import Anatomy
from gateway.diagnosis.autopsy.programs import PROGRAMS, programs_of, seen_in
from gateway.mail import authres
from gateway.mail.header import fields, unfold
from gateway.model.value import Value

_CONVERTED_BY = re.compile(r"\bby\s+([A-Za-z0-9._-]{1,255})", re.IGNORECASE)
_MOST_HOPS = 100
_LONGEST_RESULTS = 16_384
_OPINIONS = ("pass", "fail", "neutral")
"""`neutral` is Gmail's word for a body hash that does not verify."""


class SuspectHop(Value):
    """One Received field."""

    by: str
    """The host that wrote it; empty when the field does not name one."""
    programs: frozenset[str]
    start: int
    """Start of the field. Fields of later hops are above it and have smaller offsets."""


class Culprit(Value):
    """The hop that most likely changed the message."""

    name: str
    grounds: tuple[str, ...]
    afterwards: bool = False
    """The last hop found the message intact, so the change came after all hops."""


class _Sighting(Value):
    """A server on the way checked the signature."""

    start: int
    intact: bool
    leaving: bool
    """The check was made on departure, not on arrival."""
    ground: str


def read_hops(anatomy: Anatomy) -> tuple[SuspectHop, ...]:
    """The hops, oldest first."""
    written = reversed(fields(anatomy.header, "received"))
    read = zip(hops.read_hops(anatomy.header), written, strict=True)
    return tuple(SuspectHop(hop.by, programs_of(unfold(field.value)), hop.start) for hop, field in read)[-_MOST_HOPS:]


def find_culprit(anatomy: Anatomy, signature: Signature, body: bool, who: Sequence[str]) -> Culprit | None:
    """The most likely hop, if there are grounds for one. `body`: the body was changed; `who`: programs known to make
    the change."""
    told = _converter(anatomy) if {"sendmail", "postfix"} & set(who) else None
    if told is not None:
        return told
    way = read_hops(anatomy)
    sightings = [*_opinions(anatomy, signature, way), *_seals(anatomy, signature, body)]
    last = _last_witness(way, sightings)
    if last is not None:
        return last
    suspects, grounds = _narrow(way, sightings)
    for hop in suspects:
        known = [key for key in who if key in hop.programs]
        if known and hop.by:
            label = PROGRAMS[known[0]].label
            return Culprit(hop.by, (*grounds, texts.CLAIMS["program"].format(program=label)))
    marks = seen_in(anatomy.header)
    for key in who:
        if key in marks:
            return Culprit(PROGRAMS[key].label, (*grounds, marks[key]))
    if len(suspects) == 1 and suspects[0].by and grounds:
        return Culprit(suspects[0].by, (*grounds, texts.CLAIMS["left"]))
    return None


def _last_witness(way: Sequence[SuspectHop], sightings: Sequence[_Sighting]) -> Culprit | None:
    """The last hop, if it found the message intact and no server found it broken."""
    if not way or not way[-1].by or not all(seen.intact for seen in sightings):
        return None
    grounds = tuple(dict.fromkeys(seen.ground for seen in sightings if seen.start < way[-1].start))
    return Culprit(way[-1].by, grounds, True) if grounds else None


def _narrow(way: Sequence[SuspectHop], sightings: Iterable[_Sighting]) -> tuple[list[SuspectHop], tuple[str, ...]]:
    """The hops between the last that found the message intact and the first that found it broken."""
    suspects = list(way)
    grounds = []
    for seen in sightings:
        below = [hop for hop in way if hop.start > seen.start]
        # The field is above the Received line of the hop that wrote it, which is the latest one below.
        before = below if seen.leaving else below[:-1]
        left = [hop for hop in suspects if (hop not in before) == seen.intact]
        if left:
            suspects = left
            grounds.append(seen.ground)
    return suspects, tuple(dict.fromkeys(grounds))


def _opinions(anatomy: Anatomy, signature: Signature, way: Sequence[SuspectHop]) -> Iterator[_Sighting]:
    """The results that servers on the way recorded for this signature (RFC 8601)."""
    for field in fields(anatomy.header, "authentication-results"):
        parsed = authres.parse(unfold(field.value)) if len(field.value) < _LONGEST_RESULTS else None
        for result in parsed.results if parsed else ():
            domain = result.value("header", "d") or result.value("header", "i").rpartition("@")[2]
            if result.method != "dkim" or result.result not in _OPINIONS or domain.lower() != signature.domain:
                continue
            server = parsed.authserv_id if parsed else ""
            near = next((hop.by for hop in reversed(way) if hop.start > field.start), "")
            if server and near and hops.organisation(server) not in ("", hops.organisation(near)):
                continue
            server = server or near or "some server"
            ground = texts.CLAIMS["pass" if result.result == "pass" else "fail"].format(server=server)
            yield _Sighting(field.start, result.result == "pass", False, ground)


def _seals(anatomy: Anatomy, signature: Signature, body: bool) -> Iterator[_Sighting]:
    """An ARC message signature has a body hash too (RFC 8617 section 4.1.2): an equal hash means an equal body."""
    for field in fields(anatomy.header, "arc-message-signature") if body else ():
        seal = read_signature(field, "", AMS_FORMS)
        if not seal.problem and (seal.body_form, seal.length) == (signature.body_form, signature.length):
            intact = seal.body_hash == signature.body_hash
            ground = texts.CLAIMS["sealed" if intact else "sealed broken"].format(sealer=seal.domain)
            yield _Sighting(field.start, intact, True, ground)


def _converter(anatomy: Anatomy) -> Culprit | None:
    """The server that converted a transfer encoding, which notes that itself."""
    for field in fields(anatomy.header, "x-mime-autoconverted"):
        text = unfold(field.value)
        found = _CONVERTED_BY.search(text)
        if found:
            return Culprit(found[1].lower(), (texts.CLAIMS["converter"].format(text=text[:200]),))
    return None
