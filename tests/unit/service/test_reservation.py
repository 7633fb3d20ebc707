"""Connections promised to messages that are being stored."""

from __future__ import annotations

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
    reservations.note_queue("one", more=True)
    assert not reservations.reserve(["one"])
    assert reservations.reserve(["two"])
    reservations.note_queue("one", more=False)
    assert reservations.reserve(["one"])


def test_more_is_never_released_than_was_promised() -> None:
    reservations = make(one=1)
    reservations.release(["one"])
    assert reservations.reserve(["one"])
    assert not reservations.reserve(["one"])
