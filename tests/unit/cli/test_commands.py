"""Each command is listed with the module that has it, and only that module is imported for it."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest
import typer

from gateway.cli import MODULES, load_commands


@pytest.mark.parametrize(("module", "name", "listed"), MODULES)
def test_the_list_is_what_the_modules_have(module: str, name: str, listed: str) -> None:
    commands = importlib.import_module(f"gateway.cli.{module}").commands
    assert isinstance(commands, typer.Typer)
    has = {command.name or command.callback.__name__ for command in commands.registered_commands if command.callback}
    has |= {group.name for group in commands.registered_groups if group.name}
    assert listed.split() == [] if name else has == set(listed.split())


@pytest.mark.parametrize("words", [[], ["--help"], ["no-such-command"]])
def test_all_commands_are_there_when_none_is_named(words: list[str]) -> None:
    assert len(load_commands(words).registered_groups) == len(MODULES)


def test_one_command_loads_its_module_alone() -> None:
    assert len(load_commands(["version"]).registered_groups) == 1
    code = "import sys; from gateway.cli import load_commands; load_commands(['policy']);"
    code += "print([name for name in sys.modules if name.startswith('gateway.cli')])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "gateway.cli.policy" in found
    assert "gateway.cli.messages" not in found
