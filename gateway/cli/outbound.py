"""`waypost outbound`: the senders and domains that are suspended."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.text import Text

from gateway import app
from gateway.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption, fail, group, print_json, print_text, say
from gateway.service.sending_limits import Suspension, Suspensions
from gateway.tools.results import show_time

commands = group("Who may not send through us for now.")

NameArgument = Annotated[str, typer.Argument(help="The name of a [\\[sender]] or [\\[tenant]], a login, or a domain.")]


@commands.command()
def suspended(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Who may not send, since when, and why."""
    found = Suspensions(app.read_config(config).server.spool).all()
    if as_json:
        print_json([{"account": one.account, "since": one.since, "reason": one.reason} for one in found])
        return
    for one in found:
        print_text(Text(f"{one.account}, since {show_time(one.since)}: {one.reason}"))
    if not found:
        say("Everybody may send.")


@commands.command()
def resume(name: NameArgument, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Let a sender or domain send again."""
    suspensions = Suspensions(app.read_config(config).server.spool)
    removed = [suspensions.remove(f"{kind} {name}") for kind in ("sender", "domain")]
    if True not in removed:
        fail(f"{name} is not suspended", 1)
    say(f"{name} may send again.")


@commands.command()
def suspend(
    name: NameArgument,
    domain: Annotated[bool, typer.Option("--domain", help="NAME is a domain of ours: nobody may send as it.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Let a sender or domain send nothing more, at once, until `resume`."""
    account = f"{'domain' if domain else 'sender'} {name}"
    if "/" in name:
        fail(f"{name} is no name of a sender")
    if not Suspensions(app.read_config(config).server.spool).add(Suspension(account, time.time(), "by an admin")):
        fail(f"{name} is suspended already", 1)
    say(f"{name} may not send: 451 4.7.1 until `waypost outbound resume {name}`.")
