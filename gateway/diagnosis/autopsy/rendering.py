"""An autopsy in plain words, for an admin who has never heard of canonicalisation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group
from rich.text import Text

from gateway.diagnosis.autopsy.differences import Difference
from gateway.diagnosis.autopsy.examination import Autopsy, AutopsyStatus, VerifiedBy
from gateway.diagnosis.autopsy.proofs import FailingPart
from gateway.diagnosis.autopsy.search import SearchStep
from gateway.diagnosis.autopsy.specimen import Specimen
from gateway.tools.narrative import clean
from gateway.tools.newlines import Newlines
from gateway.tools.text import render_section

_MOST_PLACES = 5
_MOST_LINES = 5
"""Of the file, for one place."""
_MOST_DIFFERENCES = 40
_WIDTH = 96
_PARTS = {
    FailingPart.BODY: "A signature holds a fingerprint of the body. This body has another one, so receivers must take "
    "the message for altered.",
    FailingPart.HEADER: "The body is what was signed. Of the header fields that are signed too, one is not.",
    FailingPart.KEY: "The body is what was signed. Whether the header is can only be told with the signer's key, and "
    "that could not be had or used.",
    FailingPart.SYNTAX: "The signature breaks the rules for signatures, so nobody can tell by it what was signed.",
    FailingPart.EXPIRED: "The message is what was signed, but the signer set a time limit, and it is over.",
}
_LEFT = {
    FailingPart.KEY: "Whether the header is intact as well is unknown: the signer's key could not be had.",
    FailingPart.HEADER: "But the signature still fails: the header was changed too, in a way that is not known.",
    FailingPart.EXPIRED: "Since then the signature has expired.",
}


def render_autopsy(found: Autopsy, specimen: Specimen, differences: Sequence[Difference] | None) -> Group:
    """What fails, what was done, how sure that is, who did it, what to do."""
    sections = [
        ("Signatures", _tell_signatures(found)),
        ("What happened", _tell_finding(found, specimen)),
        ("How sure that is", _tell_proof(found)),
        ("Who did it", _tell_culprit(found)),
        ("What to do", _advise(found)),
        ("Against the original", _tell_differences(differences)),
    ]
    rows = [row for title, lines in sections for row in render_section(title, lines)]
    return Group(*(Text(clean(line)) for line in _tell_file(specimen)), *rows)


def _tell_file(specimen: Specimen) -> Iterator[str]:
    yield f"{specimen.name}: {len(specimen.octets)} octets, SHA-256 {specimen.sha256}"
    if specimen.newlines is Newlines.CONVERTED:
        yield "newlines: converted. Its lines end in LF; they were read as CRLF, which is how mail travels."
    elif specimen.newlines is Newlines.MIXED:
        yield "newlines: mixed. Not every line ends in CRLF; they were kept, and that alone may break the signature."


def _tell_signatures(found: Autopsy) -> Iterator[str]:
    if not found.results:
        yield "None (DKIM). Without one nothing tells what the message was before."
    for number, result in enumerate(found.results, 1):
        why = f", {result.reason}" if result.reason else ""
        signer = f"{result.domain or 'nobody readable'} (selector {result.selector or '?'})"
        yield f"{number}. {signer}: {result.result}{why}"


def _tell_finding(found: Autopsy, specimen: Specimen) -> Iterator[str]:
    if found.status is AutopsyStatus.FOUND:
        yield "Found. On its way something " + ", and something ".join(_name_step(step) for step in found.steps) + "."
    elif found.status is AutopsyStatus.SUSPECTED:
        entries = {one.entry.id: one.entry for one in found.suspicions}.values()
        named = (f"{entry.description} ({entry.id} {entry.name})" for entry in entries)
        yield "Not proven. On its way, it seems, something " + ", or ".join(named) + "."
    elif found.status is AutopsyStatus.UNKNOWN and found.part in (FailingPart.BODY, FailingPart.HEADER):
        yield "Unknown. No change that mail servers are known to make explains it, nor two of them together."
    if found.part is not None:
        yield _PARTS[found.part]
    elif found.status is AutopsyStatus.INTACT:
        yield "Nothing: the message is what was signed."
    for step in found.steps:
        yield from _show_places(step, specimen)
    yield from (f"- {one.ground}" for one in found.suspicions)


def _name_step(step: SearchStep) -> str:
    places = f", in {len(step.places)} places" if len(step.places) > 1 else ""
    return f"{step.entry.description}{places} ({step.entry.id} {step.entry.name})"


def _show_places(step: SearchStep, specimen: Specimen) -> Iterator[str]:
    for place in step.places[:_MOST_PLACES]:
        offset, length = specimen.place(*place)
        what = f"{length} octets" if length else "where something is missing"
        yield f"Line {specimen.line(place[0])}, offset {offset}, {what}:"
        yield from _show_lines(specimen, *place)
    if len(step.places) > _MOST_PLACES:
        yield f"And {len(step.places) - _MOST_PLACES} more places."


def _show_lines(specimen: Specimen, offset: int, length: int) -> Iterator[str]:
    """The lines of a place, marked, with one before and one after."""
    message = specimen.message
    line_start = message.rfind(b"\n", 0, offset) + 1
    start = message.rfind(b"\n", 0, max(0, line_start - 1)) + 1
    number = specimen.line(start)
    for _ in range(_MOST_LINES):
        end = message.find(b"\n", start) + 1 or len(message)
        is_touched = start < offset + max(length, 1) and end > offset
        text = message[start:end].rstrip(b"\r\n")[:_WIDTH].decode("utf-8", "replace")
        yield f"  {'>' if is_touched else ' '} {number:5} | {text}".rstrip()
        if end == len(message) or start >= offset + max(length, 1):
            return
        start, number = end, number + 1


def _tell_proof(found: Autopsy) -> Iterator[str]:
    signer = found.subject.signature.domain if found.subject else ""
    if found.verified_by is VerifiedBy.BODY_HASH:
        yield f"Proven: with that undone, the body has exactly the fingerprint that {signer} signed."
    elif found.verified_by is VerifiedBy.SIGNATURE:
        yield f"Proven: with that undone, the signature of {signer} verifies with its key."
    if found.left is not None:
        yield _LEFT.get(found.left, "")
    elif found.verified_by is VerifiedBy.BODY_HASH:
        yield "The header is intact: the signature then verifies with the signer's key."
    if found.status in (AutopsyStatus.SUSPECTED, AutopsyStatus.UNKNOWN) and found.trials:
        bound = "" if found.complete else "; there are more pairs than are tried"
        yield f"{found.trials} ways to undo something were tried, none gives what was signed{bound}."


def _tell_culprit(found: Autopsy) -> Iterator[str]:
    if found.culprit is not None:
        yield f"Most likely {found.culprit.name}:"
        yield from (f"- {ground}" for ground in found.culprit.grounds)


def _advise(found: Autopsy) -> Iterator[str]:
    if found.status in (AutopsyStatus.FOUND, AutopsyStatus.SUSPECTED):
        where = found.culprit.name if found.culprit else "the server that changed it"
        yield "Leave the sender's SPF, DKIM key and DMARC record alone: they are not the cause."
        yield f"Have {where} stop changing mail, or lead mail past it."
        yield "If the domain is split between two providers, its MX has to hand each half its mail unaltered."
        yield "Until then everyone behind that server sees a broken signature, and where the author's domain publishes"
        yield "p=reject or p=quarantine, refuses the mail or takes it for junk."
    elif found.part is FailingPart.KEY:
        yield "See whether the key is published: `waypost dkim check SELECTOR DOMAIN`. Offline, give it by --dns."
    elif found.part in (FailingPart.SYNTAX, FailingPart.EXPIRED):
        yield "Tell the sender. No receiver can mend it."
    elif found.status is AutopsyStatus.INTACT:
        yield "Nothing about DKIM. If the message was refused, its bounce tells why: `waypost bounce FILE`."
    elif not found.results:
        yield "Ask the sender to sign. Without a signature DMARC rests on SPF alone, and that ends at any forwarder."
    else:
        yield "Get the message as it was sent, for instance from the sender's copy, and compare: --original FILE."


def _tell_differences(differences: Sequence[Difference] | None) -> Iterator[str]:
    if differences is not None and not differences:
        yield "No difference."
    for one in (differences or ())[:_MOST_DIFFERENCES]:
        yield f"Line {one.line}, in the original line {one.original_line}:"
        for mark, lines in (("-", one.original), ("+", one.lines)):
            yield from (f"  {mark} {line[:_WIDTH].decode('utf-8', 'replace').rstrip()}" for line in lines[:_MOST_LINES])
            if len(lines) > _MOST_LINES:
                yield f"  {mark} ... {len(lines) - _MOST_LINES} more lines"
    if differences and len(differences) > _MOST_DIFFERENCES:
        yield f"And {len(differences) - _MOST_DIFFERENCES} more."
