"""Connections reserved for messages that are being stored."""

from __future__ import annotations

import pytest

from gateway.service.reservation import Reservations


def make(**rooms: int) -> Reservations:
    return Reservations(lambda backend: rooms[backend])


def test_no_more_is_promised_than_there_is() -> None:
    reservations = make(one=2)
    assert [reservations.reserve(["one"]), reservations.reserve(["one"]), reservations.room("one")] == [True, True, 0]
    assert not reservations.reserve(["one"])
    reservations.release(["one"])
    assert reservations.room("one") == 1


def test_all_of_a_messages_backends_or_none() -> None:
    reservations = make(one=1, two=0)
    assert not reservations.reserve(["one", "two"])
    assert reservations.room("one") == 1
    assert not reservations.is_promised("one")


def test_fresh_mail_does_not_overtake_what_waits_for_the_same_backend() -> None:
    rooms = {"one": 0, "two": 1}
    reservations = Reservations(rooms.__getitem__)
    assert not reservations.reserve(["one"])
    rooms["one"] = 5
    assert not reservations.reserve(["one"])
    reservations.note_queue("one", 0, more=True)
    assert not reservations.reserve(["one"])
    assert reservations.reserve(["two"])
    reservations.note_queue("one", 0, more=False)
    assert reservations.reserve(["one"])


def test_more_is_never_released_than_was_promised() -> None:
    reservations = make(one=1)
    reservations.release(["one"])
    assert reservations.reserve(["one"])
    assert not reservations.reserve(["one"])


def test_who_brings_mail_faster_than_it_leaves_waits() -> None:
    reservations = Reservations(lambda _: 0)
    for _ in range(100):
        assert not reservations.reserve(["corp"])
    assert reservations.pressure(["corp"]) == 0, "so many may wait"
    for _ in range(200):
        reservations.reserve(["corp", "other"])
    assert reservations.pressure(["corp"]) == pytest.approx(0.2)
    assert reservations.pressure(["corp", "other"]) == pytest.approx(0.2)
    assert reservations.pressure([]) == 0
    reservations.note_queue("corp", 150, more=True)
    assert reservations.pressure(["corp"]) == pytest.approx(0.05)
    for _ in range(10_000):
        reservations.reserve(["corp"])
    assert reservations.pressure(["corp"]) == 0.5, "the most"
    reservations.note_queue("corp", 500, more=True)
    assert reservations.pressure(["corp"]) == 0, "a heap of old does not count while it shrinks"
    reservations.note_queue("corp", 3, more=False)
    assert reservations.pressure(["corp"]) == 0, "that was all"
