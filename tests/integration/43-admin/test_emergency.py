"""Commands that an emergency needs, while all of the configuration but the place of the spool is broken."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.commands import type_command
from tests.support.gateway_process import ROOT, Gateway, send

pytestmark = pytest.mark.slow

MESSAGE = b"From: a@sender.example\r\nSubject: one\r\n\r\nHello.\r\n"


def break_syntax(gateway: Gateway, text: str) -> str:
    return text + "\nnonsense = [\n"


def break_value(gateway: Gateway, text: str) -> str:
    return text.replace('backend = "google"', 'backend = "nowhere"').replace("workers = 1", 'workers = "many"')


def break_octets(gateway: Gateway, text: str) -> str:
    return text.replace("workers = 1", "workers = 1 # \udcff")


def lose_certificate(gateway: Gateway, text: str) -> str:
    gateway.certificate.write_text("none any more")
    return text


def lose_users(gateway: Gateway, text: str) -> str:
    (gateway.directory / "users").mkdir(exist_ok=True)
    return text + '\n[submission]\nusers = "users"\n'


def lose_keys(gateway: Gateway, text: str) -> str:
    (gateway.directory / "keys").mkdir(exist_ok=True)
    (gateway.directory / "keys" / "keyring.toml").write_text("[[key]]\n")
    return text + '\n[outbound]\nkeyring = "keys"\n'


BREAKS: tuple[Callable[[Gateway, str], str], ...] = (
    break_syntax,
    break_value,
    break_octets,
    lose_certificate,
    lose_users,
    lose_keys,
)


def damage(gateway: Gateway, how: Callable[[Gateway, str], str]) -> None:
    text = how(gateway, gateway.config_path.read_text())
    gateway.config_path.write_bytes(text.encode("utf-8", "surrogateescape"))


def queue_one(gateway: Gateway) -> str:
    gateway.delivery = "schedule = [3600]"
    gateway.start(backends=False)
    with gateway.smtp() as client:
        code, text = send(client, "a@sender.example", ["alice@corp.example"], MESSAGE)
    assert code == 250
    return str(text).rpartition("(")[2].partition(")")[0]


@pytest.mark.parametrize(
    ("how", "runs"),
    [(break_syntax, True), *((how, False) for how in BREAKS)],
    ids=lambda value: getattr(value, "__name__", "running" if value else "stopped"),
)
def test_emergency_commands_need_the_spool_alone(
    gateway: Gateway, how: Callable[[Gateway, str], str], runs: bool
) -> None:
    id = queue_one(gateway)
    if not runs:
        gateway.terminate()
    damage(gateway, how)
    checked = type_command("check", config=gateway.config_path)
    assert checked[0] == 2, "the configuration is broken"

    def run(*words: str) -> str:
        status, out, err = type_command(*words, config=gateway.config_path)
        assert status == 0, (words, out, err)
        assert "warning: the configuration is broken: " in err
        assert "waypost check --config" in err
        return out

    assert id in run("queue", "list")
    assert "alice@corp.example" in run("queue", "show", id)
    assert run("queue", "show", id, "--raw").replace("\r\n", "\n").endswith("Hello.\n")
    assert "Nothing has failed" in run("queue", "failed")
    assert "Nothing is held" in run("hold", "list")
    assert run("queue", "hold", id).startswith("Held 1 transfer")
    assert json.loads(run("queue", "list", "--held", "--json"))
    assert run("queue", "release", "--all").startswith("Released 1 transfer")
    assert run("queue", "retry", id).startswith("Made due now 1 transfer")
    told = run("explain", id)
    assert "alice@corp.example" in told
    judged = json.loads(run("explain", id, "--json"))["replayed"]
    assert judged == ("same" if how in (lose_certificate, lose_users) else None)
    assert "0 problems" not in run("spool", "check")
    run("spool", "backup", str(gateway.directory / "copy"))
    assert run("queue", "delete", id).startswith("Deleted 1 transfer")
    assert "Everybody may send" in run("outbound", "suspended")
    run("outbound", "suspend", "corp.example", "--domain")
    run("outbound", "resume", "corp.example")
    if runs:
        run("spool", "drain", "--timeout", "20")
        run("spool", "drain", "--undo")


def test_what_needs_routes_says_why_it_is_not_done(gateway: Gateway) -> None:
    id = queue_one(gateway)
    gateway.terminate()
    damage(gateway, break_value)
    status, out, err = type_command("queue", "reroute", id, "--to", "microsoft", config=gateway.config_path)
    assert (status, out) == (2, "")
    assert 'no backend named "nowhere"' in err
    damage(gateway, lambda gateway, text: text.replace('"nowhere"', '"google"').replace('"many"', "1"))
    damage(gateway, lose_certificate)
    assert type_command("queue", "reroute", id, "--to", "microsoft", config=gateway.config_path)[0] == 0


def test_broken_rules_hide_no_story(gateway: Gateway) -> None:
    id = queue_one(gateway)
    rules = gateway.directory / "rules"
    rules.mkdir()
    (rules / "own.toml").write_text('set = "own"\nno rules [\n')
    damage(gateway, lambda gateway, text: text + f'\n[policy]\nset = "own"\ndirectory = "{rules}"\n')
    status, out, err = type_command("explain", id, "--json", config=gateway.config_path)
    assert (status, json.loads(out)["replayed"]) == (0, None), err
    assert "own.toml" in err


def test_a_drain_can_be_undone(gateway: Gateway) -> None:
    queue_one(gateway)
    config = gateway.config_path
    assert type_command("spool", "drain", "--timeout", "0", config=config)[0] == 1
    with pytest.raises(OSError, match="421"):
        gateway.smtp()
    status, out, _ = type_command("spool", "drain", "--undo", config=config)
    assert (status, out) == (0, "The gateway takes mail again.\n")
    gateway.wait_ready()
    gateway.smtp().close()


def test_a_spool_that_cannot_be_read_is_not_drained(gateway: Gateway) -> None:
    queue_one(gateway)
    shard = next((gateway.directory / "spool").glob("*/spool.db")).parent
    os.rename(shard / "spool.db", shard / "spool.away")
    try:
        assert type_command("spool", "drain", "--timeout", "0", config=gateway.config_path)[0] == 2
    finally:
        os.rename(shard / "spool.away", shard / "spool.db")
    gateway.smtp().close()


@pytest.mark.parametrize("answer", ["y", "n"])
def test_ctrl_c_asks_whether_the_drain_is_undone(gateway: Gateway, answer: str) -> None:
    queue_one(gateway)
    told = drain_and_interrupt(gateway.config_path, answer)
    assert "Let it take mail again?" in told
    if answer == "y":
        assert "The gateway takes mail again." in told
        gateway.wait_ready()
        gateway.smtp().close()
    else:
        assert "waypost spool drain --undo" in told
        with pytest.raises(OSError, match="421"):
            gateway.smtp()


def heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def drain_and_interrupt(config: Path, answer: str) -> str:
    """Type it at a terminal, press Ctrl-C once it drains, and answer."""
    terminal, end = pty.openpty()
    command = [sys.executable, "-m", "gateway.cli", "spool", "drain", "--config", str(config)]
    # Children of tests that run in the background ignore Ctrl-C.
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=end, stdout=end, stderr=end, start_new_session=True, preexec_fn=heed_interrupts
    )
    os.close(end)
    told = read_until(terminal, "takes no new mail")
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    told += read_until(terminal, "again?")
    os.write(terminal, f"{answer}\n".encode())
    told += read_until(terminal, "mail again.")
    assert process.wait(30) == 1
    os.close(terminal)
    return told


def read_until(terminal: int, words: str, seconds: float = 60.0) -> str:
    told, end = "", time.monotonic() + seconds
    while words not in told:
        assert time.monotonic() < end, told
        try:
            told += os.read(terminal, 4096).decode()
        except OSError:  # the other side has closed it
            break
    return told
