"""A command imports what it needs: help nothing of the gateway, a look at the spool neither rules nor DNS."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli import MODULES
from gateway.config.first import write_first
from gateway.net.system import SystemClock
from gateway.spool.sqlite import SqliteSpool

CHECKS = {"cel_expr_python", "cryptography", "dkim", "dns", "spf", "aiosmtpd", "aiosmtplib", "ldap3", "argon2"}
FOR_HELP = ("gateway.cli", "gateway.diagnosis.cli", "gateway.mail.domain", "gateway.mail.printable")
"""Packages and modules of ours that help may load, beside empty packages above them."""


def loaded(code: str) -> set[str]:
    """The names in sys.modules after some code."""
    ending = "import sys; print(*sys.modules, file=sys.stderr)"
    run = subprocess.run([sys.executable, "-c", f"{code}\n{ending}"], capture_output=True, text=True, check=True)
    return set(run.stderr.split())


def run_command(*words: str) -> set[str]:
    code = f"import sys; sys.argv = {['waypost', *words]}\nfrom gateway.cli import main\n"
    return loaded(code + "try:\n    main()\nexcept SystemExit as ended:\n    assert not ended.code, ended.code")


@pytest.mark.parametrize("words", [["version"], ["--version"]])
def test_the_version_needs_no_parser(words: list[str]) -> None:
    found = run_command(*words)
    assert found & {"typer", "rich", "pydantic", "idna", "asyncio"} == set()
    assert {name for name in found if name.startswith("gateway")} == {"gateway", "gateway.cli"}


def test_help_loads_nothing_of_the_gateway() -> None:
    """No module of commands imports at its top what only its commands need."""
    names = [name for row in MODULES for name in row.summaries]
    code = "from typer.main import get_command\nfrom gateway.cli import load_commands\n"
    found = loaded(code + f"for name in {names}: get_command(load_commands([name]))")
    packages = {"gateway", "gateway.app", "gateway.diagnosis", "gateway.mail"}
    ours = {name for name in found if name.startswith("gateway") and not name.startswith(FOR_HELP)}
    assert ours <= packages
    assert found & CHECKS == set()
    assert "sqlite3" not in found


@pytest.mark.parametrize("words", [["queue", "list"], ["queue", "failed"], ["hold", "list"]])
def test_a_look_at_the_spool_loads_no_check(words: list[str], tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text(write_first("mx.own.example", "own.example").replace("/var/lib/waypost", str(tmp_path)))

    async def make_spool() -> None:
        await (await SqliteSpool.open(tmp_path, SystemClock(), shard="0")).close()

    asyncio.run(make_spool())
    found = run_command(*words, "--config", str(config))
    assert found & CHECKS == set()
    assert found & {"gateway.policy.rules", "gateway.plan.judgement", "gateway.service.delivery"} == set()


def test_headers_are_told_without_a_check(tmp_path: Path) -> None:
    file = tmp_path / "mail.eml"
    file.write_bytes(b"From: a@b.example\r\nSubject: x\r\n\r\n")
    assert run_command("headers", str(file)) & (CHECKS | {"sqlite3", "gateway.app.adapters"}) == set()
