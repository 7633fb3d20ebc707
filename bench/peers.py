"""The relays that can be measured. Each listens on 127.0.0.1:2525 and forwards to 127.0.0.1:9025."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.group import Group

HERE = Path(__file__).resolve().parent
WAYPOST = Path(sys.executable).with_name("waypost")
"""The gateway in the environment that this runs in."""
LISTEN = ("127.0.0.1", 2525)
SINK = ("127.0.0.1", 9025)
MILTERS = ("opendkim", "opendmarc")
BUILT = HERE / "build"
KEY = BUILT / "corpus" / "arc.pem"
"""For ARC seals."""
CERTIFICATE = BUILT / "corpus" / "tls.pem"
"""With its key, for STARTTLS."""
HARAKA = BUILT / "node" / "node_modules" / "Haraka"
CORES = os.cpu_count() or 1

Start = Callable[[Group, Path], None]
"""Starts a peer's processes; the directory is fresh and the peer's own."""


class NotReady(Exception):
    """A peer did not come up."""


def fill(template: str, target: Path, **values: object) -> None:
    """Write a file of conf/ with its @NAMES@ replaced."""
    text = (HERE / "conf" / template).read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    target.write_text(text)


def wait_until(there: Callable[[], bool], what: str, group: Group, seconds: float = 30) -> None:
    """Wait for the service of one of the group's processes. Raises NotReady."""
    deadline = time.monotonic() + seconds
    while not there():
        if not group.pids():
            raise NotReady(f"{what}: no process is left")
        if time.monotonic() > deadline:
            raise NotReady(f"{what} did not come up in {seconds:.0f} s")
        time.sleep(0.05)


def answers(address: tuple[str, int]) -> bool:
    """Something accepts connections here, and greets if it is the peer."""
    try:
        with socket.create_connection(address, 1) as client:
            if address == LISTEN:
                client.settimeout(5)
                greeted = client.recv(200).startswith(b"220")
                client.sendall(b"QUIT\r\n")
                return greeted
            return True
    except OSError:
        return False


def start_waypost(
    group: Group, directory: Path, in_session: bool = True, workers: int = CORES, seal: bool = False
) -> None:
    fill(
        "gateway.toml",
        directory / "gateway.toml",
        DIR=directory,
        PORT=LISTEN[1],
        BACKEND=f"{SINK[0]}:{SINK[1]}",
        IN_SESSION=str(in_session).lower(),
        WORKERS=workers,
        SEAL=str(seal).lower(),
        KEY=KEY,
        CERTIFICATE=CERTIFICATE,
    )
    group.start([WAYPOST, "serve", "--config", directory / "gateway.toml"])


def start_postfix(group: Group, directory: Path, milters: tuple[str, ...] = (), policy: bool = False) -> None:
    for name in ("etc", "queue", "data"):
        (directory / name).mkdir(exist_ok=True)
    shutil.chown(directory / "data", "postfix", "postfix")
    fill("policyd-spf.conf", directory / "policyd-spf.conf")
    fill("master.cf", directory / "etc" / "master.cf", PORT=LISTEN[1], DIR=directory)
    fill(
        "main.cf",
        directory / "etc" / "main.cf",
        DIR=directory,
        CERTIFICATE=CERTIFICATE,
        BACKEND=f"[{SINK[0]}]:{SINK[1]}",
        MILTERS=", ".join(milters),
        POLICY=", check_policy_service unix:private/policyd-spf" if policy else "",
    )
    group.start(["postfix", "-c", directory / "etc", "start"]).wait()


def start_postfix_milters(group: Group, directory: Path, self_spf: bool = False) -> None:
    """SPF by policyd-spf (Python), or with `self_spf` inside opendmarc (libspf2); unix sockets throughout."""
    sockets = directory / "milters"
    sockets.mkdir(exist_ok=True)
    sockets.chmod(0o777)
    for name in MILTERS:
        configuration = sockets / f"{name}.conf"
        fill(f"{name}.conf", configuration, DIR=sockets, SELF_SPF=str(self_spf).lower())
        group.start([name, "-f", "-x" if name == "opendkim" else "-c", configuration])
    paths = [sockets / "dkim.sock", sockets / "dmarc.sock"]
    for path in paths:
        wait_until(path.exists, str(path), group)
        path.chmod(0o777)
    start_postfix(group, directory, tuple(f"unix:{path}" for path in paths), policy=not self_spf)


def start_postfix_rspamd(group: Group, directory: Path) -> None:
    """All checks and an ARC seal by rspamd, one process of it for each core."""
    home, cache = directory / "rspamd", Path("/var/tmp/waypost-bench-rspamd")
    for made in (home, cache):
        made.mkdir(exist_ok=True)
    shutil.copy(KEY, home / "arc.pem")
    fill("rspamd.conf", home / "rspamd.conf", DIR=home, CACHE=cache, CORES=CORES, KEY=home / "arc.pem")
    for path in (cache, home, *home.iterdir()):
        shutil.chown(path, "_rspamd", "_rspamd")
    group.start(["rspamd", "-f", "-c", home / "rspamd.conf", "-u", "_rspamd", "-g", "_rspamd"])
    socket_path = home / "milter.sock"
    # At its first start it compiles its patterns, and keeps them in the cache.
    wait_until(socket_path.exists, str(socket_path), group, 180)
    start_postfix(group, directory, (f"unix:{socket_path}",))


def start_haraka(group: Group, directory: Path) -> None:
    """Haraka with all checks by mailauth, one process for each core; its queue is on disk too."""
    home = directory / "haraka"
    shutil.copytree(HERE / "conf" / "haraka", home)
    (home / "queue").mkdir()
    (home / "node_modules").symlink_to(HARAKA.parent)
    fill("haraka/config/smtp.ini", home / "config" / "smtp.ini", PORT=LISTEN[1], CORES=CORES)
    fill("haraka/config/backend_port", home / "config" / "backend_port", BACKEND_PORT=SINK[1])
    command: list[str | Path] = [
        "env",
        f"HARAKA_OUTBOUND={HARAKA / 'outbound'}",
        "node",
        HARAKA / "bin" / "haraka",
        "-c",
        home,
    ]
    group.start(["env", f"HARAKA_OUTBOUND={HARAKA / 'outbound'}", *command])


PEERS: Mapping[str, Start] = {
    "waypost": start_waypost,
    "waypost-queued": lambda group, directory: start_waypost(group, directory, in_session=False),
    "waypost-one": lambda group, directory: start_waypost(group, directory, in_session=False, workers=1),
    "postfix-milters": start_postfix_milters,
    "postfix-milters-c": lambda group, directory: start_postfix_milters(group, directory, self_spf=True),
    "postfix": start_postfix,
    "waypost-arc": lambda group, directory: start_waypost(group, directory, in_session=False, seal=True),
    "postfix-rspamd": start_postfix_rspamd,
    "haraka-mailauth": start_haraka,
}
FULL = tuple(name for name in PEERS if name != "waypost-one")
"""Those of a whole comparison."""


def start(peer: str, directory: Path) -> Group:
    """Start a peer with an empty queue and wait for its greeting; `run:COMMAND` starts any other program."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    return restart(peer, directory)


def restart(peer: str, directory: Path) -> Group:
    """Start a peer on the queue that it left."""
    group = Group("peer", directory / "output.log")
    try:
        if peer.startswith("run:"):
            group.start(shlex.split(peer.removeprefix("run:")))
        else:
            PEERS[peer](group, directory)
        wait_until(lambda: answers(LISTEN), peer, group)
    except NotReady as error:
        group.stop()
        output = (directory / "output.log").read_text(errors="replace").splitlines()
        raise NotReady("; ".join([str(error), *output[-5:]])) from None
    except BaseException:
        group.stop()
        raise
    return group


def stop(peer: str, group: Group, directory: Path) -> None:
    if peer.startswith("postfix"):
        subprocess.run(["postfix", "-c", directory / "etc", "stop"], capture_output=True)
    group.stop()


def missing_programs(peers: list[str]) -> list[str]:
    """The programs that must be installed before these peers can run."""
    wanted = {"unbound", "gcc", "ip", "unshare"}
    if any(peer.startswith("postfix") for peer in peers):
        wanted.add("postfix")
    if any(peer.startswith("postfix-milters") for peer in peers):
        wanted |= {*MILTERS, "policyd-spf"}
    if "postfix-rspamd" in peers:
        wanted.add("rspamd")
    if "haraka-mailauth" in peers:
        wanted.add("node")
    missing = sorted(name for name in wanted if shutil.which(name) is None)
    if "haraka-mailauth" in peers and not HARAKA.exists():
        missing.append("Haraka")
    return missing
