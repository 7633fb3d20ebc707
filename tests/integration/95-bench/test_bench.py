"""The benchmark runs, and no peer loses, doubles or alters anything under it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import report
from bench.peers import missing_programs

ROOT = Path(__file__).resolve().parents[3]
PEERS = ["postfix-milters", "waypost", "waypost-queued"]


@pytest.mark.slow
def test_side_by_side(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("the benchmark needs root")
    if missing := missing_programs(PEERS):
        pytest.skip(f"not installed: {', '.join(missing)}")
    out = tmp_path / "rows.jsonl"
    options = ["--rounds", "1", "--seconds", "2", "--count", "400", "--peers", ",".join(PEERS)]
    options += ["--sizes", "4k", "--concurrency", "20", "--out", str(out), "--dump", str(tmp_path)]
    run = subprocess.run(
        [sys.executable, "-m", "bench", *options], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    rows = {row["peer"]: row for row in map(json.loads, out.read_text().splitlines())}
    assert run.returncode == 0, run.stderr
    assert list(rows) == PEERS
    for peer, row in rows.items():
        wrong = {
            name: row[name] for name in ("lost", "doubled", "altered", "foreign", "refused", "deferred", "timed_out")
        }
        assert set(wrong.values()) == {0}, (peer, wrong)
        assert row["exact"] == row["accepted"] > 50, peer
        assert row["cpu_ms"] > 0
        assert row["anonymous_mb"] > 0
        received = (tmp_path / peer / "00001.eml").read_text()
        assert all(f"{method}=pass" in received for method in ("spf", "dkim", "dmarc")), received
    assert run.stdout.count("\n| waypost") == 2


@pytest.mark.slow
def test_samples_fall_into_every_part() -> None:
    if os.geteuid() != 0:
        pytest.skip("the benchmark needs root")
    if missing := missing_programs(["waypost"]):
        pytest.skip(f"not installed: {', '.join(missing)}")
    command = [sys.executable, "-m", "bench.sampling", "--seconds", "3"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    shares = [int(line.split("|")[2].split("%")[0]) for line in run.stdout.splitlines() if line.endswith("% |")]
    assert len(shares) >= 10
    assert 95 <= sum(shares) <= 105


def test_ratios_are_taken_inside_a_round() -> None:
    def row(peer: str, number: int, rate: float, cpu: float) -> report.Row:
        counts = ("lost", "doubled", "altered", "processes", "flushes_per_message", "anonymous_mb", "others_cpu_share")
        load = {"size": "4k", "concurrency": 20, "recipients": 1}
        latency = {"dot250_ms": {"p50": 1, "p99": 2}, "transaction_ms": {"p50": 3}}
        figures = {"peer": peer, "round": number, "delivered_per_s": rate, "cpu_ms": cpu}
        return dict.fromkeys(counts, 0) | load | latency | figures

    # The machine is half as fast in round 1: ratios of medians would say 1.5 and 1.33.
    rows = [row("base", 0, 100, 4), row("ours", 0, 200, 2), row("base", 1, 50, 8), row("ours", 1, 100, 4)]
    line = next(line for line in report.table(rows, "base").splitlines() if line.startswith("| ours"))
    columns = [column.strip() for column in line.split("|")]
    assert columns[2:6] == ["150 (100-200)", "2.00", "3.00", "0.50"]
