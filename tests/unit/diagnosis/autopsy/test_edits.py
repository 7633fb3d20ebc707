"""Edits, their places, and the sets that a variant stands for."""

from __future__ import annotations

from gateway.diagnosis.autopsy.edits import Edit, Ruler, apply_edits, overlap
from gateway.diagnosis.autopsy.variants import Variant, VariantChoice, choose

MESSAGE = b"0123456789"
EDITS = (Edit(8, 8, b"new"), Edit(2, 4), Edit(5, 6, b"five"))


def test_edits_apply_in_order_of_place() -> None:
    assert apply_edits(MESSAGE, EDITS) == b"014five67new89"
    assert apply_edits(MESSAGE, ()) == MESSAGE


def test_a_ruler_leads_back() -> None:
    edited = apply_edits(MESSAGE, EDITS)
    ruler = Ruler(EDITS)
    for offset, octet in enumerate(edited):
        if octet in MESSAGE:
            assert MESSAGE[ruler.trace(offset)] == octet
    assert ruler.trace(edited.index(b"five") + 2) == 5, "what an edit wrote is where the edit is"
    assert ruler.trace(edited.index(b"new")) == 8
    assert ruler.trace(len(edited)) == len(MESSAGE)


def test_overlap() -> None:
    assert not overlap(EDITS)
    assert not overlap((Edit(1, 3), Edit(3, 5)))
    assert overlap((Edit(1, 4), Edit(3, 5)))
    assert overlap((Edit(3, 3, b"a"), Edit(3, 3, b"b")))


def sets_of(count: int, choice: VariantChoice) -> list[tuple[int, ...]]:
    edits = tuple(Edit(at, at + 1) for at in range(count))
    return [tuple(edit.start for edit in subset) for _, subset in choose(Variant(edits, choice))]


def test_all_is_one_set() -> None:
    assert sets_of(3, VariantChoice.ALL) == [(0, 1, 2)]
    assert sets_of(0, VariantChoice.ANY) == []


def test_one_is_all_or_each() -> None:
    assert sets_of(3, VariantChoice.ONE) == [(0, 1, 2), (0,), (1,), (2,)]


def test_any_is_every_set_once() -> None:
    found = sets_of(5, VariantChoice.ANY)
    assert len(found) == len(set(found)) == 2**5 - 1
    assert found[0] == (0, 1, 2, 3, 4)


def test_sets_of_many_places_are_bounded_and_cost_more_the_later_they_come() -> None:
    edits = tuple(Edit(at, at + 1) for at in range(1000))
    costs = [cost for cost, _ in choose(Variant(edits))]
    assert len(costs) < 1000
    assert costs == sorted(costs)
