"""python -m bench: measure relays side by side and print the ratios. Needs root; see bench/README.md."""

from __future__ import annotations

import argparse
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
from bench.corpus import SIZES, make_corpus
from bench.group import Group
from bench.measure import Bench, Load
from bench.plots import draw_all

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
    parser.add_argument("--plots", type=Path, help="a directory for charts of the results (SVG)")
    parser.add_argument("--rounds", type=int, default=3, help="the whole list of peers, this many times, interleaved")
    parser.add_argument("--seconds", type=float, default=3, help="how long to send in each cell")
    parser.add_argument("--count", type=int, default=20_000, help="at most so many messages in each cell")
    parser.add_argument("--recipients", type=int, default=1)
    parser.add_argument("--base", default="postfix-milters", help="the peer that ratios are taken to")
    parser.add_argument("--backlog", type=int, metavar="N", help="instead: N messages for a dead backend")
    parser.add_argument("--disk", type=Path, default=Path("/var/tmp"), help="where the peers' queues are made")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)  # inside the namespaces: what was made there
    parser.add_argument("--dump", type=Path, help="keep the first messages that the backend got, a directory per peer")
    parser.add_argument("--out", type=Path, default=RESULTS, help="a JSON line for each cell")
    options = parser.parse_args()
    options.peers = options.peers or ",".join(installed(peers.FULL))
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
        subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-o", program, *code], check=True)
    make_corpus(BUILT / "corpus")


def make_network(work: Path) -> Group:
    """Loopback, client addresses, and an unbound that serves the senders' zones."""
    for command in (["link", "set", "lo", "up"], ["addr", "add", "198.18.0.1/24", "dev", "lo"]):
        subprocess.run(["ip", *command], check=True)
    for name, text in (
        ("resolv.conf", "nameserver 127.0.0.1\n"),
        ("hosts", "127.0.0.1 localhost gw.example.net\n"),
    ):
        (work / name).write_text(text)
        subprocess.run(["mount", "--bind", work / name, f"/etc/{name}"], check=True)
    peers.fill("unbound.conf", work / "unbound.conf", ZONES=BUILT / "corpus" / "zones.conf")
    dns = Group("dns", work / "unbound.log")
    dns.start(["unbound", "-d", "-c", work / "unbound.conf"])
    peers.wait_until(lambda: peers.answers(("127.0.0.1", 53)), "unbound", dns)
    return dns


def measure(options: argparse.Namespace, bench: Bench) -> Iterator[dict[str, Any]]:
    """Every cell, as it is done. A peer that fails is a line too."""
    chosen = options.peers.split(",")
    if options.backlog:
        for peer in chosen:
            yield measure_backlog(bench, peer, options.work / "peer", options.backlog)
        return
    for round_number in range(options.rounds):
        for peer in chosen:
            try:
                yield from measure_peer(options, bench, peer, round_number)
            except (peers.NotReady, OSError, subprocess.CalledProcessError) as error:
                yield {"peer": peer, "round": round_number, "error": str(error)}


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
    dns = make_network(options.work)
    rows: list[dict[str, Any]] = []
    try:
        bench = Bench(BUILT / "smtpbench", BUILT / "corpus", options.work, dns)
        with options.out.open("w") as out:
            for row in measure(options, bench):
                rows.append(row)
                out.write(json.dumps(row) + "\n")
                out.flush()
                print(report.one_line(row), file=sys.stderr, flush=True)
    finally:
        dns.stop()
    if not options.backlog:
        print(report.table(rows, options.base))
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
    work = tempfile.mkdtemp(prefix="waypost-bench-", dir=options.disk)
    # Postfix and the milters run as users of their own and must reach their files.
    os.chmod(work, 0o755)
    try:
        command = ["unshare", *NAMESPACES, sys.executable, "-m", "bench", *sys.argv[1:], "--work", work]
        return subprocess.run(command, cwd=HERE.parent).returncode
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
