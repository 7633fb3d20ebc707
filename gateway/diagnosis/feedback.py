"""`waypost bounce` on a feedback report: what a receiver complains of, and whether its check could know.

An SPF check behind the recipient's own edge judges the recipient's server in place of the sender's. It fails for every
sender, and its report lands at someone who can do nothing about it.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group
from rich.text import Text

from gateway.diagnosis.arf import Feedback
from gateway.diagnosis.headers.findings import HeaderFinding, Weight
from gateway.diagnosis.headers.places import find_relay, organisations
from gateway.diagnosis.headers.reading import Reading, read_headers
from gateway.diagnosis.hops import organisation
from gateway.model.value import asdict
from gateway.tools.narrative import clean
from gateway.tools.newlines import Newlines
from gateway.tools.results import Json, safe_json
from gateway.tools.text import render_section

_WORDS = {
    "spf": "the SPF check failed",
    "dkim": "the DKIM signature did not verify",
    "signature": "the DKIM signature did not verify",
    "bodyhash": "the body does not hash to what the DKIM signature says",
    "revoked": "the DKIM key is revoked",
    "dmarc": "DMARC failed",
    "adsp": "ADSP, an old policy, was not kept",
}


def judge_feedback(feedback: Feedback) -> tuple[HeaderFinding, ...]:
    """What the report means for the one who got it."""
    behind = _inner_check(feedback) if _speaks_of_spf(feedback) else None
    if behind is not None:
        return (behind,)
    if feedback.type != "auth-failure":
        text = f"A complaint ({feedback.type or 'of no type'}): someone marked the message as unwanted."
        remedy = "Take the recipient off the list that the message was sent to, or look for a stolen account."
        return (HeaderFinding("complaint", Weight.PROBLEM, text, (remedy,)),)
    failed = _WORDS.get(feedback.failure, "authentication failed")
    text = f"A receiver reports that {failed} for {feedback.domain or 'your domain'}."
    return (HeaderFinding("auth-failure", Weight.PROBLEM, text, tuple(_remedies(feedback))),)


def _speaks_of_spf(feedback: Feedback) -> bool:
    if feedback.failure == "dmarc":
        return "dkim=pass" not in feedback.results and "dkim=fail" not in feedback.results
    return feedback.failure == "spf" or (not feedback.failure and "spf=" in feedback.results)


def _inner_check(feedback: Feedback) -> HeaderFinding | None:
    """The address that was judged is one behind the recipient's edge (RFC 7208 appendix D)."""
    if feedback.source is None:
        return None
    reading = read_headers(feedback.original)
    place = _place_of_check(feedback, reading)
    if place is None:
        return None
    edge, origin = place
    text = (
        f"This report stems from an SPF check behind the recipient's own edge. The message came in at {edge}, from "
        f"{origin}; SPF was then judged again against {feedback.source}, an address of the recipient's side, where it "
        "fails for every sender."
    )
    remedies = (
        f"Nothing is wrong with your SPF record: do not change it, and do not add {feedback.source} to it.",
        f"Tell the postmaster of {organisation(edge) or edge} that SPF belongs where mail enters, at another address "
        "than the one that failed. A second, identical report is of the same check.",
    )
    return HeaderFinding("second-spf-check", Weight.PROBLEM, text, remedies)


def _place_of_check(feedback: Feedback, reading: Reading) -> tuple[str, str] | None:
    """The server that took the message at the edge, and its client, when the check was made further in."""
    at = next((n for n, hop in enumerate(reading.hops) if hop.address == feedback.source), None)
    if at is not None:
        relayed = find_relay(reading, at)
        if relayed is None or not (relayed.recipients or relayed.receivers):
            return None
        origin = relayed.origin
    else:
        # The copy may end at the edge: then the recipient's side had taken the message from another address before.
        own = organisations((feedback.recipient.rpartition("@")[2], feedback.reporter, *reading.recipients))
        entered = (hop for hop in reversed(reading.hops) if hop.address and organisation(hop.by) in own)
        found = next((hop for hop in entered if organisations((hop.sender, hop.rdns)) - own), None)
        if found is None:
            return None
        origin = found
    return origin.by, f"{origin.address or '?'} ({origin.rdns or origin.sender})"


def _remedies(feedback: Feedback) -> Iterator[str]:
    if feedback.failure in ("bodyhash", "dkim", "signature"):
        yield "`waypost autopsy` on a full copy of the message names what changed it on the way."
    elif feedback.failure == "revoked":
        yield "Sign with a key that is published: `waypost dkim check SELECTOR DOMAIN`."
    elif feedback.source is not None:
        yield (
            f"If {feedback.source} sends for you, list it in SPF and sign its mail with DKIM. If not, it is a forger, "
            "or a forwarder, for which only DKIM can help."
        )


def feedback_json(feedback: Feedback, findings: tuple[HeaderFinding, ...], newlines: Newlines) -> dict[str, Json]:
    """Everything, for programs; without the message that the report is about."""
    fields: dict[str, Json] = {name: value or None for name, value in asdict(feedback).items() if name != "original"}
    said: list[Json] = [
        {"kind": one.kind, "weight": one.weight.value, "text": one.text, "remedies": list(one.remedies)}
        for one in findings
    ]
    return safe_json({"kind": "feedback", **fields, "findings": said, "newlines": newlines.value})


def render_feedback(feedback: Feedback, findings: tuple[HeaderFinding, ...], newlines: Newlines) -> Group:
    """For people: what it means, then what it says."""
    parts = [Text(f"Feedback report{f' by {clean(feedback.reporter)}' if feedback.reporter else ''}", "bold")]
    for finding in findings:
        parts.append(Text(f"  {clean(finding.text)}", "bold red"))
        parts += [Text(f"    -> {clean(remedy)}") for remedy in finding.remedies]
    return Group(*parts, *render_section("What it says", _said(feedback, newlines)))


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
