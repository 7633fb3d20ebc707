"""Each command is listed with the module that has it, and only that module is imported for it."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import typer
from rich.text import Text
from typer.core import TyperGroup as Group
from typer.main import get_command

from gateway import app
from gateway.cli import MODULES, CommandModule, load_commands, main
from gateway.config.first import write_first


@pytest.mark.parametrize("row", MODULES, ids=lambda row: row.module)
def test_the_list_is_what_the_modules_have(row: CommandModule) -> None:
    commands = importlib.import_module(f"gateway.{row.module}").commands
    assert isinstance(commands, typer.Typer)
    has = get_command(commands)
    if row.group:
        found = {row.group: str(commands.info.help)}
    elif isinstance(has, Group):
        found = {name: command.help for name, command in has.commands.items()}
    else:
        found = {str(has.name): has.help}
    told = {name: " ".join((text or "").split("\n\n")[0].split()) for name, text in found.items()}
    assert told == row.summaries


def whole_command() -> Any:
    """Every module's commands below one command."""
    commands = typer.Typer()
    for row in MODULES:
        commands.add_typer(importlib.import_module(f"gateway.{row.module}").commands, name=row.group or None)
    return get_command(commands)


def help_texts(command: Any) -> Iterator[str]:
    """Of a command, its parameters, and the commands below it."""
    yield from (text for text in (command.help, *(getattr(one, "help", None) for one in command.params)) if text)
    for below in getattr(command, "commands", {}).values():
        yield from help_texts(below)


def test_help_shows_brackets() -> None:
    """Help is markup: a section's name in brackets has to be escaped, or only `[]` is left of it."""
    shown = [Text.from_markup(text).plain for text in help_texts(whole_command())]
    assert any("[[sender]]" in text for text in shown)
    assert [text for text in shown if "[]" in text] == []


def test_a_file_that_is_not_there_is_named_first(capsys: pytest.CaptureFixture[str]) -> None:
    with patch("sys.argv", ["waypost", "headers", "/nowhere.eml"]), pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code, capsys.readouterr().err) == (2, "/nowhere.eml: No such file or directory\n")


@pytest.mark.parametrize("words", [[], ["-h"], ["--help"], ["no-such-command"]])
def test_all_commands_are_listed_when_none_is_named(words: list[str]) -> None:
    listed = {command.name for command in load_commands(words).registered_commands}
    assert listed == {name for row in MODULES for name in row.summaries}


def test_help_loads_no_command() -> None:
    code = "import sys; from gateway.cli import load_commands; load_commands(['--help']);"
    code += "print([name for name in sys.modules if name.startswith('gateway.')])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "gateway.app" not in found
    assert "gateway.config" not in found


def test_one_command_loads_its_module_alone() -> None:
    assert len(load_commands(["version"]).registered_groups) == 1
    code = "import sys; from gateway.cli import load_commands; load_commands(['policy']);"
    code += "print([name for name in sys.modules if name.startswith('gateway.cli')])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "gateway.cli.policy" in found
    assert "gateway.cli.messages" not in found


@pytest.mark.parametrize(("policy", "noted"), [("strict", True), ("enforce", False)])
def test_check_notes_a_shadow_that_is_in_force(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], policy: str, noted: bool
) -> None:
    """Not a mistake: `waypost promote` leaves the file in this state."""
    file = tmp_path / "gateway.toml"
    text = write_first("mx.own.example", "own.example")
    file.write_text(text.replace('set = "enforce"', f'set = "{policy}"\nshadow = "strict"'))
    with patch("sys.argv", ["waypost", "check", "--config", str(file)]), pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().out
    assert (ended.value.code, "policy.shadow is the set in force" in said, ": good." in said) == (0, noted, True)


@pytest.mark.parametrize("name", app.__all__)
def test_every_name_of_app_is_where_it_says(name: str) -> None:
    """Each is imported at its first use, so no other test notices a module that has moved."""
    assert callable(getattr(app, name))
