"""The dialogues of chasquid's own tests (corpora/smtp/chasquid-dialogs), read unchanged.

`OURS` lists our different answers, with the reasons.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.config.edge import Limits
from gateway.model.value import replace
from gateway.net.system import SystemClock
from gateway.service.credentials import Credentials
from gateway.service.listener import ListenerSettings, serve
from tests.dialogues.script import Surroundings
from tests.support.corpora import corpus
from tests.support.listening import Client
from tests.support.receiving import Spool, make_reception

BY_TLS = ("auth_multi_dialog", "auth_too_many_failures")
"""Run on a port with TLS from the start, for people who log in."""

OURS = {
    # The mechanism is unknown (RFC 4954 section 4: 504).
    ("auth_multi_dialog", "534"): "504 5.5.4",
    # A listener of role mx does not support AUTH.
    ("auth_not_tls", "503 5.7.10 You feel vulnerable"): "502 5.5.1",
    ("auth_too_many_failures", "421 4.5.0 Too many errors, bye"): "421 4.7.0",
    # A line that is not a field is harmless, and is kept unchanged.
    ("bad_data", "554 5.6.0 Error parsing message"): "250 2.0.0",
    # The session goes on: everything up to CRLF.CRLF has been read and dropped.
    ("bad_data_dot", "521 5.5.2 Error reading DATA: invalid line ending"): "550 5.6.11",
    ("bad_data_dot_2", "521 5.5.2 Error reading DATA: invalid line ending"): "550 5.6.11",
    ("bad_data_dot_on_message_too_big", "521 5.5.2 Error reading DATA: invalid line ending"): "552 5.3.4",
    # MAIL and RCPT are known commands; their path is at fault.
    ("bad_mail_from", "500 5.5.2 Unknown command"): "501 5.1.7",
    ("bad_mail_from", "500"): "501 5.1.7",
    ("bad_mail_from", "501 5.1.8 Malformed sender domain (IDNA conversion failed)"): "501 5.1.7",
    ("bad_rcpt_to", "500 5.5.2 Unknown command"): "501 5.1.3",
    ("bad_rcpt_to", "500"): "501 5.1.3",
    ("bad_rcpt_to", "501 5.1.2 Malformed destination domain (IDNA conversion failed)"): "501 5.1.3",
    # Beyond ASCII without SMTPUTF8 (RFC 6531 section 3.5).
    ("bad_rcpt_to", "550 5.1.3 Destination address is invalid"): "553 5.6.7",
    # The line is read; a name of 1000 octets is not valid.
    ("line_too_long", "554"): "501 5.5.4",
    ("wrong_proto", "502 5.7.0 You hear someone cursing shoplifters"): "554 5.5.1",
}
"""(script, its expectation) -> our reply."""

REWRITTEN = {"RCPT TO: user@testserver": "RCPT TO:<user@d.example>", "@testserver": "@d.example"}
"""A path needs its brackets (RFC 5321 section 4.1.2), and the own domain here has another name."""

_STEP = re.compile(r"c (->|~>|<-|<~|<\.\.\.|close|tcp_connect|tls_connect) ?(.*)", re.DOTALL)
_CODES = re.compile(r"[0-9]{3}(?: [245]\.[0-9]+\.[0-9]+)?")
"""The compared part of a reply: its words may differ."""


def scripts() -> list[Path]:
    return sorted(path for path in corpus("smtp/chasquid-dialogs").glob("*.cmy.txt"))


NAMES = [
    *("auth_multi_dialog", "auth_not_tls", "auth_too_many_failures", "bad_data", "bad_data_dot", "bad_data_dot_2"),
    *("bad_data_dot_on_message_too_big", "bad_mail_from", "bad_rcpt_to", "data_dot_stuffing", "empty_helo", "helo"),
    *("line_too_long", "message_too_big", "sendmail", "unknown_command", "wrong_proto"),
]


def test_none_is_left_out() -> None:
    assert [path.name.removesuffix(".cmy.txt") for path in scripts()] == NAMES


@pytest.mark.parametrize("name", NAMES)
async def test_script(name: str, around: Surroundings) -> None:
    spool = Spool()
    limits = {"message_size": 1_048_576}
    settings = ListenerSettings("mx", "mx.gate.example", "127.0.0.1:0", limits=Limits(**limits))
    credentials = Credentials(around.users, SystemClock(), lambda event: None)
    if name in BY_TLS:
        settings = replace(settings, tls=around.server_tls, implicit_tls=True, credentials=credentials)
    errors: list[BaseException] = []
    listener = await serve(settings, make_reception(spool, limits), lambda error: str(errors.append(error)))
    try:
        await play(name, listener.address, around)
    finally:
        await listener.close()
        credentials.close()
    assert errors == []
    wanted = corpus("smtp/chasquid-dialogs") / f"{name}.cmy.verify.txt"
    if wanted.exists():
        assert spool.content(spool.kept[-1]).decode().replace("\r\n", "\n").rstrip() == wanted.read_text().rstrip()
    assert len(spool.kept) == (name in ("bad_data", "data_dot_stuffing", "sendmail"))


async def play(name: str, address: tuple[str, int], around: Surroundings) -> None:
    client: Client | None = None
    for line in corpus(f"smtp/chasquid-dialogs/{name}.cmy.txt").read_text().splitlines():
        for old, new in REWRITTEN.items():
            line = line.replace(old, new)
        found = _STEP.fullmatch(line)
        if not found:
            assert not line.strip() or line.startswith("#"), line
            continue
        verb, argument = found.groups()
        if verb in ("close", "tcp_connect", "tls_connect"):
            if client is not None:
                await client.close()
            tls = {"ssl": around.trust, "server_hostname": "localhost"} if verb == "tls_connect" else {}
            client = await Client.connect(address, greeted=False, **tls) if verb != "close" else None
            continue
        assert client is not None
        if verb == "->":
            await client.send(argument.encode() + b"\r\n")
        elif verb == "~>":
            await client.send(str(eval(argument, {"__builtins__": {}})).encode())  # the corpus writes it as Python
        else:
            await expect(client, OURS.get((name, argument), argument))
    if client is not None:
        await client.close()


async def expect(client: Client, wanted: str) -> None:
    code, lines = await client.read_reply()
    codes = _CODES.match(wanted)
    assert codes
    assert f"{code} {lines[0]}".startswith(codes[0]), (code, lines, wanted)
