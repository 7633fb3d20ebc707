"""A worker's place among the others: what it shares with them, and what it is handed by the supervisor."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from prometheus_client import CollectorRegistry

from gateway.model.value import Value, field
from gateway.ports import Tally
from gateway.service.repetition import Arrivals, WorkerArrivals
from gateway.service.tally import SharedCounts


class WorkerContext(Value):
    """By default that of the only worker, which shares nothing and binds its sockets itself."""

    number: int = 0
    workers: int = 1
    tally: Tally = field(default_factory=lambda: SharedCounts().tally())
    sockets: Mapping[str, socket.socket] = field(default_factory=dict)
    """Those bound already, by address."""
    arrivals: WorkerArrivals = field(default_factory=lambda: Arrivals().of_worker())
    counters: CollectorRegistry | None = None
    """Shows the metrics of all workers."""
    lifeline: int | None = None
    """A pipe that ends when the supervisor does."""
    late: bool = False
    """It takes a dead worker's place: the law may have been replaced since the start."""

    def report_ready(self) -> None:
        """Tell the supervisor that mail is taken."""
        self.tally.add(ready_key(self.number))


def ready_key(worker: int) -> str:
    return f"ready {worker}"
