"""`waypost key`: the DKIM keys that outgoing mail is signed with."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway import app
from gateway.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption, fail, group, print_json, print_text, say, warn

if TYPE_CHECKING:
    from gateway.config.keyring import KeyEntry
    from gateway.config.model import Config
    from gateway.tools.keys import Publication

commands = group("The DKIM keys that outgoing mail is signed with.")

_LEAST_KEEP = 7 * 86_400.0
"""Minimum of seconds for which a retired key's record stays in DNS: others queue mail too."""

DomainArgument = Annotated[str, typer.Argument(help="A domain of ours.")]
AnyDomainArgument = Annotated[str, typer.Argument(help="A domain of ours; all of them when left out.")]
ZoneOption = Annotated[Path | None, typer.Option("--dns", help="Answer DNS from this zone file; no network is used.")]


@commands.command()
def new(domain: DomainArgument, config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Make an RSA and an Ed25519 key, and print their DNS records. They sign nothing before `rotate`."""
    from gateway.tools.keys import make_keys, show_keys

    settings = _read_settings(config)
    name = _our_domain(settings, domain)
    made = make_keys(_directory(settings), name, time.time())
    _print(show_keys(_directory(settings), made), as_json, with_records=True)
    if not as_json:
        say(f"Publish these records, then: waypost key rotate {name}")


@commands.command()
def show(domain: AnyDomainArgument = "", config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Every key with its state and its DNS record."""
    from gateway.tools.keys import show_keys

    settings = _read_settings(config)
    _print(show_keys(_directory(settings), _entries(settings, domain)), as_json, with_records=True)


@commands.command()
def check(
    domain: AnyDomainArgument = "",
    dns: ZoneOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Compare what DNS says with the keys; exit status 1 when something is wrong."""
    settings = _read_settings(config)
    found = _look_up(settings, _entries(settings, domain), dns)
    _print(found, as_json, with_records=any(one.problem for one in found))
    sys.exit(int(any(one.problem for one in found)))


@commands.command("rotate")
def rotate_keys(
    domain: DomainArgument,
    dns: ZoneOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    unchecked: Annotated[bool, typer.Option("--unchecked", help="Do not look whether DNS has the new keys.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Sign with the new keys from now on, once DNS has them. The old records stay until their mail is delivered."""
    from gateway.config.keyring import KeyState
    from gateway.tools.keys import render_keys, rotate, show_keys

    settings = _read_settings(config)
    name = _our_domain(settings, domain)
    fresh = [entry for entry in _entries(settings, name) if entry.state is KeyState.NEW]
    missing = [] if unchecked else [one for one in _look_up(settings, fresh, dns) if one.problem]
    if missing:
        print_text(render_keys(missing, with_records=True))
        fail(f"{name} goes on as it is: a signature whose key nobody finds is worth nothing.", 1)
    entries = rotate(_directory(settings), name, time.time(), _keep(settings))
    _print(show_keys(_directory(settings), entries), as_json, with_records=False)
    _reload(config)


def _reload(config: Path) -> None:
    """Have a running gateway load the keys; one that does not run loads them when it starts."""
    from gateway.admin.control import CommandRefused

    try:
        answers = asyncio.run(app.reload_running(config))
    except (CommandRefused, OSError, ValueError) as error:
        say(f"No running gateway was told: {error}", error=True)
        return
    problems = [answer["problem"] for answer in answers if answer["problem"]]
    if problems:
        fail(problems[0], 1)
    if not answers:
        say("No gateway runs: it signs with the new keys from its next start on.")


def _read_settings(config: Path) -> Config:
    """The settings that concern keys. The keyring itself may be broken, and new keys the remedy."""
    found = app.read_partly(config, warn)
    found.check("domain", "dns")
    return found.config


def _directory(settings: Config) -> Path:
    if settings.outbound.keyring is None:
        fail('there is no keyring: set keyring = "keys" in [outbound]')
    return settings.outbound.keyring


def _entries(settings: Config, domain: str) -> tuple[KeyEntry, ...]:
    from gateway.config.keyring import read_keyring

    entries = read_keyring(_directory(settings))
    name = _our_domain(settings, domain) if domain else ""
    return tuple(entry for entry in entries if not name or entry.domain == name)


def _our_domain(settings: Config, domain: str) -> str:
    from gateway.mail.domain import a_label

    name = a_label(domain) or ""
    ours = [one.name for one in settings.domain]
    if name not in ours:
        fail(f"{domain} is no domain of ours; there are: {', '.join(ours)}")
    return name


def _keep(settings: Config) -> float:
    return max(settings.delivery.expire, _LEAST_KEEP)


def _look_up(settings: Config, entries: Sequence[KeyEntry], dns: Path | None) -> tuple[Publication, ...]:
    from gateway.tools.keys import check_keys

    resolver = app.make_resolver(settings, dns.read_text("utf-8") if dns else None)
    return asyncio.run(check_keys(_directory(settings), entries, resolver, time.time(), _keep(settings)))


def _print(found: Sequence[Publication], as_json: bool, with_records: bool) -> None:
    from gateway.tools.keys import keys_json, render_keys

    if as_json:
        print_json(keys_json(found))
    else:
        print_text(render_keys(found, with_records))
