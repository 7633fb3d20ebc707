"""One event, many sinks: the log line and the metric of an event are made here and nowhere else."""

from __future__ import annotations

import queue
import sys
import threading
from typing import TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram

from gateway.model.event import Event, Level

_MOST_WAITING = 10_000
"""Log lines that may wait for a slow reader; beyond that they are counted and dropped, never waited for."""

_LABELS = {
    "accepted": ("action", "dmarc"),
    "held": ("rule",),
    "refused": ("rule",),
    "deferred-client": ("rule",),
    "delivered": ("backend",),
    "deferred": ("backend",),
    "failed": ("backend",),
    "listener-refused": ("reason",),
}
"""Which fields of an event become labels: only those with few values, never anything a client chooses."""


class Observer:
    """Takes every event; a slow log reader never delays mail."""

    def __init__(self, format: str, level: Level, stream: TextIO = sys.stdout) -> None:
        self.registry = CollectorRegistry()
        self._least = list(Level).index(level)
        self._events = Counter("waypost_events", "What happened, by name", ["name", "detail"], registry=self.registry)
        self._lost = Counter("waypost_log_lines_lost", "Log lines dropped: reader too slow", registry=self.registry)
        self._size = Histogram(
            "waypost_message_octets",
            "Size of received messages",
            buckets=(4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864),
            registry=self.registry,
        )
        self._render = structlog.processors.JSONRenderer() if format == "json" else structlog.dev.ConsoleRenderer()
        self._stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
        self._stream = stream
        self._lines: queue.Queue[str | None] = queue.Queue(_MOST_WAITING)
        self._writer = threading.Thread(target=self._write, name="log", daemon=True)
        self._writer.start()

    def __call__(self, event: Event) -> None:
        """Count the event and queue its line."""
        fields = dict(event.fields)
        detail = ",".join(str(fields.get(label, "")) for label in _LABELS.get(event.name, ()))
        self._events.labels(event.name, detail).inc(float(fields.get("count", 1)))
        if event.name in ("accepted", "held", "refused") and "size" in fields:
            self._size.observe(float(fields["size"]))
        if list(Level).index(event.level) < self._least:
            return
        line = {"event": event.name, "level": event.level.value, "id": event.id, **fields}
        try:
            self._lines.put_nowait(str(self._render(None, "", self._stamp(None, "", line))))
        except queue.Full:
            self._lost.inc()

    def close(self) -> None:
        """Write what waits, then stop."""
        self._lines.put(None)
        self._writer.join(timeout=5)

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._stream.write(line + "\n")
                if self._lines.empty():
                    self._stream.flush()
            except (OSError, ValueError):
                self._lost.inc()
