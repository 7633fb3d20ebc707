"""What was found about a message at our edge, in plain words."""

from __future__ import annotations

from gateway.model.result import Authentication, DkimVerdict

_MOST_SIGNATURES = 3
"""Signatures that are named; some mail has eight."""


def describe_verdicts(results: Authentication) -> tuple[str, ...]:
    """One line for each check, its result first. Printable whatever the sender wrote: domains are in A-labels."""
    spf, dmarc = results.spf, results.dmarc
    lines = [f"SPF: {spf.result}" + (f" for {spf.domain}" if spf.domain else "")]
    signed = [one for one in results.dkim if one.result is DkimVerdict.PASS] or results.dkim
    lines += [f"DKIM: {one.result}" + (f" for {one.domain}" if one.domain else "") for one in signed[:_MOST_SIGNATURES]]
    if not signed:
        lines.append("DKIM: not signed")
    lines.append(f"DMARC: {dmarc.result}" + (f" for {dmarc.domain}" if dmarc.domain else ""))
    return tuple(lines)
