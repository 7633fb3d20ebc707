"""`waypost spf`, `dmarc` and `dkim` as a user runs them, over a zone file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from gateway.cli import load_commands
from tests.support.signing import key_record, rsa_key
from tests.support.spf_zones import outlook_like


@pytest.fixture(scope="module")
def zone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = outlook_like()
    data["_dmarc.mail.example"] = {"TXT": ["v=DMARC1; p=none; rua=mailto:r@mail.example"]}
    data["k1._domainkey.mail.example"] = {"TXT": [key_record(rsa_key())]}
    file = tmp_path_factory.mktemp("zone") / "zone.json"
    file.write_text(json.dumps(data))
    return file


def invoke(*words: str | Path) -> Result:
    return CliRunner().invoke(load_commands([str(word) for word in words]), [str(word) for word in words])


def waypost(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway.cli", *map(str, words)], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("spf walk mail.example", 0, "Networks (81)"),
        ("spf check mail.example", 0, "Nothing is wrong with the record."),
        ("spf check mail.example --ip 203.0.113.5", 0, "pass by include:spf-a.hosted.example"),
        ("spf check mail.example --ip 203.0.113.250", 1, "softfail by ~all"),
        ("spf check none.example", 1, "does not exist, so receivers get the result none"),
        ("dmarc check mail.example", 0, "the domain asks for nothing (p=none)"),
        ("dmarc check none.example", 1, "no DMARC record"),
        ("dmarc advise mail.example", 0, "p=quarantine; np=reject; rua=mailto:r@mail.example"),
        ("dkim check k1 mail.example", 0, "a key that receivers can use"),
        ("dkim check k2 mail.example", 1, "there is no such name"),
    ],
)
def test_text_and_json(zone: Path, words: str, status: int, said: str) -> None:
    plain = invoke(*words.split(), "--dns", zone)
    assert (plain.exit_code, plain.stderr) == (status, "")
    assert said in plain.stdout
    machine = invoke(*words.split(), "--dns", zone, "--json")
    assert machine.exit_code == status
    assert isinstance(json.loads(machine.stdout), dict)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("spf check a..b", "'a..b' is no domain name"),
        ("spf check mail.example --ip nonsense", "--ip: 'nonsense' is not an IP address"),
        ("dmarc check mail.example --dns /no/such/zone", "No such file"),
        ("headers /no/such/file", "No such file"),
    ],
)
def test_mistakes(zone: Path, words: str, said: str) -> None:
    result = waypost(*words.split(), *(["--dns", str(zone)] if "spf" in words else []))
    assert result.returncode == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_a_file_that_is_no_bounce(tmp_path: Path) -> None:
    file = tmp_path / "x.eml"
    file.write_bytes(b"From: ann@a.example\r\n\r\nhello\r\n")
    result = invoke("bounce", file)
    assert result.exit_code == 1
    assert "neither a bounce nor a feedback report" in result.stderr
    assert invoke("headers", file).exit_code == 0


def test_tools_import_little() -> None:
    code = (
        "import sys; from gateway.cli import load_commands; load_commands(['headers']);"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pydantic", "aiosmtpd", "dns", "cel_expr_python", "starlette", "sqlite3", "cryptography"} & set(found)
