"""Connections promised to messages that are being stored."""

from __future__ import annotations

from gateway.service.aside import Aside


def make(**rooms: int) -> Aside:
    return Aside(lambda backend: rooms[backend])


def test_no_more_is_promised_than_there_is() -> None:
    aside = make(one=2)
    assert [aside.reserve(["one"]), aside.reserve(["one"]), aside.room("one")] == [True, True, 0]
    assert not aside.reserve(["one"])
    aside.release(["one"])
    assert aside.room("one") == 1


def test_all_of_a_messages_backends_or_none() -> None:
    aside = make(one=1, two=0)
    assert not aside.reserve(["one", "two"])
    assert aside.room("one") == 1
    assert not aside.is_promised("one")


def test_fresh_mail_does_not_overtake_what_waits_for_the_same_backend() -> None:
    rooms = {"one": 0, "two": 1}
    aside = Aside(rooms.__getitem__)
    assert not aside.reserve(["one"])
    rooms["one"] = 5
    assert not aside.reserve(["one"])
    aside.note_queue("one", more=True)
    assert not aside.reserve(["one"])
    assert aside.reserve(["two"])
    aside.note_queue("one", more=False)
    assert aside.reserve(["one"])


def test_more_is_never_released_than_was_promised() -> None:
    aside = make(one=1)
    aside.release(["one"])
    assert aside.reserve(["one"])
    assert not aside.reserve(["one"])
