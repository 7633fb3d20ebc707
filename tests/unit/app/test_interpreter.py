"""The interpreter's own output becomes one line of the log, and so do a thousand equal ones."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import warnings

from gateway.app.interpreter import capture
from gateway.model.event import Event, Level


class Unraisable:
    def __del__(self) -> None:
        raise RuntimeError("in a finalizer")


def fail() -> None:
    raise ValueError("in a thread")


def fields(event: Event) -> dict[str, object]:
    return dict(event.fields)


async def test_everything_is_one_event() -> None:
    events: list[Event] = []
    before = sys.unraisablehook, threading.excepthook, warnings.showwarning
    with capture(events.append) as log:
        warnings.simplefilter("always")
        asyncio.get_running_loop().set_exception_handler(log.handle_loop)
        Unraisable()
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
        warnings.warn("deprecated", DeprecationWarning, stacklevel=1)
        logging.getLogger("asyncio").error("Task exception was never retrieved", exc_info=KeyError("x"))
        logging.getLogger("library").warning("%s and %s", "one", "two")
        asyncio.get_running_loop().call_exception_handler({"message": "m", "exception": OSError("in a callback")})
        asyncio.get_running_loop().call_exception_handler({"message": "a message alone"})
    asyncio.get_running_loop().set_exception_handler(None)
    assert (sys.unraisablehook, threading.excepthook, warnings.showwarning) == before
    said = [(fields(one)["where"], fields(one)["error"]) for one in events]
    assert said == [
        ("unraisable", "RuntimeError: in a finalizer"),
        ("thread", "ValueError: in a thread"),
        ("warning", "DeprecationWarning: deprecated"),
        ("asyncio", "error: Task exception was never retrieved (KeyError: 'x')"),
        ("library", "warning: one and two"),
        ("event loop", "OSError: in a callback"),
        ("event loop", "asyncio: a message alone"),
    ]
    assert {one.level for one in events} == {Level.WARNING}
    assert str(fields(events[0])["at"]).startswith(__file__)


def test_a_thousand_of_a_kind_are_one_line_and_a_count() -> None:
    events: list[Event] = []
    with capture(events.append) as log:
        for number in range(1000):
            log.note("unraisable", "UnicodeDecodeError", f"octet {number} " + "x" * 10_000, "ssl")
        assert len(events) == 1
        assert len(str(fields(events[0])["error"])) <= 500
        log._since -= 61
        log.note("unraisable", "UnicodeDecodeError", "again", "ssl")
    assert [fields(one).get("before") for one in events] == [None, 999]


def test_many_kinds_are_bounded() -> None:
    events: list[Event] = []
    with capture(events.append) as log:
        for number in range(1000):
            log.note("library", "warning", "text", f"file:{number}")
    assert len(events) == 50
    assert len(log._more) <= 51
