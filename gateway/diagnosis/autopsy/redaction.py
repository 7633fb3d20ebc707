"""A report for a provider's support desk: the changes to a message, without its text and recipients.

Local parts of addresses, the subject, display names and all letters and digits of the text are masked. The data that a
provider needs to find the message (Message-ID, Received, its own ids) and the evidence (line ends, boundaries, hashes)
stay.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator

from gateway import __version__
from gateway.diagnosis.autopsy import texts
from gateway.diagnosis.autopsy.anatomy import Anatomy
from gateway.diagnosis.autopsy.examination import Autopsy, AutopsyStatus
from gateway.diagnosis.autopsy.specimen import Specimen
from gateway.mail.header import Field
from gateway.tools.narrative import clean

_KEPT = re.compile(
    r"received|message-id|date|mime-version|content-(?:type|transfer-encoding)|dkim-signature|x-mime-autoconverted"
    r"|(?:arc-)?(?:authentication-results|message-signature|seal)|x-ms-exchange-[a-z-]*(?:id|source|as)",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"[^\s<>()\[\]:;,@\"=]+@(?=[A-Za-z0-9-]+\.)")
_QUOTED = re.compile(r'"[^"\r\n]*"@')
_NAME_PARAMETER = re.compile(r'((?:file)?name\*?\d*\*?=)("[^"]*"|[^;\s]+)', re.IGNORECASE)
_WORD = re.compile(rb"[A-Za-z0-9\x80-\xff]")
_AROUND = 3
_LONGEST = 2000


def compose_report(found: Autopsy, specimen: Specimen) -> str:
    """The report as text."""
    return "\n".join(line for block in _blocks(found, specimen) for line in (*block, "")) + "\n"


def _blocks(found: Autopsy, specimen: Specimen) -> Iterator[list[str]]:
    anatomy = Anatomy(specimen.message)
    title = texts.REPORT_CHANGED if found.status is AutopsyStatus.FOUND else texts.REPORT_FAILS
    yield [title, texts.REPORT_BY.format(version=__version__)]
    yield [
        texts.REPORT_HEADINGS["signatures"],
        *(f"  {one.domain} {one.selector} {one.algorithm}: {one.result} {one.reason}" for one in found.results),
    ]
    yield [texts.REPORT_HEADINGS["finding"], *_findings(found, specimen)]
    if found.culprit is not None:
        lead = texts.REPORT_AFTER if found.culprit.afterwards else texts.REPORT_LIKELY
        yield [lead.format(name=found.culprit.name), *(f"  - {mask_text(one)}" for one in found.culprit.grounds)]
    yield [texts.REPORT_HEADINGS["hashes"], *_hashes(found, specimen)]
    yield [texts.REPORT_HEADINGS["fields"], *_header(anatomy)]
    for step in found.steps:
        for place in step.places[:5]:
            yield [texts.REPORT_LINES.format(offset=specimen.place(*place)[0]), *_excerpt(specimen, *place)]


def _findings(found: Autopsy, specimen: Specimen) -> Iterator[str]:
    part, proof = found.part or texts.REPORT_NO_PART, found.verified_by or texts.REPORT_NO_PROOF
    yield "  " + texts.REPORT_STATUS.format(status=found.status, part=part, proof=proof)
    for step in found.steps:
        places = ", ".join(
            texts.REPORT_PLACE.format(offset=offset, length=length)
            for offset, length in (specimen.place(*p) for p in step.places)
        )
        change = texts.REPORT_CHANGE.format(name=step.entry.name, change=step.entry.description, places=places)
        yield f"  {step.entry.id} {change}"
    for suspicion in found.suspicions:
        entry, ground = suspicion.entry, mask_text(suspicion.ground)
        yield "  " + texts.REPORT_SUSPECTED.format(id=entry.id, name=entry.name, ground=ground)


def _hashes(found: Autopsy, specimen: Specimen) -> Iterator[str]:
    yield "  " + texts.REPORT_RECEIVED.format(digest=specimen.sha256)
    if found.repaired is not None:
        undone = hashlib.sha256(specimen.restore(found.repaired)).hexdigest()
        yield "  " + texts.REPORT_UNDONE.format(digest=undone)
    if found.subject is not None and found.subject.signature.body_hash:
        signature = found.subject.signature
        digest = base64.b64encode(signature.body_hash).decode()
        yield "  " + texts.REPORT_SIGNED.format(form=signature.body_form, digest=digest)


def _header(anatomy: Anatomy) -> Iterator[str]:
    for field in anatomy.header:
        if _KEPT.fullmatch(field.lower):
            yield f"  {field.name}:{_mask_field(field)}"
        elif field.lower:
            yield f"  {field.name}: ..."


def _mask_field(field: Field) -> str:
    text = field.value[:_LONGEST].decode("utf-8", "replace").replace("\r\n", "\n  ")
    if field.lower in ("message-id", "date"):
        return "\n".join(map(clean, text.split("\n")))
    return mask_text(_NAME_PARAMETER.sub(r'\1"..."', text))


def mask_text(text: str) -> str:
    """Local parts of addresses become `...`, line by line."""
    masked = _ADDRESS.sub("...@", _QUOTED.sub("...@", text))
    return "\n".join(map(clean, masked.split("\n")))


def _excerpt(specimen: Specimen, offset: int, length: int) -> Iterator[str]:
    """Lines around a place. Of text only the shape is shown: letters and digits become `x`, except in boundaries."""
    message = specimen.message
    start = offset
    for _ in range(_AROUND + 1):
        start = max(0, message.rfind(b"\n", 0, max(0, start - 1)) + 1)
    for _ in range(2 * _AROUND + 1 + message.count(b"\n", offset, offset + min(length, _LONGEST))):
        end = message.find(b"\n", start) + 1 or len(message)
        line = message[start:end]
        shape = line if line.startswith(b"--") else _WORD.sub(b"x", line)
        mark = ">" if start < offset + max(length, 1) and end > offset else " "
        yield f"  {mark} {repr(shape[:120].decode('ascii', 'replace'))[1:-1]}"
        start = end
        if start >= len(message):
            break
