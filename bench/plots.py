"""Bars as SVG: the cost and the rate of each peer, at each load. `python -m bench.plots RESULTS.jsonl DIRECTORY`."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

Row = dict[str, Any]
CHARTS = {
    "cpu": ("cpu_ms", "CPU per message, milliseconds (less is better)"),
    "rate": ("delivered_per_s", "messages per second (more is better)"),
}
_LABELS, _WIDTH, _BAR, _GAP = 170, 760, 18, 6
_OURS, _OTHERS = "#2b6cb0", "#a0aec0"


def draw(title: str, values: Mapping[str, float]) -> str:
    """One bar for each name, the longest as wide as there is room for."""
    most = max(values.values(), default=0.0) or 1.0
    height = 40 + len(values) * (_BAR + _GAP)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" font-family="sans-serif" '
        f'font-size="13"><rect width="100%" height="100%" fill="white"/>',
        f'<text x="8" y="22" font-weight="bold">{escape(title)}</text>',
    ]
    for at, (name, value) in enumerate(values.items()):
        top = 36 + at * (_BAR + _GAP)
        width = (_WIDTH - _LABELS - 70) * value / most
        color = _OURS if name.startswith("waypost") else _OTHERS
        lines += [
            f'<text x="{_LABELS - 8}" y="{top + 14}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{_LABELS}" y="{top}" width="{width:.1f}" height="{_BAR}" fill="{color}"/>',
            f'<text x="{_LABELS + width + 6:.1f}" y="{top + 14}">{value:.3g}</text>',
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"


def draw_all(rows: Sequence[Row], directory: Path) -> list[Path]:
    """A file for each chart and load, in `directory`."""
    good = [row for row in rows if "error" not in row and "backlog" not in row]
    made = []
    for size, concurrency in dict.fromkeys((row["size"], row["concurrency"]) for row in good):
        cells = [row for row in good if (row["size"], row["concurrency"]) == (size, concurrency)]
        for name, (column, title) in CHARTS.items():
            values = {
                peer: statistics.median(row.get(column, 0.0) for row in cells if row["peer"] == peer)
                for peer in dict.fromkeys(row["peer"] for row in cells)
            }
            path = directory / f"{name}-{size}-{concurrency}.svg"
            path.write_text(draw(f"{size}, {concurrency} connections: {title}", values))
            made.append(path)
    return made


def main() -> int:
    rows = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    directory = Path(sys.argv[2])
    directory.mkdir(parents=True, exist_ok=True)
    for path in draw_all(rows, directory):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
