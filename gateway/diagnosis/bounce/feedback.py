"""`waypost bounce` on a feedback report: the receiver's complaint, and whether its check was meaningful.

An SPF check behind the recipient's own edge judges the recipient's server in place of the sender's. It fails for every
sender, and its report reaches an admin who cannot change anything about it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from rich.console import Group
from rich.text import Text

from gateway.diagnosis.bounce import texts
from gateway.diagnosis.bounce.arf import Feedback
from gateway.diagnosis.headers.findings import HeaderFinding, Weight
from gateway.diagnosis.headers.places import find_relay, organisations
from gateway.diagnosis.headers.reading import Reading, read_headers
from gateway.diagnosis.hops import organisation
from gateway.model.value import asdict
from gateway.tools.narrative import clean
from gateway.tools.results import Json, Newlines, render_section, safe_json

_PASSED = re.compile(
    r"\bdkim=pass\b[^;]*?\bheader\.[di]=@?(?P<dkim>[^\s;]+)|\bspf=pass\b[^;]*?\bsmtp\.mail(?:from)?=(?P<spf>[^\s;]+)",
    re.IGNORECASE,
)


def judge_feedback(feedback: Feedback) -> tuple[HeaderFinding, ...]:
    """The meaning of the report for its recipient."""
    behind = _inner_check(feedback) if _speaks_of_spf(feedback) else None
    if behind is not None:
        return (behind,)
    if feedback.type != "auth-failure":
        text = texts.COMPLAINT.format(type=feedback.type or texts.COMPLAINT_TYPE)
        return (HeaderFinding("complaint", Weight.PROBLEM, text, (texts.COMPLAINT_REMEDY,)),)
    failed = texts.FAILURES.get(feedback.failure, texts.FAILURE)
    text = texts.AUTH_FAILED.format(failed=failed, domain=feedback.domain or texts.YOUR_DOMAIN)
    return (HeaderFinding("auth-failure", Weight.PROBLEM, text, tuple(_remedies(feedback))),)


def _speaks_of_spf(feedback: Feedback) -> bool:
    if feedback.failure == "dmarc":
        return "dkim=pass" not in feedback.results and "dkim=fail" not in feedback.results
    return feedback.failure == "spf" or (not feedback.failure and "spf=" in feedback.results)


def _inner_check(feedback: Feedback) -> HeaderFinding | None:
    """The judged address is one behind the recipient's edge (RFC 7208 appendix D)."""
    if feedback.source is None:
        return None
    reading = read_headers(feedback.original)
    found = _place_of_check(feedback, reading)
    if found is None:
        return None
    edge, origin = found
    text = texts.SECOND_CHECK.format(edge=edge, origin=origin, source=feedback.source)
    place = organisation(edge) or edge
    remedies = tuple(remedy.format(source=feedback.source, edge=place) for remedy in texts.SECOND_CHECK_REMEDIES)
    return HeaderFinding("second-spf-check", Weight.PROBLEM, text, remedies)


def _place_of_check(feedback: Feedback, reading: Reading) -> tuple[str, str] | None:
    """The server that took the message at the edge, and its client, if the check was made further inside."""
    at = next((n for n, hop in enumerate(reading.hops) if hop.address == feedback.source), None)
    if at is not None:
        relayed = find_relay(reading, at)
        if relayed is None or not (relayed.recipients or relayed.receivers):
            return None
        origin = relayed.origin
    else:
        # The copy may end at the edge: the recipient's side then took the message from another address before.
        own = organisations((feedback.recipient.rpartition("@")[2], feedback.reporter, *reading.recipients))
        entered = (hop for hop in reversed(reading.hops) if hop.address and organisation(hop.by) in own)
        found = next((hop for hop in entered if organisations((hop.sender, hop.rdns)) - own), None)
        if found is None:
            return None
        origin = found
    return origin.by, f"{origin.address or '?'} ({origin.rdns or origin.sender})"


def _remedies(feedback: Feedback) -> Iterator[str]:
    if feedback.failure in ("bodyhash", "dkim", "signature"):
        yield texts.CHANGED
        return
    if feedback.failure == "revoked":
        yield texts.REVOKED
        return
    if feedback.source is None:
        return
    domain = feedback.domain or texts.YOUR_DOMAIN
    passed = tuple(_passed_elsewhere(feedback))
    if not passed:
        yield texts.OWN_OR_FORGED.format(source=feedback.source, domain=domain)
        return
    names = texts.AND.join(dict.fromkeys(name for _, name in passed))
    checks = texts.AND.join(dict.fromkeys(check for check, _ in passed))
    yield texts.NOT_ALIGNED.format(passed=checks, other=names, domain=domain, source=feedback.source)
    by_spf = next((name for check, name in passed if check == "SPF"), "")
    if by_spf:
        yield texts.NOT_ALIGNED_SPF.format(source=feedback.source, domain=domain, other=by_spf)


def _passed_elsewhere(feedback: Feedback) -> Iterator[tuple[str, str]]:
    """Checks that passed for a domain of another organisation than the one in From."""
    for found in _PASSED.finditer(feedback.results):
        name = (found["dkim"] or found["spf"]).rpartition("@")[2].strip(".").lower()
        if name and feedback.domain and organisation(name) != organisation(feedback.domain):
            yield ("DKIM" if found["dkim"] else "SPF"), name


def feedback_json(feedback: Feedback, findings: tuple[HeaderFinding, ...], newlines: Newlines) -> dict[str, Json]:
    """Everything, for programs; without the reported message."""
    fields: dict[str, Json] = {name: value or None for name, value in asdict(feedback).items() if name != "original"}
    said: list[Json] = [
        {"kind": one.kind, "weight": one.weight.value, "text": one.text, "remedies": list(one.remedies)}
        for one in findings
    ]
    return safe_json({"kind": "feedback", **fields, "findings": said, "newlines": newlines.value})


def render_feedback(feedback: Feedback, findings: tuple[HeaderFinding, ...], newlines: Newlines) -> Group:
    """For people: the meaning, then the contents."""
    title = texts.FEEDBACK_BY.format(reporter=feedback.reporter) if feedback.reporter else texts.FEEDBACK
    parts = [Text(clean(title), "bold")]
    for finding in findings:
        parts.append(Text(f"  {clean(finding.text)}", "bold red"))
        parts += [Text(f"    -> {clean(remedy)}") for remedy in finding.remedies]
    return Group(*parts, *render_section(texts.SAYS, _said(feedback, newlines)))


def _said(feedback: Feedback, newlines: Newlines) -> Iterator[str]:
    rows = (
        ("type", ", ".join(word for word in (feedback.type, feedback.failure) if word)),
        ("source", feedback.source or ""),
        ("domain", feedback.domain),
        ("MAIL FROM", feedback.mail_from),
        ("recipient", feedback.recipient),
        ("arrived", feedback.arrived),
        ("results", feedback.results),
        ("not aligned", feedback.alignment),
        ("delivery", feedback.delivery),
        ("incidents", feedback.incidents),
        ("newlines", newlines.value if newlines is Newlines.CONVERTED else ""),
    )
    for name, value in rows:
        if value:
            yield f"{name + ':':<13}{value}"
