"""Real clients, plain, by STARTTLS and under TLS from the start, directly and through a real HAProxy: each message
arrives, under the sender's own address; DSN, SMTPUTF8 and BDAT are used by those that know them."""

from __future__ import annotations

import re
import shutil
import smtplib
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import mtas
from tests.support.gateway_process import Gateway, free_port, wait_for_port

HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
SWAKS = shutil.which("swaks")
SMTP_SOURCE = shutil.which("smtp-source", path="/usr/sbin:/usr/bin")
_LACKING = mtas.missing() or ("" if HAPROXY and SWAKS and SMTP_SOURCE else "haproxy, swaks or smtp-source is missing")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(_LACKING), reason=_LACKING or "-")]

PATHS = ("direct", "v1", "v2")
TRANSPORTS = ("plain", "starttls", "implicit")
SOURCES = {"swaks": "127.0.0.5", "smtplib": "127.0.0.6", "postfix": "127.0.0.7", "exim": "127.0.0.8"}

LISTENERS = """
[[listener]]
name = "balanced"
address = "127.0.0.1:{balanced}"
certificate = "{certificate}"
key = "{key}"
proxy_from = ["127.0.0.1/32"]
[[listener]]
name = "implicit"
address = "127.0.0.1:{implicit}"
certificate = "{certificate}"
key = "{key}"
tls = "implicit"
[[listener]]
name = "implicit-balanced"
address = "127.0.0.1:{implicit_balanced}"
certificate = "{certificate}"
key = "{key}"
tls = "implicit"
proxy_from = ["127.0.0.1/32"]
"""
HAPROXY_CONFIG = "defaults\n mode tcp\n timeout connect 2s\n timeout client 20s\n timeout server 20s\n"
HAPROXY_PROXY = "listen {name}\n bind 127.0.0.1:{port}\n server one 127.0.0.1:{gateway} {proxy}\n"


@dataclass
class House:
    """The gateway, and the port for each path and transport."""

    gateway: Gateway
    ports: dict[tuple[str, str], int]
    seen: int = 0

    def port(self, path: str, transport: str) -> int:
        return self.ports[path, "implicit" if transport == "implicit" else "plain"]

    def take(self, token: str, seconds: float = 20.0) -> tuple[bytes, dict[str, object]]:
        """The message with this subject, once the backend has it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for octets, facts in self.gateway.microsoft.received():
                if f"Subject: {token}\r\n".encode() in octets:
                    return octets, facts
            time.sleep(0.1)
        raise AssertionError(f"{token} has not come")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    directory = tmp_path_factory.mktemp("clients")
    zone = {"b.example": {"TXT": ["v=spf1 ip4:127.0.0.0/8 -all"]}}
    gateway = Gateway(directory, zone=zone)
    balanced, implicit, implicit_balanced = free_port(), free_port(), free_port()
    domains = "".join(f'[[domain]]\nname = "{path}.example"\nbackend = "microsoft"\n' for path in PATHS)
    gateway.settings = domains + LISTENERS.format(
        balanced=balanced,
        implicit=implicit,
        implicit_balanced=implicit_balanced,
        certificate=gateway.certificate,
        key=gateway.key,
    )
    ports = {("direct", "plain"): gateway.port, ("direct", "implicit"): implicit}
    config = HAPROXY_CONFIG
    for path, proxy in (("v1", "send-proxy"), ("v2", "send-proxy-v2")):
        for kind, behind in (("plain", balanced), ("implicit", implicit_balanced)):
            ports[path, kind] = free_port()
            config += HAPROXY_PROXY.format(name=f"{path}-{kind}", port=ports[path, kind], gateway=behind, proxy=proxy)
    (directory / "haproxy.cfg").write_text(config)
    gateway.start()
    assert HAPROXY
    balancer = subprocess.Popen([HAPROXY, "-db", "-f", str(directory / "haproxy.cfg")])
    try:
        for port in ports.values():
            wait_for_port(port)
        yield House(gateway, ports)
    finally:
        balancer.terminate()
        balancer.wait(10)
        gateway.stop()


def check(house: House, token: str, client: str, transport: str, facts: dict[str, object] | None = None) -> bytes:
    """The message came, from the client's own address, under TLS where it was to be."""
    octets, found = house.take(token)
    line = octets.split(b"\r\nFrom:")[0].decode()
    newest = re.split(r"\r\n(?![ \t])", line)
    received = next(field for field in newest if field.startswith("Received:"))
    assert f"[{SOURCES[client]}]" in received, received
    assert bool(re.search(r"with (E|UTF8)SMTPS ", received)) is (transport != "plain"), received
    for key, value in (facts or {}).items():
        assert value in str(found[key]), found
    return octets


def connect(house: House, path: str, transport: str, source: str) -> smtplib.SMTP:
    port, address = house.port(path, transport), (source, 0)
    tls = house.gateway.client_tls
    if transport == "implicit":
        return smtplib.SMTP_SSL("127.0.0.1", port, "c.example", timeout=20, source_address=address, context=tls)
    client = smtplib.SMTP("127.0.0.1", port, "c.example", timeout=20, source_address=address)
    if transport == "starttls":
        client.starttls(context=tls)
    return client


def message(token: str) -> bytes:
    return f"From: a@b.example\r\nTo: r@d.example\r\nSubject: {token}\r\n\r\n.hello\r\n..\r\n".encode()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_smtplib(house: House, path: str, transport: str) -> None:
    token = f"smtplib-{path}-{transport}"
    with connect(house, path, transport, SOURCES["smtplib"]) as client:
        client.sendmail(
            "a@b.example",
            [f"r@{path}.example"],
            message(token),
            ["RET=HDRS", "ENVID=QQ314159"],
            ["NOTIFY=SUCCESS,FAILURE", f"ORCPT=rfc822;r@{path}.example"],
        )
    octets = check(house, token, "smtplib", transport, {"params": "QQ314159"})
    assert octets.endswith(message(token))


def test_smtplib_smtputf8_and_bdat(house: House) -> None:
    for path in PATHS:
        with connect(house, path, "starttls", SOURCES["smtplib"]) as client:
            client.ehlo()
            token = f"utf8-{path}"
            client.sendmail(
                "jürgen@b.example", [f"grüße@{path}.example"], message(token), ["SMTPUTF8", "BODY=8BITMIME"]
            )
            octets, facts = house.take(token)
            assert "jürgen" in str(facts["mail_from"])
            assert octets.endswith(message(token))
            token = f"bdat-{path}"
            client.mail("a@b.example")
            client.rcpt(f"r@{path}.example")
            content = message(token)
            client.send(b"BDAT 10\r\n" + content[:10])
            assert client.getreply()[0] == 250
            client.send(b"BDAT %d LAST\r\n" % (len(content) - 10) + content[10:])
            assert client.getreply()[0] == 250
            assert check(house, token, "smtplib", "starttls").endswith(content)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_swaks(house: House, path: str, transport: str) -> None:
    token = f"swaks-{path}-{transport}"
    assert SWAKS
    command = [SWAKS, "--server", "127.0.0.1", "--port", str(house.port(path, transport)), "--helo", "c.example"]
    command += ["--local-interface", SOURCES["swaks"], "--from", "a@b.example", "--to", f"r@{path}.example"]
    command += ["--header", f"Subject: {token}", "--pipeline"]
    command += {"plain": [], "starttls": ["--tls"], "implicit": ["--tlsc"]}[transport]
    if transport == "implicit":
        command.remove("--pipeline")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    check(house, token, "swaks", transport)


@pytest.mark.parametrize("path", PATHS)
def test_smtp_source(house: House, path: str) -> None:
    """It knows no TLS and no source address: only the arrival of the whole load counts."""
    token = f"source-{path}"
    assert SMTP_SOURCE
    command = [SMTP_SOURCE, "-s", "5", "-m", "40", "-l", "5000", "-S", token, "-M", "c.example", "-f", "a@b.example"]
    command += ["-t", f"r@{path}.example", f"127.0.0.1:{house.port(path, 'plain')}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    end = time.monotonic() + 20
    while (count := sum(token.encode() in octets for octets, _ in house.gateway.microsoft.received())) < 40:
        assert time.monotonic() < end, count
        time.sleep(0.2)
    assert count == 40


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("sender", ["postfix", "exim"])
def test_mta(house: House, sender: str, transport: str) -> None:
    """Another mail server passes its mail on, with DSN; Exim by BDAT."""
    run = mtas.run_postfix if sender == "postfix" else mtas.run_exim
    routes = {f"{path}.example": house.port(path, transport) for path in PATHS}
    level = "none" if transport == "plain" else "encrypt"
    with run(routes, level, wrapped=transport == "implicit", source=SOURCES[sender]) as mta:
        with smtplib.SMTP("127.0.0.1", mta.port, "c.example", timeout=20) as client:
            client.ehlo()
            for path in PATHS:
                token = f"{sender}-{path}-{transport}"
                rcpts, options = [f"r@{path}.example"], ["NOTIFY=SUCCESS,FAILURE"]
                client.sendmail("a@b.example", rcpts, message(token), ["ENVID=QQ314159"], options)
                token = f"{sender}-utf8-{path}-{transport}"
                client.sendmail("jürgen@b.example", [f"grüße@{path}.example"], message(token), ["SMTPUTF8"])
        try:
            for path in PATHS:
                check(house, f"{sender}-{path}-{transport}", sender, transport, {"params": "SUCCESS"})
                check(house, f"{sender}-utf8-{path}-{transport}", sender, transport, {"mail_from": "jürgen"})
        except AssertionError as error:
            error.add_note(mta.log())
            raise
        if sender == "exim":
            assert " K " in mta.log()  # so it says that it has sent by BDAT


def test_the_gateway_had_no_error(house: House) -> None:
    assert not [event for event in house.gateway.events() if event.get("event") == "error"]
    assert Path(house.gateway.config_path).exists()
