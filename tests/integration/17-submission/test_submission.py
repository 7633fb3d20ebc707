"""The whole gateway as people use it: 587 and 465 with logins, refusals that `explain` finds, certificates renewed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import smtplib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from argon2 import PasswordHasher

from tests.support.gateway_process import Gateway, free_port, send

SWAKS = shutil.which("swaks")
MESSAGE = b"From: ann@corp.example\r\nTo: dan@corp.example\r\nSubject: hello\r\n\r\nText.\r\n"


class House:
    """A gateway with one listener of each kind."""

    def __init__(self, directory: Path) -> None:
        self.submission, self.implicit = free_port(), free_port()
        self.users = directory / "users"
        directory.mkdir(parents=True, exist_ok=True)
        hasher = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1)
        self.users.write_text(f"ann:{hasher.hash('right')}\n")
        self.gateway = Gateway(directory)
        pair = f'certificate = "{self.gateway.certificate}"\nkey = "{self.gateway.key}"'
        self.gateway.listener = 'xclient_from = ["127.0.0.9"]'
        self.gateway.settings = f"""
[submission]
users = "{self.users}"
[[sender]]
name = "ann"
login = "ann"
owns = ["ann@corp.example"]
[[listener]]
name = "submission"
role = "submission"
address = "127.0.0.1:{self.submission}"
{pair}
[[listener]]
name = "submissions"
role = "submission"
tls = "implicit"
address = "127.0.0.1:{self.implicit}"
{pair}
"""

    def login(self, port: str) -> smtplib.SMTP:
        tls = self.gateway.client_tls
        if port == "465":
            client: smtplib.SMTP = smtplib.SMTP_SSL("127.0.0.1", self.implicit, context=tls, timeout=20)
        else:
            client = smtplib.SMTP("127.0.0.1", self.submission, timeout=20)
            client.starttls(context=tls)
        client.login("ann", "right")
        return client

    def explain(self, reply: str) -> str:
        found = re.search(r"\(([^()]+)\)$", reply)
        assert found, reply
        for _ in range(40):  # a refusal's trace is written behind the reply
            run = self.gateway.run("explain", found[1], "--config", str(self.gateway.config_path), "--json")
            if run.returncode == 0:
                return run.stdout
            time.sleep(0.1)
        raise AssertionError(run.stderr)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = House(tmp_path_factory.mktemp("submission"))
    made.gateway.start()
    yield made
    made.gateway.stop()


@pytest.mark.parametrize("port", ["587", "465"])
def test_smtplib_logs_in_and_sends(house: House, port: str) -> None:
    before = len(house.gateway.google.received())
    with house.login(port) as client:
        code, text = send(client, "ann@corp.example", ["dan@corp.example"], MESSAGE)
    assert code == 250
    octets, _ = house.gateway.google.wait(before + 1)[-1]
    assert octets.endswith(MESSAGE)
    assert b"with ESMTPSA id" in octets
    story = house.explain(text)
    assert '"login": "ann"' in story


def test_a_login_speaks_for_its_owner_alone(house: House) -> None:
    with house.login("587") as client:
        code, text = send(client, "dan@corp.example", ["x@elsewhere.example"], MESSAGE)
    assert (code, text[:6]) == (550, "5.7.1 ")
    assert '"sender-not-owned"' in house.explain(text)


def test_nothing_without_login(house: House) -> None:
    with smtplib.SMTP("127.0.0.1", house.submission, timeout=20) as client:
        client.ehlo()
        assert not client.has_extn("auth")
        assert client.docmd("AUTH", "PLAIN AGFubgByaWdodA==")[0] == 538
        client.starttls(context=house.gateway.client_tls)
        client.ehlo()
        assert client.esmtp_features["auth"].split() == ["PLAIN", "LOGIN"]
        assert client.mail("ann@corp.example")[0] == 530
        with pytest.raises(smtplib.SMTPAuthenticationError) as raised:
            client.login("ann", "wrong")
        assert raised.value.smtp_code in (421, 535)
    with house.gateway.smtp() as client:
        assert not client.has_extn("auth")
        assert client.docmd("AUTH", "PLAIN AGFubgByaWdodA==")[0] == 502


@pytest.mark.skipif(SWAKS is None, reason="swaks is not installed")
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("options", [["--tls"], ["--tls-on-connect"]], ids=["587", "465"])
def test_swaks(house: House, mechanism: str, options: list[str]) -> None:
    port = house.implicit if options == ["--tls-on-connect"] else house.submission
    assert SWAKS is not None
    command = [SWAKS, "--server", f"127.0.0.1:{port}", *options, "--auth", mechanism, "--auth-user", "ann"]
    command += ["--auth-password", "right", "--from", "ann@corp.example", "--to", "dan@corp.example", "--timeout", "20"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "235 2.7.0" in run.stdout


@pytest.mark.parametrize(
    ("commands", "code", "rule"),
    [
        (["MAIL FROM:<a@b.example> FOO=1"], 555, "protocol"),
        (["MAIL FROM:<a@b.example> SIZE=9999999999"], 552, "too-big"),
        (["MAIL FROM:<a@b.example>", "RCPT TO:<dan@corp.example> NOTIFY=SOON"], 501, "protocol"),
    ],
)
def test_a_refusal_by_the_listener_can_be_explained(house: House, commands: list[str], code: int, rule: str) -> None:
    with house.gateway.smtp() as client:
        for command in commands:
            answer = client.docmd(command)
    assert answer[0] == code
    assert f'"{rule}"' in house.explain(answer[1].decode())


def test_an_xclient_peer_speaks_for_another(house: House) -> None:
    with house.gateway.smtp(source="127.0.0.9") as client:
        assert client.docmd("XCLIENT", "ADDR=203.0.113.7 HELO=mail.sender.example LOGIN=ann")[0] == 220
        client.ehlo()
        code, text = send(client, "a@sender.example", ["dan@corp.example"], MESSAGE.replace(b"ann@corp", b"a@sender"))
    story = house.explain(text)
    assert '"203.0.113.7"' in story
    assert '"xclient"' in story
    assert "mail.sender.example" in story
    with house.gateway.smtp() as client:
        assert client.docmd("XCLIENT", "ADDR=203.0.113.7")[0] == 550
    assert code in (250, 451, 550)


def test_certificates_are_renewed_on_sighup(house: House) -> None:
    gateway = house.gateway
    with house.login("587") as before:
        authority = trustme.CA()
        issued = authority.issue_cert("renewed.gateway.example")
        for file, blobs in ((gateway.certificate, issued.cert_chain_pems), (gateway.key, [issued.private_key_pem])):
            made = file.with_suffix(".new")
            made.write_bytes(b"".join(blob.bytes() for blob in blobs))
            os.replace(made, file)
        assert gateway.process is not None
        gateway.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + 10
        while sum(event["event"] == "certificates-reloaded" for event in gateway.events()) < 3:
            assert time.monotonic() < end, gateway.log()
            time.sleep(0.05)
        assert before.noop()[0] == 250
        assert send(before, "ann@corp.example", ["dan@corp.example"], MESSAGE)[0] == 250
    authority.cert_pem.write_to_path(str(gateway.directory / "new-ca.pem"))
    gateway.client_tls.load_verify_locations(str(gateway.directory / "new-ca.pem"))
    with house.login("465") as client:
        shown = client.sock.getpeercert()  # type: ignore[union-attr]
    assert shown["subjectAltName"] == (("DNS", "renewed.gateway.example"),)
