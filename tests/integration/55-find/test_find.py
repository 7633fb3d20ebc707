"""`waypost find` with a real gateway: "she wrote at 10:15 and got nothing" is answered from sender, recipient or time
alone, for a refused, a greylisted, a held, a delivered and a never-seen message; also without an index, and while no
gateway runs.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.tools import find as find_texts
from tests.support.gateway_process import ROOT, Gateway, send

pytestmark = pytest.mark.slow

RULES = """
set = "mine"

[[rule]]
id = "bank"
stage = "data"
when = 'author.domain == "bank.example"'
then = "reject"
reply = "dmarc-policy"

[[rule]]
id = "grey"
stage = "data"
when = 'author.domain == "new.example" && greylist.wait'
then = "greylist"
reply = "greylisted"

[[rule]]
id = "watched"
stage = "data"
when = 'author.domain == "watched.example"'
then = "hold"
"""
KINDS = {
    "refused": ("ann@bank.example", "alice@corp.example"),
    "greylisted": ("ben@new.example", "carol@corp.example"),
    "held": ("cleo@watched.example", "dave@corp.example"),
    "delivered": ("dan@friend.example", "erin@corp.example"),
}


def octets(sender: str, rcpt: str) -> bytes:
    return (
        f"From: Some Body <{sender}>\r\nTo: {rcpt}\r\nSubject: Figures of {sender}\r\n"
        f"Message-ID: <1.{sender}>\r\n\r\nHello.\r\n"
    ).encode()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway of two workers that has taken one message of each kind."""
    directory = tmp_path_factory.mktemp("find")
    rules = directory / "rules"
    rules.mkdir()
    (rules / "mine.toml").write_text(RULES)
    settings = f'[policy]\nset = "mine"\ndirectory = "{rules}"\n[greylisting]\nenabled = true\n'
    settings += "[search]\nsubjects = true\n[hold]\ndigest = false\n"
    made = Gateway(directory / "gw", settings=settings, workers=2)
    try:
        made.start()
        for state, (sender, rcpt) in KINDS.items():
            with made.smtp(tls=False) as client:
                code, text = send(client, sender, [rcpt], octets(sender, rcpt))
            assert code == {"refused": 550, "greylisted": 451}.get(state, 250), text
        made.google.wait(1)
        yield made
    finally:
        made.stop()


def find(gateway: Gateway, *arguments: str) -> list[dict[str, Any]]:
    done = gateway.run("find", "--config", str(gateway.config_path), "--json", *arguments)
    assert done.stdout, done.stderr
    messages: list[dict[str, Any]] = json.loads(done.stdout)["messages"]
    assert done.returncode == (0 if messages else 1)
    return messages


def states(messages: list[dict[str, Any]]) -> list[str]:
    return [rcpt["state"] for one in messages for rcpt in one["rcpts"]]


def wait_for_index(gateway: Gateway, count: int, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while True:
        done = gateway.run("status", "--config", str(gateway.config_path), "--json")
        control = json.loads(done.stdout)["control"]
        if control and control["state"] == "ready":
            return
        assert time.monotonic() < end, control
        time.sleep(0.2)


@pytest.mark.parametrize("state", KINDS)
def test_each_is_found_by_sender_by_recipient_and_by_time_alone(gateway: Gateway, state: str) -> None:
    sender, rcpt = KINDS[state]
    wait_for_index(gateway, 4)
    for options in (["--from", sender], ["--rcpt", rcpt], ["--state", state], [sender], [sender.partition("@")[2]]):
        messages = find(gateway, *options)
        assert states(messages) == [state], (options, messages)
        assert messages[0]["mail_from"] == messages[0]["from"] == sender
    one = find(gateway, "--since", "10m", "--from", f"@{sender.partition('@')[2]}")[0]
    assert set(one) == {
        "id", "node", "received", "client", "mail_from", "from", "rcpts", "subject", "message_id", "size", "action",
        "rule", "reply", "spf", "dkim", "dmarc",
    }  # fmt: skip
    assert (one["client"], one["node"]) == ("127.0.0.1", "mx.gateway.example")
    assert (one["subject"], one["message_id"]) == (f"Figures of {sender}", f"1.{sender}")
    assert find(gateway, "--subject", f"figures {sender.partition('@')[0]}")[0]["id"] == one["id"]
    assert find(gateway, "--message-id", f"<1.{sender}>")[0]["id"] == one["id"]
    assert find(gateway, one["id"])[0]["id"] == one["id"]
    shown = gateway.run("find", "--config", str(gateway.config_path), "--rcpt", rcpt)
    # Nothing is cut, whatever the width; the rule and the reply say why.
    for word in (one["id"], sender, rcpt, state):
        assert word in shown.stdout
    if state in ("refused", "greylisted"):
        assert f"{one['rule']}: {one['reply']}" in shown.stdout
    explained = gateway.run("explain", "--config", str(gateway.config_path), one["id"])
    assert explained.returncode == 0


def test_all_are_in_one_list_by_time_alone_newest_first_page_by_page(gateway: Gateway) -> None:
    now = datetime.now().astimezone()
    began = (now - timedelta(minutes=10)).strftime("%H:%M")
    everything = find(gateway, "--since", began)
    assert states(everything) == ["delivered", "held", "greylisted", "refused"]
    assert states(find(gateway, "--since", (now - timedelta(minutes=10)).isoformat())) == states(everything)
    assert states(find(gateway, "--since", (datetime.now(UTC) - timedelta(minutes=10)).isoformat())) == states(
        everything
    )
    paged, after = [], ""
    for _ in range(4):
        options = ["--limit", "1", *(["--after", after] if after else [])]
        done = gateway.run("find", "--config", str(gateway.config_path), "--json", *options)
        page = json.loads(done.stdout)
        paged += page["messages"]
        after = page["next"] or ""
    assert [one["id"] for one in paged] == [one["id"] for one in everything]
    assert after == ""


def test_never_seen_says_what_was_searched_how_far_back_and_what_to_check(gateway: Gateway) -> None:
    done = gateway.run("find", "--config", str(gateway.config_path), "--from", "eve@never.example", "--since", "3d")
    assert done.returncode == 1
    assert "sender eve@never.example" in done.stdout
    assert find_texts.BEFORE_REACH in done.stdout
    for text in (find_texts.NEXT, find_texts.STEP_BOUNCE, find_texts.STEP_SENDER, find_texts.STEP_LOG):
        assert text in done.stdout
    assert "All mail that came to this gateway since " in done.stdout
    assert "dig +short MX YOUR-DOMAIN" in done.stdout
    done = gateway.run("find", "--config", str(gateway.config_path), "--rcpt", "zoe@corp.example")
    assert "dig +short MX corp.example" in done.stdout
    # The wrong time is told from a message that never came.
    done = gateway.run("find", "--config", str(gateway.config_path), "--rcpt", "alice@corp.example", "--until", "1h")
    assert "At another time the same was found" in done.stdout
    assert find_texts.NEXT not in done.stdout


def test_a_mistake_in_an_option_is_told(gateway: Gateway) -> None:
    for options, said in (
        (["--since", "teatime"], "'teatime' is no time"),
        (["--state", "lost"], "there are: refused, deferred"),
        (["--since", "1h", "--until", "2h"], "before it begins"),
        (["--after", "x"], "is no cursor"),
        (["--ip", "300.1.1.1"], "300.1.1.1"),
    ):
        done = gateway.run("find", "--config", str(gateway.config_path), *options)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr
        assert "Traceback" not in done.stderr


def test_what_becomes_of_a_message_later_is_found_and_followed(gateway: Gateway) -> None:
    held = find(gateway, "--state", "held")[0]
    command = [sys.executable, "-m", "gateway.cli", "find", "--config", str(gateway.config_path), "--follow", "--json"]
    following = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        time.sleep(3)
        with gateway.smtp(tls=False) as client:
            began = time.monotonic()
            send(client, "fay@bank.example", ["frank@corp.example"], octets("fay@bank.example", "frank@corp.example"))
        assert following.stdout is not None
        line = json.loads(following.stdout.readline())
        assert (line["mail_from"], line["rcpts"][0]["state"]) == ("fay@bank.example", "refused")
        assert time.monotonic() - began < 10
    finally:
        following.send_signal(signal.SIGINT)
        following.communicate(timeout=10)
    assert following.returncode == 0
    done = gateway.run("hold", "release", "--config", str(gateway.config_path), held["id"])
    assert done.returncode == 0, done.stderr
    gateway.google.wait(2)
    end = time.monotonic() + 30
    while states(find(gateway, held["id"])) != ["delivered"] or find(gateway, "--state", "held"):
        assert time.monotonic() < end
    assert held["id"] in [one["id"] for one in find(gateway, "--state", "delivered")]


def test_a_hung_control_plane_and_a_missing_index_hide_nothing(gateway: Gateway) -> None:
    wait_for_index(gateway, 5)
    done = gateway.run("status", "--config", str(gateway.config_path), "--json")
    pid = json.loads(done.stdout)["control"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        with gateway.smtp(tls=False) as client:
            send(client, "gus@bank.example", ["gina@corp.example"], octets("gus@bank.example", "gina@corp.example"))
        # The refusal is written soon, not before its reply.
        end = time.monotonic() + 10
        while not find(gateway, "--from", "gus@bank.example"):
            assert time.monotonic() < end
    finally:
        os.kill(pid, signal.SIGCONT)
    rebuilt = gateway.run("index", "rebuild", "--config", str(gateway.config_path), "--json")
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert json.loads(rebuilt.stdout) == {"messages": 6}


def test_it_works_while_no_gateway_runs(gateway: Gateway) -> None:
    assert gateway.terminate() == 0
    everything = find(gateway)
    assert len(everything) == 6
    home = gateway.directory / "spool" / "control"
    rebuilt = gateway.run("index", "rebuild", "--config", str(gateway.config_path))
    assert (rebuilt.returncode, rebuilt.stdout) == (0, "The index has 6 messages.\n")
    assert find(gateway) == everything
    # Damage is found, and a search reads the traces meanwhile.
    (home / "index.db").write_bytes(b"no database" * 1000)
    for file in home.glob("index.db-*"):
        file.unlink()
    assert find(gateway) == everything
    assert gateway.run("index", "rebuild", "--config", str(gateway.config_path)).returncode == 0
    with (home / "index.lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = gateway.run("index", "rebuild", "--config", str(gateway.config_path))
        assert (done.returncode, "another process writes the index" in done.stderr) == (2, True)
    shutil.rmtree(home)
    assert find(gateway) == everything


def test_an_empty_spool_says_so(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "gw")
    try:
        gateway.start(backends=False)
        done = gateway.run("find", "--config", str(gateway.config_path), "--subject", "x")
        assert done.returncode == 1
        assert find_texts.EMPTY in done.stdout
        assert find_texts.NO_SUBJECTS in done.stdout
    finally:
        gateway.stop()
