"""ARC: the Authenticated Received Chain validated (RFC 8617 section 5.2). ARC is moving to Historic: this file, its
caller's line and its facts can be deleted without other changes."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gateway.authentication.body import AMS_FORMS, MAX_SETS
from gateway.authentication.dkim import judge
from gateway.authentication.dkimpy import SignedHeader
from gateway.authentication.lookup import DnsView
from gateway.authentication.signature import Signature, SignatureFinding, check_key, read_signature
from gateway.mail.header import Field
from gateway.model.dnsdata import Answer, Question
from gateway.model.message import Evidence
from gateway.model.result import ArcResult, ArcVerdict, DkimVerdict
from gateway.model.value import Value

_AAR, _AMS, _AS = "arc-authentication-results", "arc-message-signature", "arc-seal"
_AMS_REQUIRED = "i bh h"
_AS_REQUIRED = "i cv"
_MAX_KEYS = 20
"""Distinct keys of a chain: a limit on the DNS work that a message can cause."""
_INSTANCE = re.compile(r"[0-9]{1,2}")
_AAR_START = re.compile(rb"(?:[ \t\r\n]++|\([^()\\]*+\))*+i[ \t\r\n]*+=[ \t\r\n]*+([0-9]{1,2})[ \t\r\n]*+;")
"""Possessive throughout: white space never causes back-tracking."""


class _Set(Value):
    """One ARC set (RFC 8617 section 4.2)."""

    results: Field
    message: Signature
    seal: Signature


def questions(header: tuple[Field, ...]) -> tuple[Question, ...]:
    """The keys that `validate` will ask for, so that they can be fetched in advance."""
    sets, problem = _collect(header)
    return () if problem else _questions(sets)


def validate(evidence: Evidence, header: tuple[Field, ...], window: DnsView, now: float) -> ArcResult:
    """Validate the chain; `header` is `evidence.header` parsed, `now` is in epoch seconds.

    If DNS does not provide a key now, the chain fails with a reason that starts `temperror:`, because RFC 8617 has no
    third result. Raises NeedAnswers when keys are not known yet.
    """
    sets, problem = _collect(header)
    if problem:
        return ArcResult(ArcVerdict.FAIL, reason=problem)
    if not sets:
        return ArcResult(ArcVerdict.NONE)
    sealers = tuple(each.seal.domain for each in sets)
    asked = _questions(sets)
    if len(asked) > _MAX_KEYS:
        return ArcResult(ArcVerdict.FAIL, 0, sealers, f"chain needs more than {_MAX_KEYS} keys")
    answers = dict(zip(asked, window.ask_all(asked), strict=True))
    signed = SignedHeader(evidence.header, header)

    def check_message(signature: Signature) -> SignatureFinding:
        return judge(signature, signature.domain, signed, answers[signature.question], evidence.digests, now)

    newest = check_message(sets[-1].message)
    if newest.verdict is not DkimVerdict.PASS:
        return ArcResult(ArcVerdict.FAIL, 0, sealers, _say(f"ARC-Message-Signature {len(sets)}", newest))
    oldest = 0
    for instance in range(len(sets) - 1, 0, -1):
        if check_message(sets[instance - 1].message).verdict is not DkimVerdict.PASS:
            oldest = instance + 1
            break
    for instance in range(len(sets), 0, -1):
        seal = _check_seal(sets[:instance], signed, answers)
        if seal.verdict is not DkimVerdict.PASS:
            return ArcResult(ArcVerdict.FAIL, oldest, sealers, _say(f"ARC-Seal {instance}", seal))
    return ArcResult(ArcVerdict.PASS, oldest, sealers)


def chain_fields(header: Sequence[Field]) -> tuple[Field, ...]:
    """The fields of all sets in the order in which a seal covers them; empty when the sets are not in order."""
    sets, problem = _collect(tuple(header))
    return () if problem else tuple(_covered(sets))


def _covered(sets: Sequence[_Set]) -> list[Field]:
    """RFC 8617 section 5.1.1: set by set, oldest first."""
    return [field for each in sets for field in (each.results, each.message.field, each.seal.field)]


def _check_seal(sets: Sequence[_Set], signed: SignedHeader, answers: dict[Question, Answer]) -> SignatureFinding:
    """A seal covers its own set and all before it, in order, always relaxed (RFC 8617 section 5.1.1)."""
    seal = sets[-1].seal
    digest = signed.digest(_covered(sets)[:-1], seal.field, "relaxed")
    return check_key(seal, answers[seal.question], digest, seal.domain)


def _collect(header: tuple[Field, ...]) -> tuple[list[_Set], str]:
    """The sets in order, and their fault (RFC 8617 section 5.2, steps 1 to 3)."""
    found = {name: [field for field in header if field.lower == name] for name in (_AAR, _AMS, _AS)}
    count = max(map(len, found.values()))
    if count > MAX_SETS:
        return [], f"more than {MAX_SETS} ARC sets"
    if any(len(fields) != count for fields in found.values()):
        return [], "an ARC set is incomplete"
    results = {_aar_instance(field): field for field in found[_AAR]}
    messages = {_instance(each): each for each in (read_signature(f, _AMS_REQUIRED, AMS_FORMS) for f in found[_AMS])}
    seals = {_instance(each): each for each in (read_signature(f, _AS_REQUIRED, AMS_FORMS) for f in found[_AS])}
    expected = set(range(1, count + 1))
    if not results.keys() == messages.keys() == seals.keys() == expected:
        return [], "ARC instances are not 1 to N, each once"
    sets = [_Set(results[at], messages[at], seals[at]) for at in range(1, count + 1)]
    for instance in range(count, 0, -1):
        problem = _find_problem(sets[instance - 1], instance, instance == count)
        if problem:
            return [], problem
    return sets, ""


def _find_problem(each: _Set, instance: int, newest: bool) -> str:
    """The first rule of RFC 8617 sections 4.1 and 5.2 that a set breaks."""
    seal, message = each.seal, each.message
    status = seal.tags.get("cv", "")
    if newest and status == "fail":
        return f"sealer {instance} found the chain broken"
    if seal.problem or message.problem:
        name, problem = ("Seal", seal.problem) if seal.problem else ("Message-Signature", message.problem)
        return f"ARC-{name} {instance}: {problem}"
    if status != ("none" if instance == 1 else "pass"):
        return f"ARC-Seal {instance}: cv= is not what its place asks for"
    if "h" in seal.tags:
        return f"ARC-Seal {instance}: h= is not allowed"
    if _AS in message.names:
        return f"ARC-Message-Signature {instance}: ARC-Seal must not be signed"
    return ""


def _instance(signature: Signature) -> int:
    """i= of a seal or message signature; 0 when there is none."""
    text = signature.tags.get("i", "")
    return int(text) if _INSTANCE.fullmatch(text) else 0


def _aar_instance(field: Field) -> int:
    """i= of an ARC-Authentication-Results field, which must be first (RFC 8617 section 4.1.1)."""
    found = _AAR_START.match(field.value)
    return int(found[1]) if found else 0


def _questions(sets: Sequence[_Set]) -> tuple[Question, ...]:
    """Newest first, each once."""
    names = (part.question for each in reversed(sets) for part in (each.message, each.seal))
    return tuple(dict.fromkeys(names))


def _say(name: str, finding: SignatureFinding) -> str:
    temporary = "temperror: " if finding.verdict is DkimVerdict.TEMPERROR else ""
    return f"{temporary}{name}: {finding.reason}"
