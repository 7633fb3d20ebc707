"""The proof of a repair: the body hash, which needs only the message, or the signature, which needs a key.

The answer always comes from the verification that also judges live mail: no other check counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from gateway.authentication.body import BodyHasher
from gateway.authentication.dkim import SKEW, read_identity, read_signatures
from gateway.authentication.dkimpy import SignedHeader
from gateway.authentication.signature import Signature, SignatureFinding, check_body, check_key
from gateway.diagnosis.autopsy.anatomy import Anatomy
from gateway.diagnosis.autopsy.bodies import WantedDigest
from gateway.diagnosis.autopsy.edits import Edit, apply_edits
from gateway.mail.header import Field, parse_header
from gateway.model.dnsdata import Answer, DnsStatus, Question
from gateway.model.result import DkimVerdict
from gateway.model.value import Value

_HEADER_WORK = 50
"""Octets of hashing that take as long as parsing and verifying one octet of a header."""


class FailingPart(StrEnum):
    """The failing part of a signature."""

    BODY = "body"
    HEADER = "header"
    KEY = "key"
    """The key is missing, unavailable, revoked or unusable."""
    SYNTAX = "syntax"
    EXPIRED = "expired"


class ProofCondition(Value):
    """One signature, examined part by part."""

    signature: Signature
    part: FailingPart | None
    """The first part that fails; None when it verifies."""
    reason: str = ""


def examine_signatures(anatomy: Anatomy, answers: Mapping[Question, Answer], now: float) -> tuple[ProofCondition, ...]:
    """Every signature, top to bottom. Altered octets are named before any other fault."""
    hasher = BodyHasher({(one.body_form, one.length) for one in anatomy.signatures if one.body_form})
    hasher.update(anatomy.message[anatomy.body :])
    digests = hasher.digests()
    signed = SignedHeader(anatomy.block, anatomy.header)
    found = []
    for signature in anatomy.signatures:
        if signature.problem:
            found.append(ProofCondition(signature, FailingPart.SYNTAX, signature.problem))
            continue
        body = check_body(signature, digests)
        key = _check_header(signed, signature, signature.field, answers)
        if body.verdict is not DkimVerdict.PASS:
            found.append(ProofCondition(signature, FailingPart.BODY, body.reason))
        elif key.verdict is DkimVerdict.FAIL:
            found.append(ProofCondition(signature, FailingPart.HEADER, key.reason))
        elif key.verdict is not DkimVerdict.PASS:
            found.append(ProofCondition(signature, FailingPart.KEY, key.reason))
        elif signature.expires is not None and now > signature.expires + SKEW:
            found.append(ProofCondition(signature, FailingPart.EXPIRED, "signature has expired"))
        else:
            found.append(ProofCondition(signature, None))
    return tuple(found)


def _check_header(
    signed: SignedHeader, signature: Signature, field: Field, answers: Mapping[Question, Answer]
) -> SignatureFinding:
    """`field`: the place of the signature in this header."""
    answer = known_answer(answers, signature.question)
    digest = signed.digest(signed.select(signature.names, field), field, signature.header_form)
    return check_key(signature, answer, digest, read_identity(signature)[1])


def holds(anatomy: Anatomy, signature: Signature, answers: Mapping[Question, Answer]) -> bool | None:
    """The header is unchanged since it was signed; None when no key can show it."""
    if signature.problem:
        return None
    verdict = _check_header(SignedHeader(anatomy.block, anatomy.header), signature, signature.field, answers).verdict
    return {DkimVerdict.PASS: True, DkimVerdict.FAIL: False}.get(verdict)


def known_answer(answers: Mapping[Question, Answer], question: Question) -> Answer:
    """The answer; a key that was not asked for counts as unavailable."""
    return answers.get(question, Answer(DnsStatus.TIMEOUT))


def wanted_of(signatures: Iterable[Signature]) -> tuple[WantedDigest, ...]:
    """The body hashes of readable signatures."""
    return tuple(WantedDigest(one.body_form, one.length, one.body_hash) for one in signatures if not one.problem)


class HeaderProof:
    """The proof by signature, over the header alone: the body is already correct."""

    def __init__(
        self,
        anatomy: Anatomy,
        numbers: Sequence[int],
        answers: Mapping[Question, Answer],
        relaxed: dict[bytes, bytes],
    ) -> None:
        """`numbers`: the message's signatures that may be the proof; `relaxed`: see `SignedHeader`."""
        self._block = anatomy.block
        self._known = {anatomy.block[one.field.start : one.field.end]: one for one in anatomy.signatures}
        self._numbers = numbers
        self._answers = answers
        self._relaxed = relaxed
        self.work = len(anatomy.block)

    def matches(self, edits: Sequence[Edit]) -> bool:
        """After the edits one of the signatures verifies."""
        block = apply_edits(self._block, edits)
        header = parse_header(block)
        self.work += _HEADER_WORK * len(block)
        signed = SignedHeader(block, header, self._relaxed)
        found = [field for field in header if field.lower == "dkim-signature"]
        for number in self._numbers:
            if number < len(found):
                field = found[number]
                signature = self._known.get(block[field.start : field.end]) or read_signatures([field])[0]
                if not signature.problem and self._verifies(signed, signature, field):
                    return True
        return False

    def _verifies(self, signed: SignedHeader, signature: Signature, field: Field) -> bool:
        return _check_header(signed, signature, field, self._answers).verdict is DkimVerdict.PASS
