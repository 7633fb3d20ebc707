"""The gates of docs/performance.md: which cells they need, and what a run says of them.

`make bench BENCH="--gates"` measures the cells; `python -m bench.gates RESULTS.jsonl` says it again.
"""

from __future__ import annotations

import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = dict[str, Any]
OURS, C_MILTERS, MILTERS, BARE, RSPAMD, SEALING = (
    "waypost-queued",
    "postfix-milters-c",
    "postfix-milters",
    "postfix",
    "postfix-rspamd",
    "waypost-arc",
)
_CPU, _RATE, _REPLY, _TAIL = "cpu_ms", "delivered_per_s", "dot250_ms.p50", "dot250_ms.p99"


@dataclass(frozen=True, slots=True)
class Cell:
    """A peer under a workload."""

    workload: str
    peer: str


@dataclass(frozen=True, slots=True)
class Gate:
    """A ratio of two peers inside one round, and its bound."""

    number: int
    workload: str
    column: str
    other: str
    gate: float
    aim: float | None = None
    ours: str = OURS
    at_least: bool = False

    def held(self, ratio: float) -> bool:
        return ratio >= self.gate if self.at_least else ratio <= self.gate


GATES = (
    Gate(1, "cold", _CPU, C_MILTERS, 0.42, 0.35),
    Gate(1, "cold", _CPU, BARE, 1.15, 0.95),
    Gate(1, "cold", _RATE, RSPAMD, 2.0, 2.4, at_least=True),
    Gate(1, "cold", _CPU, RSPAMD, 0.75, 0.6, ours=SEALING),
    Gate(2, "zipf", _CPU, C_MILTERS, 0.38, 0.3),
    Gate(2, "kept", _CPU, C_MILTERS, 0.27, 0.22),
    Gate(2, "kept", _CPU, BARE, 0.78, 0.65),
    Gate(2, "kept", _RATE, MILTERS, 4.0, 4.5, at_least=True),
    Gate(3, "rate", _CPU, C_MILTERS, 0.75),
    Gate(3, "rate-cold", _CPU, C_MILTERS, 0.95, 0.8),
    Gate(3, "rate", _REPLY, C_MILTERS, 1.0),
    Gate(4, "text", _CPU, C_MILTERS, 0.85, 0.6),
    Gate(4, "mixed", _CPU, C_MILTERS, 0.6, 0.45),
    Gate(5, "lone", _REPLY, C_MILTERS, 0.7, 0.5),
    Gate(5, "kept", _TAIL, RSPAMD, 0.25, 0.2),
    Gate(5, "cold", _TAIL, RSPAMD, 0.4),
)
CELLS = tuple(dict.fromkeys(Cell(gate.workload, peer) for gate in GATES for peer in (gate.ours, gate.other)))
"""Those that the gates need, workload by workload."""


def gate_table(rows: list[Row]) -> str:
    """Markdown: each gate with the median of its ratios, their least and greatest, and whether it is held."""
    lines = ["", "| | workload | peer | what | to | gate (aim) | measured (min-max) | |", "|" + "---|" * 8]
    for gate in GATES:
        ratios = find_ratios(rows, gate)
        bound = f"{gate.gate:g} ({gate.aim:g})" if gate.aim else f"{gate.gate:g}"
        if ratios:
            median = statistics.median(ratios)
            figures = f"{median:.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
            said = "held" if gate.held(median) else "missed"
        else:
            figures, said = "-", "not measured"
        words = (gate.number, gate.workload, gate.ours, gate.column, gate.other, bound, figures, said)
        lines.append(f"| {' | '.join(map(str, words))} |")
    wrong = [
        f"{row['peer']} {row['size']}: {'/'.join(str(row[name]) for name in ('lost', 'doubled', 'altered'))}"
        for row in rows
        if "error" not in row and any(row[name] for name in ("lost", "doubled", "altered"))
    ]
    lines += ["", "lost/doubled/altered: " + ("; ".join(wrong) or "0/0/0 in every cell")]
    return "\n".join(lines)


def find_ratios(rows: list[Row], gate: Gate) -> list[float]:
    """The ratio in each round that has both cells."""
    found = {(row["peer"], row["round"]): row for row in rows if row.get("size") == gate.workload}
    ratios = []
    for number in sorted({number for _, number in found}):
        ours, other = (_value(found.get((peer, number)), gate.column) for peer in (gate.ours, gate.other))
        if ours and other:
            ratios.append(ours / other)
    return ratios


def _value(row: Row | None, column: str) -> float | None:
    name, _, part = column.partition(".")
    value = (row or {}).get(name)
    return (value or {}).get(part) if part else value


if __name__ == "__main__":
    print(gate_table([json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]))
