"""DKIM: every signature of a message judged separately (RFC 6376 section 6.1, with RFC 8301, 8463 and 8616)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gateway.authentication.dkimpy import SignedHeader
from gateway.authentication.lookup import DnsView
from gateway.authentication.signature import (
    MAX_FIELD,
    Signature,
    SignatureFinding,
    check_body,
    check_key,
    choose_signatures,
    clean,
    leaves_unsigned,
    read_domain,
    read_signature,
)
from gateway.mail.domain import a_label, is_subdomain
from gateway.mail.header import Field
from gateway.model.dnsdata import Answer, Question
from gateway.model.message import BodyDigest, Evidence
from gateway.model.result import DkimResult, DkimVerdict
from gateway.model.value import replace

_REQUIRED = "v bh h"
_FORMS = "simple/simple"
_MAX_RESULTS = 32
"""Signature fields that get a result; a message with more is not genuine."""
SKEW = 300
"""Seconds that a signer's clock may differ from ours."""
_HEADER_B = 8
"""Characters of b= shown to distinguish signatures (RFC 6008 section 4)."""
_QUOTED = re.compile(rb"=([0-9A-Fa-f]{2})")
_SPACE = re.compile(r"[ \t\r\n]+")


def questions(header: tuple[Field, ...]) -> tuple[Question, ...]:
    """The keys that `verify` will ask for, so that they can be fetched in advance."""
    return _questions(read_signatures(header))


def read_signatures(header: Sequence[Field]) -> list[Signature]:
    """The signatures that are judged, top to bottom, read as far as possible."""
    return [_read(field) for field in choose_signatures(header)[0]]


def verify(evidence: Evidence, header: tuple[Field, ...], window: DnsView, now: float) -> tuple[DkimResult, ...]:
    """Judge the signatures, top to bottom; `header` is `evidence.header` parsed, `now` is in epoch seconds.

    Those beyond the limit come last: `policy`, with the domain that they name. Raises NeedAnswers when keys are not
    known yet.
    """
    chosen, beyond = choose_signatures(header)
    read = [_read(field) for field in chosen]
    asked = _questions(read)
    answers = dict(zip(asked, window.ask_all(asked), strict=True))
    signed = SignedHeader(evidence.header, header)
    results = []
    for signature, mark in zip(read, _marks(read), strict=True):
        if len(signature.field.value) > MAX_FIELD:
            finding = SignatureFinding(DkimVerdict.POLICY, f"signature field is longer than {MAX_FIELD} octets")
        elif signature.problem:
            finding = SignatureFinding(DkimVerdict.PERMERROR, signature.problem)
        else:
            answer = answers[signature.question]
            finding = judge(signature, read_identity(signature)[1], signed, answer, evidence.digests, now)
        results.append(_result(signature, finding, mark))
    more = beyond[: _MAX_RESULTS - len(results)]
    return (
        *results,
        *[DkimResult(DkimVerdict.POLICY, read_domain(one), "", "", "too many signatures") for one in more],
    )


def judge(
    signature: Signature,
    identity: str,
    signed: SignedHeader,
    answer: Answer,
    digests: Sequence[BodyDigest],
    now: float,
) -> SignatureFinding:
    """Verify one sound signature, of DKIM or of an ARC set; `identity` is the domain that it speaks for."""
    if signature.expires is not None and now > signature.expires + SKEW:
        return SignatureFinding(DkimVerdict.PERMERROR, "signature has expired")  # RFC 6376 section 6.1.1
    fields = signed.select(signature.names, signature.field)
    digest = signed.digest(fields, signature.field, signature.header_form)
    key = check_key(signature, answer, digest, identity)
    if key.verdict in (DkimVerdict.PERMERROR, DkimVerdict.POLICY):
        return key
    # An altered body is a failure with any key, so it also counts when the key is unavailable.
    body = check_body(signature, digests)
    if body.verdict is not DkimVerdict.PASS:
        return replace(body, header_holds=True) if key.verdict is DkimVerdict.PASS else body
    if key.verdict is not DkimVerdict.PASS:
        return key
    unsigned = leaves_unsigned(signature, digests)
    if unsigned:
        return SignatureFinding(DkimVerdict.POLICY, f"l= leaves {unsigned} octets of the body unsigned")
    if signed.count("from") > signature.names.count("from") > 0:
        return SignatureFinding(DkimVerdict.POLICY, "a From field is not signed")  # RFC 6376 section 8.15
    return key


def read_identity(signature: Signature) -> tuple[str, str]:
    """i= decoded, and its domain as A-labels; empty when it is not a domain."""
    if "i" not in signature.tags:
        return f"@{signature.domain}", signature.domain
    octets = _SPACE.sub("", signature.tags["i"]).encode("utf-8", "surrogateescape")
    # RFC 6376 section 2.11: dkim-quoted-printable.
    plain = _QUOTED.sub(lambda found: bytes.fromhex(found[1].decode()), octets).decode("utf-8", "replace")
    local, at, domain = plain.rpartition("@")
    name = a_label(domain) or "" if at else ""
    return f"{local}@{name}", name


def _read(field: Field) -> Signature:
    signature = read_signature(field, _REQUIRED, _FORMS)
    problem = "" if signature.problem else _find_problem(signature)
    return replace(signature, problem=problem) if problem else signature


def _find_problem(signature: Signature) -> str:
    """The fault that concerns only DKIM (RFC 6376 section 6.1.1)."""
    if signature.tags["v"] != "1":
        return "signature version is unknown"
    if "from" not in signature.names:
        return "From is not signed"
    domain = read_identity(signature)[1]
    return "" if is_subdomain(domain, signature.domain) else "i= is not in d="


def _questions(signatures: Sequence[Signature]) -> tuple[Question, ...]:
    return tuple(dict.fromkeys(signature.question for signature in signatures if not signature.problem))


def _marks(signatures: Sequence[Signature]) -> list[str]:
    """The start of each b=, long enough to differ from the others (RFC 6008 section 4)."""
    values = [clean(_SPACE.sub("", signature.tags.get("b", ""))) for signature in signatures]
    size = _HEADER_B
    while size < 64 and len({value[:size] for value in values}) < len(set(values)):
        size *= 2
    return [value[:size] for value in values]


def _result(signature: Signature, finding: SignatureFinding, mark: str) -> DkimResult:
    tags = signature.tags
    return DkimResult(
        finding.verdict,
        signature.domain or read_domain(signature.field),
        signature.selector or clean(tags.get("s", "")),
        clean(tags.get("a", "")),
        finding.reason,
        clean(read_identity(signature)[0], 320) if signature.domain else "",
        mark,
        tuple(clean(name) for name in signature.names),
        finding.header_holds,
    )
