"""The benchmark runs, and no peer loses, doubles or alters anything under it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import gates, report
from bench.corpus import draw_zipf, mixed_sizes
from bench.peers import missing_programs
from bench.workloads import WORKLOADS

ROOT = Path(__file__).resolve().parents[3]
PEERS = ["postfix-milters", "waypost", "waypost-queued"]
DAILY = ["cold", "zipf", "text", "mixed", "churn", "rate", "slow-dns", "slow-backend"]
WRONG = ("lost", "doubled", "altered", "foreign", "refused", "deferred", "timed_out", "failed_connections")


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
@pytest.mark.parametrize(("peer", "workloads"), [("waypost", DAILY), ("postfix-milters-c", ["cold", "churn"])])
def test_every_workload_runs(peer: str, workloads: list[str], tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("the benchmark needs root")
    if missing := missing_programs([peer]):
        pytest.skip(f"not installed: {', '.join(missing)}")
    out = tmp_path / "rows.jsonl"
    options = ["--rounds", "1", "--seconds", "3", "--count", "40", "--domains", "100", "--peers", peer]
    options += ["--workloads", ",".join(workloads), "--out", str(out), "--dump", str(tmp_path)]
    run = subprocess.run(
        [sys.executable, "-m", "bench", *options], cwd=ROOT, capture_output=True, text=True, timeout=500
    )
    assert run.returncode == 0, run.stderr
    rows = {row["size"]: row for row in map(json.loads, out.read_text().splitlines())}
    assert list(rows) == workloads
    for name, row in rows.items():
        assert {row[column] for column in WRONG} == {0}, (name, row)
        assert row["exact"] == row["accepted"] >= 3, (name, row)
    assert rows["cold"]["dns_cpu_ms"] > 0
    if peer == "waypost":  # it answers after the backend has, while the backend has connections free
        assert rows["rate"]["delivered_per_s"] < 60
        assert rows["slow-dns"]["transaction_ms"]["p50"] > 50
        assert rows["slow-backend"]["dot250_ms"]["p99"] > 100


def test_workloads_draw_as_they_say() -> None:
    paths = [Path(f"{number}.eml") for number in range(1000)]
    drawn = draw_zipf(paths, 5000)
    assert 5 * drawn.count(paths[9]) < drawn.count(paths[0])
    assert len(set(drawn)) > 300
    sizes = mixed_sizes()
    assert abs(sum(sizes) / len(sizes) - 57_000) < 2000
    assert sorted(sizes)[len(sizes) // 2] < 40_000 < 200_000 < max(sizes)
    assert not WORKLOADS["churn"].runs_with("haraka-mailauth")


def test_gates_are_ratios_inside_a_round() -> None:
    def row(peer: str, number: int, rate: float) -> report.Row:
        latency = {"dot250_ms": {"p50": 1000 / rate, "p99": 1}}
        wrong = dict.fromkeys(("lost", "doubled", "altered"), 0)
        return (
            {"peer": peer, "round": number, "size": "kept", "cpu_ms": 100 / rate, "delivered_per_s": rate}
            | latency
            | wrong
        )

    ours, milters = gates.OURS, gates.MILTERS
    rows: list[report.Row] = [row(ours, 0, 450), row(milters, 0, 100), row(ours, 1, 45), row(milters, 1, 10)]
    rows += [row(ours, 2, 1000), {"peer": milters, "round": 2, "error": "it fell"}]
    text = gates.gate_table(rows)
    assert "| delivered_per_s | postfix-milters | 4 (4.5) | 4.50 (4.50-4.50) | held |" in text
    assert "| cpu_ms | postfix-milters-c | 0.27 (0.22) | - | not measured |" in text
    assert "0/0/0 in every cell" in text
    rows[2] = row(ours, 1, 10) | {"lost": 1}
    assert "| 2.75 (1.00-4.50) | missed |" in gates.gate_table(rows)
    assert f"{ours} kept: 1/0/0" in gates.gate_table(rows)


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
