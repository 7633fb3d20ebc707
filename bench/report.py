"""Medians for each cell, and ratios to one peer: taken inside a round first, then their median, so that drift of the
machine cancels. `python -m bench.report RESULTS.jsonl [BASE]` prints the table again."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Row = dict[str, Any]
HEAD = (
    "| peer | msg/s (min-max) | x | CPU ms/msg | x | 250 p50 ms | 250 p99 ms | MAIL..250 p50 ms "
    "| memory MB | processes | flushes/msg | lost/doubled/altered | others' CPU |"
)


def one_line(row: Row) -> str:
    """A cell while it goes by."""
    if "error" in row or "backlog" in row:
        return json.dumps(row)
    return (
        f"round {row['round']} {row['peer']} {row['size']} c{row['concurrency']}: "
        f"{row.get('delivered_per_s', 0):.0f} msg/s, {row['cpu_ms']:.2f} ms CPU, "
        f"exact {row['exact']} of {row['accepted']} accepted{', ' + row['refusal'] if row['refusal'] else ''}"
    )


def table(rows: list[Row], base: str) -> str:
    """Markdown, one table for each load."""
    good = [row for row in rows if "error" not in row]
    loads = dict.fromkeys((row["size"], row["concurrency"], row["recipients"]) for row in good)
    lines = [machine()]
    for size, concurrency, recipients in loads:
        cells = [
            row
            for row in good
            if (row["size"], row["concurrency"], row["recipients"]) == (size, concurrency, recipients)
        ]
        lines += [
            "",
            f"### {size}, concurrency {concurrency}, {recipients} recipient{'s' if recipients > 1 else ''}; "
            f"x: ratio to {base}",
            "",
            HEAD,
            "|" + "---|" * (HEAD.count("|") - 1),
        ]
        lines += [_table_row(peer, cells, base) for peer in dict.fromkeys(row["peer"] for row in cells)]
    lines += ["", *(f"failed: {row['peer']}, round {row['round']}: {row['error']}" for row in rows if "error" in row)]
    return "\n".join(lines).rstrip()


def machine() -> str:
    """The machine and software of the measurement."""
    text = Path("/proc/cpuinfo").read_text()
    models = [line.partition(": ")[2] for line in text.splitlines() if line.startswith("model name")]
    name = models[0] if models else platform.machine()
    return f"{os.cpu_count()} x {name}, Linux {platform.release()}, Python {platform.python_version()}"


def _table_row(peer: str, cells: list[Row], base: str) -> str:
    mine = {row["round"]: row for row in cells if row["peer"] == peer}
    others = {row["round"]: row for row in cells if row["peer"] == base}

    def median(value: Callable[[Row], float | None]) -> str:
        values = [found for row in mine.values() if (found := value(row)) is not None]
        return f"{statistics.median(values):.2f}" if values else "-"

    def ratio(name: str) -> str:
        pairs = [(mine[number].get(name), others[number].get(name)) for number in mine if number in others]
        ratios = [own / other for own, other in pairs if own and other]
        return f"{statistics.median(ratios):.2f}" if ratios else "-"

    def latency(name: str, part: str) -> str:
        return median(lambda row: (row[name] or {}).get(part))

    rates = [row["delivered_per_s"] for row in mine.values() if "delivered_per_s" in row] or [0.0]
    wrong = "/".join(str(sum(row[name] for row in mine.values())) for name in ("lost", "doubled", "altered"))
    columns = [
        peer,
        f"{statistics.median(rates):.0f} ({min(rates):.0f}-{max(rates):.0f})",
        ratio("delivered_per_s"),
        median(lambda row: row["cpu_ms"]),
        ratio("cpu_ms"),
        latency("dot250_ms", "p50"),
        latency("dot250_ms", "p99"),
        latency("transaction_ms", "p50"),
        median(lambda row: row["anonymous_mb"]),
        str(max(row["processes"] for row in mine.values())),
        median(lambda row: row["flushes_per_message"]),
        wrong,
        f"{statistics.median(row['others_cpu_share'] for row in mine.values()):.0%}",
    ]
    return "| " + " | ".join(columns) + " |"


def main() -> int:
    rows = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    print(table(rows, sys.argv[2] if len(sys.argv) > 2 else "postfix-milters"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
