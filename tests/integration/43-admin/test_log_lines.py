"""Every line that a running gateway writes is JSON, for any input of strangers to the interpreter."""

from __future__ import annotations

import json
import socket
import ssl
from contextlib import suppress
from pathlib import Path

from tests.support.gateway_process import Gateway

NAME = "mx-name-that-is-replaced.example"


def hello(name: bytes) -> bytes:
    """A ClientHello that asks for this name, which has as many octets as NAME."""
    context = ssl.create_default_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=NAME)
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    octets = outgoing.read()
    assert octets.count(NAME.encode()) == 1
    return octets.replace(NAME.encode(), name)


def test_server_names_beyond_ascii_make_one_line(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    gateway.start()
    try:
        for number in range(30):
            with socket.create_connection(("127.0.0.1", gateway.port), 10) as client:
                stream = client.makefile("rb")
                stream.readline()
                client.sendall(b"EHLO c.example\r\n")
                while stream.readline()[3:4] == b"-":
                    pass
                client.sendall(b"STARTTLS\r\n")
                assert stream.readline().startswith(b"220")
                client.sendall(hello(bytes([0xC3, 0x80 + number]) * (len(NAME) // 2)))
                stream.read()
        with gateway.smtp() as smtp:
            assert smtp.noop()[0] == 250
    finally:
        gateway.stop()
    lines = gateway.log().splitlines()
    assert [line for line in lines if not line.startswith("{")] == []
    said = [json.loads(line) for line in lines]
    assert len([one for one in said if one["event"] == "error" and one["where"] == "unraisable"]) == 1


def test_debug_shows_the_dialogue_and_no_password(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    gateway.settings = '[log]\nlevel = "debug"\n'
    gateway.start()
    try:
        with gateway.smtp() as smtp:
            assert smtp.docmd("AUTH", "PLAIN AGFubgByaWdodA==")[0] == 502
            assert smtp.mail("a@sender.example")[0] == 250
    finally:
        gateway.stop()
    said = [(one["command"], str(one["reply"])[:3]) for one in gateway.events() if one["event"] == "smtp"]
    assert ("AUTH PLAIN ...", "502") in said
    assert ("mail FROM:<a@sender.example>", "250") in [(command[:28], code) for command, code in said]
    assert "AGFubgByaWdodA" not in gateway.log()


def test_an_argument_moves_no_cursor(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    gateway.start()
    gateway.stop()
    for words in (
        ["explain", "x\x1b[31mred\u202e"],
        ["explain", "x\x9b\u2028", "--json"],
        ["queue", "show", "\x1b]0;x\x07"],
    ):
        run = gateway.run(*words, "--config", str(gateway.config_path))
        assert run.returncode != 0
        assert [char for char in run.stdout + run.stderr if not char.isprintable() and char != "\n"] == []
        assert run.stderr
