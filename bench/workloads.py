"""Workloads: loads as ordinary days bring them, beside the saturating ones of `--sizes`."""

from __future__ import annotations

from dataclasses import dataclass

from bench.measure import Load

NO_TLS = ("haraka-mailauth",)
"""Peers that are set up without STARTTLS."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A named load, and what it needs of the surroundings."""

    about: str
    load: Load
    dns_delay: float = 0.0
    """Seconds by which each DNS answer is late."""

    def runs_with(self, peer: str) -> bool:
        return not (self.load.tls and peer in NO_TLS)


def _load(messages: str, seconds: float = 0, **fields: float | bool) -> Load:
    """The load of a workload; 0 seconds: as long as the command line says."""
    return Load(messages, int(fields.pop("concurrency", 20)), 0, seconds, **fields)  # type: ignore[arg-type]


WORKLOADS = {
    "kept": Workload("4 kB of 20 domains whose answers are kept", _load("4k")),
    "lone": Workload("the same over one connection", _load("4k", concurrency=1)),
    "cold": Workload("4 kB, each message of another domain", _load("cold")),
    "cold-churn": Workload("the same, one message for each connection", _load("cold", per_connection=1)),
    "zipf": Workload("4 kB of many domains, few of which send most (1/rank)", _load("zipf")),
    "text": Workload("10 MB of prose", _load("text", 5, concurrency=4)),
    "mixed": Workload("text of mixed sizes, 57 kB on the average", _load("mixed")),
    "churn": Workload("STARTTLS, one message for each connection", _load("4k", per_connection=1, tls=True)),
    "rate": Workload("50 messages a second of kept domains", _load("4k", 8, rate=50.0)),
    "rate-cold": Workload("50 messages a second, each of another domain", _load("cold", 8, rate=50.0)),
    "slow-dns": Workload("cold, and each DNS answer 50 ms late", _load("cold"), dns_delay=0.05),
    "slow-backend": Workload("kept, and a backend that takes 100 ms for each message", _load("4k", backend_delay=0.1)),
}
