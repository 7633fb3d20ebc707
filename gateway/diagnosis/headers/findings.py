"""What follows from a header: sentences for people, each with what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from gateway.diagnosis.exchange import ACTIONS, RESULTS, explain_reason, explain_scl
from gateway.diagnosis.headers.places import Relayed, find_relay, organisations
from gateway.diagnosis.headers.reading import Reading, StatedResults
from gateway.diagnosis.hops import is_internal, organisation
from gateway.diagnosis.verdicts import Verdicts
from gateway.mail.refusal.provider import Provider, recognise_host
from gateway.model.value import Value

_SLOW = 60.0
"""Seconds that a hop may take before it is worth a word."""
_SKEWED = -5.0
_OVERRIDES = frozenset({"oreject", "o.reject"})
_SPAM = 5
_RELAYED = " It came through a relay, where SPF has no data about the author, so failing is no proof of forgery."


class Weight(StrEnum):
    """How much a finding matters."""

    PROBLEM = "problem"
    NOTE = "note"
    GOOD = "good"


class HeaderFinding(Value):
    """One thing that the header shows."""

    kind: str
    """A word for programs."""
    weight: Weight
    text: str
    remedies: tuple[str, ...] = ()


def find_all(reading: Reading) -> tuple[HeaderFinding, ...]:
    """Everything worth saying, what matters most first."""
    found: list[HeaderFinding] = []
    for judged in reading.judged:
        if not judged.verdicts.kind:
            relayed = find_relay(reading, judged.hop)
            found += _second_check(judged.verdicts, relayed)
            found += _override(judged.verdicts, relayed, reading)
            found += _own_domain(judged, relayed, reading)
            found += _signature(judged.verdicts)
            found += _microsoft(judged.verdicts)
    found += [*_way(reading), *_filter(reading), *_chain(reading), *_outcome(reading)]
    return tuple(sorted(found, key=lambda finding: list(Weight).index(finding.weight)))


def _second_check(verdicts: Verdicts, relayed: Relayed | None) -> Iterator[HeaderFinding]:
    """SPF judged at an address that is not the first client's (RFC 7208 appendix D)."""
    result = verdicts.result("spf")
    if relayed is None or result in ("", "pass"):
        return
    domain = verdicts.domain("spf") or "the sender's domain"
    address = verdicts.client or relayed.relay.address or "an address"
    name = relayed.relay.rdns or relayed.relay.sender
    origin = f"{relayed.origin.address or '?'} ({relayed.origin.rdns or relayed.origin.sender})"
    text = (
        f"SPF was judged against {address} ({name}), a server that had the message from {origin}. Behind the server "
        f"that took the message first SPF has no data about {domain}: spf={result} says nothing about the sender."
    )
    if verdicts.result("dmarc") == "fail" and verdicts.result("dkim") in ("", "none"):
        text += " dmarc=fail follows from that check alone, as the message is not signed: it is no sign of forgery."
    if not relayed.recipients and not relayed.receivers:
        text += f" If {name} sends for {domain}, the SPF record lacks it; if it forwards, only DKIM can help."
        yield HeaderFinding("forwarded", Weight.NOTE, text)
        return
    yield HeaderFinding("second-spf-check", Weight.PROBLEM, text, tuple(_skip_remedies(verdicts, relayed, domain)))


def _skip_remedies(verdicts: Verdicts, relayed: Relayed, domain: str) -> Iterator[str]:
    address = verdicts.client or relayed.relay.address
    receiver = recognise_host(relayed.relay.by)
    if relayed.receivers:
        place = organisation(relayed.relay.by)
        yield f"Only {place} can correct it: SPF belongs where it takes mail from outside. Tell its postmaster."
    elif receiver is Provider.MICROSOFT:
        yield (
            f"Turn on enhanced filtering for the relay's connector: `Set-InboundConnector NAME -EFSkipIPs {address}`. "
            "Then Microsoft judges the address before it, and honours DMARC."
        )
        yield "Until then act on no DMARC result of mail that comes through this relay."
    elif receiver is Provider.GOOGLE:
        yield f"List {address} under Inbound gateway in the Google Admin console; then Google does not judge it."
    else:
        yield f"Let {relayed.relay.by or 'the receiving server'} leave out SPF for mail from {address}."
    yield f"Do not change the SPF record of {domain}."


def _override(verdicts: Verdicts, relayed: Relayed | None, reading: Reading) -> Iterator[HeaderFinding]:
    """A published p=reject that the receiver did not honour."""
    if verdicts.result("dmarc") != "fail":
        return
    ignored = verdicts.policy == "reject" and verdicts.action == "none"
    if verdicts.action not in _OVERRIDES and not ignored:
        return
    domain = verdicts.domain("dmarc") or next(iter(reading.authors), "the author's domain")
    text = (
        f"{domain} asks receivers to refuse mail that fails DMARC. This message failed, and the receiver overrode the "
        f"policy (action={verdicts.action}) and delivered it."
    )
    if relayed and verdicts.result("spf") != "pass":
        inner = relayed.recipients or relayed.receivers
        text += " Here that was right: the failure comes from a check behind the edge." if inner else _RELAYED
        yield HeaderFinding("policy-overridden", Weight.NOTE, text)
        return
    if verdicts.result("dkim") in ("", "none"):
        other = verdicts.domain("spf")
        passed = f"SPF passed only for {other}, which anyone may own; " if verdicts.result("spf") == "pass" else ""
        text += f" {passed}{'n' if passed else 'N'}othing ties it to {domain}, not even a broken signature: take it for"
        text += " forged."
    yield HeaderFinding("policy-overridden", Weight.PROBLEM, text, tuple(_honour_remedies(verdicts)))


def _honour_remedies(verdicts: Verdicts) -> Iterator[str]:
    if verdicts.action in _OVERRIDES:
        yield (
            'Honour the policy: `Set-AntiPhishPolicy -Identity "Office365 AntiPhish Default" -HonorDmarcPolicy $true '
            "-DmarcRejectAction Reject`. It acts only on what spoof intelligence detects, which differs by licence."
        )
        yield (
            "So add a transport rule: header Authentication-Results contains `dmarc=fail action=oreject` -> quarantine."
        )
        yield "To refuse such mail before it is taken, judge it in a gateway that the MX records point at."
    else:
        yield "Let the receiving server honour p=reject, or quarantine what fails."


def _own_domain(judged: StatedResults, relayed: Relayed | None, reading: Reading) -> Iterator[HeaderFinding]:
    """Mail in the recipient's own name that nobody vouches for."""
    verdicts = judged.verdicts
    own = set(reading.authors) & set(reading.recipients)
    if not own or verdicts.result("dmarc") not in ("fail", "none", "permerror") or relayed is not None:
        return
    if "pass" in (verdicts.result("dkim"), verdicts.result("auth")):
        return
    domain = min(own)
    hop = reading.hop_of(judged)
    text = f"From is {domain}, the recipient's own domain, and nothing authenticates it: anyone could have sent this."
    remedies = [f"Refuse mail from outside whose From is {domain} and that is not authenticated."]
    if hop is not None and recognise_host(hop.by) is Provider.MICROSOFT and hop.address:
        text += f" It came from {hop.address} straight to the tenant's public address."
        remedies.append("Close that way: `Set-OrganizationConfig -RejectDirectSend $true`, or a restrictive connector.")
    yield HeaderFinding("own-domain", Weight.PROBLEM, text, tuple(remedies))


def _signature(verdicts: Verdicts) -> Iterator[HeaderFinding]:
    broken = [one for one in verdicts.results if one.method == "dkim" and one.result in ("fail", "permerror")]
    if not broken or verdicts.result("dkim") == "pass":
        return
    domain = broken[0].domain or "the signer"
    if "body hash" in broken[0].note.lower():
        text = f"The signature of {domain} is broken: the body was changed after it was signed."
    else:
        text = f"The signature of {domain} does not verify ({broken[0].note or broken[0].result})."
    remedy = "`waypost autopsy FILE` on this message names the change, and the hop that most likely made it."
    yield HeaderFinding("broken-signature", Weight.PROBLEM, text, (remedy,))


def _microsoft(verdicts: Verdicts) -> Iterator[HeaderFinding]:
    result = verdicts.result("dmarc")
    if result in RESULTS:
        yield HeaderFinding("dmarc-word", Weight.NOTE, f"dmarc={result}: {RESULTS[result]}.")
    if verdicts.action in ACTIONS and verdicts.action not in ("none", *_OVERRIDES) and result not in ("", "pass"):
        yield HeaderFinding("dmarc-action", Weight.NOTE, f"action={verdicts.action}: {ACTIONS[verdicts.action]}.")
    said = explain_reason(verdicts.reason)
    if verdicts.compauth and said:
        yield HeaderFinding("compauth", Weight.NOTE, f"compauth={verdicts.compauth} reason={verdicts.reason}: {said}.")


def _way(reading: Reading) -> Iterator[HeaderFinding]:
    for number, hop in enumerate(reading.hops, 1):
        if hop.delay is not None and hop.delay >= _SLOW:
            text = f"Hop {number} took {show_seconds(hop.delay)}: the message waited before {hop.by or 'it'} took it."
            who = hop.sender or "the server before it"
            remedy = f"Look in the log of {who} for replies with 4: greylisting, throttling or an outage."
            yield HeaderFinding("delay", Weight.NOTE, text, (remedy,))
        elif hop.delay is not None and hop.delay < _SKEWED:
            yield HeaderFinding(
                "clock", Weight.NOTE, f"Hop {number} is dated before the hop ahead of it: a clock is wrong."
            )
        foreign = organisations((hop.sender, hop.rdns)) - {organisation(hop.by)}
        if hop.address and not is_internal(hop.address) and foreign and not hop.tls and "SMTP" in hop.protocol.upper():
            yield HeaderFinding(
                "no-tls", Weight.NOTE, f"Hop {number}, from {hop.sender} to {hop.by}, was not encrypted."
            )


def _filter(reading: Reading) -> Iterator[HeaderFinding]:
    marks = reading.marks
    if marks.skipped:
        text = f"Enhanced filtering looked past the listed relays: Microsoft judged {marks.skipped}, the true client."
        yield HeaderFinding("skip-listing", Weight.GOOD, text)
    if marks.scl is not None and (marks.scl >= _SPAM or marks.scl < 0):
        text = f"SCL {marks.scl}: {explain_scl(marks.scl)}" + (
            f", category {marks.category}." if marks.category else "."
        )
        yield HeaderFinding("spam-level", Weight.NOTE, text)


def _chain(reading: Reading) -> Iterator[HeaderFinding]:
    if not reading.seals:
        return
    sealers = ", ".join(seal.domain or "?" for seal in reading.seals)
    if reading.seals[-1].validation == "fail":
        yield HeaderFinding("arc", Weight.NOTE, f"The ARC chain ({sealers}) was found broken by the last sealer.")
    else:
        yield HeaderFinding(
            "arc", Weight.NOTE, f"ARC: sealed by {sealers}; the seals say so themselves, they are not verified here."
        )


def _outcome(reading: Reading) -> Iterator[HeaderFinding]:
    judged = [one.verdicts for one in reading.judged if not one.verdicts.kind]
    if not judged:
        text = "No server wrote down what it found (no Authentication-Results field)."
        yield HeaderFinding("no-results", Weight.NOTE, text)
        return
    # One server may write several fields; the newest that speaks of DMARC counts, and what passed stands in any.
    last = next((one for one in reversed(judged) if one.result("dmarc")), judged[-1])
    if last.result("dmarc") == "pass":
        ours = [one for one in judged if one.writer == last.writer]
        passed = [name.upper() for name in ("spf", "dkim") if any(one.result(name) == "pass" for one in ours)]
        how = " and ".join(passed) or "a check"
        domain = last.domain("dmarc") or next(iter(reading.authors), "the author's domain")
        yield HeaderFinding("authenticated", Weight.GOOD, f"DMARC passed for {domain}; {how} passed.")


def show_seconds(seconds: float) -> str:
    """A span in the largest unit that says enough."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if abs(seconds) >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
