"""Our signatures beside verifiers that are not ours, and a rotation while mail waits."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import dkim
import pytest

from gateway.config.keyring import KeyState, read_keyring
from gateway.tools.keys import make_keys, rotate, show_keys
from tests.peers import verifier
from tests.support.gateway_process import send
from tests.support.smarthost import Pair

pytestmark = pytest.mark.slow

OPENDKIM = shutil.which("opendkim", path="/usr/sbin:/usr/bin")
MESSAGE = (
    b"From: Ann <ann@corp.example>\r\nTo: carl@far.example\r\nSubject:  a  folded\r\n subject\r\n\r\n.dots\r\n\r\n\r\n"
)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    made = Pair(tmp_path_factory.mktemp("signed"))
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def left(pair: Pair) -> bytes:
    """A message as it left A: the fields above A's Received are B's."""
    with pair.login() as client:
        assert send(client, "ann@corp.example", ["carl@far.example"], MESSAGE)[0] == 250
    octets = pair.b.google.wait(1)[-1][0]
    return octets[octets.index(b"DKIM-Signature:") :]


def records(pair: Pair) -> dict[str, str]:
    return {one.entry.record_name: one.record for one in show_keys(pair.keys, read_keyring(pair.keys))}


def test_stock_dkimpy(pair: Pair, left: bytes) -> None:
    known = records(pair)

    def answer(name: bytes, timeout: int = 5) -> bytes:
        return known[name.decode().rstrip(".")].encode()

    assert dkim.DKIM(left).verify(0, dnsfunc=answer)
    assert not dkim.DKIM(b"Subject: another\r\n" + left).verify(0, dnsfunc=answer)


@pytest.mark.skipif(OPENDKIM is None, reason="opendkim is not installed")
def test_opendkim(pair: Pair, left: bytes, tmp_path: Path) -> None:
    verdict = judge_by_opendkim(tmp_path, left, records(pair))
    assert verdict.count("dkim=pass") == 2
    assert "header.a=ed25519-sha256" in verdict
    assert "dkim=pass" not in judge_by_opendkim(tmp_path, b"Subject: another\r\n" + left, records(pair))


def judge_by_opendkim(directory: Path, message: bytes, known: dict[str, str]) -> str:
    """OpenDKIM's own test mode, with the DNS answers given to its library."""
    lines = ["server:"]
    for name, record in known.items():
        pieces = " ".join(f'"{record[at : at + 255]}"' for at in range(0, len(record), 255))
        lines.append(f"  local-data: '{name}. IN TXT {pieces}'")
    (directory / "unbound.conf").write_text("\n".join(lines) + "\n")
    (directory / "opendkim.conf").write_text(f"Mode v\nResolverConfiguration {directory / 'unbound.conf'}\n")
    (directory / "message.eml").write_bytes(message)
    assert OPENDKIM is not None
    command = [OPENDKIM, "-x", str(directory / "opendkim.conf"), "-t", str(directory / "message.eml"), "-vvv"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_mailauth(pair: Pair, left: bytes) -> None:
    known = {name: {"TXT": [record]} for name, record in records(pair).items()}
    answers = verifier.verify([{"id": "signed", "message": left, "dns": known, "ip": "127.0.0.1"}])
    found = answers["signed"]["dkim"]
    assert [one["result"] for one in found] == ["pass", "pass"]


def test_a_rotation_while_old_mail_waits(tmp_path: Path) -> None:
    """Mail signed before waits, and arrives after the rotation: its old record is still in DNS, and it passes."""
    pair = Pair(tmp_path)
    make_keys(pair.keys, "corp.example", time.time())  # new keys, published with the old ones
    pair.b.zone = pair.a.zone = pair.zone()
    pair.a.start()  # B is not there yet
    try:
        with pair.login() as client:
            assert send(client, "ann@corp.example", ["carl@far.example"], MESSAGE)[0] == 250
        config = str(pair.a.config_path)
        before = {entry.selector for entry in read_keyring(pair.keys) if entry.state is KeyState.SIGNING}
        run = pair.a.run("key", "rotate", "corp.example", "--config", config)
        assert run.returncode == 0, run.stderr
        with pair.login() as client:
            assert send(client, "ann@corp.example", ["carl@far.example"], MESSAGE)[0] == 250
        pair.b.start()
        got = [octets for octets, _ in pair.b.google.wait(2, 30)]
        selectors = [{part.split(b";")[0].decode() for part in octets.split(b" s=")[1:]} for octets in got]
        assert all(octets.count(b"dkim=pass") == 2 for octets in got)
        assert any(before <= one for one in selectors), "the old one kept its signatures"
        assert any(not before & one for one in selectors), "the new one has the new keys'"
        check = pair.a.run("key", "check", "corp.example", "--config", config)
        assert check.returncode == 0, check.stdout
        assert "leave its record until" in check.stdout
    finally:
        pair.stop()


def test_keys_that_dns_does_not_have_do_not_sign(pair: Pair) -> None:
    config = str(pair.a.config_path)
    made = pair.a.run("key", "new", "corp.example", "--config", config)
    assert made.returncode == 0, made.stderr
    assert made.stdout.count("_domainkey.corp.example. 3600 IN TXT (") == 2
    refused = pair.a.run("key", "rotate", "corp.example", "--config", config)
    assert refused.returncode == 1
    assert "no record is published" in refused.stdout
    assert {entry.state for entry in read_keyring(pair.keys)} == {KeyState.SIGNING, KeyState.NEW}
    rotate(pair.keys, "corp.example", time.time(), 0)  # leave the keys as they were found: with keys that sign
