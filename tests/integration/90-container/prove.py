#!/usr/bin/env python3
"""Proves the Dockerfile on a machine without a container engine. As root: python3 prove.py [--keep]

Every RUN and COPY is carried out in clean Debian roots made by debootstrap, one for each stage. The last root is then
mounted read-only in namespaces of its own (network, mounts, processes), with one volume and a /tmp, and the gateway is
started in it as the image's USER: process 1, no capability, no way to gain one. It must answer `version` and `check`,
be reported healthy by the image's own HEALTHCHECK, speak SMTP under STARTTLS on port 25, and leave with status 0 on
the stop signal.

The base root is kept in var/container/ for the next time.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import smtplib
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from access import Access
from dockerfile import Context, Stage, parse

PROJECT = Path(__file__).resolve().parents[3]
KEPT = PROJECT / "var" / "container"
BASE = "debian:bookworm-slim"
START_SECONDS = 30
STOP_SECONDS = 30

CONFIGURATION = """\
[server]
hostname = "mx.ours.example"

[[listener]]
address = "0.0.0.0:25"
certificate = "/etc/waypost/certificate.pem"
key = "/etc/waypost/key.pem"

[[domain]]
name = "ours.example"
backend = "inside"

[backend.inside]
hosts = "127.0.0.1:9025"
"""


def say(text: str) -> None:
    print(text, flush=True)


def sh(*command: str | Path) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def base_root() -> Path:
    """The tarball of a minimal Debian; made once."""
    tarball = KEPT / "bookworm.tar"
    if not tarball.exists():
        say("debootstrap bookworm")
        KEPT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=KEPT) as scratch:
            root = Path(scratch) / "root"
            with (KEPT / "debootstrap.log").open("wb") as log:
                subprocess.run(["debootstrap", "--variant=minbase", "bookworm", root], check=True, stdout=log)
            sh("tar", "-C", root, "-cf", Path(scratch) / "root.tar", ".")
            (Path(scratch) / "root.tar").rename(tarball)
    return tarball


@contextmanager
def devices(root: Path) -> Iterator[None]:
    """/proc and the harmless nodes of /dev, for the time of the block."""
    sh("mount", "-t", "proc", "proc", root / "proc")
    sh("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", root / "dev")
    for node in ("null", "zero", "full", "random", "urandom"):
        (root / "dev" / node).touch()
        sh("mount", "--bind", f"/dev/{node}", root / "dev" / node)
    (root / "dev" / "fd").symlink_to("/proc/self/fd")
    try:
        yield
    finally:
        sh("umount", "--recursive", root / "dev")
        sh("umount", root / "proc")


def build(stage: Stage, root: Path, others: dict[str, Path], context: Context, access: Access) -> None:
    """Carry out one stage's steps in its root."""
    if stage.base != BASE:
        raise SystemExit(f"FROM {stage.base}: this proof knows {BASE} only")
    root.mkdir()
    sh("tar", "-C", root, "-xpf", base_root())
    directory = "/"
    for step, argument in stage.steps:
        say(f"{stage.name or 'image'}: {step} {' '.join(argument.split())}")
        if step == "WORKDIR":
            directory = argument
            (root / argument.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif step == "COPY":
            copy(argument, root, directory, others, context)
        else:
            with devices(root), access.granted(root):
                command = ["chroot", str(root), "/bin/sh", "-c", f"cd {shlex.quote(directory)} && {argument}"]
                run = subprocess.run(command, env=access.environment, stdin=subprocess.DEVNULL, capture_output=True)
            if run.returncode:
                raise SystemExit(f"{run.stdout.decode()}{run.stderr.decode()}RUN ended with {run.returncode}")


def copy(argument: str, root: Path, directory: str, others: dict[str, Path], context: Context) -> None:
    """COPY [--from=STAGE] SOURCE... DESTINATION; owned by root, as an engine does it."""
    words = argument.split()
    origin = words.pop(0).removeprefix("--from=") if words[0].startswith("--from=") else None
    *sources, destination = words
    target = root / os.path.normpath(Path(directory) / destination).lstrip("/")
    into = destination.endswith("/") or len(sources) > 1
    for name in sources:
        source = others[origin] / name.lstrip("/") if origin else context.source(name)
        goal = target / source.name if into or (target.is_dir() and source.is_file()) else target
        goal.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            left_out = shutil.ignore_patterns(*([] if origin else context.left_out))
            shutil.copytree(source, goal, symlinks=True, ignore=left_out, dirs_exist_ok=True)
        else:
            shutil.copy2(source, goal)
        sh("chown", "-R", "0:0", goal)


class Container:
    """The image, mounted read-only, in this process's namespaces."""

    def __init__(self, image: Stage, root: Path, scratch: Path) -> None:
        self.image, self.root = image, root
        self.uid, _, gid = image.settings["USER"].partition(":")
        self.gid = gid or self.uid
        volume = image.settings["VOLUME"].lstrip("/")
        # A fresh named volume begins with the image's content at its mount point.
        sh("cp", "-a", root / volume, scratch / "volume")
        sh("mount", "--bind", root, root)
        sh("mount", "-o", "remount,ro,bind", root)
        sh("mount", "--bind", scratch / "volume", root / volume)
        sh("mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", root / "tmp")
        settings = scratch / "etc"
        settings.mkdir()
        (settings / "gateway.toml").write_text(CONFIGURATION)
        make_certificate(settings)
        sh("chown", "-R", f"0:{self.gid}", settings)
        sh("mount", "--bind", "-o", "ro", settings, root / "etc" / "waypost")
        sh("ip", "link", "set", "lo", "up")
        # As compose.yaml sets it: every port is an unprivileged one.
        Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("0")

    def command(self, *words: str) -> list[str]:
        """`words`, run in the image as its user with nothing to gain."""
        drop = ["setpriv", "--reuid", self.uid, "--regid", self.gid, "--clear-groups", "--bounding-set=-all"]
        environment = [f"{name}={value}" for name, value in self.image.environment.items()]
        enter = ["env", f"--chdir={self.image.working_directory}", "-i", *environment, *words]
        return ["chroot", str(self.root), *drop, "--inh-caps=-all", "--no-new-privs", *enter]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
        )

    def must(self, *words: str) -> str:
        run = self.run(*words)
        if run.returncode:
            raise SystemExit(f"{' '.join(words)} ended with {run.returncode}:\n{run.stdout}{run.stderr}")
        return run.stdout.strip()


def make_certificate(directory: Path) -> None:
    """A key, and a certificate of its own for a day."""
    files = ["-keyout", directory / "key.pem", "-out", directory / "certificate.pem"]
    kind = ["-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=mx.ours.example"]
    subprocess.run(["openssl", "req", "-x509", *kind, *files], check=True, capture_output=True)
    (directory / "key.pem").chmod(0o640)


def prove_image(container: Container) -> None:
    """The checks that need no running service."""
    image = container.image
    entrypoint = image.command("ENTRYPOINT")
    settings = image.command("CMD")[1:]
    if container.must("id", "-u") in ("", "0"):
        raise SystemExit("the image's user is root")
    say(f"user {container.must('id')}")
    for place in ("/", "/opt/waypost", "/etc", "/etc/waypost", "/usr"):
        if container.run("touch", f"{place}/written").returncode == 0:
            raise SystemExit(f"{place} can be written to")
    container.must("touch", f"{image.settings['VOLUME']}/written", "/tmp/written")
    container.must("rm", f"{image.settings['VOLUME']}/written")
    say(f"version: {container.must(*entrypoint, 'version')}")
    say(f"check: {container.must(*entrypoint, 'check', *settings)}")


def prove_service(container: Container, log: Path) -> None:
    """Started as the image says, healthy by its own check, greeting, and gone with 0 on the stop signal."""
    image = container.image
    command = container.command(*image.command("ENTRYPOINT"), *image.command("CMD"))
    own_pids = ["unshare", "--pid", "--fork", "--kill-child", f"--mount-proc={container.root / 'proc'}"]
    with log.open("wb") as output:
        service = subprocess.Popen([*own_pids, *command], stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        began = time.monotonic()
        while container.run(*image.command("HEALTHCHECK")).returncode:
            if service.poll() is not None or time.monotonic() - began > START_SECONDS:
                raise SystemExit(f"not healthy:\n{log.read_text()}")
            time.sleep(0.2)
        say(f"healthy after {time.monotonic() - began:.1f} s")
        say(f"port {image.settings['EXPOSE']}: {dialogue(int(image.settings['EXPOSE']))}")
        pid = int(Path(f"/proc/{service.pid}/task/{service.pid}/children").read_text())
        say(f"process 1 of its namespace: {status(pid, container.uid)}")
        began = time.monotonic()
        os.kill(pid, signal.Signals[image.settings["STOPSIGNAL"]])
        code = service.wait(STOP_SECONDS)
        if code:
            raise SystemExit(f"stopped with status {code}:\n{log.read_text()}")
        say(f"stopped with status 0 after {time.monotonic() - began:.1f} s")
    finally:
        service.kill()


def dialogue(port: int) -> str:
    """Greeting and STARTTLS, as a client sees them."""
    with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
        client.starttls(context=ssl._create_unverified_context())
        code, text = client.ehlo()
        assert isinstance(client.sock, ssl.SSLSocket)
        return f"{code} {text.decode().splitlines()[0]}, {client.sock.version()}"


def status(pid: int, uid: str) -> str:
    """The process's identity and powers, checked."""
    fields = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    facts = {name: fields[name].split()[0] for name in ("Uid", "CapEff", "CapBnd", "NoNewPrivs")}
    if facts != {"Uid": uid, "CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1"}:
        raise SystemExit(f"too much power: {facts}")
    return " ".join(f"{name}={value}" for name, value in facts.items())


def again(*arguments: str, namespaces: Sequence[str] = ()) -> int:
    """This program again, in namespaces of its own that end with it."""
    own = ["unshare", "--mount", *namespaces, "--propagation", "private", "--fork", "--kill-child"]
    return subprocess.run([*own, sys.executable, __file__, *arguments]).returncode


def prove_build(scratch: Path) -> int:
    """Build every stage, then start the result of the last."""
    stages = parse(PROJECT / "Dockerfile")
    context, access = Context(PROJECT), Access()
    roots: dict[str, Path] = {}
    for number, stage in enumerate(stages):
        roots[stage.name] = scratch / f"stage{number}"
        build(stage, roots[stage.name], roots, context, access)
    return again("run", str(roots[stages[-1].name]), namespaces=["--net", "--pid", "--mount-proc"])


def prove_run(root: Path) -> int:
    container = Container(parse(PROJECT / "Dockerfile")[-1], root, root.parent)
    with devices(root):
        prove_image(container)
        prove_service(container, root.parent / "gateway.log")
    say("proven")
    return 0


def main(arguments: Sequence[str]) -> int:
    match arguments:
        case ["build", scratch]:
            return prove_build(Path(scratch))
        case ["run", root]:
            return prove_run(Path(root))
        case [] | ["--keep"] if os.geteuid() == 0:
            base_root()
            scratch = tempfile.mkdtemp(prefix="proof-", dir=KEPT)
            try:
                return again("build", scratch)
            finally:
                if not arguments:
                    shutil.rmtree(scratch, ignore_errors=True)
    say(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
