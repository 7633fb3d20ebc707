"""Makes all files anew, starts the processes, prints `ready`, and stops them all in the end."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.demo.authority import DemoAuthority, write_private
from gateway.demo.layout import ADMIN_PORT_VARIABLE, BACKEND_NAMES, HOSTNAME, PORT_VARIABLE, Layout, State
from gateway.demo.settings import make_settings
from gateway.demo.zone import make_zone

_START_SECONDS = 30.0
_STOP_SECONDS = 15.0
_POLL_SECONDS = 0.1
_PR_SET_PDEATHSIG = 1


class CannotStart(Exception):
    """The demo cannot start; the text gives the remedy."""


class _Stopped(Exception):
    """The demo was told to stop."""


def supervise(layout: Layout, port: int, admin_port: int) -> int:
    """Run everything until SIGINT or SIGTERM. Returns 0 then, and 1 when the demo could not start or one of its
    processes died."""
    try:
        with _signals(), _Owned(layout):
            _refuse_taken(port, PORT_VARIABLE)
            _refuse_taken(admin_port, ADMIN_PORT_VARIABLE)
            return _run(layout, State(port, admin_port))
    except CannotStart as error:
        print(f"demo: {error}", file=sys.stderr, flush=True)
        return 1
    except _Stopped:
        return 0


def _run(layout: Layout, state: State) -> int:
    _clear(layout)
    processes = _Processes(layout)
    try:
        backend_ports = {name: _free_port() for name in BACKEND_NAMES}
        _write_files(layout, state, backend_ports)
        for name, port in backend_ports.items():
            processes.start(name, _standin_command(layout, name, port))
        for port in backend_ports.values():
            processes.wait_until(partial(_greets, port))
        processes.start("gateway", [sys.executable, "-m", "gateway.cli", "serve", "--config", str(layout.config)])
        processes.wait_until(lambda: _greets(state.port) and _is_ready(state.admin_port))
        state.write(layout)
        _tell(layout, state)
        while True:
            processes.check()
            time.sleep(_POLL_SECONDS)
    finally:
        layout.state.unlink(missing_ok=True)
        processes.stop()


class _Owned:
    """One demo at a time in a directory: two would overwrite each other's files."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def __enter__(self) -> None:
        self._layout.directory.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self._layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise CannotStart(f"another demo runs in {self._layout.directory}: stop that one first") from None

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """SIGINT and SIGTERM end the demo at its next step; during the stop, further ones change nothing."""

    def stop(number: int, frame: FrameType | None) -> None:
        for one in (signal.SIGINT, signal.SIGTERM):
            signal.signal(one, signal.SIG_IGN)
        raise _Stopped

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _refuse_taken(port: int, variable: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise CannotStart(f"127.0.0.1:{port}: {error.strerror}; set {variable} to another port") from None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _clear(layout: Layout) -> None:
    """Remove the files of an earlier demo in any state."""
    for path in layout.directory.iterdir():
        if path == layout.lock:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _write_files(layout: Layout, state: State, backend_ports: dict[str, int]) -> None:
    authority = DemoAuthority()
    authority.write(layout.ca_file)
    authority.issue(layout.certificate("gateway"), layout.key("gateway"), HOSTNAME, "localhost", "127.0.0.1")
    for name, host in BACKEND_NAMES.items():
        authority.issue(layout.certificate(name), layout.key(name), host)
        layout.inbox(name).mkdir()
    key = generate_private_key(65537, 2048)
    write_private(layout.signing_key, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    layout.zone.write_text(make_zone(key))
    layout.config.write_text(make_settings(layout, state.port, state.admin_port, backend_ports))


def _standin_command(layout: Layout, name: str, port: int) -> list[str]:
    return [
        *(sys.executable, "-m", "gateway.demo.standin", "--kind", name, "--port", str(port)),
        *("--directory", str(layout.inbox(name))),
        *("--certificate", str(layout.certificate(name)), "--key", str(layout.key(name))),
    ]


class _Processes:
    """The processes that run, by name."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: list[str]) -> None:
        """Start a process in a session of its own, so that Ctrl-C reaches the supervisor alone; output goes to
        `<name>.log`."""
        parent = os.getpid()
        with self._layout.log(name).open("wb") as log:
            self._running[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: _die_with(parent),
            )

    def check(self) -> None:
        """Raises CannotStart when a process has died."""
        for name, process in self._running.items():
            status = process.poll()
            if status is not None:
                log = self._layout.log(name)
                last = "".join(f"\n  {line}" for line in log.read_text("utf-8", "replace").splitlines()[-20:])
                raise CannotStart(f"{name} ended with status {status}; the end of {log}:{last}")

    def wait_until(self, done: Callable[[], bool]) -> None:
        """Raises CannotStart when a process dies meanwhile, or when it takes too long."""
        end = time.monotonic() + _START_SECONDS
        while not done():
            self.check()
            if time.monotonic() > end:
                raise CannotStart(f"no answer within {_START_SECONDS:.0f} s; logs are in {self._layout.directory}")
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """Stop the gateway first, while its backends still take mail."""
        for name in reversed(self._running):
            process = self._running[name]
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _die_with(parent: int) -> None:
    """In a fresh child: end when the supervisor does, even if it is killed and cannot stop any process."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)


def _greets(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            return connection.recv(4) == b"220 "
    except OSError:
        return False


def _is_ready(admin_port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _tell(layout: Layout, state: State) -> None:
    """Print the paths, and last a line that is just `ready`."""
    places = {
        "SMTP": f"127.0.0.1:{state.port}, STARTTLS with a certificate of {layout.ca_file}",
        "metrics": f"http://127.0.0.1:{state.admin_port}/metrics, health at /healthz, readiness at /readyz",
        "Google": f"alice@demo.example arrives in {layout.inbox('google')}",
        "Microsoft": f"bob@demo.example arrives in {layout.inbox('microsoft')}",
        "settings": str(layout.config),
        "DNS zone": str(layout.zone),
        "spool": str(layout.directory / "spool"),
        "logs": str(layout.directory / "*.log"),
        "try": f"{Path(sys.executable).with_name('waypost')} send-sample",
        "stop": "Ctrl-C",
    }
    for name, place in places.items():
        print(f"{name:<10} {place}")
    print("ready", flush=True)
