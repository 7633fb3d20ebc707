"""The interpreter's own output as events: one log line each, and only a few in a minute.

Python writes some faults to standard error by itself: exceptions that nobody can catch (a callback of the TLS library,
a thread that ends), warnings, and the log of its own library. Each is several lines that are not JSON, and a client
that can cause one can cause thousands.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import extract_tb
from types import TracebackType
from typing import Any

from gateway.model.event import Event, Level
from gateway.ports import EventSink

_WINDOW_SECONDS = 60.0
_MOST_KINDS = 50
"""Kinds that are reported separately within a window; all others count together."""
_MOST_TEXT = 500
_OTHERS = "others"


class InterpreterLog:
    """Takes the output, from any thread. The first of a kind is reported at once; further ones within a minute are
    counted, and reported with the next one after it."""

    def __init__(self, emit: EventSink) -> None:
        self._emit = emit
        self._lock = threading.Lock()
        self._since = 0.0
        self._more: dict[str, int] = {}

    def note(self, where: str, kind: str, text: str, at: str = "") -> None:
        """Equal ones have the same `kind` and `at`; the text may contain a stranger's octets."""
        alike = f"{where} {kind} {at}"
        with self._lock:
            now = time.monotonic()
            if now - self._since > _WINDOW_SECONDS:
                self._since, counted = now, sum(self._more.values())
                self._more = {}
            else:
                counted = 0
            if alike in self._more or len(self._more) >= _MOST_KINDS:
                self._more[alike if alike in self._more else _OTHERS] = self._more.get(alike, 0) + 1
                return
            self._more[alike] = 0
        fields = [("where", where), ("error", f"{kind}: {text}"[:_MOST_TEXT]), ("at", at)]
        self._emit(Event("error", "", (*fields, *((("before", counted),) if counted else ())), Level.WARNING))

    def note_exception(self, where: str, error: BaseException | None, trace: TracebackType | None = None) -> None:
        if error is None:
            self.note(where, "unknown", "")
            return
        frames = extract_tb(trace or error.__traceback__)
        at = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
        self.note(where, type(error).__name__, str(error), at)

    def handle_loop(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """The event loop's exception handler."""
        error = context.get("exception")
        if isinstance(error, BaseException):
            self.note_exception("event loop", error)
        else:
            self.note("event loop", "asyncio", str(context.get("message", "")))


class _Handler(logging.Handler):
    """The log records of libraries: asyncio, aiosmtpd, the HTTP server."""

    def __init__(self, log: InterpreterLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        try:
            error = record.exc_info[1] if record.exc_info else None
            text = record.getMessage() + (f" ({type(error).__name__}: {error})" if error else "")
            self._log.note(record.name, record.levelname.lower(), text, f"{record.pathname}:{record.lineno}")
        except Exception:  # a record whose arguments do not fit its format
            self._log.note(record.name, record.levelname.lower(), str(record.msg))


@contextmanager
def capture(emit: EventSink) -> Iterator[InterpreterLog]:
    """Send everything to `emit` meanwhile. The loop's exceptions go to its own handler: `handle_loop`."""
    log = InterpreterLog(emit)
    handler = _Handler(log)
    before = sys.unraisablehook, threading.excepthook, warnings.showwarning

    def warn(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, *more: Any, **rest: Any
    ) -> None:
        log.note("warning", category.__name__, str(message), f"{filename}:{lineno}")

    sys.unraisablehook = lambda said: log.note_exception("unraisable", said.exc_value, said.exc_traceback)
    threading.excepthook = lambda said: log.note_exception("thread", said.exc_value, said.exc_traceback)
    warnings.showwarning = warn
    logging.getLogger().addHandler(handler)
    try:
        yield log
    finally:
        sys.unraisablehook, threading.excepthook, warnings.showwarning = before
        logging.getLogger().removeHandler(handler)
