"""Conclusions from a header: sentences for people, each with the remedy."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.diagnosis.headers import texts
from gateway.diagnosis.headers.causes import edge_sentence, find_causes
from gateway.diagnosis.headers.marks import explain_level, explain_reason
from gateway.diagnosis.headers.places import organisations
from gateway.diagnosis.headers.reading import Reading
from gateway.diagnosis.headers.summary import HeaderFinding, Summary, Weight, summarise
from gateway.diagnosis.hops import is_internal, organisation
from gateway.diagnosis.verdicts import Verdicts
from gateway.model.value import replace

__all__ = ["HeaderFinding", "Weight", "find_all", "show_seconds"]
_SLOW = 60.0
"""Seconds of a hop from which its delay is mentioned."""
_SKEWED = -5.0
_SPAM = 5


def find_all(reading: Reading) -> tuple[HeaderFinding, ...]:
    """Every finding, the most important first."""
    summary = summarise(reading)
    found = [*_handed_in(reading)]
    for finding in find_causes(summary, reading):
        inner = finding.kind == "second-spf-check"
        found.append(replace(finding, text=finding.text + edge_sentence(summary, reading)) if inner else finding)
    for judged in reading.judged:
        if not judged.verdicts.kind:
            found += _microsoft(judged.verdicts)
    found += [*_way(reading), *_filter(reading), *_chain(reading, summary), *_outcome(summary, reading)]
    return tuple(sorted(found, key=lambda finding: list(Weight).index(finding.weight)))


def _handed_in(reading: Reading) -> Iterator[HeaderFinding]:
    """Findings about the file itself."""
    if reading.pasted.problem:
        text = texts.OUTLOOK_FILE if reading.pasted.problem == "outlook" else texts.NO_HEADER
        yield HeaderFinding("no-header", Weight.PROBLEM, text)
    if reading.bounce:
        yield HeaderFinding("bounce", Weight.NOTE, texts.BOUNCE)
    for key in reading.pasted.mended:
        yield HeaderFinding("mended", Weight.NOTE, texts.PASTED[key])


def _microsoft(verdicts: Verdicts) -> Iterator[HeaderFinding]:
    result = verdicts.result("dmarc")
    if result in texts.DMARC_WORDS:
        text = texts.DMARC_WORD.format(word=result, meaning=texts.DMARC_WORDS[result])
        yield HeaderFinding("dmarc-word", Weight.NOTE, text)
    known = texts.ACTIONS.get(verdicts.action, "")
    if known and result not in ("", "pass"):
        text = texts.DMARC_ACTION.format(word=verdicts.action, meaning=known)
        yield HeaderFinding("dmarc-action", Weight.NOTE, text)
    said = explain_reason(verdicts.reason)
    if verdicts.compauth and said:
        text = texts.COMPAUTH.format(word=verdicts.compauth, reason=verdicts.reason, meaning=said)
        yield HeaderFinding("compauth", Weight.NOTE, text)


def _way(reading: Reading) -> Iterator[HeaderFinding]:
    for number, hop in enumerate(reading.hops, 1):
        if hop.delay is not None and hop.delay >= _SLOW:
            text = texts.DELAY.format(number=number, span=show_seconds(hop.delay), host=hop.by or "it")
            remedy = texts.DELAY_FIX.format(host=hop.sender or texts.SERVER_BEFORE)
            yield HeaderFinding("delay", Weight.NOTE, text, (remedy,))
        elif hop.delay is not None and hop.delay < _SKEWED:
            yield HeaderFinding("clock", Weight.NOTE, texts.CLOCK.format(number=number))
        foreign = organisations((hop.sender, hop.rdns)) - {organisation(hop.by)}
        if hop.address and not is_internal(hop.address) and foreign and not hop.tls and "SMTP" in hop.protocol.upper():
            text = texts.NO_TLS.format(number=number, sender=hop.sender, host=hop.by)
            yield HeaderFinding("no-tls", Weight.NOTE, text)


def _filter(reading: Reading) -> Iterator[HeaderFinding]:
    marks = reading.marks
    if marks.skipped:
        yield HeaderFinding("skip-listing", Weight.GOOD, texts.SKIPPED.format(address=marks.skipped))
    if marks.scl is not None and (marks.scl >= _SPAM or marks.scl < 0):
        category = texts.CATEGORIES.get(marks.category.upper(), marks.category)
        text = texts.SPAM_LEVEL.format(
            level=marks.scl,
            meaning=explain_level(marks.scl, texts.SCL),
            category=texts.CATEGORY.format(category=category) if marks.category else "",
        )
        yield HeaderFinding("spam-level", Weight.NOTE, text)
    if marks.auth_as.lower() == "internal":
        yield HeaderFinding("internal", Weight.NOTE, texts.INTERNAL)


def _chain(reading: Reading, summary: Summary) -> Iterator[HeaderFinding]:
    if not reading.seals and not summary.arc_passed:
        return
    sealers = ", ".join(seal.domain or "?" for seal in reading.seals) or texts.SERVER_BETWEEN
    if reading.seals and reading.seals[-1].validation == "fail":
        yield HeaderFinding("arc", Weight.NOTE, texts.ARC_BROKEN.format(sealers=sealers))
        return
    text = texts.ARC_SEALED.format(sealers=sealers)
    if summary.arc_passed and summary.verdicts is not None:
        text += texts.ARC_PASSED.format(writer=summary.verdicts.writer or "The receiver")
    yield HeaderFinding("arc", Weight.NOTE, text)


def _outcome(summary: Summary, reading: Reading) -> Iterator[HeaderFinding]:
    verdicts = summary.verdicts
    if verdicts is None:
        if not reading.pasted.problem:
            yield HeaderFinding("no-results", Weight.NOTE, texts.VERDICTS["unknown"])
    elif summary.dmarc == "pass":
        passed = [name.upper() for name in ("spf", "dkim") if verdicts.result(name) == "pass"]
        domain = summary.author or "the author's domain"
        text = texts.PASSED.format(domain=domain, how=" and ".join(passed) or "a check")
        yield HeaderFinding("authenticated", Weight.GOOD, text)


def show_seconds(seconds: float) -> str:
    """A span in the largest unit that is precise enough."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if abs(seconds) >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
