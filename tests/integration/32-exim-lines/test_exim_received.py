"""The walk reads the lines of a real Exim."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from gateway.mail.header import parse_header
from gateway.mail.received import Walked, walk
from gateway.mail.relay_formats import RelayFormat
from gateway.model.envelope import IPText
from tests.support.mtas import EXIM

USER = "Debian-exim"

if not Path(EXIM).exists() or os.geteuid() != 0 or USER not in {entry.pw_name for entry in pwd.getpwall()}:
    pytest.skip(f"needs root, and Exim at {EXIM}: run .ci/exim", allow_module_level=True)

CONFIG = """
spool_directory = {root}/spool
log_file_path = {root}/spool/%s
primary_hostname = relay.corp.example
exim_user = {user}
exim_group = {user}
trusted_users = root
keep_environment =
acl_smtp_rcpt = accept
acl_smtp_data = accept
tls_advertise_hosts =
helo_accept_junk_hosts = *
"""


@dataclass(frozen=True, slots=True)
class Listed:
    name: str = "old"
    addresses: tuple[IPv4Network, ...] = (IPv4Network("192.0.2.10/32"),)
    by: tuple[str, ...] = ("relay.corp.example",)
    format: RelayFormat = "exim"


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    # Not below pytest's own directory: Exim's user must be able to enter.
    with TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        (root / "spool").mkdir()
        shutil.chown(root / "spool", USER)
        (root / "conf").write_text(CONFIG.format(root=root, user=USER))
        yield root


def pass_on(root: Path, helo: str, *options: str, rcpts: int = 1) -> str:
    """The trace field that Exim puts above a message of this client."""
    commands = [f"EHLO {helo}", "MAIL FROM:<a@b.example>", *(f"RCPT TO:<r{n}@d.example>" for n in range(rcpts))]
    dialogue = "\r\n".join([*commands, "DATA", "Subject: x", "", "hi", ".", "QUIT", ""])
    command = [EXIM, "-C", str(root / "conf"), "-bs", "-odq", *options]
    ran = subprocess.run(command, input=dialogue.encode(), capture_output=True, timeout=20, check=True)
    [file] = (root / "spool" / "input").rglob("*-H")
    stored = file.read_text("utf-8")
    shutil.rmtree(root / "spool" / "input")
    assert b"250 OK id=" in ran.stdout
    # In Exim's spool a header line follows its length and a letter: `210P Received: ...`.
    return stored[stored.index("P Received:") + 2 :].partition("\n0")[0] + "\n"


def walked(field: str) -> Walked:
    return walk(parse_header(field.replace("\n", "\r\n").encode()), (Listed(),), IPText("192.0.2.10"))


def test_lines_of_a_real_exim(root: Path) -> None:
    found = walked(pass_on(root, "mail.sender.example", "-oMa", "203.0.113.7"))
    assert found == Walked(IPText("203.0.113.7"), "mail.sender.example", "", ("old",), "")
    found = walked(pass_on(root, "h.example", "-oMa", "2001:db8::7", rcpts=2))
    assert found.client == "2001:db8::7"
    found = walked(pass_on(root, "h.example", "-oMa", "203.0.113.8", "-oMs", "out.sender.example"))
    assert found == Walked(IPText("203.0.113.8"), "h.example", "out.sender.example", ("old",), "")
    found = walked(pass_on(root, "out.sender.example", "-oMa", "203.0.113.8", "-oMs", "out.sender.example"))
    assert (found.client, found.rdns) == ("203.0.113.8", "out.sender.example")
    for helo in ("[198.51.100.66]", "[203.0.113.9]", "[IPv6:2001:db8::66]"):
        found = walked(pass_on(root, helo, "-oMa", "203.0.113.9"))
        assert found.client == "203.0.113.9", (helo, found)


@pytest.mark.parametrize(
    "helo", ["x(y)[198.51.100.66])", "x)", "x ([198.51.100.66])", "x] (helo=[198.51.100.66]", '"a";(b)', "a<b>@c"]
)
def test_a_helo_that_exim_lets_through_names_nobody(root: Path, helo: str) -> None:
    """Set to accept any HELO, Exim writes it as it came."""
    for name in ((), ("-oMs", "out.sender.example")):
        assert walked(pass_on(root, helo, "-oMa", "203.0.113.9", *name)).client is None


def test_an_ident_answer_names_nobody(root: Path) -> None:
    line = pass_on(root, "x.example", "-oMa", "203.0.113.9", "-oMt", "id) ([198.51.100.66]")
    assert "198.51.100.66" in line
    assert walked(line).client is None
