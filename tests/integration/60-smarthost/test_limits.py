"""A stolen password: guessed at, then used. Its owner is suspended with an alarm, and no other sender is affected."""

from __future__ import annotations

import json
import smtplib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from tests.support.gateway_process import send
from tests.support.smarthost import MACHINE, Pair

pytestmark = pytest.mark.slow

RATES = """
[[domain]]
name = "listed.example"
backend = "google"
mailboxes = "listed"
[[sender]]
name = "guest"
login = "guest"
owns = ["guest@corp.example"]
rates = { messages = 5, recipients = 20, failures = 3 }
"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    made = Pair(tmp_path_factory.mktemp("limits"), settings=RATES)
    made.a.workers = 2
    made.b.settings = '[[domain]]\nname = "listed-far.example"\nbackend = "google"\nmailboxes = "listed"\n'
    made.start()
    yield made
    made.stop()


def alarms(pair: Pair, name: str) -> list[dict[str, object]]:
    return [event for event in pair.a.events() if event["event"] == name]


def as_guest(pair: Pair, rcpts: list[str]) -> tuple[int, str]:
    with pair.login("guest") as client:
        return send(client, "guest@corp.example", rcpts, b"From: guest@corp.example\r\n\r\nSpam.\r\n")


def resume(pair: Pair, name: str) -> None:
    assert pair.a.run("outbound", "resume", name, "--config", str(pair.a.config_path)).returncode == 0


def test_a_stolen_password_sends_little_and_its_owner_can_be_resumed(pair: Pair) -> None:
    codes = [as_guest(pair, ["victim@far.example"])[0] for _ in range(12)]
    sent = codes.count(250)
    assert 5 <= sent <= 7, codes  # two workers may take messages at the same moment
    assert set(codes[sent:]) == {451}
    assert "suspended for guest" in as_guest(pair, ["victim@far.example"])[1]
    (alarm,) = alarms(pair, "sender-suspended")
    assert alarm["account"] == "sender guest"
    assert "waypost outbound resume guest" in str(alarm["fix"])
    with pair.login() as client:
        assert send(client, "ann@corp.example", ["c@far.example"], b"From: ann@corp.example\r\n\r\nHi.\r\n")[0] == 250
    with pair.machine(MACHINE) as client:
        assert send(client, "shop@corp.example", ["c@far.example"], b"From: shop@corp.example\r\n\r\nHi.\r\n")[0] == 250
    listed = pair.a.run("outbound", "suspended", "--config", str(pair.a.config_path), "--json")
    assert [one["account"] for one in json.loads(listed.stdout)] == ["sender guest"]


def test_who_is_resumed_begins_anew(pair: Pair) -> None:
    resume(pair, "guest")
    assert as_guest(pair, ["carl@far.example"])[0] == 250
    assert as_guest(pair, ["carl@far.example"])[0] == 250


def test_mailboxes_that_do_not_exist_suspend_too(pair: Pair) -> None:
    """Refused at RCPT: our own domain lists its mailboxes."""
    with pair.login("guest") as client:
        client.mail("guest@corp.example")
        codes = [client.rcpt(f"guess{number}@listed.example")[0] for number in range(5)]
    assert set(codes) == {550}
    assert as_guest(pair, ["carl@far.example"])[0] == 451


def test_recipients_that_a_next_hop_refuses_count_too(pair: Pair) -> None:
    """After they were accepted here: B knows that there are no such mailboxes."""
    resume(pair, "guest")
    assert as_guest(pair, [f"x{number}@listed-far.example" for number in range(5)])[0] == 250
    pair.wait_for("dsn")
    for _ in range(50):
        if as_guest(pair, ["carl@far.example"])[0] == 451:
            return
        time.sleep(0.1)
    raise AssertionError(pair.a.log())


def guess(pair: Pair, number: int) -> None:
    client = smtplib.SMTP("127.0.0.1", pair.submission, timeout=60, source_address=(f"127.1.{number}.1", 0))
    client.starttls(context=pair.a.client_tls)
    with pytest.raises(smtplib.SMTPAuthenticationError):
        client.login("zoe@corp.example", f"guess {number}")
    client.close()


def test_a_login_is_guessed_at(pair: Pair) -> None:
    with ThreadPoolExecutor(10) as guessers:
        list(guessers.map(partial(guess, pair), range(110)))
    assert alarms(pair, "login-locked")[0]["login"] == "zoe@corp.example"
    with pair.login() as client:
        assert client.noop()[0] == 250, "other people log in as before"


def test_what_an_admin_suspends_by_hand(pair: Pair) -> None:
    config = str(pair.a.config_path)
    assert pair.a.run("outbound", "suspend", "corp.example", "--domain", "--config", config).returncode == 0
    try:
        with pair.login() as client:
            code, text = send(client, "ann@corp.example", ["c@far.example"], b"From: ann@corp.example\r\n\r\nHi.\r\n")
        assert (code, text[:6]) == (451, "4.7.1 ")
    finally:
        resume(pair, "corp.example")
    time.sleep(0.1)
    with pair.login() as client:
        assert send(client, "ann@corp.example", ["c@far.example"], b"From: ann@corp.example\r\n\r\nHi.\r\n")[0] == 250
