"""Changes to signed mail in transit: found, undone, and never claimed without proof."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable

import pytest
from rich.console import Console

from gateway.diagnosis.autopsy import texts
from gateway.diagnosis.autopsy.examination import Autopsy, AutopsyStatus, examine
from gateway.diagnosis.autopsy.proofs import FailingPart
from gateway.diagnosis.autopsy.rendering import render_autopsy
from gateway.diagnosis.autopsy.specimen import read_specimen
from tests.support.mutated import CONTROLS, NOT_INVERTIBLE, Case, cases, keys, pairs

KEYS = keys()
_SHARE = 0.95
"""Share of invertible cases that must be found."""
_MEDIAN, _MOST = 1.0, 10.0
"""Seconds."""


def _examine(case: Case) -> tuple[Autopsy, float]:
    began = time.perf_counter()
    return examine(case.message, KEYS, case.now), time.perf_counter() - began


def _check_found(chosen: list[Case]) -> None:
    done = [(case, *_examine(case)) for case in chosen]
    missed = [case.id for case, found, _ in done if found.status is not AutopsyStatus.FOUND]
    wrong = [case.id for case, found, _ in done if found.status is AutopsyStatus.FOUND and found.repaired != case.base]
    assert len(missed) <= (1 - _SHARE) * len(chosen), missed
    assert wrong == []
    seconds = [taken for _, _, taken in done]
    assert statistics.median(seconds) < _MEDIAN
    assert max(seconds) < _MOST


def test_invertible_changes_are_found() -> None:
    _check_found([case for case in cases() if case.breaks and case.mutations[0] not in NOT_INVERTIBLE])


@pytest.mark.slow
def test_pairs_of_them_are_found(full_count: Callable[[int], int]) -> None:
    chosen = pairs(full_count(200))
    assert len(chosen) >= 200
    _check_found(chosen)


def test_the_change_is_named() -> None:
    """Raw UTF-8 that was encoded is both H02 and H12."""
    alike = {("H02", "H12")}
    for case in cases():
        if case.breaks and case.mutations[0] not in NOT_INVERTIBLE:
            found, _ = _examine(case)
            named = tuple(step.entry.id for step in found.steps)
            assert named == case.mutations or (*case.mutations, *named) in alike, case.id


UNIT_TESTS = {"B22", "B23", "B24", "B25", "B26", "B27", "H03", "H11", "H13"}
"""Changes that the corpus lacks, or has with signatures that live: told in `unit/diagnosis/autopsy/test_kinds.py`."""
NEVER_TOLD = {"B20", "H14"}
"""They break no signature of any form."""


def test_each_change_is_told_in_words() -> None:
    told = set()
    for case in cases():
        if case.mutations[0] in told:
            continue
        specimen = read_specimen("m.eml", case.message, raw=False)
        console = Console(width=400, soft_wrap=True, highlight=False)
        with console.capture() as shown:
            console.print(render_autopsy(examine(specimen.message, KEYS, case.now), specimen, None))
        told |= {id for id, text in texts.CHANGES.items() if text in shown.get()}
    assert texts.CHANGES.keys() - told <= UNIT_TESTS | NEVER_TOLD


def test_what_breaks_nothing_is_intact() -> None:
    intact = [case for case in cases() if not case.breaks]
    assert {case.mutations[0] for case in intact} >= set(CONTROLS)
    for case in intact:
        found, _ = _examine(case)
        assert (found.status, found.part) == (AutopsyStatus.INTACT, None), case.id


def test_what_cannot_be_undone_is_suspected_at_best(full_count: Callable[[int], int]) -> None:
    chosen = [case for case in cases() if case.mutations[0] in NOT_INVERTIBLE]
    for case in random.Random(0).sample(chosen, min(full_count(6), len(chosen))):
        found, seconds = _examine(case)
        assert found.status is AutopsyStatus.SUSPECTED, case.id
        assert case.mutations[0] in {suspicion.entry.id for suspicion in found.suspicions}
        assert found.repaired is None
        assert seconds < _MOST


@pytest.mark.slow
def test_random_damage_is_never_found(full_count: Callable[[int], int]) -> None:
    """Ten of them in `make test`, 500 in `make soak`: each takes the whole search."""
    bases = sorted({case.base: case for case in cases()}.items())
    for number in range(min(500, full_count(10))):
        chance = random.Random(number)
        base, case = chance.choice(bases)
        found = examine(_damage(base, chance), KEYS, case.now)
        assert found.status is not AutopsyStatus.FOUND, number
        assert found.repaired is None


def _damage(message: bytes, chance: random.Random) -> bytes:
    """One to four octets below the signature become other visible ones: no catalogue entry covers that."""
    start = message.index(b"\r\nFrom:") + 2
    octets = bytearray(message)
    spots = [at for at in range(start, len(octets)) if octets[at] > 32]
    for at in chance.sample(spots, chance.randint(1, 4)):
        octets[at] = chance.choice([new for new in b"KQXZkqxz" if new | 32 != octets[at] | 32])
    return bytes(octets)


def test_without_keys_a_body_is_proven_all_the_same() -> None:
    chosen = [case for case in cases() if case.mutations[0] in ("B01", "B10", "B18", "B21")]
    for case in chosen:
        found = examine(case.message, {}, case.now)
        assert (found.status, found.left, found.repaired) == (AutopsyStatus.FOUND, FailingPart.KEY, case.base), case.id


def test_without_keys_nothing_is_said_of_a_header() -> None:
    for case in cases():
        if case.mutations[0] == "H01":
            found = examine(case.message, {}, case.now)
            assert (found.status, found.part) == (AutopsyStatus.UNKNOWN, FailingPart.KEY)
