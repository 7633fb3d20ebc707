"""The language of the dialogue scripts, and the one runner that holds them against a listener.

`== name` opens a dialogue; `@listener KIND` (see `KINDS`) must come first if it is not `plain`. Then, in order:

    C: text        a line to the server, CRLF added (content lines too)
    S: 250 2.1.0   the next reply, whole, starts so: code, enhanced code, text as far as given
    S+ word        the last reply has this line (after the code);  S- word: it has not
    R: octets      raw, with \\r \\n \\t \\0 \\xNN;  R* 900 octets: so many times
    @cut N         from here on everything is sent N octets at a time;  0: no more
    @tls           the TLS handshake;  @tls expects what was said before to count for nothing
    @eof           half-close;  @abort: reset;  @closed: the server closes and says nothing more
    @pause S       wait S seconds
    @kept N        so many messages were kept in this dialogue
    @content O     the content of the last message kept, raw
    @from A        its return path (`<>` for null);  @to A B: its recipients
    @param K=V     ret, envid, body, smtputf8, notify, orcpt of the last message kept
    @traced R      a refusal by rule R left a trace
    @greeted       the greeting and EHLO;  @opened: and MAIL and RCPT;  @ready: and DATA
    @message       a header, a line of text, and the final dot
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import ssl
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.config.edge import Limits
from gateway.net.system import SystemClock
from gateway.service.credentials import Credentials
from gateway.service.listener import EXTENSIONS, ListenerSettings, serve
from tests.support.listening import Client, until
from tests.support.receiving import Spool, make_reception

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
SMALL = {
    "message_size": 2000,
    "header_size": 500,
    "recipients": 3,
    "commands": 12,
    "errors": 4,
    "command_seconds": 0.3,
    "data_seconds": 0.3,
}
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "tls": {"tls": True},
    "require-tls": {"tls": True, "require_tls": True},
    "proxy": {"proxy_from": LOOPBACK, "tls": True},
    "small": {"limits": SMALL},
    "devices": {"devices": True},
    "bare": {"extensions": ("SIZE",)},
    "pause": {"greet_pause": 0.2},
    "implicit": {"tls": True, "implicit_tls": True},
    "login": {"tls": True, "implicit_tls": True, "users": True},
    "starttls-login": {"tls": True, "users": True},
    "xclient": {"tls": True, "xclient_from": LOOPBACK},
    "fast": {"limits": {"recipients_per_minute": 2}},
    "full": {"limits": {"bytes_in_flight": 1, "connections_per_address": 1}},
}
_GREETED = (("S:", "220 mx.gate.example"), ("C:", "EHLO c.example"), ("S:", "250 mx.gate.example"))
_OPENED = (
    *_GREETED,
    ("C:", "MAIL FROM:<a@b.example>"),
    ("S:", "250 2.1.0"),
    ("C:", "RCPT TO:<r@d.example>"),
    ("S:", "250 2.1.5"),
)
MACROS = {
    "@greeted": _GREETED,
    "@opened": _OPENED,
    "@ready": (*_OPENED, ("C:", "DATA"), ("S:", "354")),
    "@message": (("R:", r"From: a@b.example\r\n\r\nhello\r\n.\r\n"),),
}
_ESCAPE = re.compile(rb"\\(r|n|t|0|\\|x[0-9A-Fa-f]{2})")
_NAMED = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}


def read_octets(text: str) -> bytes:
    """Octets as the scripts write them."""
    return _ESCAPE.sub(lambda found: _NAMED.get(found[1]) or bytes([int(found[1][1:], 16)]), text.encode())


@dataclass
class Dialogue:
    """One script."""

    name: str
    place: str
    listener: str = "plain"
    steps: list[tuple[int, str, str]] = field(default_factory=list)
    """Line number, verb, argument."""


def read_script(text: str, file: str) -> Iterator[Dialogue]:
    """The dialogues of a file, in order."""
    dialogue: Dialogue | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("== "):
            if dialogue is not None:
                yield dialogue
            dialogue = Dialogue(line[3:].strip(), f"{file}:{number}")
        elif line.strip() and not line.startswith("#"):
            assert dialogue is not None, f"{file}:{number}: no dialogue is open"
            verb, _, argument = line.partition(" ")
            assert re.fullmatch(r"[CSR]:|S[+-]|R\*|@[a-z]+", verb), f"{file}:{number}: {line}"
            if verb == "@listener":
                assert not dialogue.steps, f"{file}:{number}: too late"
                dialogue.listener = argument
            else:
                dialogue.steps += [(number, *step) for step in MACROS.get(verb, ((verb, argument),))]
    if dialogue is not None:
        yield dialogue


class Stage:
    """One dialogue under way."""

    def __init__(self, client: Client, spool: Spool, trust: ssl.SSLContext) -> None:
        self._client = client
        self._spool = spool
        self._trust = trust
        self._cut = 0
        self._reply: list[str] = []

    async def play(self, verb: str, argument: str) -> None:
        if verb == "C:":
            await self._send(argument.encode() + b"\r\n")
        elif verb == "R:":
            await self._send(read_octets(argument))
        elif verb == "R*":
            count, _, octets = argument.partition(" ")
            await self._send(read_octets(octets) * int(count))
        elif verb == "S:":
            await self._expect(argument)
        elif verb == "S+":
            assert argument in self._reply, self._reply
        elif verb == "S-":
            assert argument not in self._reply, self._reply
        else:
            await self._direct(verb[1:], argument)

    async def _send(self, octets: bytes) -> None:
        size = self._cut or len(octets) or 1
        for start in range(0, len(octets), size):
            self._client.writer.write(octets[start : start + size])
            await asyncio.sleep(0.001 if self._cut else 0)
        with suppress(ConnectionError):  # the server may have closed; only its replies count
            await self._client.writer.drain()

    async def _expect(self, wanted: str) -> None:
        code, self._reply = await self._client.read_reply()
        said = f"{code} {self._reply[0]}"
        assert said == wanted or re.match(re.escape(wanted) + r"($|\b|[ .])", said), f"{said!r} instead of {wanted!r}"

    async def _direct(self, verb: str, argument: str) -> None:
        if verb == "cut":
            self._cut = int(argument)
        elif verb == "tls":
            await self._client.writer.start_tls(self._trust, server_hostname="localhost")
        elif verb == "eof":
            self._client.writer.write_eof()
        elif verb == "abort":
            self._client.writer.transport.abort()
        elif verb == "closed":
            rest = await self._client.rest()
            assert rest == b"", rest
        elif verb == "pause":
            await asyncio.sleep(float(argument))
        else:
            await self._look(verb, argument)

    async def _look(self, verb: str, argument: str) -> None:
        kept = self._spool.kept
        if verb == "kept":
            await until(lambda: len(self._spool.kept) >= int(argument))
            assert len(self._spool.kept) == int(argument)
            return
        if verb == "traced":
            assert argument in [one.trace.decision.rule for one in self._spool.intakes if one.message is None]
            return
        intake = kept[-1]
        rcpts = [rcpt for transfer in intake.transfers for rcpt in transfer.rcpts]
        transfer = intake.transfers[0]
        if verb == "content":
            assert self._spool.content(intake) == read_octets(argument)
        elif verb == "from":
            assert f"<{transfer.mail_from or ''}>" == (argument if argument.startswith("<") else f"<{argument}>")
        elif verb == "to":
            assert [str(rcpt.mailbox) for rcpt in rcpts] == argument.split()
        else:
            assert verb == "param", verb
            key, _, value = argument.partition("=")
            found = {
                "ret": transfer.ret or "",
                "envid": transfer.envid,
                "body": transfer.body,
                "smtputf8": str(transfer.smtputf8).lower(),
                "notify": ",".join(rcpts[0].notify),
                "orcpt": rcpts[0].orcpt,
            }
            assert str(found[key]) == value, found


@dataclass(frozen=True)
class Surroundings:
    """The environment that all dialogues need."""

    server_tls: ssl.SSLContext
    trust: ssl.SSLContext
    users: Path


async def hold(dialogue: Dialogue, around: Surroundings) -> Spool:
    """Hold one dialogue with a listener of its own, a real reception behind it, the spool in memory."""
    kind = dict(KINDS[dialogue.listener])
    limits = kind.pop("limits", {})
    tls = around.server_tls if kind.pop("tls", False) else None
    credentials = None
    if kind.pop("users", False):
        credentials = Credentials(around.users, SystemClock(), lambda event: None)
    spool = Spool()
    errors: list[BaseException] = []
    settings = ListenerSettings(
        name="mx",
        hostname="mx.gate.example",
        address="127.0.0.1:0",
        tls=tls,
        limits=Limits(**limits),
        credentials=credentials,
        extensions=kind.pop("extensions", EXTENSIONS),
        **kind,
    )
    listener = await serve(settings, make_reception(spool, limits), lambda error: str(errors.append(error)))
    client = await Client.connect(listener.address, greeted=False)
    stage = Stage(client, spool, around.trust)
    try:
        for number, verb, argument in dialogue.steps:
            try:
                await stage.play(verb, argument)
            except (AssertionError, OSError, TimeoutError, ValueError, IndexError) as error:
                place = f"{dialogue.place.partition(':')[0]}:{number}"
                raise AssertionError(f"{place}: {verb} {argument[:200]}: {error!r}") from error
    finally:
        await client.close()
        await listener.close()
        if credentials is not None:
            credentials.close()
    assert dialogue.listener == "proxy" or errors == []
    return spool
