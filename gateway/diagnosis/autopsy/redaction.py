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
    yield [
        "A message was changed in transit after it was signed (DKIM, RFC 6376)"
        if found.status is AutopsyStatus.FOUND
        else "A message's DKIM signature fails",
        f"Report by waypost {__version__}. Local parts, subject and text are masked.",
    ]
    yield [
        "Signatures:",
        *(f"  {one.domain} {one.selector} {one.algorithm}: {one.result} {one.reason}" for one in found.results),
    ]
    yield ["Finding:", *_findings(found, specimen)]
    if found.culprit is not None:
        lead = "Somewhere after" if found.culprit.afterwards else "Most likely by"
        yield [f"{lead}: {found.culprit.name}", *(f"  - {mask_text(one)}" for one in found.culprit.grounds)]
    yield ["Hashes:", *_hashes(found, specimen)]
    yield ["Header fields, top to bottom (others are left out):", *_header(anatomy)]
    for step in found.steps:
        for place in step.places[:5]:
            yield [f"Lines around offset {specimen.place(*place)[0]}, line ends shown:", *_excerpt(specimen, *place)]


def _findings(found: Autopsy, specimen: Specimen) -> Iterator[str]:
    yield f"  status: {found.status}; failing part: {found.part or 'none'}; proven by: {found.verified_by or 'nothing'}"
    for step in found.steps:
        places = ", ".join(
            f"offset {offset} length {length}" for offset, length in (specimen.place(*p) for p in step.places)
        )
        yield f"  {step.entry.id} {step.entry.name}: it {step.entry.description} ({places})"
    for suspicion in found.suspicions:
        yield f"  suspected {suspicion.entry.id} {suspicion.entry.name}: {mask_text(suspicion.ground)}"


def _hashes(found: Autopsy, specimen: Specimen) -> Iterator[str]:
    yield f"  SHA-256 of the file as received: {specimen.sha256}"
    if found.repaired is not None:
        yield f"  SHA-256 with the change undone: {hashlib.sha256(specimen.restore(found.repaired)).hexdigest()}"
    if found.subject is not None and found.subject.signature.body_hash:
        signature = found.subject.signature
        digest = base64.b64encode(signature.body_hash).decode()
        yield f"  body hash that was signed (bh=, {signature.body_form}): {digest}"


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
