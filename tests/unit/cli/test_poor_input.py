"""Input that is empty or in the wrong order, and output without a terminal, as people meet them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli import load_commands
from gateway.cli.options import print_text
from gateway.model.history import Sender
from gateway.tools.senders import find_origins, render_senders
from tests.support.bounces import SAMPLES
from tests.unit.tools.test_senders import OURS

README = Path(__file__).parents[3] / "README.md"


def run(*words: str) -> Result:
    return CliRunner().invoke(load_commands(list(words)), list(words), env={"COLUMNS": "80"})


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_a_reply_that_is_empty(text: str) -> None:
    result = run("bounce", "--reply", text)
    assert result.exit_code == 2
    assert "The reply is empty" in result.stderr


@pytest.mark.parametrize("octets", [b"", b"\r\n", b"\n \n"])
def test_files_that_hold_nothing(tmp_path: Path, octets: bytes) -> None:
    file, zone = tmp_path / "nothing.eml", tmp_path / "zone.json"
    file.write_bytes(octets)
    zone.write_text("{}")
    result = run("autopsy", str(file), "--dns", str(zone))
    assert result.exit_code == 2
    assert "holds no message" in result.stderr
    assert run("bounce", str(file)).exit_code == 1
    assert run("headers", str(file)).exit_code == 1


def test_an_original_that_holds_nothing(tmp_path: Path) -> None:
    broken, nothing, zone = tmp_path / "broken.eml", tmp_path / "nothing.eml", tmp_path / "zone.json"
    broken.write_bytes(b"From: ann@author.example\r\n\r\nhello\r\n")
    nothing.write_bytes(b"")
    zone.write_text("{}")
    result = run("autopsy", str(broken), "--dns", str(zone), "--original", str(nothing))
    assert (result.exit_code, "nothing.eml holds no message" in result.stderr) == (2, True)


@pytest.mark.parametrize("octets", [b"just words\r\n", b"words\r\n\r\nbody: too\r\n"])
def test_headers_of_a_file_without_a_field(tmp_path: Path, octets: bytes) -> None:
    file = tmp_path / "words.txt"
    file.write_bytes(octets)
    for more in ((), ("--json",)):
        assert run("headers", str(file), *more).exit_code == 1
    assert "holds no header field" in run("headers", str(file)).stdout


def test_a_selector_and_a_domain_that_were_swapped(tmp_path: Path) -> None:
    zone = tmp_path / "zone.json"
    zone.write_text("{}")
    result = run("dkim", "check", "sender.example", "sel1", "--dns", str(zone))
    assert result.exit_code == 2
    assert "Did you mean: waypost dkim check sel1 sender.example?" in result.stderr
    assert run("dkim", "check", "sel1", "sender.example", "--dns", str(zone)).exit_code == 1


def test_the_readme_names_every_tool_that_needs_no_gateway() -> None:
    text = README.read_text("utf-8").partition("## Tools that need no gateway")[2].partition("\n## ")[0]
    named = re.findall(r"bin/waypost ((?:spf|dkim|dmarc) \w+|\w+)", text)
    assert {"headers", "bounce", "autopsy", "spf walk", "dkim check", "dmarc check", "dmarc report"} <= set(named)


def test_tables_without_a_terminal_cut_nothing(tmp_path: Path) -> None:
    name = f"returned-{'n' * 60}.eml"
    long = f"{'bob' * 20}@{'corp' * 12}.example"
    (tmp_path / name).write_text(SAMPLES[0].text.replace("bob@corp.example", long))
    [row] = [line for line in run("bounce", str(tmp_path)).stdout.splitlines() if name in line]
    assert long in row
    [line] = run("bounce", str(tmp_path), "--json").stdout.splitlines()
    assert json.loads(line)["file"] == name


def test_a_table_of_senders_cuts_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    signer, id = f"{'news' * 12}.saas.example", "01K0ABCDEFGHJKMNPQRSTVWXYZ"
    networks = ("2001:db8:aaaa:bbbb::/64", "198.51.100.0/24")
    found = [Sender("own.example", one, signer, "", 0, 3, 1.0, 2.0, id) for one in networks]
    print_text(render_senders(find_origins(found, OURS)))
    [row] = [line for line in capsys.readouterr().out.splitlines() if id in line]
    assert [one for one in (signer, *networks, "1970-01-01 00:00:02 UTC") if one not in row] == []
