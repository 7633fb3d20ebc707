"""X-Waypost-Verdict, the one field for backend rules, and the test whether a field of ours would break a signature."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from gateway.mail.header import Field
from gateway.mail.tokens import fold
from gateway.model.decision import Decision
from gateway.model.result import Authentication, DkimResult, DkimVerdict, DmarcVerdict

_MOST_SIGNATURES = 3
"""Signatures that are named; some messages have eight."""


def describe_verdicts(results: Authentication) -> tuple[str, ...]:
    """One line for each check, its result first. Always printable, because domains are in A-labels."""
    spf, dmarc = results.spf, results.dmarc
    lines = [f"SPF: {spf.result}" + (f" for {spf.domain}" if spf.domain else "")]
    signed = [one for one in results.dkim if one.result is DkimVerdict.PASS] or results.dkim
    lines += [f"DKIM: {one.result}" + (f" for {one.domain}" if one.domain else "") for one in signed[:_MOST_SIGNATURES]]
    if not signed:
        lines.append("DKIM: not signed")
    lines.append(f"DMARC: {dmarc.result}" + (f" for {dmarc.domain}" if dmarc.domain else ""))
    return tuple(lines)


NAME = "X-Waypost-Verdict"
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


def compose(action: str, dmarc: DmarcVerdict, decision: Decision, id: str) -> bytes:
    """The field, CRLF included. `action` is the decision's, or `released`. Anyone can forge one below ours, so backend
    rules act only on values that harm a forger, such as `action=quarantine`. `would` is the different decision, if any,
    of the set that is being prepared."""
    pairs = [("action", action), ("dmarc", str(dmarc)), ("rule", decision.rule)]
    if decision.would is not None and decision.would.action != action:
        pairs += [("would", decision.would.action), ("would-rule", decision.would.rule)]
    pairs.append(("id", id))
    words = [f"{name}={_UNSAFE.sub('_', value)}" for name, value in pairs]
    return fold(NAME, [[f"{word};" for word in words[:-1]] + words[-1:]])


def would_break(name: str, results: Iterable[DkimResult], header: Sequence[Field]) -> bool:
    """True when one more field of this name above `header` breaks a passing signature among `results`.

    A signer may list a name in h= more often than the message has it; the surplus stands for "no further one", and
    the next one added takes its place (RFC 6376 section 5.4.2).
    """
    lower = name.lower()
    present = [field.lower for field in header].count(lower)
    return any(one.signed_fields.count(lower) > present for one in results if one.result is DkimVerdict.PASS)
