"""The search for one change, or two, whose inverse makes the hash correct; the likely ones are tried first.

Pure and bounded by work, counted in octets, so the same message has the same search on every machine.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gateway.diagnosis.autopsy.anatomy import Anatomy
from gateway.diagnosis.autopsy.edits import Edit, Ruler, apply_edits, overlap
from gateway.diagnosis.autopsy.entry import Entry
from gateway.diagnosis.autopsy.variants import Variant, choose
from gateway.model.value import Value

_SECOND = 0.5
"""Cost of a second change beyond its own cost: one change is likelier than two."""
_ANEW = 0.5
"""Additional cost of searching for the second change once the first is undone, because it is seldom needed."""
_TRIAL, _EDIT = 6_000, 300
"""Work of one trial, and of each of its edits, besides the octets that it hashes and writes."""
_SCAN = 2
"""Work for each octet that is searched for places. A unit of work takes about 10 ns."""
_HASHED, _WRITTEN = 8, 4
"""Octets that are hashed, or written by edits, with one unit of work."""
_MOST_DERIVED = 64_000_000
"""Octets of half-repaired messages that are examined; each is kept until it is finished."""
_FEW = 4
"""Number of places up to which every subset is as plain as all of them."""
_MOST_PAIRED = 3_000
"""Single changes that are tried in pairs."""


class SearchProof(Protocol):
    """Tells for one message whether edits make it correct."""

    @property
    def work(self) -> int:
        """Octets processed so far."""

    def matches(self, edits: Sequence[Edit]) -> bool: ...


class SearchStep(Value):
    """One change, undone."""

    entry: Entry
    places: tuple[tuple[int, int], ...]
    """(offset, length) of the change in the received message. The length is 0 for missing text."""


class Solution(Value):
    """The changes to the message, last one first, and the message before them."""

    steps: tuple[SearchStep, ...]
    message: bytes
    rulers: tuple[Ruler, ...]
    """From places in it back to the received message, last edits first."""


@dataclass(slots=True)
class Effort:
    """The limit of a search, and its work so far."""

    most: int
    progress: Callable[[float, int], None] = lambda share, trials: None
    """Gets the used share of the work, and the number of trials."""
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


class _State(Value):
    """A received message, or one with a change undone."""

    anatomy: Anatomy
    proof: SearchProof
    steps: tuple[SearchStep, ...]
    rulers: tuple[Ruler, ...]
    """Back to the received message, last edits first."""


class _Change(Value):
    """The change that one entry would undo."""

    cost: float
    entry: Entry
    edits: tuple[Edit, ...]
    plain: bool
    """True when it covers all its places, or has few. Only such changes are combined with any other."""


class _Trial(Value):
    """One trial: one change, or two in different places."""

    cost: float
    state: _State
    changes: tuple[_Change, ...]

    @property
    def edits(self) -> tuple[Edit, ...]:
        return tuple(edit for change in self.changes for edit in change.edits)

    @property
    def steps(self) -> tuple[SearchStep, ...]:
        """All steps of the trial."""
        return (*self.state.steps, *(_step(self.state, change) for change in self.changes))

    @property
    def rulers(self) -> tuple[Ruler, ...]:
        return (Ruler(self.edits), *self.state.rulers)


def search(
    anatomy: Anatomy,
    entries: Sequence[Entry],
    open_proof: Callable[[Anatomy], SearchProof],
    cost_of: Callable[[Entry], float],
    effort: Effort,
    rulers: tuple[Ruler, ...] = (),
) -> Solution | None:
    """Undo one change or two; None when that is not enough, or the effort is used up. `rulers` lead from this message
    back to the received one, if it has been repaired before."""
    numbers = itertools.count()
    heap: list[tuple[float, int, _Trial | None, Iterator[_Trial]]] = []
    least = min(cost_of(entry) for entry in entries)
    singles: list[_Change] = []

    def open_state(state: _State, base: float) -> Iterator[_Trial]:
        effort.spend(_SCAN * len(state.anatomy.message) + state.proof.work // _HASHED)
        for change in _propose(state.anatomy, entries, cost_of):
            yield _Trial(base + change.cost, state, (change,))

    def open_derived(first: _Trial) -> Iterator[_Trial]:
        derived = Anatomy(apply_edits(first.state.anatomy.message, first.edits))
        state = _State(derived, open_proof(derived), first.steps, first.rulers)
        yield from open_state(state, first.cost + _SECOND + _ANEW)

    def push(cost: float, trials: Iterator[_Trial]) -> None:
        heapq.heappush(heap, (cost, next(numbers), None, trials))

    push(0.0, open_state(_State(anatomy, open_proof(anatomy), (), rulers), 0.0))
    derived = 0
    while heap and not effort.exhausted:
        _, _, trial, trials = heapq.heappop(heap)
        if trial is not None:
            if _succeeds(trial, effort):
                return Solution(trial.steps, apply_edits(trial.state.anatomy.message, trial.edits), trial.rulers)
            if not trial.state.steps and len(trial.changes) == 1 and len(singles) < _MOST_PAIRED:
                push(trial.cost + _SECOND + least, _pair(trial, singles[:]))
                singles.append(trial.changes[0])
                if trial.changes[0].plain and derived < _MOST_DERIVED:
                    derived += len(anatomy.message)
                    push(trial.cost + _SECOND + _ANEW + least, open_derived(trial))
        following = next(trials, None)
        if following is not None:
            heapq.heappush(heap, (following.cost, next(numbers), following, trials))
    return None


def _succeeds(trial: _Trial, effort: Effort) -> bool:
    edits, before = trial.edits, trial.state.proof.work
    proven = trial.state.proof.matches(edits)
    effort.trials += 1
    written = sum(len(edit.octets) for edit in edits) // _WRITTEN
    effort.spend(_TRIAL + _EDIT * len(edits) + written + (trial.state.proof.work - before) // _HASHED)
    return proven


def _pair(last: _Trial, before: Sequence[_Change]) -> Iterator[_Trial]:
    """The change with each one tried before it, if they do not touch each other and one of them is plain."""
    [change] = last.changes
    for other in before:
        if (other.plain or change.plain) and not overlap((*other.edits, *change.edits)):
            yield _Trial(other.cost + change.cost + _SECOND, last.state, (other, change))


def _propose(anatomy: Anatomy, entries: Sequence[Entry], cost_of: Callable[[Entry], float]) -> Iterator[_Change]:
    """Every change that the entries would undo, the likely first. An entry's proposals are made when its turn comes."""
    numbers = itertools.count()
    # Unopened entries and variants wait at their least cost; a change waits at its own.
    heap: list[tuple[float, int, Entry, _Change | None, Iterator[Variant], Iterator[_Change]]]
    heap = [
        (cost_of(entry), next(numbers), entry, None, entry.undo(anatomy), iter(()))
        for entry in entries
        if entry.undo is not None
    ]
    heapq.heapify(heap)
    while heap:
        _, _, entry, change, variants, changes = heapq.heappop(heap)
        if change is not None:
            yield change
        else:
            variant = next(variants, None)
            if variant is None:
                continue
            cost = cost_of(entry)
            heapq.heappush(heap, (cost + variant.cost, next(numbers), entry, None, variants, iter(())))
            changes = _changes(entry, cost, variant)
        following = next(changes, None)
        if following is not None:
            heapq.heappush(heap, (following.cost, next(numbers), entry, following, iter(()), changes))


def _changes(entry: Entry, cost: float, variant: Variant) -> Iterator[_Change]:
    for extra, edits in choose(variant):
        if not overlap(edits):
            plain = len(edits) == len(variant.edits) or len(variant.edits) <= _FEW
            yield _Change(cost + extra, entry, edits, plain)


def _step(state: _State, change: _Change) -> SearchStep:
    places = (_place(state, edit) for edit in sorted(change.edits))
    return SearchStep(change.entry, tuple(dict.fromkeys(places)))


def _place(state: _State, edit: Edit) -> tuple[int, int]:
    """The place of an edit in the received message, without unchanged octets at its ends."""
    old = state.anatomy.message[edit.start : edit.end]
    new = edit.octets
    most = min(len(old), len(new))
    head = next((at for at in range(most) if old[at] != new[at]), most)
    tail = next((at for at in range(most - head) if old[-1 - at] != new[-1 - at]), most - head)
    start, end = edit.start + head, edit.end - tail
    for ruler in state.rulers:
        start, end = ruler.trace(start), ruler.trace(end)
    return start, max(0, end - start)
