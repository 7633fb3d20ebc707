"""`waypost autopsy`, the examination: the failing part of a signature, the changes to the message, and the hop that
made them.

In: a message, the keys from DNS, the time. Out: an `Autopsy`. Pure: no clock, no socket, no disk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import partial

from gateway.authentication import dkim
from gateway.authentication.body import BodyHasher, wanted_digests
from gateway.authentication.lookup import DnsView
from gateway.diagnosis.autopsy import catalogue
from gateway.diagnosis.autopsy.anatomy import Anatomy
from gateway.diagnosis.autopsy.bodies import BodyText
from gateway.diagnosis.autopsy.edits import Ruler
from gateway.diagnosis.autopsy.entry import Entry
from gateway.diagnosis.autopsy.hops import Culprit, find_culprit, read_hops
from gateway.diagnosis.autopsy.programs import seen_in
from gateway.diagnosis.autopsy.proofs import (
    FailingPart,
    HeaderProof,
    ProofCondition,
    examine_signatures,
    holds,
    known_answer,
    wanted_of,
)
from gateway.diagnosis.autopsy.search import Effort, SearchStep, Solution, search
from gateway.diagnosis.autopsy.suspicions import Suspicion, suspect_body, suspect_header
from gateway.mail.author import find_author
from gateway.mail.domain import is_subdomain
from gateway.model.dnsdata import Answer, Question
from gateway.model.message import Evidence
from gateway.model.result import DkimResult
from gateway.model.value import Value, replace

LEAST_WORK = 150_000_000
"""Work allowed for a search, in units of about 10 ns."""
_WORK_PER_OCTET = 20
"""Additional work for each octet of the message: some seconds for the largest."""
_SEEN = 0.4
"""Factor for an entry's cost when a program known for it has left its marks."""


class AutopsyStatus(StrEnum):
    """The result of an autopsy."""

    INTACT = "intact"
    """The message is unchanged since it was signed."""
    FOUND = "found"
    """The changes are known and proven."""
    SUSPECTED = "suspected"
    UNKNOWN = "unknown"


class VerifiedBy(StrEnum):
    """The proof of a finding."""

    BODY_HASH = "bodyhash"
    SIGNATURE = "signature"


class Autopsy(Value):
    """All results of an autopsy."""

    message: bytes
    conditions: tuple[ProofCondition, ...]
    results: tuple[DkimResult, ...]
    """A receiver's result for each signature."""
    status: AutopsyStatus
    part: FailingPart | None
    """The failing part of the most important signature; None when nothing fails."""
    subject: ProofCondition | None
    """The most important signature."""
    steps: tuple[SearchStep, ...] = ()
    verified_by: VerifiedBy | None = None
    repaired: bytes | None = None
    """The message before the changes."""
    left: FailingPart | None = None
    """The part that still fails after the repair."""
    suspicions: tuple[Suspicion, ...] = ()
    culprit: Culprit | None = None
    bodiless: bool = False
    """The file has no body, and a signature shows that there was one."""
    trials: int = 0
    """Number of repairs that were tried."""
    complete: bool = True
    """The whole catalogue was tried; False when the search reached its limit."""


def examine(
    message: bytes,
    answers: Mapping[Question, Answer],
    now: float,
    progress: Callable[[float, int], None] = lambda share, trials: None,
    work: int = LEAST_WORK,
) -> Autopsy:
    """Examine a message. `answers` may lack keys; no header can then be proven. `now` is in epoch seconds; `progress`
    gets the used share of the allowed work, and the number of trials; `work` limits a search."""
    anatomy = Anatomy(message)
    conditions = examine_signatures(anatomy, answers, now)
    results = _verify(anatomy, answers, now)
    subject = _choose(anatomy, conditions)
    part = subject.part if subject else None
    if subject is None or part not in (FailingPart.BODY, FailingPart.HEADER):
        intact = subject is not None and part in (None, FailingPart.EXPIRED)
        return Autopsy(
            message, conditions, results, AutopsyStatus.INTACT if intact else AutopsyStatus.UNKNOWN, part, subject
        )
    if part is FailingPart.BODY and not message[anatomy.body :].strip():
        return Autopsy(message, conditions, results, AutopsyStatus.UNKNOWN, part, subject, bodiless=True)
    effort = Effort(work + _WORK_PER_OCTET * len(message), progress)
    if part is FailingPart.BODY:
        solution = _solve_body(anatomy, conditions, answers, now, effort)
    else:
        numbers = [number for number, one in enumerate(conditions) if one.part is FailingPart.HEADER]
        solution = _solve_header(anatomy, numbers, answers, effort, ())
    found = Autopsy(
        message,
        conditions,
        results,
        AutopsyStatus.UNKNOWN,
        part,
        subject,
        trials=effort.trials,
        complete=not effort.exhausted,
    )
    if solution is None:
        return _suspect(found, anatomy, answers)
    return _conclude(found, anatomy, solution, answers, now)


def questions(message: bytes) -> tuple[Question, ...]:
    """The keys to ask DNS for."""
    return dkim.questions(Anatomy(message).header)


def _verify(anatomy: Anatomy, answers: Mapping[Question, Answer], now: float) -> tuple[DkimResult, ...]:
    hasher = BodyHasher(wanted_digests(anatomy.header))
    hasher.update(anatomy.message[anatomy.body :])
    evidence = Evidence(anatomy.block, hasher.digests(), len(anatomy.message))
    return dkim.verify(evidence, anatomy.header, DnsView(partial(known_answer, answers)), now)


def _choose(anatomy: Anatomy, conditions: Sequence[ProofCondition]) -> ProofCondition | None:
    """The signature to explain: the author's before any other's, one that verifies before a broken one, and a broken
    one before one that cannot be judged."""
    authors = find_author(anatomy.header).domains

    def weigh(condition: ProofCondition) -> tuple[bool, int]:
        domain = condition.signature.domain
        aligned = any(is_subdomain(one, domain) or is_subdomain(domain, one) for one in authors)
        weights = {None: 2, FailingPart.BODY: 1, FailingPart.HEADER: 1}
        return aligned, weights.get(condition.part, 0)

    return max(conditions, key=weigh, default=None)


def _cost_of(anatomy: Anatomy) -> Callable[[Entry], float]:
    seen = set(seen_in(anatomy.header)).union(*(hop.programs for hop in read_hops(anatomy)))
    return lambda entry: entry.cost - _SEEN * (not seen.isdisjoint(entry.who))


def _solve_body(
    anatomy: Anatomy,
    conditions: Sequence[ProofCondition],
    answers: Mapping[Question, Answer],
    now: float,
    effort: Effort,
) -> Solution | None:
    """Undo the changes to the body, and then those to the header, because a signature covers both."""
    broken = [number for number, one in enumerate(conditions) if one.part is FailingPart.BODY]
    wanted = wanted_of(conditions[number].signature for number in broken)
    solution = search(
        anatomy, catalogue.BODY, lambda one: BodyText(one.message, one.body, wanted), _cost_of(anatomy), effort
    )
    if solution is None:
        return None
    repaired = Anatomy(solution.message)
    after = examine_signatures(repaired, answers, now)
    if len(after) != len(conditions) or any(
        after[at].part in (None, FailingPart.EXPIRED, FailingPart.KEY) for at in broken
    ):
        return solution
    numbers = [at for at in broken if after[at].part is FailingPart.HEADER]
    more = _solve_header(repaired, numbers, answers, Effort(effort.most, effort.progress), solution.rulers)
    return Solution((*solution.steps, *more.steps), more.message, more.rulers) if more else solution


def _solve_header(
    anatomy: Anatomy,
    numbers: Sequence[int],
    answers: Mapping[Question, Answer],
    effort: Effort,
    rulers: tuple[Ruler, ...],
) -> Solution | None:
    """Undo the changes to the header under the signatures of these numbers."""
    relaxed: dict[bytes, bytes] = {}
    return search(
        anatomy,
        catalogue.HEADER,
        lambda one: HeaderProof(one, numbers, answers, relaxed),
        _cost_of(anatomy),
        effort,
        rulers,
    )


def _conclude(
    found: Autopsy, anatomy: Anatomy, solution: Solution, answers: Mapping[Question, Answer], now: float
) -> Autopsy:
    """Accept a repair only if the verification of live mail passes it."""
    after = examine_signatures(Anatomy(solution.message), answers, now)
    before = [one.part for one in found.conditions]
    mended = [
        new
        for old, new in zip(before, after, strict=False)
        if old is found.part
        and new.part is not FailingPart.BODY
        and (old is FailingPart.BODY or new.part in (None, FailingPart.EXPIRED))
    ]
    if not mended or found.subject is None:
        return _suspect(found, anatomy, answers)
    best = next((one for one in mended if one.part in (None, FailingPart.EXPIRED)), mended[0])
    in_header = any(step.entry in catalogue.HEADER for step in solution.steps)
    who = [key for step in solution.steps for key in step.entry.who]
    return replace(
        found,
        status=AutopsyStatus.FOUND,
        steps=solution.steps,
        verified_by=VerifiedBy.SIGNATURE if in_header else VerifiedBy.BODY_HASH,
        repaired=solution.message,
        left=best.part,
        culprit=find_culprit(anatomy, found.subject.signature, found.part is FailingPart.BODY, who),
    )


def _suspect(found: Autopsy, anatomy: Anatomy, answers: Mapping[Question, Answer]) -> Autopsy:
    if found.subject is None:
        return found
    signature = found.subject.signature
    body = found.part is FailingPart.BODY
    header_holds = holds(anatomy, signature, answers)
    suspicions = suspect_body(anatomy, signature, header_holds) if body else ()
    if header_holds is False:
        suspicions += suspect_header(anatomy, signature)
    who = [key for suspicion in suspicions for key in suspicion.entry.who]
    return replace(
        found,
        status=AutopsyStatus.SUSPECTED if suspicions else AutopsyStatus.UNKNOWN,
        suspicions=suspicions,
        culprit=find_culprit(anatomy, signature, body, who),
    )
