"""AUTH on the wire: only under TLS, only where it is configured, and only so often."""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from gateway.model.event import Event
from gateway.net.system import SystemClock
from gateway.service import credentials
from gateway.service.credentials import Credentials
from gateway.service.listener import SmtpListener
from tests.support.listening import Client, RecordedReception

Listen = Callable[..., Awaitable[SmtpListener]]
HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("right")
MAIL = "MAIL FROM:<a@b.example>"


def b64(text: str) -> str:
    return b64encode(text.encode()).decode()


GOOD = b64("\0ann\0right")
BAD = b64("\0ann\0wrong")


@pytest.fixture
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Credentials]:
    monkeypatch.setattr(credentials, "_MOST_DELAY_SECONDS", 0.01)
    (tmp_path / "users").write_text(f"ann:{HASH}\n")
    made = Credentials(tmp_path / "users", SystemClock(), lambda event: None)
    yield made
    made.close()


@pytest.fixture
def submission(users: Credentials, server_tls: ssl.SSLContext) -> dict[str, object]:
    return {"credentials": users, "tls": server_tls, "require_tls": True}


async def ehlo(client: Client) -> list[str]:
    await client.send(b"EHLO c.example\r\n")
    return (await client.read_reply())[1]


async def secured(listener: SmtpListener, client_tls: ssl.SSLContext) -> Client:
    client = await Client.connect(listener.address)
    await client.starttls(client_tls)
    assert "AUTH PLAIN LOGIN" in await ehlo(client)
    return client


async def test_nothing_without_tls(listen: Listen, submission: dict[str, object]) -> None:
    listener = await listen(RecordedReception(), **submission)
    client = await Client.connect(listener.address)
    assert not any(line.startswith("AUTH") for line in await ehlo(client))
    refused = "538 5.7.11 Encryption required for requested authentication mechanism"
    assert await client.ask(f"AUTH PLAIN {GOOD}") == refused
    assert await client.ask("AUTH LOGIN") == refused
    assert (await client.ask(MAIL)).startswith("530 5.7.0 ")
    await client.close()


async def test_port_25_has_no_auth(listen: Listen, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    listener = await listen(RecordedReception(), tls=server_tls)
    client = await Client.connect(listener.address)
    await client.starttls(client_tls)
    assert not any("AUTH" in line for line in await ehlo(client))
    assert await client.ask(f"AUTH PLAIN {GOOD}") == "502 5.5.1 Command not implemented"
    assert await client.say(MAIL + " AUTH=<>") == 250
    assert (await client.ask("RSET"))[:3] == "250"
    assert await client.say(MAIL + " AUTH=a@b.example") == 555
    await client.close()


async def test_no_mail_before_login(listen: Listen, submission: dict[str, object], client_tls: ssl.SSLContext) -> None:
    reception = RecordedReception()
    client = await secured(await listen(reception, **submission), client_tls)
    assert await client.ask(MAIL) == "530 5.7.0 Authentication required"
    assert await client.ask(f"AUTH PLAIN {GOOD}") == "235 2.7.0 Authentication succeeded"
    assert await client.ask(f"AUTH PLAIN {GOOD}") == "503 5.5.1 You are authenticated already"
    assert await client.say(MAIL + " AUTH=ann+40corp.example") == 250
    assert await client.say("RSET") == 250
    assert reception.only.hooks == {}
    assert reception.only.count("login") == 1
    await client.close()


@pytest.mark.parametrize(
    ("sent", "answers"),
    [
        (["AUTH PLAIN", GOOD], ["334 ", "235 2.7.0 Authentication succeeded"]),
        (["auth plain " + b64("ann\0ann\0right")], ["235 2.7.0 Authentication succeeded"]),
        (["AUTH LOGIN", b64("ann"), b64("right")], ["334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "235 2"]),
        (["AUTH LOGIN " + b64("ann"), b64("right")], ["334 UGFzc3dvcmQ6", "235 2.7.0 "]),
        ([f"AUTH PLAIN {BAD}"], ["535 5.7.8 Authentication credentials invalid"]),
        (["AUTH PLAIN " + b64("boss\0ann\0right")], ["535 5.7.8 "]),
        (["AUTH LOGIN " + b64("ann"), b64("wrong")], ["334 UGFzc3dvcmQ6", "535 5.7.8 "]),
        (["AUTH PLAIN", "*"], ["334 ", "501 5.7.0 Authentication cancelled"]),
        (["AUTH LOGIN", "*"], ["334 VXNlcm5hbWU6", "501 5.7.0 "]),
        (["AUTH PLAIN", "no base64!"], ["334 ", "501 5.5.2 "]),
        (["AUTH PLAIN ="], ["501 5.5.2 "]),
        (["AUTH PLAIN", "A" * 20_000], ["334 ", "500 5.5.6 "]),
        (["AUTH CRAM-MD5"], ["504 5.5.4 Mechanism not supported"]),
        (["AUTH"], ["501 5.5.4 Syntax"]),
    ],
)
async def test_exchanges(
    listen: Listen, submission: dict[str, object], client_tls: ssl.SSLContext, sent: list[str], answers: list[str]
) -> None:
    client = await secured(await listen(RecordedReception(), **submission), client_tls)
    for line, answer in zip(sent, answers, strict=True):
        said = await client.ask(line)
        assert said.startswith(answer), line
    assert (await client.say(MAIL)) == (250 if answers[-1].startswith("235") else 530)
    await client.close()


async def test_guessing_ends_the_session_and_is_told_once(
    listen: Listen, submission: dict[str, object], client_tls: ssl.SSLContext
) -> None:
    events: list[Event] = []
    listener = await listen(RecordedReception(), emit=events.append, **submission)
    client = await secured(listener, client_tls)
    for _ in range(2):
        assert (await client.ask(f"AUTH PLAIN {BAD}")).startswith("535 ")
    assert await client.ask(f"AUTH PLAIN {BAD}") == "421 4.7.0 Too many failed logins"
    assert await client.rest() == b""
    assert [dict(event.fields)["reason"] for event in events] == ["login", "too-many-logins"]
    await listener.close()
    assert [dict(event.fields)["count"] for event in events] == [1, 1, 2]
    assert "right" not in str(events)


async def test_a_bug_of_ours_is_no_login(
    listen: Listen, submission: dict[str, object], client_tls: ssl.SSLContext, expects_errors: list[bool]
) -> None:
    expects_errors.append(True)
    listener = await listen(RecordedReception(login=lambda name: 1 / 0), **submission)
    client = await secured(listener, client_tls)
    assert await client.ask(f"AUTH PLAIN {GOOD}") == "451 4.3.0 Internal error, try again later (event-1)"
    assert (await client.ask(MAIL)).startswith("530 ")
    await client.close()


async def test_another_client_has_to_log_in_anew(
    listen: Listen, submission: dict[str, object], client_tls: ssl.SSLContext
) -> None:
    reception = RecordedReception()
    listener = await listen(reception, xclient_from=(ip_network("127.0.0.1"),), **submission)
    client = await secured(listener, client_tls)
    assert await client.say(f"AUTH PLAIN {GOOD}") == 235
    assert await client.say("XCLIENT ADDR=192.0.2.9", "EHLO c.example") == 250
    assert await client.ask(MAIL) == "530 5.7.0 Authentication required"
    assert await client.say(f"AUTH PLAIN {GOOD}", MAIL) == 250
    await client.close()
