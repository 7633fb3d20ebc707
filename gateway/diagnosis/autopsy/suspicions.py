"""Marks of changes that were not, or cannot be, undone: grounds for a suspicion, never a proof."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gateway.authentication.signature import Signature
from gateway.diagnosis.autopsy import catalogue, texts
from gateway.diagnosis.autopsy.anatomy import Anatomy
from gateway.diagnosis.autopsy.entry import Entry
from gateway.diagnosis.autopsy.hops import read_hops
from gateway.diagnosis.autopsy.programs import seen_in
from gateway.mail.author import find_author
from gateway.mail.domain import is_subdomain
from gateway.mail.header import fields, unfold
from gateway.model.value import Value

_ENTRIES = {entry.id: entry for entry in (*catalogue.BODY, *catalogue.HEADER)}
_STYLES = {
    "Exchange": re.compile(rb"_\d{3}_[0-9A-Za-z]{4,}_"),
    "Mimecast": re.compile(rb"MCBoundary=_\d+|=-?[A-Za-z0-9+/]{20,}Mimecast"),
}
"""Boundaries of programs that are known to rewrite messages."""
_ORIGINS = {
    "Exchange": re.compile(r"\.outlook\.com>|\.exchangelabs\.com>|Microsoft|Outlook|Exchange", re.IGNORECASE),
    "Mimecast": re.compile("mimecast", re.IGNORECASE),
}
"""Values of Message-ID or X-Mailer in messages originally written by the same program."""
_NOTICE = re.compile(
    rb"\b(?:attachment|file|anhang)\b[^\r\n]{0,120}\b(?:removed|deleted|blocked|stripped|quarantined|replaced|entfernt)\b"
    rb"|VirusWarning\.txt|AttachmentWarning",
    re.IGNORECASE,
)
_SOFT_END = re.compile(rb"[^ \r\n] \r\n")
_BARE_SIGNATURE = re.compile(rb"\n--\r\n")
_SCANNED_LINK = re.compile(
    rb"https?://(?:[a-z0-9.-]+\.safelinks\.protection\.outlook\.com|urldefense(?:\.proofpoint)?\.(?:com|us)"
    rb"|[a-z0-9.-]*mimecast(?:protect)?\.com/s|linkprotect\.cudasvc\.com|secure-web\.cisco\.com"
    rb"|[a-z0-9.-]*\.protection\.sophos\.com|[a-z0-9.-]*\.trendmicro\.com|protect2?\.fireeye\.com"
    rb"|clicktime\.symantec\.com|[a-z0-9.-]*hornetsecurity\.com)/"
)
_EXCHANGE_HTML = re.compile(
    rb"<head>\r\n<meta http-equiv=3?D?\"Content-Type\"|<!-- (?:converted|P \{margin)|<style type=\"text/css\" "
    rb"style=\"display:none",
    re.IGNORECASE,
)
_QUOTED_CHARSET = re.compile(rb"[ \t]*text/(?:plain|html);[ \t\r\n]*charset=\"[A-Za-z0-9_-]+\"[ \t]*", re.IGNORECASE)
_ALWAYS_THERE = ("from", "date", "message-id", "subject", "to")
_RELAY_IDS = re.compile(r"@(?:[a-z0-9-]+\.)*(?:amazonses\.com|email\.amazonses\.com)>", re.IGNORECASE)


class Suspicion(Value):
    """An entry whose marks are present."""

    entry: Entry
    ground: str


def suspect_body(anatomy: Anatomy, signature: Signature, header_holds: bool | None) -> tuple[Suspicion, ...]:
    """Possible changes to the body. `header_holds`: the signed header is unchanged; None: the key is missing."""
    return (
        *_renamed(anatomy, header_holds is True and "content-type" in signature.names),
        *_stripped(anatomy, signature),
        *_replaced(anatomy),
        *_converted(anatomy),
        *_rewritten(anatomy),
        *_rewritten_html(anatomy),
    )


def _suspicion(id: str, ground: str) -> Suspicion:
    return Suspicion(_ENTRIES[id], ground)


def _renamed(anatomy: Anatomy, outermost_holds: bool) -> Iterator[Suspicion]:
    multiparts = [part for part in (anatomy.whole, *anatomy.parts) if part.boundary]
    marks = [unfold(field.value) for name in ("message-id", "x-mailer") for field in fields(anatomy.header, name)]
    for program, style in _STYLES.items():
        styled = [part for part in multiparts if style.fullmatch(part.boundary)]
        if not styled or any(_ORIGINS[program].search(mark) for mark in marks):
            continue
        if outermost_holds and styled[0].depth < 0:
            continue
        boundary = styled[0].boundary.decode("ascii", "replace")
        yield _suspicion("B07", texts.GROUNDS["boundary"].format(boundary=boundary, program=program))


def _stripped(anatomy: Anatomy, signature: Signature) -> Iterator[Suspicion]:
    if signature.body_form != "simple":
        return
    for part in anatomy.texts:
        octets = anatomy.message[part.body : part.end]
        if part.flowed and not _SOFT_END.search(octets):
            yield _suspicion("B17", texts.GROUNDS["flowed"])
        elif _BARE_SIGNATURE.search(octets):
            yield _suspicion("B17", texts.GROUNDS["dashes"])


def _replaced(anatomy: Anatomy) -> Iterator[Suspicion]:
    for part in anatomy.parts:
        found = _NOTICE.search(anatomy.message, part.start, min(part.end, part.start + 20_000))
        if found and part.type.startswith("text/"):
            yield _suspicion("B24", texts.GROUNDS["notice"].format(text=found[0].decode("ascii", "replace")))
            return


def _converted(anatomy: Anatomy) -> Iterator[Suspicion]:
    for field in fields(anatomy.header, "x-mime-autoconverted")[:1]:
        text = unfold(field.value)
        yield _suspicion(
            "B12" if "to quoted-printable" in text else "B13", texts.GROUNDS["converted"].format(text=text[:200])
        )


def _rewritten(anatomy: Anatomy) -> Iterator[Suspicion]:
    found = _SCANNED_LINK.search(anatomy.message, anatomy.body)
    if found:
        yield _suspicion("B21", texts.GROUNDS["link"].format(text=found[0].decode("ascii", "replace")))


def _rewritten_html(anatomy: Anatomy) -> Iterator[Suspicion]:
    found = _EXCHANGE_HTML.search(anatomy.message, anatomy.body)
    if found and _came_through_exchange(anatomy):
        yield _suspicion("B27", texts.GROUNDS["html"])


def _came_through_exchange(anatomy: Anatomy) -> bool:
    return "exchange" in seen_in(anatomy.header) or any("exchange" in hop.programs for hop in read_hops(anatomy))


def suspect_header(anatomy: Anatomy, signature: Signature) -> tuple[Suspicion, ...]:
    """Possible changes to the signed header."""
    return (
        *_removed(anatomy, signature),
        *_numbered(anatomy, signature),
        *_munged(anatomy, signature),
        *_retyped(anatomy, signature),
    )


def _removed(anatomy: Anatomy, signature: Signature) -> Iterator[Suspicion]:
    there = {field.lower for field in anatomy.header}
    for name in dict.fromkeys(signature.names):
        expected = name in _ALWAYS_THERE or (name == "mime-version" and "content-type" in there)
        if name not in there and expected:
            yield _suspicion("H08", texts.GROUNDS["removed"].format(name=name))


def _numbered(anatomy: Anatomy, signature: Signature) -> Iterator[Suspicion]:
    for field in fields(anatomy.header, "message-id")[:1]:
        text = unfold(field.value)
        if (
            "message-id" in signature.names
            and _RELAY_IDS.search(text)
            and not signature.domain.endswith("amazonses.com")
        ):
            yield _suspicion("H06", texts.GROUNDS["numbered"].format(text=text[:200]))


def _munged(anatomy: Anatomy, signature: Signature) -> Iterator[Suspicion]:
    author = find_author(anatomy.header)
    is_list = any(field.lower.startswith("list-") for field in anatomy.header)
    if is_list and author.domains and not any(is_subdomain(one, signature.domain) for one in author.domains):
        said = texts.GROUNDS["munged"].format(author=author.domains[0], signer=signature.domain)
        yield _suspicion("H05", said)


def _retyped(anatomy: Anatomy, signature: Signature) -> Iterator[Suspicion]:
    field = anatomy.whole.find("content-type")
    signed = field is not None and "content-type" in signature.names
    if field is not None and signed and _QUOTED_CHARSET.fullmatch(field.value) and _came_through_exchange(anatomy):
        yield _suspicion("H10", texts.GROUNDS["retyped"])
