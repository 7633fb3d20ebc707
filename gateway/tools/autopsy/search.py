"""The search: one change that, undone, makes the hash right, or two of them; the likely ones are tried first.

Pure and bounded: by work, counted in octets, so the same message takes the same search on every machine.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gateway.tools.autopsy.anatomy import Anatomy
from gateway.tools.autopsy.edits import Edit, Ruler, apply_edits, overlap
from gateway.tools.autopsy.entry import Entry
from gateway.tools.autopsy.variants import Variant, choose

_SECOND = 0.5
"""What a second change costs beyond its own cost: one is likelier than two."""
_TRIAL = 6_000
"""Work of one trial beside the octets that it hashes: about as many as are hashed in that time."""
_EDIT = 1_500
"""Work of each edit of a trial."""
_SCAN = 20
"""Work for each octet that is searched for places."""
_MOST_DERIVED = 32_000_000
"""Octets of half-repaired messages that are looked at, for each is kept until it is done with."""


class Proof(Protocol):
    """Tells of one message whether edits make it right."""

    @property
    def work(self) -> int:
        """Octets looked at so far."""

    def matches(self, edits: Sequence[Edit]) -> bool: ...


@dataclass(frozen=True, slots=True)
class Step:
    """One change, undone."""

    entry: Entry
    places: tuple[tuple[int, int], ...]
    """(offset, length) of what was changed, in the message as it came. The length is 0 where something is missing."""


@dataclass(frozen=True, slots=True)
class Solution:
    """What was done to the message, last change first, and the message before it."""

    steps: tuple[Step, ...]
    message: bytes
    rulers: tuple[Ruler, ...]
    """From places in it back to the message as it came, last edits first."""


@dataclass(slots=True)
class Effort:
    """How much a search may do, and how much it did."""

    most: int
    progress: Callable[[float, int], None] = lambda share, trials: None
    """Is told the share of the work that is used up, and the number of trials."""
    done: int = 0
    trials: int = 0
    _told: int = field(default=0, repr=False)

    def spend(self, work: int) -> None:
        self.done += work
        if self.done - self._told > self.most // 200:
            self._told = self.done
            self.progress(min(1.0, self.done / self.most), self.trials)

    @property
    def exhausted(self) -> bool:
        return self.done >= self.most


@dataclass(frozen=True, slots=True)
class _State:
    """A message as it came, or after one change was undone."""

    anatomy: Anatomy
    proof: Proof
    steps: tuple[Step, ...]
    rulers: tuple[Ruler, ...]
    """Back to the message as it came, last edits first."""


@dataclass(frozen=True, slots=True)
class _Trial:
    """Something to try."""

    cost: float
    state: _State
    entry: Entry
    edits: tuple[Edit, ...]

    @property
    def step(self) -> Step:
        """The change that it would undo."""
        places = (_place(self.state, edit) for edit in sorted(self.edits))
        return Step(self.entry, tuple(dict.fromkeys(places)))

    @property
    def rulers(self) -> tuple[Ruler, ...]:
        return (Ruler(self.edits), *self.state.rulers)


def search(
    anatomy: Anatomy,
    entries: Sequence[Entry],
    open_proof: Callable[[Anatomy], Proof],
    cost_of: Callable[[Entry], float],
    effort: Effort,
    rulers: tuple[Ruler, ...] = (),
) -> Solution | None:
    """Undo one change or two; None when that is not enough, or the effort is used up. `rulers` lead from this message
    back to the one as it came, where it has been repaired before."""
    numbers = itertools.count()
    heap: list[tuple[float, int, _Trial | None, Iterator[_Trial]]] = []

    def open_trials(state: _State, base: float) -> Iterator[_Trial]:
        effort.spend(_SCAN * len(state.anatomy.message) + state.proof.work)
        for cost, entry, edits in _propose(state.anatomy, entries, cost_of):
            yield _Trial(base + cost, state, entry, edits)

    def open_second(first: _Trial) -> Iterator[_Trial]:
        derived = Anatomy(apply_edits(first.state.anatomy.message, first.edits))
        state = _State(derived, open_proof(derived), (first.step,), first.rulers)
        yield from open_trials(state, first.cost + _SECOND)

    start = _State(anatomy, open_proof(anatomy), (), rulers)
    heap.append((0.0, next(numbers), None, open_trials(start, 0.0)))
    derived = 0
    while heap and not effort.exhausted:
        _, _, trial, trials = heapq.heappop(heap)
        if trial is not None:
            before = trial.state.proof.work
            effort.trials += 1
            if trial.state.proof.matches(trial.edits):
                repaired = apply_edits(trial.state.anatomy.message, trial.edits)
                return Solution((*trial.state.steps, trial.step), repaired, trial.rulers)
            effort.spend(_TRIAL + _EDIT * len(trial.edits) + trial.state.proof.work - before)
            if not trial.state.steps and derived < _MOST_DERIVED:
                derived += len(trial.state.anatomy.message)
                heapq.heappush(heap, (trial.cost + _SECOND, next(numbers), None, open_second(trial)))
        following = next(trials, None)
        if following is not None:
            heapq.heappush(heap, (following.cost, next(numbers), following, trials))
    return None


def _propose(
    anatomy: Anatomy, entries: Sequence[Entry], cost_of: Callable[[Entry], float]
) -> Iterator[tuple[float, Entry, tuple[Edit, ...]]]:
    """Everything that the entries would undo, the likely first. What an entry proposes is made when its turn comes."""
    numbers = itertools.count()
    # Unopened entries and variants wait at their least cost; a set of edits waits at its own.
    heap: list[tuple[float, int, Entry, tuple[Edit, ...], Iterator[Variant], Iterator[tuple[float, tuple[Edit, ...]]]]]
    heap = [
        (cost_of(entry), next(numbers), entry, (), entry.undo(anatomy), iter(()))
        for entry in entries
        if entry.undo is not None
    ]
    heapq.heapify(heap)
    while heap:
        cost, _, entry, edits, variants, sets = heapq.heappop(heap)
        if edits:
            yield cost, entry, edits
        else:
            variant = next(variants, None)
            if variant is None:
                continue
            least = cost_of(entry) + variant.cost
            heapq.heappush(heap, (least, next(numbers), entry, (), variants, iter(())))
            sets = (pair for pair in choose(variant) if not overlap(pair[1]))
        following = next(sets, None)
        if following is not None:
            extra, more = following
            heapq.heappush(heap, (cost_of(entry) + extra, next(numbers), entry, more, iter(()), sets))


def _place(state: _State, edit: Edit) -> tuple[int, int]:
    """Where an edit is in the message as it came, without what it leaves alone at its ends."""
    old = state.anatomy.message[edit.start : edit.end]
    new = edit.octets
    most = min(len(old), len(new))
    head = next((at for at in range(most) if old[at] != new[at]), most)
    tail = next((at for at in range(most - head) if old[-1 - at] != new[-1 - at]), most - head)
    start, end = edit.start + head, edit.end - tail
    for ruler in state.rulers:
        start, end = ruler.trace(start), ruler.trace(end)
    return start, max(0, end - start)
