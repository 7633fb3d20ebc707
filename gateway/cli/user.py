"""`waypost user`: the logins of submission listeners."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from gateway import app
from gateway.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption, fail, group, print_json, say

commands = group("Who may log in at submission listeners.")

_LEAST_PASSWORD = 8

NameArgument = Annotated[str, typer.Argument(help="The name of the login; a mail address may send as itself.")]


@commands.command()
def add(
    name: NameArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    stdin: Annotated[bool, typer.Option("--stdin", help="Read the password as one line from standard input.")] = False,
) -> None:
    """Give a login its password, or a new one. It counts from the next login on."""
    from gateway.tools.users import add_user, check_login, check_name, find_twin

    file = _users_file(config)
    problem = check_name(name)
    if problem:
        fail(problem)
    twin = find_twin(file, name)
    if twin:
        fail(f"{twin} is there already: upper and lower case are one login")
    settings = app.read_partly(config)
    problem = check_login(name, settings.config, _known(file))
    if problem and settings.lacking.isdisjoint(("domain", "sender")):
        fail(problem)
    password = sys.stdin.readline().rstrip("\n") if stdin else _ask(name)
    if len(password) < _LEAST_PASSWORD:
        fail(f"a password has at least {_LEAST_PASSWORD} characters")
    known = add_user(file, name, password)
    say(f"{name} has {'a new' if known else 'a'} password, and can log in.")


@commands.command("list")
def list_users(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """The names that can log in."""
    from gateway.config.listeners import read_users

    file = _users_file(config)
    users, problems = read_users(file) if file.exists() else ({}, [])
    if as_json:
        print_json(sorted(users))
    else:
        say("\n".join(sorted(users)) or "Nobody can log in yet: waypost user add NAME")
    if problems:
        fail(problems[0].problem, 1)


@commands.command()
def remove(name: NameArgument, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Take a login away. Sessions that are open go on until they end."""
    from gateway.tools.users import remove_user, tell_nearest

    if not remove_user(_users_file(config), name):
        fail(f"nobody is called {name}{tell_nearest(name, _known(_users_file(config)))}", 1)
    say(f"{name} cannot log in any more.")


def _known(file: Path) -> list[str]:
    from gateway.config.listeners import read_users

    return list(read_users(file)[0]) if file.exists() else []


def _ask(name: str) -> str:
    password = getpass.getpass(f"Password for {name}: ")
    if getpass.getpass("Once more: ") != password:
        fail("the two differ; nothing was changed", 1)
    return password


def _users_file(config: Path) -> Path:
    from gateway.config.load import find_users

    file = find_users(config, os.environ)
    if file is None:
        fail('there is no file of users: set users = "users" in [submission]')
    return file
