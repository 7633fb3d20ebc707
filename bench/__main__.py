"""python -m bench: measure relays side by side and print the ratios. Needs root; see bench/README.md."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench import peers, report
from bench.backlog import measure_backlog
from bench.corpus import SIZES, STRANGERS, make_corpus, make_strangers
from bench.gates import CELLS, gate_table
from bench.measure import Bench, Load
from bench.network import Dns, make_network
from bench.plots import draw_all
from bench.workloads import WORKLOADS

HERE = Path(__file__).resolve().parent
BUILT = HERE / "build"
RESULTS = BUILT / "results.jsonl"
NAMESPACES = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument(
        "--peers",
        default="",
        help=f"commas between: {', '.join(peers.PEERS)}, run:COMMAND (listens on 127.0.0.1:2525, forwards to :9025); "
        "all that are installed when empty",
    )
    parser.add_argument("--sizes", default="4k,50k,1m", help=f"of {', '.join(SIZES)}")
    parser.add_argument("--concurrency", default="1,20,100")
    parser.add_argument(
        "--workloads", default="", help=f"instead of sizes and concurrency, some of {', '.join(WORKLOADS)}; or `all`"
    )
    parser.add_argument("--domains", type=int, default=STRANGERS, help="how many domains are strangers (cold, zipf)")
    parser.add_argument(
        "--gates", action="store_true", help="the cells that docs/performance.md has gates for, and those"
    )
    parser.add_argument("--plots", type=Path, help="a directory for charts of the results (SVG)")
    parser.add_argument("--rounds", type=int, default=3, help="the whole list of peers, this many times, interleaved")
    parser.add_argument("--seconds", type=float, default=3, help="how long to send in each cell")
    parser.add_argument("--count", type=int, default=20_000, help="at most so many messages in each cell")
    parser.add_argument("--recipients", type=int, default=1)
    parser.add_argument(
        "--base", default="", help="the peer that ratios are taken to: postfix-milters, or the same all in C"
    )
    parser.add_argument("--backlog", type=int, metavar="N", help="instead: N messages for a dead backend")
    parser.add_argument("--disk", type=Path, default=Path("/var/tmp"), help="where the peers' queues are made")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)  # inside the namespaces: what was made there
    parser.add_argument("--strangers", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--dump", type=Path, help="keep the first messages that the backend got, a directory per peer")
    parser.add_argument("--out", type=Path, default=RESULTS, help="a JSON line for each cell")
    options = parser.parse_args()
    if options.workloads == "all":
        options.workloads = ",".join(WORKLOADS)
    if unknown := [name for name in options.workloads.split(",") if name and name not in WORKLOADS]:
        parser.error(f"no workload is called {', '.join(unknown)}: there are {', '.join(WORKLOADS)}")
    if options.gates:
        options.peers = options.peers or ",".join(dict.fromkeys(cell.peer for cell in CELLS))
    options.peers = options.peers or ",".join(installed(peers.FULL))
    chosen = options.peers.split(",")
    options.base = options.base or ("postfix-milters" if "postfix-milters" in chosen else "postfix-milters-c")
    return options


def installed(chosen: Sequence[str]) -> list[str]:
    """Those that can run here; the others are named."""
    there = [peer for peer in chosen if not peers.missing_programs([peer])]
    for peer in chosen:
        if peer not in there:
            lacks = ", ".join(peers.missing_programs([peer]))
            print(f"{peer} is left out: {lacks} not installed (`make bench-setup`)", file=sys.stderr)
    return there


def build() -> None:
    """The generator and the messages; once."""
    BUILT.mkdir(exist_ok=True)
    sources = sorted((HERE / "smtpbench").glob("*.[ch]"))
    program = BUILT / "smtpbench"
    if not program.exists() or program.stat().st_mtime < max(source.stat().st_mtime for source in sources):
        code = [source for source in sources if source.suffix == ".c"]
        subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-o", program, *code, "-lssl", "-lcrypto"], check=True)
    make_corpus(BUILT / "corpus")


def measure(options: argparse.Namespace, bench: Bench, dns: Dns) -> Iterator[dict[str, Any]]:
    """Every cell, as it is done. A peer that fails is a line too."""
    chosen = options.peers.split(",")
    if options.backlog:
        for peer in chosen:
            yield measure_backlog(bench, peer, options.work / "peer", options.backlog)
        return
    for round_number in range(options.rounds):
        for peer, workload in plan_round(options, chosen):
            try:
                if workload:
                    bench.change_dns(dns.use(WORKLOADS[workload].dns_delay))
                    yield measure_workload(options, bench, peer, workload, round_number)
                else:
                    yield from measure_peer(options, bench, peer, round_number)
            except (peers.NotReady, OSError, subprocess.CalledProcessError) as error:
                yield {"peer": peer, "round": round_number, "error": str(error)}


def plan_round(options: argparse.Namespace, chosen: Sequence[str]) -> list[tuple[str, str]]:
    """Peers and workloads in turns; without workloads each peer once, with an empty name."""
    if options.gates:
        return [(cell.peer, cell.workload) for cell in CELLS if cell.peer in chosen]
    if not options.workloads:
        return [(peer, "") for peer in chosen]
    names = options.workloads.split(",")
    return [(peer, name) for name in names for peer in chosen if WORKLOADS[name].runs_with(peer)]


def measure_workload(options: argparse.Namespace, bench: Bench, peer: str, name: str, number: int) -> dict[str, Any]:
    """One cell on a peer that has just been started: it has seen the kept domains, and no stranger."""
    load = WORKLOADS[name].load
    load = dataclasses.replace(load, count=options.count, seconds=max(load.seconds, options.seconds))
    directory = options.work / "peer"
    group = peers.start(peer, directory)
    try:
        bench.send(Load("4k", load.concurrency, 300, 5))
        return bench.cell(peer, group, load, number, options.dump, name)
    finally:
        peers.stop(peer, group, directory)


def measure_peer(options: argparse.Namespace, bench: Bench, peer: str, number: int) -> Iterator[dict[str, Any]]:
    directory = options.work / "peer"
    group = peers.start(peer, directory)
    concurrencies = [int(word) for word in options.concurrency.split(",")]
    try:
        bench.send(Load("4k", max(concurrencies), 300, 5))  # warm: processes started, DNS answers cached
        for size in options.sizes.split(","):
            for concurrency in concurrencies:
                load = Load(size, concurrency, options.count, options.seconds, recipients=options.recipients)
                yield bench.cell(peer, group, load, number, options.dump)
    finally:
        peers.stop(peer, group, directory)


def run_inside(options: argparse.Namespace) -> int:
    make_network(options.work)
    dns = Dns(options.work, [made / "zones.conf" for made in (BUILT / "corpus", options.strangers) if made])
    rows: list[dict[str, Any]] = []
    try:
        bench = Bench(BUILT / "smtpbench", BUILT / "corpus", options.work, dns.group, options.strangers)
        with options.out.open("w") as out:
            for row in measure(options, bench, dns):
                rows.append(row)
                out.write(json.dumps(row) + "\n")
                out.flush()
                print(report.one_line(row), file=sys.stderr, flush=True)
    finally:
        dns.stop()
    if not options.backlog:
        print(report.table(rows, options.base))
        if options.gates:
            print(gate_table(rows))
        if options.plots:
            options.plots.mkdir(parents=True, exist_ok=True)
            draw_all(rows, options.plots)
    return 1 if any("error" in row for row in rows) else 0


def main() -> int:
    options = parse_arguments()
    if options.work is not None:
        return run_inside(options)
    if os.geteuid() != 0:
        print("bench needs root: it runs in a network of its own", file=sys.stderr)
        return 2
    if missing := peers.missing_programs(options.peers.split(",")):
        print(f"bench needs {', '.join(missing)}: `make bench-setup` installs them on Debian", file=sys.stderr)
        return 2
    build()
    made = make_strangers(BUILT / "corpus", options.domains) if options.workloads or options.gates else None
    work = tempfile.mkdtemp(prefix="waypost-bench-", dir=options.disk)
    # Postfix and the milters run as users of their own and must reach their files.
    os.chmod(work, 0o755)
    try:
        command = ["unshare", *NAMESPACES, sys.executable, "-m", "bench", *sys.argv[1:], "--work", work]
        command += ["--strangers", str(made)] if made else []
        return subprocess.run(command, cwd=HERE.parent).returncode
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
