"""python -m bench.sampling: where a message's CPU goes, by what the gateway is at each millisecond of it. Needs root.

One worker under a workload of the benchmark (`kept`: 4 kB and 20 connections). A sample counts for the part of the
program that its innermost frame of ours belongs to; C code counts for whoever called it. The spool's writing thread is
beside it.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import FrameType

from bench.peers import CERTIFICATE, HERE, KEY, LISTEN, SINK, fill
from bench.workloads import WORKLOADS
from gateway.app.serving import serve

_EVERY = 0.001
_PARTS = (
    ("DKIM: canonical header, hash, key, RSA", ("authentication/dkim", "authentication/signature")),
    ("body hash: white space, SHA-256", ("authentication/body",)),
    ("SPF, kept results", ("authentication/spf",)),
    ("DMARC", ("authentication/dmarc",)),
    ("rules: facts, weighing, CEL", ("policy/",)),
    ("the rest of the judgement", ("authentication/", "plan/judgement", "plan/client", "service/judge", "mail/author")),
    ("planning the writes: fields, trace, transfer", ("plan/", "mail/authres", "mail/verdict", "mail/received")),
    ("content as it comes: framing, scan, hashes", ("service/collector", "mail/", "service/listener/content")),
    ("spool: packing, rows", ("spool/",)),
    ("SMTP towards the client", ("service/listener", "service/reception", "service/")),
    ("SMTP towards the backend, settling", ("service/delivery", "service/job", "net/")),
)
"""Parts by the beginning of a module's path; where two fit, the longer one counts."""
_PLACES = {prefix: part for part, prefixes in _PARTS for prefix in prefixes}
_REST = "event loop, log, counters, all else"


def find_part(frame: FrameType | None) -> str:
    """The part that a sample counts for."""
    while frame is not None:
        _, found, path = frame.f_code.co_filename.rpartition("/gateway/")
        fitting = [prefix for prefix in _PLACES if found and path.startswith(prefix)]
        if fitting:
            return _PLACES[max(fitting, key=len)]
        frame = frame.f_back
    return _REST


def sample(result: Path) -> int:
    """Be the gateway, and count. The file is written at its end."""
    counted: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="waypost-sampled-", dir="/var/tmp") as directory:
        config = Path(directory) / "gateway.toml"
        values = {
            "DIR": directory,
            "PORT": LISTEN[1],
            "BACKEND": f"{SINK[0]}:{SINK[1]}",
            "KEY": KEY,
            "CERTIFICATE": CERTIFICATE,
        }
        fill("gateway.toml", config, IN_SESSION="false", WORKERS=1, SEAL="false", **values)
        signal.signal(signal.SIGPROF, lambda number, frame: counted.update((find_part(frame),)))
        signal.setitimer(signal.ITIMER_PROF, _EVERY, _EVERY)
        try:
            return serve(config)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            result.write_text(json.dumps(counted))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.sampling", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--workload", default="kept", choices=WORKLOADS)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return sample(options.serve)
    with tempfile.TemporaryDirectory() as directory:
        result = Path(directory) / "counted.json"
        command = [sys.executable, "-m", "bench", "--rounds", "1", "--workloads", options.workload]
        command += ["--seconds", str(options.seconds), "--out", str(Path(directory) / "cells.jsonl")]
        command += ["--peers", f"run:{sys.executable} -m bench.sampling --serve {result}"]
        subprocess.run(command, cwd=HERE.parent, stdout=subprocess.DEVNULL, check=True)
        counted = Counter(json.loads(result.read_text()))
    print("| what | share |\n|---|---|")
    for part, count in counted.most_common():
        print(f"| {part} | {100 * count / counted.total():.0f} % |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
