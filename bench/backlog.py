"""The cost of a queue: the backend is dead, messages pile up, the peer restarts, the backend comes back."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

from bench import peers
from bench.group import Group
from bench.measure import Bench, Load

WATCH_SECONDS = 10
DRAIN_SECONDS = 600
PROBES = 3
PROBE = Load("4k", 10, 1000, 10)
"""The load of each probe that measures the rate of new mail; the backend is dead meanwhile."""


def measure_backlog(bench: Bench, peer: str, directory: Path, count: int) -> dict[str, Any]:
    """Queue `count` messages, look, restart, drain half of them or more."""
    group = peers.start(peer, directory)
    result: dict[str, Any] = {"peer": peer, "backlog": count, "fresh_mb": _megabytes(group)}
    try:
        result["empty_p99_ms"], result["empty_per_s"] = _probe(bench)
        halves = [bench.send(Load("4k", 20, half, 0), sink=False) for half in (count // 2, count - count // 2)]
        result["accepted"] = sum(half["accepted"] for half in halves)
        result["accepted_per_s_halves"] = [half["accepted_per_s"] for half in halves]
        cpu, began = group.cpu(), time.monotonic()
        time.sleep(WATCH_SECONDS)
        result["idle_cpu_percent"] = round(group.cpu().since(cpu).total / (time.monotonic() - began) * 100, 1)
        result["idle_mb"] = _megabytes(group)
        result["full_p99_ms"], result["full_per_s"] = _probe(bench)
        result["full_to_empty_per_s"] = round(result["full_per_s"] / result["empty_per_s"], 2)
        result["full_mb"] = _megabytes(group)
    finally:
        began = time.monotonic()
        peers.stop(peer, group, directory)
    result["stop_s"] = round(time.monotonic() - began, 2)
    began = time.monotonic()
    group = peers.restart(peer, directory)
    result["restart_to_greeting_s"] = round(time.monotonic() - began, 2)
    try:
        result.update(_drain(bench, peer, group, directory, count))
    finally:
        peers.stop(peer, group, directory)
    return result


def _drain(bench: Bench, peer: str, group: Group, directory: Path, count: int) -> dict[str, Any]:
    """The backend is back: how fast the queue empties, from the first arrival on."""
    sink = bench.receive("4k", count, expect=count // 2)
    cpu = group.cpu()
    if peer.startswith("postfix"):
        subprocess.run(["postqueue", "-c", directory / "etc", "-f"], check=True)
    received = json.loads(sink.communicate(timeout=DRAIN_SECONDS)[0])
    arrived = max(1, received["delivered"])
    span = received.get("last_arrival_s", 0) - received.get("first_arrival_s", 0)
    return {
        "drain_first_s": received.get("first_arrival_s"),
        "drain_per_s": round(arrived / max(0.001, span), 1),
        "drain_cpu_ms": round(group.cpu().since(cpu).total / arrived * 1e3, 3),
    }


def _probe(bench: Bench) -> tuple[float, float]:
    """The 99th percentile of the reply to the final dot, and messages per second; the medians over some rounds."""
    sent = [bench.send(PROBE, sink=False) for _ in range(PROBES)]
    late = statistics.median(float(one["dot250_ms"]["p99"]) for one in sent)
    return late, statistics.median(float(one["accepted_per_s"]) for one in sent)


def _megabytes(group: Group) -> float:
    return round(group.anonymous_bytes() / 1e6, 1)
