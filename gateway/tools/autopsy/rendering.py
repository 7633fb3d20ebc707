"""An autopsy in plain words, for an admin who has never heard of canonicalisation."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Group
from rich.text import Text

from gateway.tools.autopsy.differences import Difference
from gateway.tools.autopsy.examination import Autopsy, Status, VerifiedBy
from gateway.tools.autopsy.proofs import Part
from gateway.tools.autopsy.search import Step
from gateway.tools.autopsy.specimen import Specimen
from gateway.tools.narrative import clean
from gateway.tools.newlines import Newlines

_MOST_PLACES = 5
_MOST_DIFFERENCES = 40
_WIDTH = 96
_PARTS = {
    Part.BODY: "The body is not what was signed: its hash differs from the one in the signature.",
    Part.HEADER: "The body is what was signed, but a signed header field is not.",
    Part.KEY: "The key that the signature needs could not be used. The body is what was signed; of the header only the "
    "key can tell.",
    Part.SYNTAX: "The signature itself cannot be read, so it proves nothing. The sender has to repair it.",
    Part.EXPIRED: "The message is what was signed, but the signature was valid for a limited time that is over.",
}
_STYLES = {Status.INTACT: "green", Status.FOUND: "bold", Status.SUSPECTED: "yellow", Status.UNKNOWN: "red"}


def render_autopsy(found: Autopsy, specimen: Specimen, differences: Sequence[Difference] | None) -> Group:
    """All of it, top to bottom: what fails, what was done, who did it, what to do."""
    blocks = [
        _section("The file", _tell_file(specimen)),
        _section("Signatures", _tell_signatures(found)),
        _section("What happened", _tell_finding(found, specimen), _STYLES[found.status]),
    ]
    if found.culprit is not None:
        blocks.append(
            _section("Who did it, most likely", [found.culprit.name, *(f"- {g}" for g in found.culprit.grounds)])
        )
    blocks.append(_section("What to do", _advise(found)))
    if differences is not None:
        blocks.append(_section("Against the original", _tell_differences(differences)))
    return Group(*blocks)


def _section(title: str, lines: Iterable[str], style: str = "") -> Text:
    """A title and what is below it; `style` is that of the first line. What begins with a blank is not wrapped."""
    text = Text(f"{title}\n", "")
    text.stylize("bold underline")
    for number, line in enumerate(map(clean, lines)):
        hang = "  " if line.startswith("- ") else ""
        rows = [line] if line.startswith(" ") else textwrap.wrap(line, _WIDTH, subsequent_indent=hang)
        for row in rows:
            text.append(f"  {row}\n", style if number == 0 else "")
    return text


def _tell_file(specimen: Specimen) -> Iterator[str]:
    yield f"{specimen.name}: {len(specimen.octets)} octets, SHA-256 {specimen.sha256}"
    if specimen.newlines is Newlines.CONVERTED:
        yield "newlines: converted. Its lines end in LF alone; they were read as CRLF, as they are on the wire."
    elif specimen.newlines is Newlines.MIXED:
        yield "newlines: mixed. Some lines do not end in CRLF; they were kept as they are, and that alone may break it."


def _tell_signatures(found: Autopsy) -> Iterator[str]:
    if not found.results:
        yield "None. Without a DKIM signature nothing tells what the message was before."
    for number, result in enumerate(found.results):
        why = f" ({result.reason})" if result.reason else ""
        who = f"{result.domain or 'nobody readable'}, selector {result.selector or '?'}"
        yield f"{number}  {result.result:9} {who}{why}"


def _tell_finding(found: Autopsy, specimen: Specimen) -> Iterator[str]:
    if found.status is Status.INTACT:
        yield "Nothing was changed: the message is what was signed."
    elif found.status is Status.FOUND:
        yield "Found, and proven: " + " Then it ".join(f"something {step.entry.description}." for step in found.steps)
    elif found.status is Status.SUSPECTED:
        yield "Not proven, but suspected: something " + "; or ".join(
            dict.fromkeys(one.entry.description for one in found.suspicions)
        )
    else:
        yield "Unknown: none of the changes that mail servers are known to make explains it."
    if found.part is not None:
        yield _PARTS[found.part]
    for step in found.steps:
        yield from _tell_step(step, specimen)
    yield from (f"- {one.entry.id} {one.entry.name}: {one.ground}" for one in found.suspicions)
    yield from _tell_proof(found)


def _tell_step(step: Step, specimen: Specimen) -> Iterator[str]:
    count = len(step.places)
    yield f"{step.entry.id} {step.entry.name}, in {count} place{'s' if count > 1 else ''}:"
    for place in step.places[:_MOST_PLACES]:
        offset, length = specimen.place(*place)
        what = f"{length} octets" if length else "something is missing here"
        yield f"    line {specimen.line(place[0])}, offset {offset}: {what}"
        yield from _show(specimen, *place)
    if count > _MOST_PLACES:
        yield f"    and {count - _MOST_PLACES} more"


def _show(specimen: Specimen, offset: int, length: int) -> Iterator[str]:
    """The lines around a place; those that it touches are marked."""
    message = specimen.message
    first = specimen.line(offset)
    start = message.rfind(b"\n", 0, message.rfind(b"\n", 0, offset) if first > 1 else 0) + 1
    number = first - (1 if first > 1 else 0)
    shown = 0
    while start < len(message) and shown < 5:
        end = message.find(b"\n", start) + 1 or len(message)
        touched = start < offset + max(length, 1) and end > offset
        text = message[start:end].rstrip(b"\r\n")[:_WIDTH].decode("utf-8", "replace")
        yield f"    {'>' if touched else ' '} {number:5} | {text}"
        shown += 1
        number += 1
        if start >= offset + length and not touched:
            break
        start = end


def _tell_proof(found: Autopsy) -> Iterator[str]:
    domain = found.subject.signature.domain if found.subject else ""
    if found.verified_by is VerifiedBy.BODY_HASH:
        yield f"Proof: with that undone, the body has exactly the hash that {domain} signed. Chance cannot do that."
    elif found.verified_by is VerifiedBy.SIGNATURE:
        yield f"Proof: with that undone, the signature of {domain} verifies with its key."
    if found.status is Status.FOUND and found.left is Part.KEY:
        yield "Whether the header is intact too is unknown: the key could not be had."
    elif found.left is Part.HEADER:
        yield "Something else was done to the header, and what is not known: the signature still fails."
    if found.status in (Status.SUSPECTED, Status.UNKNOWN) and found.trials:
        rest = "" if found.complete else "; that is the bound, so not every pair of changes was tried"
        yield f"{found.trials} repairs were tried{rest}."


def _advise(found: Autopsy) -> Iterator[str]:
    where = found.culprit.name if found.culprit else "the hop that did it"
    if found.status in (Status.FOUND, Status.SUSPECTED):
        yield "The sender is not at fault: SPF, DKIM key and DMARC record of the sender need no change."
        yield f"Have {where} stop changing mail, or let mail reach its mailbox without passing there."
        yield "Until then, mail from domains with p=reject or p=quarantine will be refused or put into junk behind it."
    elif found.status is Status.INTACT and found.part is None:
        yield "Nothing, as far as DKIM goes. If it was refused, it was for another reason, which its bounce tells."
    elif found.part is Part.KEY:
        yield "Look at the sender's key: `waypost dkim check SELECTOR DOMAIN`. Without a network, give it with --dns."
    elif found.part in (Part.SYNTAX, Part.EXPIRED):
        yield "Tell the sender; nothing on the receiving side can repair this."
    elif not found.results:
        yield "Ask the sender to sign with DKIM: without it DMARC rests on SPF alone, and that ends at a forwarder."
    else:
        yield "Get the message as it was sent (from the sender's Sent folder) and compare: --original FILE."


def _tell_differences(differences: Sequence[Difference]) -> Iterator[str]:
    if not differences:
        yield "None: both files are alike."
    for one in differences[:_MOST_DIFFERENCES]:
        yield f"line {one.line} (line {one.original_line} of the original):"
        for mark, lines in (("-", one.original), ("+", one.lines)):
            yield from (f"  {mark} {line[:_WIDTH].decode('utf-8', 'replace').rstrip()}" for line in lines[:20])
    if len(differences) > _MOST_DIFFERENCES:
        yield f"and {len(differences) - _MOST_DIFFERENCES} more"
